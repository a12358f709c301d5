"""Whether two plans mean the same, though their documents are written differently.

A plan is turned into plain values: what is only a way of writing (a pointer into the document, dots or a JSON Pointer,
a comparison in JSONPath or as a simple condition) comes out the same, everything else is compared as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from enum import Enum
from typing import Any, Final

from treadle.arazzo.criteria import outline as outlines
from treadle.arazzo.expressions import Context
from treadle.arazzo.expressions.nodes import Each, Expression, Index, Member, Pointer
from treadle.arazzo.inputs import Inputs
from treadle.arazzo.plan.values import PlannedAction, PlannedStep, PlannedWorkflow

__all__ = ["differences"]

# Where something stands, what the document says in its own words, and what is found out by looking at those words.
_ONLY_WRITTEN: Final = frozenset(
    {
        "pointer",
        "condition",
        "components",
        "sources",
        "expressions",
        "digest",
        "reads_body",
        "chooses_by_body",
        "reads_request",
    }
)
_NOTHING: Final = Context()


def differences(before: Mapping[str, PlannedWorkflow], after: Mapping[str, PlannedWorkflow]) -> list[str]:
    """Give the names of the workflows and steps whose meaning is not the same; none: the two mean the same."""
    found = [f"the workflow {name}" for name in before.keys() ^ after.keys()]
    for name in before.keys() & after.keys():
        one, other = before[name], after[name]
        steps = {step.step_id: step for step in other.steps}
        found += [
            f"the step {step.step_id} of {name}"
            for step in one.steps
            if step.step_id not in steps or _meant(step) != _meant(steps[step.step_id])
        ]
        if _meant(one) != _meant(other) and not found:
            found.append(f"the workflow {name}")
    return sorted(found)


def _meant(value: Any) -> Any:
    """Give what a value of a plan means, as tuples that can be compared."""
    if isinstance(value, Expression):
        return _expression(value)
    if hasattr(value, "judge") and hasattr(value, "condition"):
        return _criterion(value)
    if isinstance(value, Inputs):
        return ("inputs", repr(value.schema))
    if isinstance(value, PlannedStep):
        value = replace(value, on_failure=tuple(_plain_retry(each, value.step_id) for each in value.on_failure))
    if is_dataclass(value) and not isinstance(value, type):
        named = ((each.name, getattr(value, each.name, None)) for each in fields(value))
        return (type(value).__name__, *((name, _meant(each)) for name, each in named if name not in _ONLY_WRITTEN))
    if isinstance(value, Mapping):
        return ("mapping", *sorted((str(name), _meant(each)) for name, each in value.items()))
    if isinstance(value, (list, tuple)):
        return ("list", *(_meant(each) for each in value))
    if isinstance(value, (set, frozenset)):
        return ("set", *sorted(map(repr, value)))
    if value is None or isinstance(value, (str, int, float, bool, Enum)):
        return (type(value).__name__, repr(value))
    return _other(value)


def _plain_retry(action: PlannedAction, own: str) -> PlannedAction:
    """Take the target from a retry that names its own step: it is a plain one (dialect `retry-self-step`)."""
    return replace(action, step="") if action.type == "retry" and action.step == own else action


def _other(value: Any) -> Any:
    """Give what an operation or a channel is known by; of a function its name."""
    named = [str(getattr(value, name, "")) for name in ("source", "operation_id", "method", "path", "name", "address")]
    return (type(value).__name__, *named, getattr(value, "__qualname__", ""))


def _expression(expression: Expression) -> Any:
    parts: list[Any] = [type(expression).__name__]
    for name in expression.__struct_fields__:
        value = getattr(expression, name)
        parts.append(_way(value) if name == "tail" else value)
    return tuple(parts)


def _way(tail: Any) -> tuple[str, ...]:
    names: list[str] = []
    for part in tail:
        match part:
            case Pointer():
                names += part.tokens
            case Member(name="length"):
                names.append(".length")
            case Member():
                names.append(part.name)
            case Index():
                names.append(str(part.index))
            case Each():
                names.append("[*]")
    return tuple(names)


# ---------------------------------------------------------------------------------------------------------------------
# Criteria
# ---------------------------------------------------------------------------------------------------------------------


def _criterion(criterion: Any) -> Any:
    outline = outlines.outline(criterion, _NOTHING)
    if outline is None:  # it depends on values of the run, or is no condition that has an outline
        return (type(criterion).__name__, criterion.condition, *(_expression(each) for each in criterion.expressions))
    return _outline(outline)


def _outline(outline: Any) -> Any:
    match outline:
        case outlines.Compare(left=outlines.Length(of=of), operator=">" | "!=", right=outlines.Constant(value=0)):
            return _some(of)
        case outlines.Compare(left=outlines.Length(of=of), operator=">=", right=outlines.Constant(value=1)):
            return _some(of)
        case outlines.Compare():
            return ("compare", _operand(outline.left), outline.operator, _operand(outline.right))
        case outlines.Test():
            return ("test", _operand(outline.operand), outline.exists)
        case outlines.Matches():
            return ("matches", _operand(outline.subject), outline.pattern, outline.whole)
        case outlines.XPath():
            return ("xpath", _expression(outline.context), outline.text)
        case outlines.Not():
            return ("not", _outline(outline.inner))
        case outlines.All(parts=parts):
            return ("all", *map(_outline, parts))
        case outlines.Either(parts=parts):
            return ("either", *map(_outline, parts))


def _some(selected: outlines.Selected) -> Any:
    """`$.items.length > 0` and `$.items[*]` both mean that there is an element."""
    return ("test", _operand(outlines.Selected(selected.context, (*selected.path, outlines.ANY))), True)


def _operand(operand: Any) -> Any:
    match operand:
        case outlines.Constant():
            return ("constant", type(operand.value).__name__, repr(operand.value))
        case outlines.Looked():
            return _expression(operand.expression)
        case outlines.Selected():
            start = _expression(operand.context) if operand.context is not None else ("element",)
            path = tuple(_step(each) for each in operand.path)
            plain = start[-1] if isinstance(start[-1], tuple) else ()
            return (*start[:-1], plain + path) if isinstance(start[-1], tuple) else (*start, path)
        case outlines.Length():
            return ("length", _operand(operand.of))


def _step(step: Any) -> Any:
    if isinstance(step, outlines.Where):
        return ("where", _outline(step.condition))
    return "[*]" if step is outlines.ANY else str(step)
