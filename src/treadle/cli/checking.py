"""A document checked as a whole: structure, rules, and every workflow of it planned as it would be run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from treadle.arazzo.location import Document
from treadle.arazzo.model import Description
from treadle.arazzo.plan import PlannedWorkflow, plan, plan_all
from treadle.arazzo.rules import Checked
from treadle.arazzo.rules.planned import check_planned
from treadle.cli.opener import Opener
from treadle.cli.opening import Setup, open_description, plan_options, registry_of, told_once
from treadle.errors import Diagnostic
from treadle.sources.servers import LocalService

if TYPE_CHECKING:
    from treadle.arazzo.registry import Fetch

__all__ = ["Checkup", "check_document"]


@dataclass(frozen=True, slots=True)
class Checkup:
    """What a check found, in the order of the document. `description` is None where the document holds none.

    `workflows` are those that were planned, by workflowId; with errors among the findings they cannot be run.
    """

    document: Document
    description: Description | None
    workflows: Mapping[str, PlannedWorkflow]
    diagnostics: tuple[Diagnostic, ...]


def check_document(
    setup: Setup,
    *,
    local: Callable[[], LocalService] | None = None,
    fetch: Fetch | None = None,
    document: Document | None = None,
) -> Checkup:
    """Check a document, the one that the setup names unless it is given. Raises `DescriptionError` on none at all."""
    registry = registry_of(setup, fetch)
    document, description, found = open_description(setup, registry, document)
    if description is None:
        return Checkup(document, None, {}, tuple(found))
    service = local() if local is not None and setup.on == "local" else None
    sources = Opener(setup, registry, service).entry(document, description)
    options = plan_options(setup)
    workflows, planned = plan_all(description, document, sources, options=options)
    for workflow in description.workflows:
        # Whether a step of another workflow, which this one waits for, is ever run depends on where a run begins.
        if any(name.startswith("$") for step in workflow.steps for name in step.depends_on):
            planned += plan(description, document, sources, workflow_id=workflow.workflow_id, options=options)[1]
    checked = Checked(description, document, setup.strict, frozenset(setup.off))
    found = [*told_once(found, planned), *check_planned(checked, workflows)]
    return Checkup(document, description, workflows, tuple(_in_order(found, document)))


def _in_order(found: Sequence[Diagnostic], document: Document) -> list[Diagnostic]:
    """Sort findings by their place; those of other documents come last."""

    def key(finding: Diagnostic) -> tuple[bool, str, int, int]:
        place = finding.place
        if place is None:
            return False, "", 0, 0
        return place.document != document.label, place.document, place.line, place.column

    return sorted(found, key=key)
