"""A step gives its operation the request body that the operation requires, with the fields that it requires (§1.12).

The fields are looked at where the payload is written out as an object: what an expression gives is not known before.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from treadle.arazzo.location import join
from treadle.arazzo.rules.planned.context import CheckedPlans, CheckedStep
from treadle.arazzo.rules.planned.shapes import Nowhere, look, required
from treadle.arazzo.slips import close_to
from treadle.errors import Diagnostic, Severity
from treadle.seams import MISSING, Json, Schema

RULE: Final = "missing-body"
SEVERITY: Final[Severity] = "warning"
CLAUSE: Final = "Request Body Object: payload"

_DEEPEST: Final = 8


def check(checked: CheckedPlans) -> Iterator[Diagnostic]:
    """Report bodies and fields that the operation requires and does not get."""
    for step in checked.steps:
        operation, body = step.planned.operation, step.written.request_body
        if operation is None:
            continue
        if body is None or (body.payload is MISSING and not body.replacements):
            if operation.body_required:
                message = f"the operation `{operation.operation_id or operation.path}` requires a request body"
                pointer = step.written.pointer
                yield step.checked.finding(RULE, message, pointer, severity=SEVERITY, hint="add a `requestBody`")
        elif not body.replacements:
            schema = operation.request_schema(body.content_type or "")
            yield from _fields(step, schema, body.payload, f"{body.pointer}/payload", 0)


def _fields(step: CheckedStep, schema: Schema | None, value: Json, pointer: str, depth: int) -> Iterator[Diagnostic]:
    if schema is None or not isinstance(value, dict) or depth > _DEEPEST or not value:
        return
    for name in required(schema):
        # A field with a name close to it is another rule's: it is told once.
        if name not in value and not close_to(name, (key for key in value if isinstance(look(schema, [key]), Nowhere))):
            hint = "add it, unless the server fills it in"
            message = f"the payload has no `{name}`, which the operation requires"
            yield step.checked.finding(RULE, message, pointer, severity=SEVERITY, hint=hint, key=True)
    for name, member in value.items():
        yield from _fields(step, schema.below("properties", name), member, join(pointer, name), depth + 1)
