"""A document checked as a whole: structure, rules, and every workflow of it planned as it would be run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from treadle.arazzo.location import Document
from treadle.arazzo.model import Description
from treadle.arazzo.plan import OpenedDescription, PlannedWorkflow, plan, plan_all
from treadle.arazzo.rules import Checked
from treadle.arazzo.rules.planned import check_planned
from treadle.cli.opener import Opener
from treadle.cli.opening import Setup, open_description, plan_options, registry_of, told_once
from treadle.errors import Diagnostic
from treadle.settings import Others
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
    others: Others = "none",
) -> Checkup:
    """Check a document, the one that the setup names unless it is given. Raises `DescriptionError` on none at all.

    `others` says which of the Arazzo documents behind it are checked as it is: those in files (`local`), or those from
    the network, too (`all`). Of the rest only what the document's own workflows need is looked at.
    """
    registry = registry_of(setup, fetch)
    document, description, found = open_description(setup, registry, document)
    if description is None:
        return Checkup(document, None, {}, tuple(found))
    service = local() if local is not None and setup.on == "local" else None
    opener = Opener(setup, registry, service)
    opened = OpenedDescription(description, document, opener.entry(document, description), tuple(found))
    workflows, told = _findings(setup, opened)
    if others != "none":
        told += _of_others(setup, opener, document, told, network=others == "all")
    return Checkup(document, description, workflows, tuple(_in_order(told, document)))


def _findings(setup: Setup, opened: OpenedDescription) -> tuple[Mapping[str, PlannedWorkflow], list[Diagnostic]]:
    """Plan every workflow of a document, and give what building, rules and planning find."""
    description, document, sources = opened.description, opened.document, opened.sources
    options = plan_options(setup)
    workflows, planned = plan_all(description, document, sources, options=options)
    for workflow in description.workflows:
        # Whether a step of another workflow, which this one waits for, is ever run depends on where a run begins.
        if any(name.startswith("$") for step in workflow.steps for name in step.depends_on):
            planned += plan(description, document, sources, workflow_id=workflow.workflow_id, options=options)[1]
    checked = Checked(description, document, setup.strict, frozenset(setup.off))
    return workflows, [*told_once(opened.found, planned), *check_planned(checked, workflows)]


def _of_others(
    setup: Setup, opener: Opener, entry: Document, told: Iterable[Diagnostic], *, network: bool
) -> list[Diagnostic]:
    """Check the other documents; what was told about one of them already, in whatever words, is not told again."""
    known = {(each.rule, each.place) for each in told}
    checked = {entry.label}
    found: list[Diagnostic] = []
    for other in opener.others(network=network):
        if isinstance(other, Diagnostic):
            new = [other]
        else:
            new = [each for each in _findings(setup, other)[1] if each.place and each.place.document not in checked]
            checked.add(other.document.label)
        found += [each for each in new if (each.rule, each.place) not in known]
        known |= {(each.rule, each.place) for each in new}
    return found


def _in_order(found: Sequence[Diagnostic], document: Document) -> list[Diagnostic]:
    """Sort findings by their place; those of other documents come last."""

    def key(finding: Diagnostic) -> tuple[bool, str, int, int]:
        place = finding.place
        if place is None:
            return False, "", 0, 0
        return place.document != document.label, place.document, place.line, place.column

    return sorted(found, key=key)
