"""Names can be referred to: ids and source names SHOULD, output and component keys MUST fit (§1.3–§1.8).

Since 1.1 an id with a dot cannot be written in an expression at all.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from treadle.arazzo.location import join
from treadle.arazzo.rules.context import Checked
from treadle.errors import Diagnostic, Severity

RULE: Final = "name-pattern"
SEVERITY: Final[Severity] = "warning"
CLAUSE: Final = "Workflow Object: workflowId; Step Object: stepId, outputs"

_ID = re.compile(r"[A-Za-z0-9_\-]+")
_KEY = re.compile(r"[a-zA-Z0-9.\-_]+")
_SECTIONS = {
    "inputs": "inputs",
    "parameters": "parameters",
    "successActions": "success_actions",
    "failureActions": "failure_actions",
}


def check(checked: Checked) -> Iterator[Diagnostic]:
    """Report names that expressions cannot, or should not have to, contain."""
    for name, pointer in _ids(checked):
        if name and not _ID.fullmatch(name):
            message = f"`{name}` should consist of letters, digits, - and _ only"
            hint = "expressions may be unable to name it"
            yield checked.finding(RULE, message, pointer, severity="warning", hint=hint)
    for name, pointer in _keys(checked):
        if not _KEY.fullmatch(name):
            message = f"the name `{name}` must consist of letters, digits, '.', - and _ only"
            yield checked.lenient("free-output-name", message, pointer, key=True)


def _ids(checked: Checked) -> Iterator[tuple[str, str]]:
    for source in checked.description.source_descriptions:
        yield source.name, f"{source.pointer}/name"
    for workflow in checked.description.workflows:
        yield workflow.workflow_id, f"{workflow.pointer}/workflowId"
    for _, step in checked.steps():
        yield step.step_id, f"{step.pointer}/stepId"


def _keys(checked: Checked) -> Iterator[tuple[str, str]]:
    for workflow in checked.description.workflows:
        yield from ((name, join(workflow.pointer, "outputs", name)) for name in workflow.outputs)
    for _, step in checked.steps():
        yield from ((name, join(step.pointer, "outputs", name)) for name in step.outputs)
    components = checked.description.components
    for section, attribute in _SECTIONS.items():
        yield from ((name, join(components.pointer, section, name)) for name in getattr(components, attribute))
