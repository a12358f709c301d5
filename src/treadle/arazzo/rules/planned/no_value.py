"""An expression stands where it can have a value (§1.13).

An answer is there when the request has been sent, and for the step that sent it only: not in what is sent, not in the
outputs of a workflow, not in a step that calls a workflow, which sends nothing itself. `$outputs` are those of a
workflow that the step has called. What has no value is left out of a request without a word, and few mean that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from treadle.arazzo.criteria import Criterion
from treadle.arazzo.expressions import Expression, Template, nodes
from treadle.arazzo.location import join
from treadle.arazzo.rules.context import texts
from treadle.arazzo.rules.planned.context import CheckedPlans, CheckedStep
from treadle.errors import Diagnostic, Severity

RULE: Final = "no-value"
SEVERITY: Final[Severity] = "warning"
CLAUSE: Final = "Runtime Expressions"


class _Use(NamedTuple):
    """An expression with the place of what holds it, and why it has no value there."""

    expression: Expression
    pointer: str
    why: str


_SENT: Final = "the request is made before there is an answer"
_WORKFLOW: Final = "the outputs of a workflow belong to no answer"
_CALLED: Final = "a step that calls a workflow has no answer of its own"
_NOT_CALLED: Final = "`$outputs` are those of a workflow that a step has called"
_NOT_CALLED_YET: Final = "`$outputs` are those of a workflow, after the step has called it"


def check(checked: CheckedPlans) -> Iterator[Diagnostic]:
    """Report expressions that never have a value where they stand, each once."""
    for step in checked.steps:
        outputs = checked.outputs[step.workflow.workflow_id]
        for use in dict.fromkeys((*_sent(step), *_judged(step))):
            yield _found(checked, use, outputs)
    for workflow in checked.checked.description.workflows:
        planned = checked.workflows.get(workflow.workflow_id)
        for name, template in planned.outputs.items() if planned is not None else ():
            for use in _uses(template, join(workflow.pointer, "outputs", name), _WORKFLOW, _WORKFLOW):
                yield _found(checked, use, checked.outputs[workflow.workflow_id])


def _sent(step: CheckedStep) -> Iterator[_Use]:
    """Look at what a step sends."""
    for argument in step.planned.arguments:
        yield from _uses(argument.value, f"{argument.pointer}/value", _SENT, _NOT_CALLED_YET)
    body = step.written.request_body
    if body is not None and step.planned.payload is not None:
        yield from _uses(step.planned.payload, f"{body.pointer}/payload", _SENT, _NOT_CALLED_YET)
    if body is not None:
        for written, ready in zip(body.replacements, step.planned.replacements, strict=False):
            yield from _uses(ready.value, f"{written.pointer}/value", _SENT, _NOT_CALLED_YET)


def _judged(step: CheckedStep) -> Iterator[_Use]:
    """Look at what a step does with what came back."""
    calls = step.planned.workflow is not None
    for name, template in step.planned.outputs.items():
        pointer = join(step.written.pointer, "outputs", name)
        yield from _uses(template, pointer, _CALLED if calls else "", "" if calls else _NOT_CALLED)
    criteria = list(zip(step.written.success_criteria, step.planned.success, strict=False))
    for action in (*step.on_success, *step.on_failure):
        criteria += zip(action.written.criteria, action.planned.criteria, strict=False)
    for written, ready in criteria:
        yield from _uses(ready, written.pointer, _CALLED if calls else "", "" if calls else _NOT_CALLED)


def _uses(holder: Template | Criterion, pointer: str, answer: str, outputs: str) -> Iterator[_Use]:
    """Give the expressions that have no value; `answer` and `outputs` say why not, "" that they have one."""
    for expression in holder.expressions:
        if answer and (_of_answer(expression) or _unknown_yet(expression, answer)):
            yield _Use(expression, pointer, answer)
        elif outputs and isinstance(expression, nodes.OutputReference):
            yield _Use(expression, pointer, outputs)


def _unknown_yet(expression: Expression, answer: str) -> bool:
    """Tell whether it is one of `$statusCode`, `$url` and, where no request is made, `$method`."""
    if not isinstance(expression, nodes.Plain) or expression.name == "self" or answer == _CALLED:
        return False
    return expression.name != "method" or answer != _SENT


def _of_answer(expression: Expression) -> bool:
    if isinstance(expression, nodes.RequestParameter):
        return True
    return isinstance(expression, (nodes.Body, nodes.HeaderReference)) and expression.side != "message"


def _found(checked: CheckedPlans, use: _Use, outputs: Mapping[str, str]) -> Diagnostic:
    written = str(use.expression)
    holder = checked.checked.document.find(use.pointer)
    pointer = next((each for each, text in texts(holder, use.pointer) if written in text), use.pointer)
    message = f"{written} has no value here: {use.why}"
    hint = _instead(use, written, outputs)
    return checked.checked.finding(RULE, message, pointer, severity=SEVERITY, hint=hint)


def _instead(use: _Use, written: str, outputs: Mapping[str, str]) -> str:
    """Say what to write instead; `outputs` are those of the workflow's steps, each with its step."""
    name = use.expression.name if isinstance(use.expression, nodes.OutputReference) else ""
    if name in outputs:
        return f"did you mean $steps.{outputs[name]}.outputs.{name}?"
    if use.why == _CALLED:
        return "outputs of the called workflow are $outputs.<name> here"
    if name and use.why == _NOT_CALLED_YET:
        return "outputs of an earlier step are $steps.<stepId>.outputs.<name>"
    if name:
        return "of an operation's answer write $response.body#/…"
    return f"declare it at the step that has it, `outputs: {{name: {written}}}`, as $steps.<stepId>.outputs.name"
