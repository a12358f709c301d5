"""What a condition looks at: the places of an answer that it names, and what stands there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

from treadle.arazzo.criteria import outline as asks
from treadle.arazzo.criteria.compare import loose, strict
from treadle.arazzo.criteria.conditions import truthy
from treadle.arazzo.criteria.outline import Outline
from treadle.arazzo.expressions import Context, nodes, text_of
from treadle.mock import xml
from treadle.mock.paths import part_of, path_of
from treadle.mock.patterns import compiled
from treadle.mock.samples import EACH, Path
from treadle.seams import MISSING, Json, Missing

__all__ = [
    "Header",
    "InBody",
    "Place",
    "Status",
    "Steps",
    "absolute",
    "first",
    "holds",
    "look",
    "mentioned",
    "open_end",
    "over_operands",
    "place_of",
    "reads_body",
    "sampled",
]

_BODY: Final = nodes.Body("response")

Steps: TypeAlias = "tuple[asks.Step, ...]"


def sampled(path: Steps) -> Path:
    """Give the path to where samples are made: a filter's place is that of every element."""
    return tuple(EACH if each is asks.ANY or isinstance(each, asks.Where) else each for each in path)  # type: ignore[misc]


def open_end(path: Steps) -> int | None:
    """Give where on a path the first step is that may select several nodes, or None."""
    return next((index for index, step in enumerate(path) if not isinstance(step, (str, int))), None)


# ---------------------------------------------------------------------------------------------------------------------
# Looking
# ---------------------------------------------------------------------------------------------------------------------


def _walk(value: Json | Missing, path: Steps, context: Context) -> list[Json]:
    """Give the nodes that a query selects; a filter at an object may mean the object (`root-filter-on-object`)."""
    found = [] if value is MISSING else [value]
    for step in path:
        found = [each for one in found for each in _children(one, step, context)]
    if not found and path and isinstance(path[0], asks.Where) and isinstance(value, dict):
        return _walk([value], path, context)
    return found


def _children(value: Json, step: asks.Step, context: Context) -> Iterator[Json]:
    members = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    if isinstance(step, asks.Where):
        yield from (each for each in members if holds(step.condition, context, each))
    elif isinstance(step, str):
        if isinstance(value, dict) and step in value:
            yield value[step]
        elif isinstance(value, list) and step.isdigit() and int(step) < len(value):
            yield value[int(step)]
    elif isinstance(step, int):
        if isinstance(value, list) and -len(value) <= step < len(value):
            yield value[step]
    else:
        yield from members


def first(value: Json | Missing, path: Steps, context: Context) -> Json | Missing:
    """Give the first node that a query selects, or MISSING."""
    return next(iter(_walk(value, path, context)), MISSING)


def look(operand: asks.Operand, context: Context, element: Json | Missing = MISSING) -> Json | Missing:
    """Give what an operand stands for; `element` is that of the filter in which it stands."""
    match operand:
        case asks.Constant():
            return operand.value
        case asks.Looked():
            return operand.expression.evaluate(context)
        case asks.Selected():
            start = element if operand.context is None else operand.context.evaluate(context)
            return first(start, operand.path, context)
        case asks.Length():
            start = element if operand.of.context is None else operand.of.context.evaluate(context)
            found = _walk(start, operand.of.path, context)
            if open_end(operand.of.path) is not None:
                return len(found)
            return len(found[0]) if found and isinstance(found[0], (list, dict, str)) else 0


def holds(condition: Outline, context: Context, element: Json | Missing = MISSING) -> bool:
    """Tell whether a condition holds, as far as its outline says."""
    match condition:
        case asks.All():
            return all(holds(each, context, element) for each in condition.parts)
        case asks.Either():
            return any(holds(each, context, element) for each in condition.parts)
        case asks.Not():
            return not holds(condition.inner, context, element)
        case asks.Compare():
            compare = loose if _is_loose(condition) else strict
            left, right = look(condition.left, context, element), look(condition.right, context, element)
            return compare(condition.operator, left, right)[0]
        case asks.Test():
            value = look(condition.operand, context, element)
            return value is not MISSING if condition.exists else truthy(value)
        case asks.Matches():
            value = look(condition.subject, context, element)
            pattern = compiled(condition.pattern)
            if value is MISSING or value is None or pattern is None:
                return False
            data = text_of(value).encode("utf-8", "replace")
            return bool(pattern.fullmatch(data) if condition.whole else pattern.search(data))
        case asks.XPath():
            return xml.holds(condition.text, condition.context.evaluate(context))


def _is_loose(condition: asks.Compare) -> bool:
    return not any(isinstance(each, (asks.Selected, asks.Length)) for each in (condition.left, condition.right))


# ---------------------------------------------------------------------------------------------------------------------
# Places
# ---------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Status:
    """The status code."""


@dataclass(frozen=True, slots=True)
class Header:
    """A header."""

    name: str


@dataclass(frozen=True, slots=True)
class InBody:
    """What is at a path of the body; `length`: how much of it there is."""

    path: Steps
    length: bool = False


Place: TypeAlias = "Status | Header | InBody"


def place_of(operand: asks.Operand) -> Place | None:
    """Give what of an answer the operand looks at; None when it looks at something else."""
    match operand:
        case asks.Looked(nodes.Plain(name="statusCode")):
            return Status()
        case asks.Looked(nodes.HeaderReference(side="response", name=name)):
            return Header(name)
        case asks.Looked(nodes.Body(side="response", tail=tail)):
            whole = tuple(token for part in tail for token in part_of(part))
            path = _as_steps(whole)
            return InBody(path[:-1], length=True) if path and path[-1] == "length" else InBody(path)
        case asks.Selected(nodes.Plain(name="statusCode"), ()):
            return Status()
        case asks.Selected(nodes.Body(side="response", tail=tail), path):
            return InBody((*_as_steps(path_of(tail)), *path))
        case asks.Length(of):
            inner = place_of(of)
            return InBody(inner.path, length=True) if isinstance(inner, InBody) else None
        case _:
            return None


def _as_steps(path: Path) -> Steps:
    return tuple(asks.ANY if each is EACH else each for each in path)  # type: ignore[misc]


def reads_body(condition: Outline) -> bool:
    """Tell whether a condition looks into the body of the answer."""
    match condition:
        case asks.All() | asks.Either():
            return any(map(reads_body, condition.parts))
        case asks.Not():
            return reads_body(condition.inner)
        case asks.Compare():
            return any(isinstance(place_of(each), InBody) for each in (condition.left, condition.right))
        case asks.Test():
            return isinstance(place_of(condition.operand), InBody)
        case asks.Matches():
            return isinstance(place_of(condition.subject), InBody)
        case asks.XPath():
            return condition.context.reads_answer_body


def mentioned(condition: Outline) -> Iterator[Path]:
    """Give the places of the body that a condition compares with something, as far as a path leads without a filter.

    What is not there satisfies many conditions (`status != 'Creating'`), and yet is not what anybody means by them.
    """
    match condition:
        case asks.All() | asks.Either():
            for each in condition.parts:
                yield from mentioned(each)
        case asks.Not():
            yield from mentioned(condition.inner)
        case asks.Compare() if condition.operator != "!=" and asks.Constant(None) not in (
            condition.left,
            condition.right,
        ):
            yield from _in_body(condition.left)
            yield from _in_body(condition.right)
        case asks.Matches():
            yield from _in_body(condition.subject)


def _in_body(operand: asks.Operand) -> Iterator[Path]:
    place = place_of(operand)
    if isinstance(place, InBody) and place.path:
        path = sampled(place.path[: open_end(place.path)])
        if path:
            yield path


def absolute(condition: Outline, prefix: Steps) -> Outline:
    """Write the condition of a filter as one about the element at `prefix` of the body."""

    def operand(each: asks.Operand) -> asks.Operand:
        if isinstance(each, asks.Selected) and each.context is None:
            return asks.Selected(_BODY, (*prefix, *each.path))
        if isinstance(each, asks.Length) and each.of.context is None:
            return asks.Length(asks.Selected(_BODY, (*prefix, *each.of.path)))
        return each

    return over_operands(condition, operand)


def over_operands(condition: Outline, change: Callable[[asks.Operand], asks.Operand]) -> Outline:
    """Give a condition with its operands changed; what an XPath looks at stays."""
    match condition:
        case asks.All():
            return asks.All(tuple(over_operands(each, change) for each in condition.parts))
        case asks.Either():
            return asks.Either(tuple(over_operands(each, change) for each in condition.parts))
        case asks.Not():
            return asks.Not(over_operands(condition.inner, change))
        case asks.Compare():
            return asks.Compare(change(condition.left), condition.operator, change(condition.right))
        case asks.Test():
            return asks.Test(change(condition.operand), exists=condition.exists)
        case asks.Matches():
            return asks.Matches(change(condition.subject), condition.pattern, whole=condition.whole)
        case _:
            return condition
