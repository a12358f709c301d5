"""What the control plane has told a host to do. Commands come again and again; each counts once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Literal, TypeAlias

from treadle.seams import Command

__all__ = ["ENDS", "Ending", "Orders"]

Ending: TypeAlias = Literal["", "stop", "interrupt"]

ENDS = {"stop": "stopped", "interrupt": "interrupted", "": "max-runtime"}
"""How a host ends whose program is made to end: by an order, or by MaxRuntimeInSeconds."""


class Orders:
    """`start` is set when all hosts may begin to train, `end` when the host is to end; `ending` says how.

    `heard` is set when there has been an answer, with commands or without.
    """

    def __init__(self) -> None:
        self.start = asyncio.Event()
        self.end = asyncio.Event()
        self.heard = asyncio.Event()
        self.ending: Ending = ""

    def take(self, commands: Sequence[Command]) -> None:
        """Take notice. A stop outranks an interruption, also one that has begun: then outputs are kept."""
        self.heard.set()
        if "start" in commands:
            self.start.set()
        if "stop" in commands or ("interrupt" in commands and not self.ending):
            self.ending = "stop" if "stop" in commands else "interrupt"
            self.end.set()
