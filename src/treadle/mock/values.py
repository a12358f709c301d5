"""Values that satisfy a comparison, the most natural one first: what names of states mean to people."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from treadle.arazzo.criteria import outline as asks
from treadle.arazzo.criteria.outline import Outline
from treadle.mock.samples import is_number
from treadle.seams import MISSING, Json, Missing

__all__ = ["is_bad", "others"]

_GOOD: Final = re.compile(
    r"(?i)complete|succe|^ok$|ready|active|available|in_?service|done|finish|approved|authori[sz]ed|accepted|running|valid"
)
_GOING: Final = re.compile(
    r"(?i)progress|pending|creat(ing|ed)|queue|wait|start|process|running|updating|stopping|new|draft|init"
)
_BAD: Final = re.compile(
    r"(?i)fail|error|cancel|reject|den(y|ied)|refus|expire|abort|delet|invalid|stopp|out_?of|unknown|not_?|in_?active|un_?available|dis"
)


def is_bad(condition: Outline) -> bool:
    """Tell whether a condition wants a value that means a failure: `state == 'failed'`."""
    match condition:
        case asks.All() | asks.Either():
            return any(map(is_bad, condition.parts))
        case asks.Compare(left, "==", right):
            values = [each.value for each in (left, right) if isinstance(each, asks.Constant)]
            return any(isinstance(each, str) and _BAD.search(each) is not None for each in values)
        case _:
            return False


def _rank(value: Json) -> int:
    """Order the values that a `!=` may take: an end that somebody hopes for first, an end at all before going on."""
    if not isinstance(value, str):
        return 1
    if _BAD.search(value):
        return 2
    if _GOOD.search(value):
        return 0
    return 3 if _GOING.search(value) else 1


def others(
    operator: str, value: Json | Missing, choices: Sequence[Json], current: Json | Missing, literals: Sequence[Json]
) -> Iterator[Json | Missing]:
    """Give values for which `it operator value` holds; MISSING: nothing at all."""
    if operator == "==":
        if value is MISSING or value is None:
            yield MISSING
            yield None
        elif isinstance(value, str) and is_number(current) and re.fullmatch(r"-?\d+(\.\d+)?", value):
            yield float(value) if "." in value else int(value)
            yield value
        else:
            yield value
        return
    if operator == "!=":
        if value is MISSING or value is None:
            return
        alike = [each for each in literals if type(each) is type(value)]
        listed = sorted((each for each in choices if each != value and each is not None), key=_rank)
        if listed:
            yield from listed
            return
        yield from sorted((each for each in alike if each != value), key=_rank)
        yield from _different(value)
        return
    if is_number(value):
        offset = {"<": -1, "<=": 0, ">": 1, ">=": 0}[operator]
        yield value + offset
    elif isinstance(value, str):
        yield {"<": "", "<=": value, ">": value + "a", ">=": value}[operator]


def _different(value: Json) -> Iterator[Json]:
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, (int, float)):
        yield value + 1
    elif isinstance(value, str):
        yield "Completed" if _GOING.search(value) or _BAD.search(value) else f"not {value}"
        yield f"not {value}"
    else:
        yield "text"
