"""A step gives its operation the request body that the operation requires, with the fields that it requires (§1.12).

The fields are looked at where the payload is written out as an object: what an expression gives is not known before.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from treadle.arazzo.rules.planned.context import CheckedPlans
from treadle.arazzo.rules.planned.payloads import PayloadObject, payload_objects
from treadle.arazzo.rules.planned.shapes import Nowhere, look, required
from treadle.arazzo.slips import close_to
from treadle.errors import Diagnostic, Severity

RULE: Final = "missing-body"
SEVERITY: Final[Severity] = "warning"
CLAUSE: Final = "Request Body Object: payload"


def check(checked: CheckedPlans) -> Iterator[Diagnostic]:
    """Report bodies and fields that the operation requires and does not get."""
    for step in checked.steps:
        operation = step.planned.operation
        if operation is None or not operation.body_required:
            continue
        if step.planned.payload is None and not step.planned.replacements:
            message = f"the operation `{operation.operation_id or operation.path}` requires a request body"
            pointer = step.written.pointer
            yield step.checked.finding(RULE, message, pointer, severity=SEVERITY, hint="add a `requestBody`")
    for each in payload_objects(checked):
        body = each.step.written.request_body
        if each.members and body is not None and not body.replacements:
            yield from _fields(each)


def _fields(found: PayloadObject) -> Iterator[Diagnostic]:
    unknown = [key for key in found.members if isinstance(look(found.schema, [key]), Nowhere)]
    for name in required(found.schema):
        # A field with a name close to it is another rule's: it is told once.
        if name not in found.members and not close_to(name, unknown):
            hint = "add it, unless the server fills it in"
            message = f"the payload has no `{name}`, which the operation requires"
            yield found.step.checked.finding(RULE, message, found.pointer, severity=SEVERITY, hint=hint, key=True)
