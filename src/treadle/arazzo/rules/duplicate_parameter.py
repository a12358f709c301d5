"""A list of parameters has no duplicates; a parameter is its name and its place (§1.4, §1.5, §1.7)."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Final

from treadle.arazzo.effective import expand_parameters, parameter_key
from treadle.arazzo.model import Parameter, ReusableObject
from treadle.arazzo.rules.context import Checked
from treadle.errors import Diagnostic, Severity

RULE: Final = "duplicate-parameter"
SEVERITY: Final[Severity] = "error"
CLAUSE: Final = "Step Object: parameters"


def check(checked: Checked) -> Iterator[Diagnostic]:
    """Report parameters that stand twice in one list, references expanded."""
    for workflow in checked.description.workflows:
        yield from _repeated(checked, workflow.parameters, for_workflow=False)
    for _, step in checked.steps():
        yield from _repeated(checked, step.parameters, for_workflow=step.workflow_id is not None)
    for _, action in checked.actions():
        yield from _repeated(checked, action.parameters, for_workflow=True)
    for action in checked.component_actions():
        yield from _repeated(checked, action.parameters, for_workflow=True)


def _repeated(
    checked: Checked, parameters: tuple[Parameter | ReusableObject, ...], *, for_workflow: bool
) -> Iterator[Diagnostic]:
    seen: set[Hashable] = set()
    for listed in parameters:
        for parameter in expand_parameters([listed], checked.description.components):
            key = parameter_key(parameter, for_workflow=for_workflow)
            if key in seen:
                place = f" in {parameter.in_}" if parameter.in_ and not for_workflow else ""
                message = f"the parameter `{parameter.name}`{place} stands twice in this list"
                yield checked.finding(RULE, message, listed.pointer, hint="keep one of the two")
            seen.add(key)
