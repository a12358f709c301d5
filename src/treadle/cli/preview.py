"""What a run would send: every request of a plan, with the inputs that are known and names for the values that are not.

Used by `treadle plan`, and to tell a person what will be created before anything is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from treadle.arazzo.expressions import Context, EvaluationError
from treadle.arazzo.plan import Plan, PlannedChannel, PlannedStep, PlannedWorkflow
from treadle.errors import TreadleError
from treadle.http.redaction import redact_headers
from treadle.masking import MASK
from treadle.seams import MISSING, Call, Headers, Json, Missing

__all__ = ["HIDDEN", "Preview", "previews"]

HIDDEN = MASK


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """A step as it would be sent. `problem` says why the request cannot be shown yet; `url` is then the path."""

    step: PlannedStep
    operation: str = ""
    method: str = ""
    url: str = ""
    headers: Headers = ()
    body: Json | Missing = MISSING
    changes: bool = False
    problem: str = ""


def previews(plan: Plan, key: str, inputs: Mapping[str, Json]) -> Iterator[Preview]:
    """Give the steps of a workflow of the plan in their order. `inputs` are those of the run.

    Secret inputs are hidden, unknown values stand as their names.
    """
    workflow = plan.workflows[key]
    context = _context(workflow, inputs if key == plan.entry else dict(_handed(plan, key)))
    for step in workflow.steps:
        if step.channel is not None:
            yield _message(step, step.channel, context)
        else:
            yield Preview(step=step) if step.operation is None else _preview(plan, step, context)


def _handed(plan: Plan, key: str) -> Iterator[tuple[str, Json]]:
    """Give the inputs that other workflows hand to this one, by their names: what they will be is not known yet."""
    wanted = plan.workflows[key].input_names
    for caller in plan.workflows.values():
        for step in caller.steps:
            passed = [each.name for each in step.arguments] if step.workflow == key else []
            for action in (*step.on_success, *step.on_failure):
                if action.workflow == key:
                    passed += [each.name for each in action.parameters] + list(caller.input_names)
            yield from ((name, f"$inputs.{name}") for name in passed if name in wanted)
        if key in caller.depends_on:
            yield from ((name, f"$inputs.{name}") for name in caller.input_names if name in wanted)


def _context(workflow: PlannedWorkflow, inputs: Mapping[str, Json]) -> Context:
    # Inputs that may be left out and are left out have no value; those that must be there will have one.
    required = {name: f"$inputs.{name}" for name, each in workflow.inputs.declared.items() if each.required}
    hidden = {name: HIDDEN for name in inputs if name in workflow.secrets}
    steps = {
        step.step_id: {name: f"$steps.{step.step_id}.outputs.{name}" for name in step.outputs}
        for step in workflow.steps
    }
    return Context(
        inputs={**required, **inputs, **hidden},
        steps=steps,
        sources=workflow.sources,
        components=workflow.components,
        self_uri=workflow.self_uri,
    )


def _preview(plan: Plan, step: PlannedStep, context: Context) -> Preview:
    operation = step.bound
    name = operation.operation_id or f"{operation.method} {operation.path}"
    try:
        call = step.call(context, [])
        request = operation.request(call)
    except TreadleError as error:
        # Without its values it cannot be known to be harmless.
        changes = not operation.read_only(_asked(step, context))
        return Preview(
            step=step,
            operation=name,
            method=operation.method,
            url=operation.path,
            changes=changes,
            problem=error.message,
        )
    return Preview(
        step=step,
        operation=name,
        method=request.method,
        url=_legible(plan.shown(request)),
        headers=redact_headers(request.headers),
        body=call.payload,
        changes=not operation.read_only(call),
    )


_STANDS_IN: Final = re.compile(r"%24(?=(?:inputs|steps)\.\w)")


def _legible(url: str) -> str:
    """Write names of values, and what is hidden, as a person reads them."""
    return _STANDS_IN.sub("$", url).replace(quote(HIDDEN), HIDDEN)


def _message(step: PlannedStep, use: PlannedChannel, context: Context) -> Preview:
    operation = use.operation
    name = operation.operation_id or operation.address
    method, sends = use.action.upper(), use.action == "send"
    try:
        channel, message = step.message(context, [])
    except TreadleError as error:
        return Preview(
            step=step, operation=name, method=method, url=operation.address, changes=sends, problem=error.message
        )
    headers = tuple((key, str(value)) for key, value in message.headers.items())
    body = message.payload if sends else MISSING
    return Preview(step=step, operation=name, method=method, url=channel.url, headers=headers, body=body, changes=sends)


def _asked(step: PlannedStep, context: Context) -> Call:
    try:
        return step.call(context, [])
    except EvaluationError:
        return Call()
