"""The order of steps (1.1): what `dependsOn` declares, what outputs imply, what a loop excuses."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent, indent

import pytest

from tests.arazzo.shelf import Shelf
from treadle.arazzo import events
from treadle.errors import DescriptionError, Diagnostic

TOP = """
sourceDescriptions: [{{name: api, url: api.json, type: openapi}}]
workflows:
- workflowId: w
  steps:
{}
"""


def shelf(tmp_path: Path, steps: str, *, more: str = "", version: str = "1.1.0") -> Shelf:
    text = TOP.format(indent(dedent(steps).strip("\n"), "  ")) + dedent(more)
    return Shelf(tmp_path, {"main.yaml": text}, version=version)


def order(tmp_path: Path, steps: str, *, more: str = "") -> list[str]:
    plan = shelf(tmp_path, steps, more=more).open("w").plan
    return [step.step_id for step in plan.workflows["w"].steps]


A = "- {stepId: a, operationId: one, outputs: {x: $response.body#/x}"
B = "- {stepId: b, operationId: two, outputs: {x: $response.body#/x}"
C = "- {stepId: c, operationId: three"


@pytest.mark.parametrize(
    ("steps", "want"),
    [
        pytest.param([A + "}", B + "}", C + "}"], "a b c", id="as-written"),
        pytest.param([A + ", dependsOn: [c]}", B + "}", C + "}"], "b c a", id="declared"),
        pytest.param([A + ", dependsOn: [b]}", B + ", dependsOn: [c]}", C + "}"], "c b a", id="a-chain"),
        pytest.param([A + "}", B + ", dependsOn: [a]}", C + "}"], "a b c", id="already-so"),
        pytest.param(
            [A + ", requestBody: {payload: $steps.b.outputs.x}}", B + ", dependsOn: [c]}", C + "}"],
            "c b a",
            id="implied-by-outputs",
        ),
        pytest.param([A + ", dependsOn: [c]}", B + ", dependsOn: [c]}", C + "}"], "c a b", id="stable"),
        pytest.param(
            ["- {stepId: a, operationId: one, dependsOn: [$workflows.w.steps.c]}", B + "}", C + "}"],
            "b c a",
            id="full-form",
        ),
    ],
)
def test_steps_run_in_an_order_that_satisfies_everything(tmp_path: Path, steps: list[str], want: str) -> None:
    """Otherwise the document's order stays."""
    assert order(tmp_path, "\n".join(steps)) == want.split()


def test_an_order_runs(tmp_path: Path) -> None:
    """What is needed runs first, and its outputs are there."""
    steps = "\n".join([A + ", dependsOn: [c], requestBody: {payload: {x: $steps.b.outputs.x}}}", B + "}", C + "}"])
    story = shelf(tmp_path, steps).tell([(200, {"x": 1}), 200, 200])
    assert story.requests == [("two", None), ("three", None), ("one", {"x": 1})]


def findings(tmp_path: Path, steps: str, rule: str, *, version: str = "1.1.0") -> list[Diagnostic]:
    return [each for each in shelf(tmp_path, steps, version=version).check() if each.rule == rule]


@pytest.mark.parametrize(("version", "severity"), [("1.1.0", "error"), ("1.0.1", "warning")])
def test_a_forward_reference_is_reported(tmp_path: Path, version: str, severity: str) -> None:
    """Rule 40: without any `dependsOn` nobody puts the steps into another order."""
    steps = A + ", requestBody: {payload: $steps.b.outputs.x}}\n" + B + "}"
    found = findings(tmp_path, steps, "forward-reference", version=version)
    assert [each.severity for each in found] == [severity]
    assert "dependsOn: [b]" in found[0].hint


@pytest.mark.parametrize(
    "back",
    [
        pytest.param(
            "onSuccess: [{name: again, type: goto, stepId: a, criteria: [{condition: $response.body#/more}]}]",
            id="goto",
        ),
        pytest.param("onFailure: [{name: again, type: retry, stepId: a}]", id="retry"),
    ],
)
def test_a_loop_makes_later_outputs_earlier_ones(tmp_path: Path, back: str) -> None:
    """A page token is used from the second time on: that is meant, and no error."""
    steps = A + ", requestBody: {payload: {token: $steps.b.outputs.x}}}\n" + B + ", " + back + "}"
    assert findings(tmp_path, steps, "forward-reference") == []


def test_steps_that_wait_for_each_other_are_an_error(tmp_path: Path) -> None:
    """By outputs as well as by `dependsOn`; the way round is told."""
    steps = A + ", requestBody: {payload: $steps.b.outputs.x}}\n" + B + ", dependsOn: [a]}"
    found = findings(tmp_path, steps, "step-order")
    assert [each.severity for each in found] == ["error"]
    assert "a → b → a" in found[0].message


ELSEWHERE = """
- workflowId: first
  steps:
  - {stepId: x, operationId: one, onSuccess: [{name: skip, type: end, criteria: [{condition: $response.body#/skip}]}]}
  - {stepId: y, operationId: two}
"""


def test_a_step_may_depend_on_a_step_of_another_workflow(tmp_path: Path) -> None:
    """`$workflows.<id>.steps.<id>`: the workflow runs because of its own `dependsOn`, the step must have succeeded."""
    steps = "- {stepId: s, operationId: three, dependsOn: [$workflows.first.steps.y]}"
    text = TOP.format("  " + steps).replace("workflowId: w", "workflowId: w\n  dependsOn: [first]") + ELSEWHERE
    made = Shelf(tmp_path, {"main.yaml": text}, version="1.1.0")
    assert made.tell([200], workflow="w").operations == ["one", "two", "three"]
    skipped = made.tell([(200, {"skip": True})], workflow="w")
    assert skipped.operations == ["one"]
    assert "depends on the step 'y' of the workflow 'first', which has not been completed" in skipped.end.reason


def test_a_step_that_nothing_runs_cannot_be_depended_on(tmp_path: Path) -> None:
    """`dependsOn` of a step runs nothing (§1.5)."""
    steps = "- {stepId: s, operationId: three, dependsOn: [$workflows.first.steps.y]}"
    with pytest.raises(DescriptionError, match="which nothing here runs"):
        shelf(tmp_path, steps, more=ELSEWHERE).open("w")


def test_a_goto_cannot_jump_over_what_a_step_depends_on(tmp_path: Path) -> None:
    """The flow is explicit, and so is the dependency: the step fails with its reason."""
    steps = "\n".join(
        [
            "- {stepId: a, operationId: one, onSuccess: [{name: jump, type: goto, stepId: c}]}",
            B + "}",
            C + ", dependsOn: [b]}",
        ]
    )
    story = shelf(tmp_path, steps).tell([200])
    assert story.operations == ["one"]
    assert story.end.status == "failed"
    assert [fact.step_id for fact in story.of(events.StepFailed)] == ["c"]
    assert "'b', which has not been completed" in story.end.reason


def test_a_dependency_on_another_document_is_found(tmp_path: Path) -> None:
    """`$sourceDescriptions.<name>.<workflowId>.steps.<stepId>`."""
    main = """
    sourceDescriptions: [{name: api, url: api.json, type: openapi}, {name: lib, url: lib.yaml, type: arazzo}]
    workflows:
    - workflowId: w
      dependsOn: [$sourceDescriptions.lib.far]
      steps: [{stepId: s, operationId: one, dependsOn: [$sourceDescriptions.lib.far.steps.t]}]
    """
    lib = """
    sourceDescriptions: [{name: api, url: api.json, type: openapi}]
    workflows: [{workflowId: far, steps: [{stepId: t, operationId: two}]}]
    """
    made = Shelf(tmp_path, {"main.yaml": main, "lib.yaml": lib}, version="1.1.0")
    assert made.tell([200]).operations == ["two", "one"]
