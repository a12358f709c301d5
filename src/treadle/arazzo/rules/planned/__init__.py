"""Rules that need to know what the operations of the steps take and answer: one per file, its clause in the docstring.

They look at steps that have been planned, so a step that cannot be (its operation is not there, say) is not looked at:
that is reported already. None of them stands in the way of a run, unless settings make an error of what it finds.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import Final

from treadle.arazzo.plan.values import PlannedWorkflow
from treadle.arazzo.rules.context import Checked
from treadle.arazzo.rules.planned import (
    blind_retry,
    criterion_always_true,
    criterion_never_true,
    missing_body,
    needed_input,
    needless_body,
    no_value,
    prefer_operation_id,
    unfitting_value,
    unhandled_value,
    unknown_payload_field,
    unknown_response_field,
)
from treadle.arazzo.rules.planned.context import CheckedPlans
from treadle.errors import Diagnostic

__all__ = ["ALL", "check_planned"]

ALL: Final[tuple[ModuleType, ...]] = (
    criterion_never_true,
    criterion_always_true,
    unhandled_value,
    unknown_response_field,
    missing_body,
    unknown_payload_field,
    unfitting_value,
    needless_body,
    no_value,
    needed_input,
    blind_retry,
    prefer_operation_id,
)


def check_planned(checked: Checked, workflows: Mapping[str, PlannedWorkflow]) -> list[Diagnostic]:
    """Check every rule on the workflows of a description that could be planned, by workflowId."""
    plans = CheckedPlans(checked, workflows)
    return [finding for rule in ALL for finding in rule.check(plans)]
