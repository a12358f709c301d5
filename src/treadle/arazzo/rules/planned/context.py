"""What a rule about planned steps sees: each step of the document with its plan, its criteria and its answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, NamedTuple

from treadle.arazzo.criteria import Criterion, language_of
from treadle.arazzo.criteria.outline import Outline, outline
from treadle.arazzo.effective import Effective, effective
from treadle.arazzo.expressions import Context
from treadle.arazzo.model import Criterion as WrittenCriterion
from treadle.arazzo.model import FailureAction, Step, SuccessAction, Workflow
from treadle.arazzo.plan.values import PlannedAction, PlannedStep, PlannedWorkflow
from treadle.arazzo.rules.context import Checked
from treadle.arazzo.rules.planned.claims import STATUS, Claim, constants, leaves, statuses
from treadle.seams import Operation, Schema

__all__ = ["CheckedAction", "CheckedPlans", "CheckedStep"]

_NOTHING = Context()
_BODILESS: Final = frozenset({"204", "205"})

# Trying values grows with the square of the comparisons.
_LONGEST: Final = 2000
_MOST_COMPARISONS: Final = 40


class CheckedAction(NamedTuple):
    """An action as it is written and as it is planned, with what its criteria claim."""

    written: SuccessAction | FailureAction
    planned: PlannedAction
    claims: list[Claim]


@dataclass(frozen=True)
class CheckedStep:
    """A step as it is written and as it is planned. `position` counts in the order in which the steps run."""

    checked: Checked
    workflow: Workflow
    written: Step
    planned: PlannedStep
    position: int
    order: Mapping[str, int]

    @cached_property
    def holds(self) -> Effective:
        """The step's parameters and actions with those of its workflow."""
        return effective(self.written, self.workflow, self.checked.description.components)

    @cached_property
    def success(self) -> list[Claim]:
        """What the success criteria claim."""
        return _claims(self.written.success_criteria, self.planned.success)

    @cached_property
    def on_success(self) -> list[CheckedAction]:
        """The success actions, in the order in which they are tried."""
        return _actions(self.holds.on_success, self.planned.on_success)

    @cached_property
    def on_failure(self) -> list[CheckedAction]:
        """The failure actions, in the order in which they are tried."""
        return _actions(self.holds.on_failure, self.planned.on_failure)

    @cached_property
    def on_answer(self) -> Sequence[Schema]:
        """The schemas of the bodies that a successful answer can have, as far as the description says."""
        operation = self.planned.operation
        if operation is None:
            return ()
        keys = successes(operation, self.success)
        return [schema for key in keys if (schema := operation.response_schema(key)) is not None]

    @cached_property
    def without_body(self) -> str:
        """The statuses of a successful answer, where none of them ever has a body (RFC 9110); "" else."""
        operation = self.planned.operation
        keys = successes(operation, self.success) if operation is not None else []
        return " or ".join(keys) if keys and set(keys) <= _BODILESS else ""

    def leads_back(self, action: PlannedAction) -> bool:
        """Tell whether an action closes a loop."""
        target = self.order.get(action.step) if action.type == "goto" else None
        return target is not None and target <= self.position


def successes(operation: Operation, claims: Sequence[Claim]) -> list[str]:
    """Give the described responses that can be successful answers.

    Without a criterion for the status those are the 2xx; `default` is one only where no 2xx is described.
    """
    described = operation.statuses
    possible = statuses(claims, described)
    if not constants(claims, STATUS):
        possible = [each for each in possible if 200 <= each < 300]
    exact = {str(each) for each in possible} & set(described)
    ranges = {f"{each // 100}XX" for each in possible if str(each) not in exact} & set(described)
    keys = [key for key in described if key in exact | ranges]
    # Many documents expect a status that the description does not have; `default` then mostly describes errors.
    return keys if any(key.startswith("2") for key in described) else [*keys, *({"DEFAULT"} & set(described))]


def _claims(written: Sequence[WrittenCriterion], planned: Sequence[Criterion]) -> list[Claim]:
    return [
        (_outline(compiled), language_of(each.condition, each.kind, each.context) != "simple")
        for each, compiled in zip(written, planned, strict=False)
    ]


def _outline(criterion: Criterion) -> Outline | None:
    """Give what a criterion claims; None also for one that nobody could have written by hand."""
    found = outline(criterion, _NOTHING) if len(criterion.condition) <= _LONGEST else None
    return found if found is not None and sum(1 for _ in leaves(found)) <= _MOST_COMPARISONS else None


def _actions(written: Sequence[SuccessAction | FailureAction], planned: Sequence[PlannedAction]) -> list[CheckedAction]:
    return [
        CheckedAction(each, ready, _claims(each.criteria, ready.criteria))
        for each, ready in zip(written, planned, strict=False)
    ]


@dataclass(frozen=True)
class CheckedPlans:
    """A description whose workflows have been planned; `workflows` are those that could be, by workflowId."""

    checked: Checked
    workflows: Mapping[str, PlannedWorkflow]

    @cached_property
    def outputs(self) -> Mapping[str, Mapping[str, str]]:
        """The names of the outputs of each workflow's steps, each with the step that has it."""
        return {
            workflow.workflow_id: {name: step.step_id for step in reversed(workflow.steps) for name in step.outputs}
            for workflow in self.checked.description.workflows
        }

    @cached_property
    def steps(self) -> Sequence[CheckedStep]:
        """Every step that could be planned."""
        return list(self._steps())

    def _steps(self) -> Iterator[CheckedStep]:
        for workflow in self.checked.description.workflows:
            planned = self.workflows.get(workflow.workflow_id)
            if planned is None:
                continue
            written = {step.step_id: step for step in workflow.steps}
            for position, step in enumerate(planned.steps):
                yield CheckedStep(self.checked, workflow, written[step.step_id], step, position, planned.index)
