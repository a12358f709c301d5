"""An input that a request cannot do without is required, or has a default (§1.6: every listed parameter is passed)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from treadle.arazzo.plan.indispensable import indispensable
from treadle.arazzo.rules.planned.context import CheckedPlans
from treadle.errors import Diagnostic, Severity
from treadle.seams import MISSING

RULE: Final = "needed-input"
SEVERITY: Final[Severity] = "warning"
CLAUSE: Final = "Workflow Object: inputs"


def check(checked: CheckedPlans) -> Iterator[Diagnostic]:
    """Report inputs that may be left out, and stand in a path or inside a longer text."""
    for step in checked.steps:
        declared = checked.workflows[step.workflow.workflow_id].inputs.declared
        optional = {name for name, each in declared.items() if not each.required and each.default is MISSING}
        used = {name for each in step.planned.expressions if (name := getattr(each, "name", ""))}
        if not optional & used:
            continue
        for name, pointer in indispensable(step.planned, used - optional):
            message = f"the input {name!r} may be left out, and this cannot be sent without it"
            hint = "list it in `required`, or give it a `default`"
            yield step.checked.finding(RULE, message, pointer, severity=SEVERITY, hint=hint)
