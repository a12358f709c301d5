"""For tables that say which test proves what: whether there are such tests."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from functools import cache
from pathlib import Path

_TESTS = Path(__file__).resolve().parent


def missing(tests: Iterable[str]) -> list[str]:
    """Give those of `file::name`, below `tests/`, that there are not."""
    return [each for each in tests if each.partition("::")[2] not in _names(each.partition("::")[0])]


@cache
def _names(file: str) -> frozenset[str]:
    tree = ast.parse((_TESTS / file).read_text("utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(each.name for each in tree.body if isinstance(each, kinds) and each.name.startswith("test_"))
