"""A value that the document gives itself is one that the operation takes (§1.6, §1.12), by its type and its `enum`.

Only constants are looked at, and only what is plainly described. A parameter is text on its way, so the text of a
number is a number there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from treadle.arazzo.expressions import Context
from treadle.arazzo.location import join
from treadle.arazzo.plan.values import PlannedArgument
from treadle.arazzo.rules.context import few
from treadle.arazzo.rules.planned.context import CheckedPlans, CheckedStep
from treadle.arazzo.rules.planned.payloads import payload_objects
from treadle.arazzo.rules.planned.shapes import ARRAY, BOOLEAN, NULL, NUMBER, OBJECT, STRING, Shape, kind_of, look
from treadle.arazzo.slips import close_to
from treadle.errors import Diagnostic, Severity
from treadle.seams import Json, OperationParameter

RULE: Final = "unfitting-value"
SEVERITY: Final[Severity] = "warning"
CLAUSE: Final = "Parameter Object: value"

_NUMBER: Final = re.compile(r"-?[0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")
_IN_WORDS: Final = {
    NUMBER: "a number",
    STRING: "a text",
    BOOLEAN: "true or false",
    ARRAY: "a list",
    OBJECT: "an object",
    NULL: "null",
}
_TYPES: Final = {"integer": NUMBER, "number": NUMBER, "string": STRING, "boolean": BOOLEAN}


def check(checked: CheckedPlans) -> Iterator[Diagnostic]:
    """Report constants of another type, and those that are not among the values which are described."""
    for step in checked.steps:
        operation = step.planned.operation
        declared = {(each.location, each.name): each for each in operation.parameters} if operation else {}
        for argument in step.planned.arguments:
            parameter = declared.get((argument.location or "query", argument.name))
            if parameter is not None and argument.value.constant:
                yield from _parameter(step, argument, parameter)
    for found in payload_objects(checked):
        form = found.step.planned.form
        for name, value in found.members.items():
            shape = look(found.schema, [name])
            if isinstance(shape, Shape) and not (isinstance(value, str) and "$" in value):
                pointer = join(found.pointer, name)
                yield from _judged(found.step, name, value, shape.kinds, shape.values, pointer, text=form == "form")


def _parameter(step: CheckedStep, argument: PlannedArgument, declared: OperationParameter) -> Iterator[Diagnostic]:
    schema = declared.schema
    kind = _TYPES.get(str(schema.get("type"))) if isinstance(schema, dict) else None
    if kind is None or not isinstance(schema, dict) or schema.get("nullable") is True:
        return
    listed = schema.get("enum")
    values = listed if isinstance(listed, list) and listed else None
    value = argument.value.evaluate(Context())
    if isinstance(value, (str, int, float, bool)):
        pointer = f"{argument.pointer}/value"
        yield from _judged(step, argument.name, value, frozenset({kind}), values, pointer, text=True)


def _judged(
    step: CheckedStep,
    name: str,
    value: Json,
    kinds: frozenset[str],
    values: Sequence[Json] | None,
    pointer: str,
    *,
    text: bool,
) -> Iterator[Diagnostic]:
    """Judge a value; `text`: it is sent as text, so that only what it says counts."""
    if not kinds:
        return
    if kind_of(value) not in kinds and not (text and _says(value, kinds)):
        wanted = " or ".join(_IN_WORDS[each] for each in sorted(kinds))
        message = f"the operation wants {wanted} for `{name}`, not {_shown(value)}"
        yield step.checked.finding(RULE, message, pointer, severity=SEVERITY)
    elif values is not None and value not in values and not (text and str(value) in map(str, values)):
        known = [str(each) for each in values]
        meant = close_to(str(value), known)
        hint = f"did you mean `{meant}`?" if meant else ""
        message = f"the operation takes {few(known)} for `{name}`, not {_shown(value)}"
        yield step.checked.finding(RULE, message, pointer, severity=SEVERITY, hint=hint)


def _says(value: Json, kinds: frozenset[str]) -> bool:
    """Tell whether the text of a value can be one of these kinds."""
    said = str(value).lower() if isinstance(value, bool) else str(value)
    if STRING in kinds and not isinstance(value, (dict, list)):
        return True
    return (NUMBER in kinds and bool(_NUMBER.fullmatch(said))) or (BOOLEAN in kinds and said in {"true", "false"})


def _shown(value: Json) -> str:
    return (
        _IN_WORDS[kind_of(value)] if isinstance(value, (dict, list)) else f"`{value}`" if value is not None else "null"
    )
