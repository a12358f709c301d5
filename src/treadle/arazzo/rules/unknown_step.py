"""The stepId of an action is a step of the same workflow (§1.5, §1.7); a goto leads to exactly one place."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from treadle.arazzo.effective import effective
from treadle.arazzo.model import FailureAction, SuccessAction, Workflow
from treadle.arazzo.rules.context import Checked, few
from treadle.arazzo.slips import close_to
from treadle.errors import Diagnostic, Severity

RULE: Final = "unknown-step"
SEVERITY: Final[Severity] = "error"
CLAUSE: Final = "Success Action Object, Failure Action Object: stepId"


def check(checked: Checked) -> Iterator[Diagnostic]:
    """Report targets that are not there, and gotos with none or two."""
    for _, action in checked.actions():
        yield from _target_count(checked, action)
    for action in checked.component_actions():
        yield from _target_count(checked, action)
    for workflow in checked.description.workflows:
        for action in _reachable(checked, workflow).values():
            if action.step_id is not None and workflow.step(action.step_id) is None:
                yield _unknown(checked, action, workflow)


def _reachable(checked: Checked, workflow: Workflow) -> dict[str, SuccessAction | FailureAction]:
    """Give the actions of a workflow by pointer, references expanded, each once."""
    found: dict[str, SuccessAction | FailureAction] = {}
    for step in workflow.steps:
        holds = effective(step, workflow, checked.description.components)
        found |= {action.pointer: action for action in holds.on_success}
        found |= {action.pointer: action for action in holds.on_failure}
    return found


def _unknown(checked: Checked, action: SuccessAction | FailureAction, workflow: Workflow) -> Diagnostic:
    ids = [step.step_id for step in workflow.steps]
    target = str(action.step_id)
    elsewhere = next((each for each in checked.description.workflows if each.step(target)), None)
    meant = close_to(target, ids)
    if meant:
        hint = f"did you mean `{meant}`?"
    elif elsewhere is not None:
        hint = f"it is a step of `{elsewhere.workflow_id}`; an action can lead to a workflow, not into one"
    elif checked.description.workflow(target) is not None:
        hint = "that is a workflow: write `workflowId` instead of `stepId`"
    else:
        hint = f"it has the steps {few(ids)}"
    message = f"the workflow `{workflow.workflow_id}` has no step `{target}`"
    return checked.finding(RULE, message, f"{action.pointer}/stepId", hint=hint)


def _target_count(checked: Checked, action: SuccessAction | FailureAction) -> Iterator[Diagnostic]:
    if action.step_id is not None and action.workflow_id is not None:
        message = f"the action `{action.name}` has both `stepId` and `workflowId`; it can lead to one place only"
        yield checked.finding(RULE, message, action.pointer)
    elif action.type == "goto" and action.step_id is None and action.workflow_id is None:
        message = f"the goto `{action.name}` does not say where to"
        yield checked.finding(RULE, message, action.pointer, hint="give it a `stepId` or a `workflowId`")
    elif action.type == "end" and (action.step_id is not None or action.workflow_id is not None):
        member = "stepId" if action.step_id is not None else "workflowId"
        message = f"the action `{action.name}` ends the workflow, so its `{member}` is ignored"
        hint = "write `type: goto` if it should go on there"
        yield checked.finding(RULE, message, f"{action.pointer}/{member}", severity="warning", hint=hint, key=True)
    if action.parameters and action.workflow_id is None:
        message = f"the action `{action.name}` has parameters, which only a `workflowId` can take"
        yield checked.finding(RULE, message, f"{action.pointer}/parameters", key=True)
