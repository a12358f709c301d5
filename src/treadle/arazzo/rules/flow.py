"""Where each step of a workflow can lead to, for the rules about loops and about what is never reached.

The graph is that of the document's order. A workflow whose steps have `dependsOn` (1.1) runs in an order of its own,
which the planner finds; a rule that minds the order leaves such a workflow alone.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from treadle.arazzo.effective import Effective, effective
from treadle.arazzo.model import Components, FailureAction, SuccessAction, Workflow

__all__ = ["OUT", "Flow", "always", "free"]

OUT = ""
"""Where a workflow goes when it is done; a stepId is never empty."""


class Flow:
    """The steps of a workflow and what may come after each.

    `leads` gives, by stepId, the steps that may come next, `OUT` among them; `detours` the steps that a retry runs
    before it comes back.
    """

    def __init__(self, workflow: Workflow, components: Components) -> None:
        self.workflow = workflow
        self.holds = {step.step_id: effective(step, workflow, components) for step in workflow.steps}
        following = [step.step_id for step in workflow.steps[1:]] + [OUT]
        self.leads = {
            step.step_id: _leads_to(self.holds[step.step_id], after)
            for step, after in zip(workflow.steps, following, strict=False)
        }
        self.detours = {
            step_id: frozenset(each.step_id for each in holds.on_failure if each.type == "retry" and each.step_id)
            for step_id, holds in self.holds.items()
        }

    @property
    def reached(self) -> set[str]:
        """The steps that a run can come to, as far as the targets of actions tell."""
        waiting = [step.step_id for step in self.workflow.steps[:1]]
        reached = set(waiting)
        while waiting:
            step = waiting.pop()
            new = {each for each in self.leads[step] | self.detours[step] if each in self.leads} - reached
            reached |= new
            waiting += new
        return reached


def always(holds: Effective) -> SuccessAction | None:
    """Give the success action that is taken without any condition, if there is one."""
    return next((action for action in holds.on_success if not action.criteria), None)


def _leads_to(holds: Effective, following: str) -> frozenset[str]:
    taken = always(holds)
    possible = holds.on_success[: holds.on_success.index(taken) + 1] if taken else holds.on_success
    targets = {_target(action) for action in possible}
    targets |= {_target(action) for action in holds.on_failure if action.type != "retry"}
    if taken is None:
        targets.add(following)
    return frozenset(targets)


def _target(action: SuccessAction | FailureAction) -> str:
    return action.step_id if action.type == "goto" and action.step_id is not None else OUT


def free(leads: Mapping[str, Collection[str]]) -> set[str]:
    """Give the steps from which there is a way out, and `OUT`; a target that does not exist counts as a way out."""
    comes_from: dict[str, list[str]] = {}
    for step, targets in leads.items():
        for each in targets:
            comes_from.setdefault(each if each in leads else OUT, []).append(step)
    found = {OUT}
    waiting = [OUT]
    while waiting:
        for step in comes_from.get(waiting.pop(), ()):
            if step not in found:
                found.add(step)
                waiting.append(step)
    return found
