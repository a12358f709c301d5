"""retryAfter and retryLimit are not negative and belong to retry actions; a timeout is not negative (§1.5, §1.7)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

from treadle.arazzo.model import FailureAction
from treadle.arazzo.rules.context import Checked
from treadle.errors import Diagnostic, Severity

RULE: Final = "number-range"
SEVERITY: Final[Severity] = "error"
# What is plausible in the other unit: few servers answer within 0.1 s, and few retries wait for a quarter of an hour.
_SHORTEST: Final = 100
_LONGEST: Final = 900

CLAUSE: Final = "Failure Action Object: retryAfter, retryLimit; Step Object: timeout"


def check(checked: Checked) -> Iterator[Diagnostic]:
    """Report numbers that cannot be meant, and those that have no effect."""
    for _, step in checked.steps():
        here = f"{step.pointer}/timeout"
        if step.timeout is not None and step.timeout < 0:
            yield checked.finding(RULE, "a timeout cannot be negative", here)
        elif step.timeout is not None and 0 < step.timeout <= _SHORTEST:
            message = f"a timeout is in milliseconds: this step has {step.timeout / 1000:g} s"
            yield checked.finding(RULE, message, here, severity="note")
    actions = [action for _, action in checked.actions()]
    for action in (*actions, *checked.component_actions()):
        if isinstance(action, FailureAction):
            yield from _retry(checked, action)


def _retry(checked: Checked, action: FailureAction) -> Iterator[Diagnostic]:
    for name, value in (("retryAfter", action.retry_after), ("retryLimit", action.retry_limit)):
        here = f"{action.pointer}/{name}"
        if value is not None and action.type != "retry":
            message = f"`{name}` belongs to retry actions; it is ignored, for `{action.name}` is of type {action.type}"
            yield checked.finding(RULE, message, here, severity="warning", key=True)
        elif value is not None and not 0 <= value < math.inf:
            yield checked.finding(RULE, f"`{name}` cannot be {value}: it is a number from 0 on", here)
        elif value is not None and name == "retryAfter" and value >= _LONGEST:
            message = f"`retryAfter` is in seconds: this one waits for {value / 60:.0f} minutes"
            yield checked.finding(RULE, message, here, severity="note")
