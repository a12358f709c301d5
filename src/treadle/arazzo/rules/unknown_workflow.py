"""A workflowId, wherever it stands, is a workflow of this document or, qualified, one of another (§1.4, §1.5, §1.7)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from treadle.arazzo.rules.context import Checked, few
from treadle.arazzo.slips import close_to
from treadle.errors import Diagnostic, Severity

RULE: Final = "unknown-workflow"
SEVERITY: Final[Severity] = "error"
CLAUSE: Final = "Workflow Object: workflowId, dependsOn"


def check(checked: Checked) -> Iterator[Diagnostic]:
    """Report workflows that are not there. What `$sourceDescriptions.…` names is found out by the planner."""
    ids = [workflow.workflow_id for workflow in checked.description.workflows]
    foreign = any(source.type in ("arazzo", None) for source in checked.description.source_descriptions)
    for written, pointer in _references(checked):
        if written in ids or written.startswith(("$sourceDescriptions.", "{$sourceDescriptions.")):
            continue
        meant = close_to(written.removeprefix("$workflows."), ids)
        if foreign and not meant and not written.startswith("$"):
            continue  # 1.0.0 let the name of a workflow in another document stand alone
        hint = f"did you mean `{meant}`?" if meant else f"there are {few(ids)}"
        yield checked.finding(RULE, f"there is no workflow `{written}`", pointer, hint=hint)


def _references(checked: Checked) -> Iterator[tuple[str, str]]:
    for _, step in checked.steps():
        if step.workflow_id is not None:
            yield step.workflow_id, f"{step.pointer}/workflowId"
    actions = [action for _, action in checked.actions()]
    for action in (*actions, *checked.component_actions()):
        if action.workflow_id is not None:
            yield action.workflow_id, f"{action.pointer}/workflowId"
    for workflow in checked.description.workflows:
        for index, written in enumerate(workflow.depends_on):
            yield written, f"{workflow.pointer}/dependsOn/{index}"
