"""Connections, and how they are let go of."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

__all__ = ["closed", "copied"]

_PIECE = 64 * 1024


async def closed(writers: Sequence[asyncio.StreamWriter]) -> None:
    """Close the writers and wait until they are; one whose connection broke is as good as closed.

    Whoever is cancelled meanwhile leaves none of them open.
    """
    for each in writers:
        each.close()  # all, before the first wait, which may be broken off
    for each in writers:
        with contextlib.suppress(OSError):
            await each.wait_closed()


async def copied(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    """Copy until the end, and pass the end on."""
    while piece := await source.read(_PIECE):
        target.write(piece)
        await target.drain()
    target.write_eof()
