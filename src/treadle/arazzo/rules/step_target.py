"""A step calls exactly one thing: operationId, operationPath, channelPath and workflowId exclude each other (§1.5).

What belongs to AsyncAPI steps (channelPath needs an action, correlationId is for receiving) is checked with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from treadle.arazzo.model import Step
from treadle.arazzo.rules.context import Checked
from treadle.errors import Diagnostic, Severity

RULE: Final = "step-target"
SEVERITY: Final[Severity] = "error"
CLAUSE: Final = "Step Object: operationId, operationPath, channelPath, workflowId"

_TARGETS = {
    "operationId": "operation_id",
    "operationPath": "operation_path",
    "channelPath": "channel_path",
    "workflowId": "workflow_id",
}


def check(checked: Checked) -> Iterator[Diagnostic]:
    """Report steps that call nothing, or more than one thing, or mix the kinds."""
    for _, step in checked.steps():
        given = [name for name, attribute in _TARGETS.items() if getattr(step, attribute) is not None]
        if not given:
            message = f"the step `{step.step_id}` does not say what it calls"
            hint = f"give it one of {', '.join(_TARGETS)}"
            yield checked.finding(RULE, message, step.pointer, hint=hint)
        for second in given[1:]:
            message = f"the step `{step.step_id}` has `{given[0]}` and `{second}`; it may call one thing only"
            yield checked.finding(RULE, message, f"{step.pointer}/{second}", key=True, hint="make it two steps")
        yield from _asynchronous(checked, step)


def _asynchronous(checked: Checked, step: Step) -> Iterator[Diagnostic]:
    if step.channel_path is not None and step.action is None and step.workflow_id is None:
        message = f"the step `{step.step_id}` uses a channel and does not say what it does there"
        hint = "give it an `action`: send or receive"
        yield checked.finding(RULE, message, f"{step.pointer}/channelPath", key=True, hint=hint)
    if step.action is not None and step.workflow_id is not None:
        message = "`action` is for steps that use an AsyncAPI operation or channel, and this one calls a workflow"
        yield checked.finding(RULE, message, f"{step.pointer}/action", key=True, hint="leave it out")
    if step.correlation_id is not None and step.action != "receive":
        message = "`correlationId` is for steps that receive (`action: receive`)"
        yield checked.finding(RULE, message, f"{step.pointer}/correlationId", key=True)
