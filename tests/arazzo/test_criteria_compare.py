"""Two values and a sign: what is equal, what is in order, and what is remarked about it."""

from __future__ import annotations

from typing import Any

import pytest

from treadle.arazzo.criteria.compare import ABSENT, loose, same, strict
from treadle.seams import MISSING

NUMERIC = "a numeric string is a number"
OTHER_TYPE = "they are of different types"
NO_ORDER = "these two have no order"
NONE_THERE = "what is missing has no order"

EQUAL: list[tuple[Any, Any]] = [
    ({"a": 1, "b": [1, {"c": None}]}, {"b": [1, {"c": None}], "a": 1.0}),
    ([], []),
    ({}, {}),
    (None, None),
    (1, 1.0),
]
UNEQUAL: list[tuple[Any, Any]] = [
    ({"a": 1}, {"a": 2}),
    ({"a": 1}, {"b": 1}),
    ({"a": 1}, {"a": 1, "b": 1}),
    ({"a": True}, {"a": 1}),
    ({}, []),
    ({"a": 1}, ["a"]),
    ([1], [1, 1]),
    ([1, 2], [2, 1]),
    ([True], [1]),
    (True, 1),
    (0, False),
    (None, False),
    ("1", 1),
]


@pytest.mark.parametrize(("left", "right"), EQUAL)
def test_same_values(left: Any, right: Any) -> None:
    """By type and content, members in any order."""
    assert same(left, right)
    assert same(right, left)


@pytest.mark.parametrize(("left", "right"), UNEQUAL)
def test_different_values(left: Any, right: Any) -> None:
    """Whichever stands first; true is not 1."""
    assert not same(left, right)
    assert not same(right, left)


@pytest.mark.parametrize(
    ("left", "sign", "right", "want"),
    [
        ("a", "==", "a", (True, "")),
        ("a", "==", "A", (True, "only because case is ignored")),
        ("a", "!=", "A", (False, "only because case is ignored")),
        ("a", "==", "b", (False, "")),
        ("42", "==", 42, (True, NUMERIC)),
        (42.0, "==", "42", (True, NUMERIC)),
        ("4e1", "==", 40, (True, NUMERIC)),
        ("43", "==", 42, (False, NUMERIC)),
        ("42", "==", "42.0", (False, "")),
        ("x", "==", 42, (False, OTHER_TYPE)),
        ("true", "==", True, (False, OTHER_TYPE)),
        ("1", "==", True, (False, OTHER_TYPE)),
        ("x", "==", None, (False, "")),
        (None, "==", "x", (False, "")),
        (None, "!=", "x", (True, "")),
        (MISSING, "==", None, (True, "")),
        (MISSING, "==", "x", (False, ABSENT)),
        ("x", "!=", MISSING, (True, ABSENT)),
        (1, "<", 2, (True, "")),
        (2, "<=", "2", (True, NUMERIC)),
        ("10", ">", 9, (True, NUMERIC)),
        ("B", ">", "a", (True, "")),
        ("10", "<", "9", (True, "")),
        ("x", "<", 2, (False, NO_ORDER)),
        (True, "<", 2, (False, NO_ORDER)),
        (None, "<=", None, (False, NO_ORDER)),
        (MISSING, "<", 2, (False, NONE_THERE)),
        (2, ">=", MISSING, (False, NONE_THERE)),
    ],
)
def test_loosely(left: Any, sign: str, right: Any, want: tuple[bool, str]) -> None:
    """Simple conditions: strings without case, numeric strings are numbers beside numbers, null is only null."""
    assert loose(sign, left, right) == want


@pytest.mark.parametrize(
    ("left", "sign", "right", "want"),
    [
        ("a", "==", "a", (True, "")),
        ("a", "==", "A", (False, "they differ in case")),
        ("a", "!=", "A", (True, "they differ in case")),
        ("a", "==", "b", (False, "")),
        ("42", "==", 42, (False, "a string never equals a number here")),
        (42, "==", "42", (False, "a string never equals a number here")),
        ("1", "==", True, (False, "")),
        ({"a": [1]}, "==", {"a": [1]}, (True, "")),
        (MISSING, "==", None, (True, "")),
        (MISSING, "!=", "x", (True, ABSENT)),
        ("b", ">", "B", (True, "")),
        ("B", ">", "a", (False, "")),
        (1, "<", 1.5, (True, "")),
        ("1", "<", 2, (False, NO_ORDER)),
        (True, "<", 2, (False, NO_ORDER)),
        (MISSING, "<", 2, (False, NONE_THERE)),
        (2, "<", MISSING, (False, NONE_THERE)),
    ],
)
def test_strictly(left: Any, sign: str, right: Any, want: tuple[bool, str]) -> None:
    """Comparisons of JSONPath: with case, without coercion."""
    assert strict(sign, left, right) == want
