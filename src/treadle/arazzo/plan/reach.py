"""What a run can come to: mistakes in workflows that it cannot come to do not stand in its way."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Final

from treadle.arazzo.effective import effective
from treadle.arazzo.model import Description, Workflow
from treadle.errors import Diagnostic

__all__ = ["reachable", "set_aside"]


def reachable(description: Description, workflow_id: str | None) -> set[str]:
    """Give the pointers of the workflows of a document that one leads to, without a detour by another document.

    Where it is not said which one is run, it can be any.
    """
    found: set[str] = set()
    waiting = [each.workflow_id for each in description.workflows if workflow_id in (None, each.workflow_id)]
    while waiting:
        workflow = description.workflow(waiting.pop())
        if workflow is not None and workflow.pointer not in found:
            found.add(workflow.pointer)
            waiting += _named(description, workflow)
    return found


def _named(description: Description, workflow: Workflow) -> list[str]:
    names = [*workflow.depends_on, *(step.workflow_id for step in workflow.steps if step.workflow_id)]
    for step in workflow.steps:
        holds = effective(step, workflow, description.components)
        names += [each.workflow_id for each in holds.on_success if each.workflow_id]
        names += [each.workflow_id for each in holds.on_failure if each.workflow_id]
    return names


def set_aside(found: Iterable[Diagnostic], reached: Mapping[str, Collection[str]]) -> list[Diagnostic]:
    """Make warnings of errors in workflows that are not run; `reached` has the pointers of the others, by document.

    Two workflows of one name are an error wherever they are: nobody can tell which one is meant.
    """

    def elsewhere(each: Diagnostic) -> bool:
        if each.place is None or each.rule == "duplicate-id":
            return False
        there = _IN_WORKFLOW.match(each.place.pointer)
        return there is not None and there[0] not in reached.get(each.place.document, ())

    return [
        replace(each, severity="warning") if each.severity == "error" and elsewhere(each) else each for each in found
    ]


_IN_WORKFLOW: Final = re.compile(r"/workflows/[0-9]+(?=/)")
