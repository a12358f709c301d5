"""Pages of a list: a token names the last item that was given, so that what comes and goes shifts no page.

A token belongs to one list in one order (`kind`); with another it is refused.
"""

from __future__ import annotations

import base64
import binascii
from typing import TypeAlias

import msgspec

from treadle.errors import ServiceError

__all__ = ["Place", "read_token", "token"]

Place: TypeAlias = tuple[float | str | bool, ...]
"""What a list sorts an item by."""


class _Token(msgspec.Struct, frozen=True, array_like=True):
    kind: str
    after: Place


def token(kind: str, after: Place) -> str:
    """Give the NextToken of a page that ends at a place."""
    return base64.urlsafe_b64encode(msgspec.json.encode(_Token(kind, after))).decode("ascii")


def read_token(text: str | None, kind: str, like: tuple[type, ...]) -> Place | None:
    """Give the place after which the page begins, None for the first page; `like` are the types of a place.

    Raises `ServiceError`.
    """
    if not text:
        return None
    try:
        found = msgspec.json.decode(base64.b64decode(text, altchars=b"-_", validate=True), type=_Token)
    except (binascii.Error, ValueError, msgspec.DecodeError):
        found = None
    if found is None or found.kind != kind or tuple(map(type, found.after)) != like:
        raise ServiceError("ValidationException", "The given NextToken is not one of this list.")
    return found.after
