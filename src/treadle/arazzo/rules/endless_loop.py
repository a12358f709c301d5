"""A loop has a way out (§1.7: goto is a one-way transfer, and nothing bounds it).

A goto back is how Arazzo waits for something, so loops are welcome. One is endless for certain when none of its steps
can lead out of it: every success leads back unconditionally, and no failure action leads elsewhere. That a step fails
and nothing handles it is no way out that anybody planned.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from treadle.arazzo.effective import effective
from treadle.arazzo.model import Components, Step, SuccessAction, Workflow
from treadle.arazzo.rules.context import Checked
from treadle.errors import Diagnostic

RULE = "endless-loop"

_OUT = ""
"""Where a workflow goes when it is done; a stepId is never empty."""


def check(checked: Checked) -> Iterator[Diagnostic]:
    """Report the unconditional goto back of every loop that nothing leads out of."""
    components = checked.description.components
    for workflow in checked.description.workflows:
        order = {step.step_id: index for index, step in enumerate(workflow.steps)}
        leads = {step.step_id: _leads_to(step, workflow, components) for step in workflow.steps}
        free = _free(leads)
        reached = _reached(workflow, leads)
        for step in workflow.steps:
            action = _always(step, workflow, components)
            if step.step_id in free or step.step_id not in reached or action is None or action.step_id is None:
                continue
            if order.get(action.step_id, len(order)) <= order[step.step_id]:
                message = (
                    f"`{action.name}` leads from `{step.step_id}` back to `{action.step_id}` whatever happens, "
                    "and nothing leads out of this loop"
                )
                hint = "give it `criteria` that say for how long to go on"
                yield checked.finding(RULE, message, action.pointer, hint=hint)


def _always(step: Step, workflow: Workflow, components: Components) -> SuccessAction | None:
    """Give the success action that is taken without any condition, if there is one."""
    actions = effective(step, workflow, components).on_success
    return next((action for action in actions if not action.criteria), None)


def _leads_to(step: Step, workflow: Workflow, components: Components) -> frozenset[str]:
    """Give every step that may come after a step, and `_OUT` if the workflow may be done then."""
    holds = effective(step, workflow, components)
    always = _always(step, workflow, components)
    possible = holds.on_success[: holds.on_success.index(always) + 1] if always else holds.on_success
    targets = {_target(action.type, action.step_id) for action in possible}
    targets |= {_target(action.type, action.step_id) for action in holds.on_failure if action.type != "retry"}
    if always is None:
        following = workflow.steps.index(step) + 1
        targets.add(workflow.steps[following].step_id if following < len(workflow.steps) else _OUT)
    return frozenset(targets)


def _target(kind: str, step_id: str | None) -> str:
    return step_id if kind == "goto" and step_id is not None else _OUT


def _free(leads: Mapping[str, frozenset[str]]) -> set[str]:
    """Give the steps from which there is a way out."""
    free = {_OUT}
    while True:
        # A target that does not exist is another rule's business, and counts as a way out here.
        more = {step for step, targets in leads.items() if any(each in free or each not in leads for each in targets)}
        if more <= free:
            return free
        free |= more


def _reached(workflow: Workflow, leads: Mapping[str, frozenset[str]]) -> set[str]:
    waiting = [workflow.steps[0].step_id] if workflow.steps else []
    reached = set(waiting)
    while waiting:
        new = {each for each in leads.get(waiting.pop(), ()) if each in leads} - reached
        reached |= new
        waiting += new
    return reached
