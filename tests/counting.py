"""How much work something is, told without a clock."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

__all__ = ["lines_run"]


def lines_run(work: Callable[..., object], *arguments: object) -> int:
    """Count the lines of Python that a work runs, each as often as it runs: the same on any machine."""
    count = 0

    def trace(_frame: object, _event: str, _value: object) -> Any:
        nonlocal count
        count += 1
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work(*arguments)
    finally:
        sys.settrace(before)
    return count
