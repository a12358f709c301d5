"""The fields of a payload are those that the operation takes (§1.12), as far as the payload is written out.

Servers may take what their description does not have, so an unknown field is an error of the document for certain only
where the schema forbids others; else it is reported only when a described name is close to it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from treadle.arazzo.location import join
from treadle.arazzo.rules.context import few
from treadle.arazzo.rules.planned.context import CheckedPlans, CheckedStep
from treadle.arazzo.rules.planned.shapes import OBJECT, Nowhere, look
from treadle.arazzo.slips import close_to
from treadle.errors import Diagnostic, Severity
from treadle.seams import MISSING, Json, Schema

RULE: Final = "unknown-payload-field"
SEVERITY: Final[Severity] = "warning"
CLAUSE: Final = "Request Body Object: payload"

_DEEPEST: Final = 8


def check(checked: CheckedPlans) -> Iterator[Diagnostic]:
    """Report fields that the operation does not have."""
    for step in checked.steps:
        operation, body = step.planned.operation, step.written.request_body
        if operation is not None and body is not None and body.payload is not MISSING:
            schema = operation.request_schema(body.content_type or "")
            yield from _fields(step, schema, body.payload, f"{body.pointer}/payload", 0)


def _fields(step: CheckedStep, schema: Schema | None, value: Json, pointer: str, depth: int) -> Iterator[Diagnostic]:
    if schema is None or not isinstance(value, dict) or depth > _DEEPEST:
        return
    for name, member in value.items():
        found = look(schema, [name])
        here = join(pointer, name)
        if not isinstance(found, Nowhere):
            yield from _fields(step, schema.below("properties", name), member, here, depth + 1)
        elif found.holder == OBJECT:
            meant = close_to(name, (each for each in found.names if each not in value))
            if meant or found.closed:
                message = f"the operation has no field `{name}` in its request body"
                others = f"it has {few(found.names)}"
                hint = f"did you mean `{meant}`?" if meant else others
                yield step.checked.finding(RULE, message, here, severity=SEVERITY, hint=hint, key=True)
