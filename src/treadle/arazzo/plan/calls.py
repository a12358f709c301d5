"""What a step gives the workflow that it calls, held against what that declares (§1.5, §1.6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from treadle.arazzo import model
from treadle.arazzo.expressions import Template, nodes
from treadle.arazzo.inputs import Inputs
from treadle.arazzo.location import join
from treadle.arazzo.plan.documents import Part
from treadle.arazzo.plan.values import PlannedArgument
from treadle.arazzo.slips import did_you_mean
from treadle.seams import MISSING

__all__ = ["check_called"]


def check_called(
    part: Part,
    step: model.Step,
    called: tuple[Part, model.Workflow],
    arguments: Sequence[PlannedArgument],
    outputs: Mapping[str, Template],
) -> None:
    """Report inputs that the called workflow needs and does not get, those that it does not have, and its outputs."""
    there, workflow = called
    inputs = there.inputs(workflow)
    given = {each.name for each in arguments}
    for name, declared in inputs.declared.items():
        if declared.required and declared.default is MISSING and name not in given:
            part.report(
                "missing-parameter",
                f"the workflow {workflow.workflow_id!r} needs the input {name!r}",
                step.pointer,
                hint=f"add to `parameters`: {{name: {name}, value: …}}",
            )
    _check_given(part, inputs, workflow, arguments)
    known = there.signatures[workflow.workflow_id][1]
    for name, template in outputs.items():
        for each in template.expressions:
            if isinstance(each, nodes.OutputReference) and each.name and each.name not in known:
                part.report(
                    "unknown-output",
                    f"'{each}': the workflow {workflow.workflow_id!r} has no output {each.name!r}",
                    join(f"{step.pointer}/outputs", name),
                    severity="warning",
                    hint=did_you_mean(each.name, known),
                )


def _check_given(part: Part, inputs: Inputs, workflow: model.Workflow, arguments: Sequence[PlannedArgument]) -> None:
    for each in arguments:
        if inputs.takes(each.name):
            continue
        part.report(
            "unknown-parameter",
            f"the workflow {workflow.workflow_id!r} has no input {each.name!r}",
            each.pointer,
            severity="warning",
            hint=did_you_mean(each.name, inputs.names),
        )
