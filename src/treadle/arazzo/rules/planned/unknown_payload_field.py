"""The fields of a payload are those that the operation takes (§1.12), as far as the payload is written out.

Servers may take what their description does not have, so an unknown field is an error of the document for certain only
where the schema forbids others; else it is reported only when a described name is close to it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from treadle.arazzo.location import join
from treadle.arazzo.rules.context import few
from treadle.arazzo.rules.planned.context import CheckedPlans
from treadle.arazzo.rules.planned.payloads import payload_objects
from treadle.arazzo.rules.planned.shapes import OBJECT, Nowhere, look
from treadle.arazzo.slips import close_to
from treadle.errors import Diagnostic, Severity

RULE: Final = "unknown-payload-field"
SEVERITY: Final[Severity] = "warning"
CLAUSE: Final = "Request Body Object: payload"


def check(checked: CheckedPlans) -> Iterator[Diagnostic]:
    """Report fields that the operation does not have."""
    for each in payload_objects(checked):
        for name in each.members:
            found = look(each.schema, [name])
            if not isinstance(found, Nowhere) or found.holder != OBJECT:
                continue
            meant = close_to(name, (other for other in found.names if other not in each.members))
            if meant or found.closed:
                message = f"the operation has no field `{name}` in its request body"
                hint = f"did you mean `{meant}`?" if meant else f"it has {few(found.names)}"
                pointer = join(each.pointer, name)
                yield each.step.checked.finding(RULE, message, pointer, severity=SEVERITY, hint=hint, key=True)
