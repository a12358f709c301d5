"""Ids and names are unique: workflowId and source names in the description, stepId in its workflow (§1.3–§1.5)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from treadle.arazzo.rules.context import Checked
from treadle.errors import Diagnostic, Severity

RULE: Final = "duplicate-id"
SEVERITY: Final[Severity] = "error"
CLAUSE: Final = "Source Description Object: name; Workflow Object: workflowId; Step Object: stepId"


def check(checked: Checked) -> Iterator[Diagnostic]:
    """Report every id that stood before, and say where."""
    description = checked.description
    sources = ((source.name, source.pointer, "name") for source in description.source_descriptions)
    yield from _repeated(checked, sources, "a source description")
    workflows = ((workflow.workflow_id, workflow.pointer, "workflowId") for workflow in description.workflows)
    yield from _repeated(checked, workflows, "a workflow")
    for workflow in description.workflows:
        steps = ((step.step_id, step.pointer, "stepId") for step in workflow.steps)
        yield from _repeated(checked, steps, f"a step of the workflow `{workflow.workflow_id}`")


def _repeated(checked: Checked, ids: Iterable[tuple[str, str, str]], what: str) -> Iterator[Diagnostic]:
    first: dict[str, str] = {}
    for name, pointer, member in ids:
        here = f"{pointer}/{member}"
        if name in first:
            line = checked.document.place(first[name]).line
            where = f", in line {line}" if line else ""
            message = f"`{name}` is already the name of {what}{where}"
            yield checked.finding(RULE, message, here, hint="give each a name of its own")
        elif name:
            first[name] = here
