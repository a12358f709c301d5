"""GET, HEAD and DELETE have no body whose meaning everybody knows (§1.5: permitted, "SHOULD be avoided").

Where the description of the operation has a request body, it is the API that wants one, and the document is right.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from treadle.arazzo.rules.planned.context import CheckedPlans
from treadle.errors import Diagnostic, Severity

RULE: Final = "needless-body"
SEVERITY: Final[Severity] = "warning"
CLAUSE: Final = "Step Object: requestBody"

_WITHOUT: Final = frozenset({"GET", "HEAD", "DELETE"})


def check(checked: CheckedPlans) -> Iterator[Diagnostic]:
    """Report bodies that servers may ignore or refuse."""
    for step in checked.steps:
        operation = step.planned.operation
        if operation is None or step.written.request_body is None or operation.method not in _WITHOUT:
            continue
        if operation.request_media_types:
            continue
        message = (
            f"the operation is a {operation.method}, and its description has no body: a server may ignore this one"
        )
        hint = "give the values as parameters"
        pointer = f"{step.written.pointer}/requestBody"
        yield step.checked.finding(RULE, message, pointer, severity=SEVERITY, hint=hint, key=True)
