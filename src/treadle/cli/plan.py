"""`treadle plan`: what a run would send. Nothing is sent, but for reading descriptions from the network."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import click

from treadle.arazzo.plan import Plan, PlannedAction, PlannedStep, PlannedWorkflow
from treadle.cli import local, mocked
from treadle.cli.fetching import fetch
from treadle.cli.given import inputs_of, setup_of, warned
from treadle.cli.opening import open_plan
from treadle.cli.options import DOCUMENT, Given, Sectioned, Where, describes, examples, gives_inputs, json_option
from treadle.cli.preview import HIDDEN, Preview, previews
from treadle.reporters.text import duration, pairs, value
from treadle.seams import MISSING, Json

__all__ = ["plan"]


@click.command(
    cls=Sectioned,
    epilog=examples(
        "treadle plan workflow.yml",
        "treadle plan workflow.yml --inputs inputs.json --on local",
    ),
)
@click.argument("document", type=DOCUMENT)
@click.argument("workflow", required=False)
@gives_inputs
@describes
@json_option
def plan(
    document: str,
    workflow: str | None,
    inputs: Given,
    where: Where,
    as_json: bool,
) -> None:
    """Show what a run of DOCUMENT would send, step by step. Nothing is sent.

    Inputs that are not given stand as their names; one that is wrong makes the exit code 2. WORKFLOW may be left out
    when there is only one.
    """
    setup = setup_of(document, workflow, where)
    opened = mocked.opened(setup) if mocked.is_mocked(setup) else open_plan(setup, local=local.known, fetch=fetch)
    warned(opened.diagnostics, notes=True)
    entry = opened.plan.workflows[opened.plan.entry].inputs
    values, found = entry.prepare(inputs_of(entry, inputs))
    # Whoever plans need not have decided everything yet: what is missing stands as its name.
    missing = {each.pointer for name, each in entry.declared.items() if name not in values}
    wrong = [each for each in found if each.place is None or each.place.pointer not in missing]
    warned(wrong)
    if as_json:
        click.echo(json.dumps(_as_json(opened.plan, values), ensure_ascii=False, indent=2))
    else:
        click.echo("\n".join(_lines(opened.plan, values)))
    sys.exit(2 if any(each.severity == "error" for each in wrong) else 0)


def _lines(plan: Plan, inputs: Mapping[str, Json]) -> Iterator[str]:
    entry = plan.workflows[plan.entry]
    yield f"{entry.workflow_id} of {plan.document}"
    yield from _inputs(entry, inputs)
    for key in plan.workflows:
        if key != plan.entry:
            yield ""
            yield key
        for number, each in enumerate(previews(plan, key, inputs), start=1):
            yield ""
            yield from _step(number, each)
    if entry.outputs:
        yield ""
        yield "outputs: " + ", ".join(entry.outputs)


def _inputs(entry: PlannedWorkflow, inputs: Mapping[str, Json]) -> Iterator[str]:
    if entry.inputs.declared:
        yield ""
        yield "inputs"
    shown = []
    for name, each in entry.inputs.declared.items():
        if name in inputs:
            state = HIDDEN if each.secret else value(inputs[name])
        else:
            state = f"not given; {each.type}" + ("" if each.required else ", may be left out")
        shown.append((name, state))
    yield from pairs(shown, indent="  ")


def _step(number: int, preview: Preview) -> Iterator[str]:
    step = preview.step
    if preview.operation:
        yield f"{number}. {step.step_id}  {preview.method} {preview.url}" + (
            "  (changes something)" if preview.changes else ""
        )
        channel = step.channel is not None and not step.channel.operation.operation_id
        yield f"     {'channel' if channel else 'operation'}: {preview.operation}"
    else:
        yield f"{number}. {step.step_id}  runs the workflow {step.workflow}"
    if preview.problem:
        yield f"     cannot be shown yet: {preview.problem}"
    for name, text in preview.headers:
        yield f"     {name}: {text}"
    if preview.body is not MISSING:
        body = preview.body if isinstance(preview.body, str) else json.dumps(preview.body, ensure_ascii=False, indent=2)
        yield from (f"     {line}" for line in body.splitlines())
    yield from (f"   {line}" for line in _flow(step))


def _flow(step: PlannedStep) -> Iterator[str]:
    for criterion in step.success:
        yield f"succeeds if {criterion.condition}"
    for kind, actions in (("success", step.on_success), ("failure", step.on_failure)):
        for action in actions:
            yield f"on {kind}: {_action(action)}" + _guards(action)


def _action(action: PlannedAction) -> str:
    target = action.step or action.workflow
    text = " ".join(filter(None, (action.type, target, f"({action.name})" if action.name else "")))
    if action.type == "retry":
        pause = f" after {duration(action.retry_after)}" if action.retry_after else ""
        text += f"{pause}, at most {action.retry_limit} times"
    return text


def _guards(action: PlannedAction) -> str:
    return " if " + " and ".join(each.condition for each in action.criteria) if action.criteria else ""


def _as_json(plan: Plan, inputs: Mapping[str, Json]) -> dict[str, Any]:
    entry = plan.workflows[plan.entry]
    return {
        "document": plan.document,
        "workflow": entry.workflow_id,
        "workflows": {key: [_step_as_json(each) for each in previews(plan, key, inputs)] for key in plan.workflows},
        "outputs": list(entry.outputs),
    }


def _step_as_json(preview: Preview) -> dict[str, Any]:
    step = preview.step
    known: dict[str, Any] = {
        "stepId": step.step_id,
        "workflow": step.workflow,
        "operation": preview.operation or None,
        "method": preview.method or None,
        "url": preview.url or None,
        "headers": dict(preview.headers) or None,
        "body": None if preview.body is MISSING else preview.body,
        "changes": preview.changes,
        "problem": preview.problem or None,
        "flow": list(_flow(step)),
    }
    return {name: each for name, each in known.items() if each is not None}
