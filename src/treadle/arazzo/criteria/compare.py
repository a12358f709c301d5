"""How values compare: loosely in `simple` criteria, as the specification has it; strictly in JSONPath comparisons."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from treadle.seams import MISSING, Json, Missing

__all__ = ["ABSENT", "loose", "same", "strict"]

ABSENT: Final = "what is missing equals only null"
"""The remark on a comparison that a missing operand decided."""

_ORDER: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_NUMBER: Final = re.compile(r"\s*-?[0-9]{1,300}(?:\.[0-9]{1,300})?(?:[eE][+-]?[0-9]{1,3})?\s*\Z")


def same(left: Json, right: Json) -> bool:
    """Tell whether two JSON values are equal: by type and content, members in any order; true is not 1."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        return left.keys() == right.keys() and all(same(value, right[name]) for name, value in left.items())
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    return bool(left == right)


def _number(value: Json | Missing) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def loose(sign: str, left: Json | Missing, right: Json | Missing) -> tuple[bool, str]:
    """Compare as simple conditions do; gives the result and a remark.

    Strings compare without case ("String comparisons MUST be case insensitive"), numeric strings with numbers as
    numbers, null equals only null, `!=` is the negation of `==`. What is missing is null for `==` and `!=` and makes
    an ordering false.
    """
    if sign in ("==", "!="):
        first, second = None if left is MISSING else left, None if right is MISSING else right
        equal, remark = _loosely_equal(first, second)
        return equal is (sign == "=="), remark or _absent(left, right, equal=equal)
    if isinstance(left, str) and isinstance(right, str):
        return _ORDER[sign](left.casefold(), right.casefold()), ""
    first, second = _as_number(left, right), _as_number(right, left)
    if first is None or second is None:
        return False, _unordered(left, right)
    return _ORDER[sign](first, second), "" if first is left and second is right else "a numeric string is a number"


def _loosely_equal(left: Json, right: Json) -> tuple[bool, str]:
    if isinstance(left, str) and isinstance(right, str):
        if left == right:
            return True, ""
        if left.casefold() == right.casefold():
            return True, "only because case is ignored"
        return False, ""
    if isinstance(left, str) or isinstance(right, str):
        first, second = _as_number(left, right), _as_number(right, left)
        if first is not None and second is not None:
            return first == second, "a numeric string is a number"
        if left is not None and right is not None:
            return False, "they are of different types"
        return False, ""
    return same(left, right), ""


def _as_number(value: Json | Missing, other: Json | Missing) -> int | float | None:
    """Give a number, or the number that a numeric string is when the other side is a number."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and _number(other) and _NUMBER.match(value):
        return float(value) if any(each in value for each in ".eE") else int(value)
    return None


def strict(sign: str, left: Json | Missing, right: Json | Missing) -> tuple[bool, str]:
    """Compare as JSONPath does: with case, without coercion. No node is null for `==`/`!=`, and has no order."""
    if sign in ("==", "!="):
        first, second = None if left is MISSING else left, None if right is MISSING else right
        equal = same(first, second)
        remark = _differing(first, second) if not equal else ""
        return equal is (sign == "=="), remark or _absent(left, right, equal=equal)
    if (isinstance(left, str) and isinstance(right, str)) or (_number(left) and _number(right)):
        return _ORDER[sign](left, right), ""
    return False, _unordered(left, right)


def _absent(left: Json | Missing, right: Json | Missing, *, equal: bool) -> str:
    return ABSENT if not equal and (left is MISSING) is not (right is MISSING) else ""


def _differing(left: Json, right: Json) -> str:
    if isinstance(left, str) and isinstance(right, str):
        return "they differ in case" if left.casefold() == right.casefold() else ""
    if (isinstance(left, str) and _number(right)) or (_number(left) and isinstance(right, str)):
        return "a string never equals a number here"
    return ""


def _unordered(left: Json | Missing, right: Json | Missing) -> str:
    if left is MISSING or right is MISSING:
        return "what is missing has no order"
    return "these two have no order"
