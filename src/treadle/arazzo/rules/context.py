"""What a rule sees: the description, the document that it stands in, and words for its findings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Unpack

from treadle.arazzo.location import Document, MoreOfFinding, join
from treadle.arazzo.model import Description, FailureAction, ReusableObject, Step, SuccessAction, Workflow
from treadle.arazzo.rules import dialect
from treadle.arazzo.rules.flow import Flow
from treadle.errors import Diagnostic
from treadle.seams import Json, Missing

__all__ = ["Checked", "few", "source_reference", "texts"]


@dataclass(frozen=True)
class Checked:
    """A description under check. `off` names dialect rules that are switched off; `strict` switches off all of them."""

    description: Description
    document: Document
    strict: bool = False
    off: frozenset[str] = frozenset()

    @cached_property
    def flows(self) -> list[Flow]:
        """Where the steps of each workflow can lead to."""
        return [Flow(workflow, self.description.components) for workflow in self.description.workflows]

    @cached_property
    def workflows(self) -> Mapping[str, Workflow]:
        """The workflows by their ids."""
        return {workflow.workflow_id: workflow for workflow in self.description.workflows}

    def lenient(self, name: str, message: str, pointer: str, *, key: bool = False, hint: str = "") -> Diagnostic:
        """Make the diagnostic of something that only a dialect rule allows: an error where it is switched off."""
        rule = dialect.RULES[name]
        severity = "error" if self.strict or name in self.off else rule.severity
        return self.finding(name, message, pointer, severity=severity, hint=hint or rule.properly, key=key)

    def finding(self, rule: str, message: str, pointer: str, **more: Unpack[MoreOfFinding]) -> Diagnostic:
        """Make a diagnostic that points into the document."""
        return self.document.finding(rule, message, pointer, **more)

    def steps(self) -> Iterator[tuple[Workflow, Step]]:
        """Give every step with its workflow."""
        for workflow in self.description.workflows:
            for step in workflow.steps:
                yield workflow, step

    def action_lists(
        self,
    ) -> Iterator[tuple[Workflow, tuple[SuccessAction | FailureAction | ReusableObject, ...]]]:
        """Give every list of actions, those of workflows and those of steps, with its workflow."""
        for workflow in self.description.workflows:
            yield workflow, workflow.success_actions
            yield workflow, workflow.failure_actions
        for workflow, step in self.steps():
            yield workflow, step.on_success
            yield workflow, step.on_failure

    def actions(self) -> Iterator[tuple[Workflow, SuccessAction | FailureAction]]:
        """Give every action that stands in a workflow itself."""
        for workflow, listed in self.action_lists():
            for action in listed:
                if not isinstance(action, ReusableObject):
                    yield workflow, action

    def component_actions(self) -> Iterator[SuccessAction | FailureAction]:
        """Give every action among the components."""
        yield from self.description.components.success_actions.values()
        yield from self.description.components.failure_actions.values()


def texts(value: Json | Missing, pointer: str = "") -> Iterator[tuple[str, str]]:
    """Give every text in a value with its pointer, without recursion."""
    waiting: list[tuple[str, Json | Missing]] = [(pointer, value)]
    while waiting:
        here, each = waiting.pop()
        if isinstance(each, str):
            yield here, each
        elif isinstance(each, dict):
            waiting += [(join(here, str(key)), member) for key, member in each.items()]
        elif isinstance(each, list):
            waiting += [(join(here, index), member) for index, member in enumerate(each)]


def few(names: Iterable[str]) -> str:
    """List names for a hint, not more than a person reads."""
    listed = list(islice(names, _FEW + 1))
    return ", ".join(listed[:_FEW]) + (" …" if len(listed) > _FEW else "")


_FEW = 12


def source_reference(text: str, names: frozenset[str]) -> tuple[str, str] | None:
    """Split `$sourceDescriptions.<name>.<rest>`; the longest declared name wins. None for any other text."""
    prefix = "$sourceDescriptions."
    inner = text.removeprefix("{")
    if not inner.startswith(prefix):
        return None
    inner = inner.removeprefix(prefix)
    for name in sorted(names, key=len, reverse=True):
        if inner.startswith(f"{name}."):
            return name, inner[len(name) + 1 :]
    name, _, rest = inner.partition(".")
    return name, rest
