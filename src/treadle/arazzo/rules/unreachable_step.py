"""Every step can be reached (§1.5, §1.7): by what stands before it, by a goto, or by a retry that runs it first.

Steps run in the order of the document, so one that follows an unconditional goto or end is reached only if an action
names it.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Final

from treadle.arazzo.rules.context import Checked
from treadle.arazzo.rules.flow import Flow, always
from treadle.errors import Diagnostic, Severity

RULE: Final = "unreachable-step"
SEVERITY: Final[Severity] = "warning"
CLAUSE: Final = "Step Object: onSuccess"


def check(checked: Checked) -> Iterator[Diagnostic]:
    """Report the first step of every stretch that no run comes to."""
    for flow in checked.flows:
        steps = flow.workflow.steps
        if any(step.depends_on for step in steps):
            continue
        reached = flow.reached
        for before, step in pairwise(steps):
            if step.step_id in reached or before.step_id not in reached or before.step_id == step.step_id:
                continue
            yield checked.finding(
                RULE,
                f"the step `{step.step_id}` is never reached: {_why(flow, before.step_id)}",
                f"{step.pointer}/stepId",
                severity=SEVERITY,
                hint="give that action `criteria`, let an action lead here, or take the step out",
            )


def _why(flow: Flow, before: str) -> str:
    action = always(flow.holds[before])
    if action is None:
        return "no action leads to it"
    what = f"ends the workflow after `{before}`" if action.type == "end" else f"always leads from `{before}` elsewhere"
    return f"`{action.name}` {what}, and no action leads to it"
