"""What a launcher finds a host by, as the text that is stored with the job."""

from __future__ import annotations

from typing import Self

import msgspec

from treadle.errors import LaunchError

__all__ = ["Handle"]


class Handle(msgspec.Struct, frozen=True):
    """Each launcher has members of its own."""

    def text(self) -> str:
        """Give the text."""
        return msgspec.json.encode(self).decode()

    @classmethod
    def read(cls, text: str) -> Self:
        """Read a text. Raises `LaunchError` for that of another launcher, which the service was started with before."""
        try:
            return msgspec.json.decode(text, type=cls)
        except msgspec.DecodeError as error:
            raise LaunchError("The host was not launched on this machine or cluster.") from error
