"""A parameter says where it goes when an operation takes it, and only then (§1.6, §1.7)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from treadle.arazzo.effective import effective, expand_parameters
from treadle.arazzo.model import Step, Workflow
from treadle.arazzo.rules.context import Checked
from treadle.errors import Diagnostic, Severity

RULE: Final = "parameter-place"
SEVERITY: Final[Severity] = "error"
CLAUSE: Final = "Parameter Object: in"


def check(checked: Checked) -> Iterator[Diagnostic]:
    """Report parameters without a place, with a needless one, and query strings beside query parameters."""
    components = checked.description.components
    for workflow, step in checked.steps():
        if step.workflow_id is None:
            yield from _without_place(checked, step)
            yield from _query_string(checked, workflow, step)
    for workflow in checked.description.workflows:
        if any(step.workflow_id is not None for step in workflow.steps):
            continue
        for parameter in expand_parameters(workflow.parameters, components):
            if parameter.in_ is None:
                message = f"the parameter `{parameter.name}` has no `in`, and no step here calls a workflow"
                yield checked.finding(RULE, message, parameter.pointer, hint=_HINT)
    actions = [action for _, action in checked.actions()]
    for action in (*actions, *checked.component_actions()):
        for parameter in expand_parameters(action.parameters, components):
            if parameter.in_ is not None:
                message = f"the parameter `{parameter.name}` of an action goes to a workflow, which knows no `in`"
                yield checked.finding(RULE, message, parameter.pointer, hint="leave out `in`")


_HINT = "add `in:` with one of path, query, header, cookie"


def _without_place(checked: Checked, step: Step) -> Iterator[Diagnostic]:
    for listed in step.parameters:
        for parameter in expand_parameters([listed], checked.description.components):
            if parameter.in_ is None:
                message = f"the parameter `{parameter.name}` of the step `{step.step_id}` has no `in`"
                is_reference = parameter.name.startswith("$components.")
                hint = f"write `reference: {parameter.name}`" if is_reference else _HINT
                yield checked.finding(RULE, message, listed.pointer, hint=hint)


def _query_string(checked: Checked, workflow: Workflow, step: Step) -> Iterator[Diagnostic]:
    parameters = effective(step, workflow, checked.description.components).parameters
    places = [parameter.in_ for parameter in parameters]
    whole = next((parameter for parameter in parameters if parameter.in_ == "querystring"), None)
    if whole is None:
        return
    if "query" in places:
        message = f"the step `{step.step_id}` has the query string as a whole and single query parameters"
        yield checked.finding(RULE, message, whole.pointer, hint="put everything into one of the two")
    elif places.count("querystring") > 1:
        message = f"the step `{step.step_id}` has the query string twice"
        yield checked.finding(RULE, message, whole.pointer, hint="keep one of the two")
