"""The agent that comes after one that is gone, in the same directory and for the same attempt: who it is, what is left.

It is the same agent for the control plane, which had one that it knows by an id: so it goes on with its events, its log
and its stream, and nobody else can. What had not been told is told. Then:

* before Training nothing is lost but GPUs, which somebody else may have by now: without any it begins anew;
* the program has died with its agent. Where it was known how the host would end (the program had ended, or had been
  told to, or is to now), what it has left is kept, and the host ends so;
* else the host is lost.
"""

from __future__ import annotations

import contextlib
import os
import time
import uuid
from collections.abc import Sequence
from pathlib import Path

import msgspec

from treadle.agent.ended import Ended
from treadle.agent.files import write_whole
from treadle.agent.orders import ENDS, Ending
from treadle.seams import HostEvent

__all__ = ["Known", "how_it_ends", "known", "live", "trained_since"]

_FILE = "agent.json"
_KILLED = 137


class Known(msgspec.Struct, frozen=True):
    """As whom the control plane knows an agent: its id, and the number in the name of its stream."""

    agent: str
    stream_epoch: int


def known(directory: Path) -> tuple[Known, float | None]:
    """Give as whom the agent of a host is known, and when the one before this one was last alive, if there was one."""
    path = directory / _FILE
    try:
        found = msgspec.json.decode(path.read_bytes(), type=Known)
        return found, max(each.stat().st_mtime for each in (path, *directory.glob("spool/*")))
    except (FileNotFoundError, msgspec.DecodeError):
        directory.mkdir(parents=True, exist_ok=True)
        made = Known(uuid.uuid4().hex, int(time.time()))
        write_whole(path, msgspec.json.encode(made))
        return made, None


def live(directory: Path) -> None:
    """Leave a sign of life, if that is possible now: it is nothing that a program should be ended for.

    The attempt may be over and the directory removed; on some file systems even a time needs room.
    """
    with contextlib.suppress(OSError):
        os.utime(directory / _FILE)


def trained_since(left: Sequence[HostEvent]) -> float | None:
    """Give since when a program has run, None where none has."""
    return next((each.at for each in left if each.kind == "training"), None)


def how_it_ends(left: Sequence[HostEvent], ordered: Ending, trained_for: float) -> Ended | None:
    """Give how a host ends whose program has run; None when nobody knows: it is lost."""
    decided = next((each for each in reversed(left) if each.kind in {"stopping", "uploading"}), None)
    if decided is None or (decided.outcome == "interrupted" and ordered == "stop"):
        if not ordered:
            return None
        return {"outcome": ENDS[ordered], "exit_code": _KILLED, "trained_for": trained_for}
    code = decided.exit_code if decided.kind == "uploading" else _KILLED
    return {
        "outcome": decided.outcome,
        "exit_code": code,
        "trained_for": decided.trained_for,
        "failure_reason": decided.failure_reason,
    }
