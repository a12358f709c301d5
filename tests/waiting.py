"""A condition instead of a sleep."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

__all__ = ["until"]

_T = TypeVar("_T")


def until(condition: Callable[[], _T | None], seconds: float = 20.0, *, what: str = "") -> _T:
    """Look until the condition gives something true, and give that; fail after `seconds`."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what or condition}"
        time.sleep(0.02)
    return found
