"""A request with effects is sent again only for a reason (§1.7 `retry`).

A retry without criteria repeats a POST or PATCH after any failure, also one that came after the effect: a lost answer,
a success criterion about the body. PUT and DELETE may be repeated (RFC 9110 §9.2.2), and so may a request with a key
by which the server knows it again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from treadle.arazzo.rules.planned.context import CheckedPlans, CheckedStep
from treadle.errors import Diagnostic, Severity
from treadle.seams import Argument, Call, Json, Operation

RULE: Final = "blind-retry"
SEVERITY: Final[Severity] = "warning"
CLAUSE: Final = "Failure Action Object: retry"

_REPEATABLE: Final = frozenset({"PUT", "DELETE"})
_KEY: Final = re.compile(r"(?:x-)?idempotency-?key|x-request-id|client-?(?:request-?)?token|client-?request-?id|nonce")


def check(checked: CheckedPlans) -> Iterator[Diagnostic]:
    """Report retries that say nothing about when to repeat an effect."""
    reported: set[str] = set()
    for step in checked.steps:
        operation = step.planned.operation
        if operation is None or operation.method in _REPEATABLE or _reads(step, operation) or _has_key(step):
            continue
        for action in step.on_failure:
            if action.planned.type != "retry" or action.written.criteria or action.written.pointer in reported:
                continue
            reported.add(action.written.pointer)
            message = (
                f"`{action.written.name}` repeats the {operation.method} of `{step.written.step_id}` after any "
                "failure, also when it has already taken effect"
            )
            hint = "give it `criteria`, such as $statusCode == 429 || $statusCode == 503"
            yield step.checked.finding(RULE, message, action.written.pointer, severity=SEVERITY, hint=hint)


def _reads(step: CheckedStep, operation: Operation) -> bool:
    """Tell whether the operation certainly changes nothing, whatever the values of this run are."""
    constant = [
        Argument(each.name, each.in_, each.value)
        for each in step.holds.parameters
        if each.in_ == "header" and isinstance(each.value, str)
    ]
    return operation.read_only(Call(tuple(constant)))


def _has_key(step: CheckedStep) -> bool:
    names = [each.name for each in step.holds.parameters]
    body: Json = step.written.request_body.payload if step.written.request_body else None
    names += [str(name) for name in body] if isinstance(body, dict) else []
    return any(_KEY.fullmatch(re.sub(r"_", "-", name).lower()) for name in names)
