"""botocore's protocol suite beside the checkout: its cases, and its way of writing values."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

__all__ = ["SUITE", "cases", "from_suite", "plain"]

SUITE = Path(__file__).resolve().parents[3] / "shared" / "suites" / "aws-protocols"

_Case = dict[str, Any]


def cases(direction: str, protocols: tuple[str, ...], skipped: Callable[[_Case, _Case], str]) -> list[Any]:
    """Give the cases of some protocols, `input` or `output`, as parameters; `skipped` gives a reason, or ""."""
    if not SUITE.is_dir():
        pytest.skip("the AWS protocol cases do not stand beside the checkout", allow_module_level=True)
    return [
        pytest.param(suite, case, id=f"{protocol}-{case['id']}", marks=_marks(skipped(suite, case)))
        for protocol in protocols
        for suite, case in _read(SUITE / direction / f"{protocol}.json")
    ]


def _read(file: Path) -> Iterator[tuple[_Case, _Case]]:
    for suite in json.loads(file.read_bytes()):
        for case in suite["cases"]:
            yield suite, case


def _marks(reason: str) -> list[pytest.MarkDecorator]:
    return [pytest.mark.skip(reason=reason)] if reason else []


def plain(value: Any) -> Any:
    """Give a value as the suite writes it: bytes as text, times as numbers, numbers that are none by their names."""
    match value:
        case dict():
            return {key: plain(item) for key, item in value.items() if item is not None}
        case list():
            return [plain(item) for item in value]
        case bytes():
            return value.decode()
        case datetime():
            return value.timestamp()
        case float() if not math.isfinite(value):
            return {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}[str(value)]
    return value


def from_suite(value: Any) -> Any:
    """Give a value as a caller has it: the suite's names of numbers that are none become those."""
    match value:
        case dict():
            return {key: from_suite(item) for key, item in value.items()}
        case list():
            return [from_suite(item) for item in value]
        case "NaN" | "Infinity" | "-Infinity":
            return float(value)
    return value
