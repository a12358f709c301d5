"""Workflows of other documents: found by name and by identity, run as if they stood here, with all that is theirs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.arazzo.shelf import Shelf
from treadle.arazzo import events
from treadle.arazzo.expressions import Context
from treadle.cli.given import setup_of
from treadle.cli.opening import open_plan
from treadle.errors import DescriptionError, UsageError

MAIN = """
sourceDescriptions:
- {name: refunds, url: lib/refunds.yaml, type: arazzo}
- {name: api, url: api.json, type: openapi}
workflows:
- workflowId: main
  steps:
  - stepId: call
    workflowId: $sourceDescriptions.refunds.issue
    parameters: [{name: amount, value: 5}]
    outputs: {id: $outputs.refundId}
  - stepId: after
    operationId: $sourceDescriptions.api.two
    requestBody: {payload: {id: $steps.call.outputs.id, again: $steps.call.outputs.refundId}}
  outputs: {id: $steps.call.outputs.id}
"""

REFUNDS = """
sourceDescriptions:
- {name: api, url: ../api.json, type: openapi}
workflows:
- workflowId: issue
  inputs: {type: object, required: [amount], properties: {amount: {type: integer}, currency: {type: string, default: EUR}}}
  parameters: [{reference: $components.parameters.trace}]
  steps:
  - stepId: make
    operationId: one
    requestBody: {payload: {amount: $inputs.amount, currency: $inputs.currency}}
    onFailure: [{reference: $components.failureActions.again}]
    outputs: {refundId: $response.body#/id}
  outputs: {refundId: $steps.make.outputs.refundId}
- workflowId: other
  steps: [{stepId: x, operationId: three}]
components:
  parameters: {trace: {name: X-Trace, in: header, value: theirs}}
  failureActions: {again: {name: again, type: retry, retryLimit: 2}}
"""


def test_a_step_calls_a_workflow_of_another_document(tmp_path: Path) -> None:
    """§1.5: `$sourceDescriptions.<name>.<workflowId>`; its sources, defaults and outputs are those of its document."""
    shelf = Shelf(tmp_path, {"main.yaml": MAIN, "lib/refunds.yaml": REFUNDS})
    plan = shelf.open().plan
    assert list(plan.workflows) == ["main", "refunds#issue"]
    story = shelf.tell([(200, {"id": "r1"}), 200])
    assert story.requests == [("one", {"amount": 5, "currency": "EUR"}), ("two", {"id": "r1", "again": "r1"})]
    assert story.end.outputs == {"id": "r1"}
    assert [fact.path for fact in story.of(events.StepStarted)] == [(), ("main",), ()]


def test_components_are_those_of_the_document_they_stand_in(tmp_path: Path) -> None:
    """§1.8: the same reference means something else here and there."""
    main = MAIN.replace(
        "- stepId: after", "- stepId: after\n    parameters: [{reference: $components.parameters.trace}]"
    )
    main += "\ncomponents: {parameters: {trace: {name: X-Trace, in: header, value: ours}}}"
    plan = Shelf(tmp_path, {"main.yaml": main, "lib/refunds.yaml": REFUNDS}).open().plan
    values = {key: [step.arguments for step in each.steps] for key, each in plan.workflows.items()}
    assert [each.value.evaluate(Context()) for each in values["main"][1]] == ["ours"]
    assert [each.value.evaluate(Context()) for each in values["refunds#issue"][0]] == ["theirs"]


def test_actions_of_another_document_hold_there(tmp_path: Path) -> None:
    """A retry that stands in the components of the called document is made."""
    story = Shelf(tmp_path, {"main.yaml": MAIN, "lib/refunds.yaml": REFUNDS}).tell([500, 500, (200, {"id": 1}), 200])
    assert story.operations == ["one", "one", "one", "two"]
    assert story.end.recovered


def test_what_a_plan_keeps_can_be_stored_and_read_back(tmp_path: Path) -> None:
    """The keys of other documents' workflows stand in the state; the teller stores and reads it at every turn."""
    shelf = Shelf(tmp_path, {"main.yaml": MAIN, "lib/refunds.yaml": REFUNDS})
    story = shelf.tell(["kill"])
    assert story.state is not None
    assert [frame.workflow for frame in story.state.frames] == ["main", "refunds#issue"]


ANYWHERE = """
sourceDescriptions:
- {{name: lib, url: lib.yaml, type: arazzo}}
- {{name: api, url: api.json, type: openapi}}
workflows:
- workflowId: main
  inputs: {{type: object, properties: {{n: {{type: integer, default: 3}}}}}}
  {depends}
  steps:
  - stepId: a
    operationId: one
    {actions}
  - {{stepId: b, operationId: two}}
"""

LIB = """
sourceDescriptions:
- {name: api, url: api.json, type: openapi}
workflows:
- workflowId: done
  inputs: {type: object, properties: {n: {type: integer}}}
  steps:
  - {stepId: x, operationId: three, requestBody: {payload: {n: $inputs.n}}, outputs: {y: $response.body#/y}}
  outputs: {y: $steps.x.outputs.y}
"""


def anywhere(tmp_path: Path, *, depends: str = "", actions: str = "", version: str = "1.0.1") -> Shelf:
    return Shelf(
        tmp_path, {"main.yaml": ANYWHERE.format(depends=depends, actions=actions), "lib.yaml": LIB}, version=version
    )


def test_a_goto_transfers_into_another_document(tmp_path: Path) -> None:
    """§1.7: control does not come back; the other workflow's outputs are the result (A-9)."""
    shelf = anywhere(tmp_path, actions="onSuccess: [{name: go, type: goto, workflowId: $sourceDescriptions.lib.done}]")
    story = shelf.tell([200, (200, {"y": "Y"})])
    assert story.requests == [("one", None), ("three", {"n": 3})]
    assert story.end.outputs == {"y": "Y"}


def test_a_retry_runs_a_workflow_of_another_document_first(tmp_path: Path) -> None:
    """§1.7: then the context returns, and the step is retried."""
    shelf = anywhere(tmp_path, actions="onFailure: [{name: r, type: retry, workflowId: $sourceDescriptions.lib.done}]")
    assert shelf.tell([500, 200, 200]).operations == ["one", "three", "one", "two"]


def test_depends_on_runs_a_workflow_of_another_document(tmp_path: Path) -> None:
    """§1.4: it is completed before; its outputs are reachable by its full name."""
    shelf = anywhere(
        tmp_path,
        depends="dependsOn: [$sourceDescriptions.lib.done]",
        actions="requestBody: {payload: {y: $sourceDescriptions.lib.done.outputs.y}}",
    )
    story = shelf.tell([(200, {"y": "Y"}), 200])
    assert story.requests == [("three", {"n": 3}), ("one", {"y": "Y"}), ("two", None)]


def test_an_unqualified_workflow_is_taken_from_the_only_document_that_has_it(tmp_path: Path) -> None:
    """Dialect `unqualified-workflow-id`: 1.0.0 asked for the full form only where there are several."""
    shelf = anywhere(tmp_path, actions="onSuccess: [{name: go, type: goto, workflowId: done}]")
    found = [each for each in shelf.check() if each.rule == "unqualified-workflow-id"]
    assert [each.severity for each in found] == ["warning"]
    assert "$sourceDescriptions.lib.done" in found[0].hint
    assert [each.severity for each in shelf.check(strict=True) if each.rule == "unqualified-workflow-id"] == ["error"]
    assert shelf.tell([200]).operations == ["one", "three"]


@pytest.mark.parametrize(
    ("written", "rule", "words"),
    [
        pytest.param("$sourceDescriptions.lib.dnoe", "unknown-workflow", "did you mean 'done'", id="misspelt"),
        pytest.param("$sourceDescriptions.lip.done", "unknown-source", "", id="no-such-source"),
        pytest.param("$sourceDescriptions.api.done", "unknown-workflow", "is no Arazzo description", id="openapi"),
        pytest.param("nowhere", "unknown-workflow", "", id="nowhere"),
    ],
)
def test_a_workflow_that_is_not_there_is_told_before_the_run(
    tmp_path: Path, written: str, rule: str, words: str
) -> None:
    """Every reference is resolved before the first request."""
    shelf = anywhere(tmp_path, actions=f"onSuccess: [{{name: go, type: goto, workflowId: {written}}}]")
    with pytest.raises(DescriptionError) as caught:
        shelf.open()
    found = [each for each in caught.value.diagnostics if each.rule == rule and each.severity == "error"]
    assert found
    assert any(words in each.message + each.hint for each in found)


def test_only_the_documents_that_are_needed_must_be_readable(tmp_path: Path) -> None:
    """A source that no step of the workflow uses may be missing."""
    broken = MAIN.replace(
        "- {name: api, url: api.json", "- {name: gone, url: gone.yaml, type: arazzo}\n- {name: api, url: api.json"
    )
    Shelf(tmp_path, {"main.yaml": broken, "lib/refunds.yaml": REFUNDS}).open()


def test_a_document_that_is_needed_and_missing_is_an_error_with_its_place(tmp_path: Path) -> None:
    """It points at the source description, and says what can be done."""
    with pytest.raises(DescriptionError, match=r"lib/refunds\.yaml") as caught:
        Shelf(tmp_path, {"main.yaml": MAIN}).open()
    assert any("--source refunds=" in each.hint for each in caught.value.diagnostics)


def test_errors_of_another_document_are_errors_of_the_run(tmp_path: Path) -> None:
    """They are told with the place in that document."""
    with pytest.raises(DescriptionError) as caught:
        Shelf(
            tmp_path, {"main.yaml": MAIN, "lib/refunds.yaml": REFUNDS.replace("operationId: one", "operationId: no")}
        ).open()
    error = next(each for each in caught.value.diagnostics if each.rule == "unknown-operation")
    assert error.place is not None
    assert error.place.document.endswith("refunds.yaml")


CIRCLE_A = """
sourceDescriptions:
- {name: b, url: b.yaml, type: arazzo}
- {name: api, url: api.json, type: openapi}
workflows:
- workflowId: first
  steps: [{stepId: s, workflowId: $sourceDescriptions.b.second}]
- workflowId: last
  steps: [{stepId: s, operationId: one}]
"""
CIRCLE_B = """
sourceDescriptions:
- {name: a, url: main.yaml, type: arazzo}
- {name: api, url: api.json, type: openapi}
workflows:
- workflowId: second
  steps: [{stepId: s, operationId: two}, {stepId: t, workflowId: $sourceDescriptions.a.last}]
"""


def test_documents_may_name_each_other_in_a_circle(tmp_path: Path) -> None:
    """A document is the same whatever way leads to it, so each of its workflows is planned once."""
    shelf = Shelf(tmp_path, {"main.yaml": CIRCLE_A, "b.yaml": CIRCLE_B})
    assert list(shelf.open("first").plan.workflows) == ["first", "b#second", "last"]
    assert shelf.tell([200], workflow="first").operations == ["two", "one"]


def test_workflows_that_depend_on_each_other_over_documents_are_refused(tmp_path: Path) -> None:
    """Within one document a rule sees it; over several only the plan can."""
    a = CIRCLE_A.replace("workflowId: first", "workflowId: first\n  dependsOn: [$sourceDescriptions.b.second]")
    b = CIRCLE_B.replace("workflowId: second", "workflowId: second\n  dependsOn: [$sourceDescriptions.a.first]")
    with pytest.raises(DescriptionError, match="depends on itself"):
        Shelf(tmp_path, {"main.yaml": a, "b.yaml": b}).open("first")


DEEP = """
sourceDescriptions:
- {name: middle, url: middle/m.yaml, type: arazzo}
- {name: api, url: api.json, type: openapi}
workflows:
- workflowId: top
  steps: [{stepId: s, workflowId: $sourceDescriptions.middle.mid}]
"""
MIDDLE = """
sourceDescriptions:
- {name: deep, url: ../deep/d.yaml, type: arazzo}
- {name: api, url: ../api.json, type: openapi}
workflows:
- workflowId: mid
  steps: [{stepId: s, workflowId: $sourceDescriptions.deep.low}]
"""
LOW = """
sourceDescriptions: [{name: store, url: store.json, type: openapi}]
workflows:
- workflowId: low
  steps: [{stepId: s, operationId: one}]
"""


def test_documents_below_documents_have_urls_of_their_own(tmp_path: Path) -> None:
    """§1.2: a relative URL is resolved against the document that it stands in; a key shows the way."""
    shelf = Shelf(tmp_path, {"main.yaml": DEEP, "middle/m.yaml": MIDDLE, "deep/d.yaml": LOW, "deep/store.json": _api()})
    assert list(shelf.open().plan.workflows) == ["top", "middle#mid", "middle/deep#low"]
    assert shelf.tell([200]).urls == ["http://127.0.0.1:9/one"]


def _api() -> object:
    from tests.arazzo.shelf import OPENAPI

    return OPENAPI


def test_a_server_can_be_named_for_a_source_of_another_document(tmp_path: Path) -> None:
    """By its own name, which holds everywhere, or by the way to it."""
    documents = {"main.yaml": DEEP, "middle/m.yaml": MIDDLE, "deep/d.yaml": LOW, "deep/store.json": _api()}
    shelf = Shelf(tmp_path, documents)
    for name in ("store", "middle/deep/store"):
        assert shelf.tell([200], servers={name: "http://127.0.0.1:7/v2"}).urls == ["http://127.0.0.1:7/v2/one"]
    with pytest.raises(UsageError, match="no source stork"):
        shelf.open(servers={"stork": "http://127.0.0.1:7"})


def test_a_document_is_found_by_its_self(tmp_path: Path) -> None:
    """§1.2: an absolute URL means the document that calls itself so; nothing is read from the network."""
    main = MAIN.replace("url: lib/refunds.yaml", "url: https://flows.example.com/refunds.yaml")
    refunds = "$self: https://flows.example.com/refunds.yaml\n" + REFUNDS.replace(
        "../api.json", "https://flows.example.com/api.json"
    )
    api = {**_api(), "openapi": "3.2.0", "$self": "https://flows.example.com/api.json"}  # type: ignore[dict-item]
    shelf = Shelf(tmp_path, {"main.yaml": main, "lib/refunds.yaml": refunds, "docs/api.json": api}, version="1.1.0")
    given = [str(tmp_path / "lib"), str(tmp_path / "docs" / "api.json")]
    story = shelf.tell([(200, {"id": 1}), 200], documents=given)
    assert story.operations == ["one", "two"]
    with pytest.raises(DescriptionError, match="network is switched off"):
        shelf.open()


def test_a_run_goes_on_only_with_the_same_documents(tmp_path: Path) -> None:
    """A stored run belongs to the texts that it began with, those of other documents too."""
    shelf = Shelf(tmp_path, {"main.yaml": MAIN, "lib/refunds.yaml": REFUNDS})
    setup = shelf.open().setup
    assert shelf.open(digest=setup.digest, digests=setup.digests).plan.digest
    path = tmp_path / "lib" / "refunds.yaml"
    path.write_text(path.read_text() + "\n# changed\n")
    with pytest.raises(UsageError, match=r"refunds\.yaml is not the document"):
        shelf.open(digest=setup.digest, digests=setup.digests)


def test_documents_may_be_given_in_the_settings(tmp_path: Path) -> None:
    """`documents` of `treadle.toml`: files and directories, relative to it."""
    main = MAIN.replace("url: lib/refunds.yaml", "url: https://flows.example.com/refunds.yaml")
    refunds = "$self: https://flows.example.com/refunds.yaml\n" + REFUNDS.replace("../api.json", "/api.json")
    api = {**_api(), "openapi": "3.2.0", "$self": "https://flows.example.com/api.json"}  # type: ignore[dict-item]
    Shelf(tmp_path, {"main.yaml": main, "lib/refunds.yaml": refunds, "docs/api.json": api}, version="1.1.0")
    (tmp_path / "treadle.toml").write_text('documents = ["lib", "docs/api.json"]\n')
    opened = open_plan(setup_of(str(tmp_path / "main.yaml"), None))
    assert list(opened.plan.workflows) == ["main", "refunds#issue"]


def test_a_workflow_of_another_document_may_be_meant_by_its_bare_name(tmp_path: Path) -> None:
    """Dialect: `$workflows.issue` where this document calls, or depends on, a workflow `issue` of another one."""
    main = MAIN.replace("    outputs: {id: $outputs.refundId}", "    outputs: {id: $workflows.issue.outputs.refundId}")
    shelf = Shelf(tmp_path, {"main.yaml": main, "lib/refunds.yaml": REFUNDS})
    story = shelf.tell([(200, {"id": "r1"}), 200])
    assert story.end.outputs == {"id": "r1"}
    assert [each.severity for each in shelf.check() if each.rule == "foreign-workflow-name"] == ["warning"]
    assert [each.severity for each in shelf.check(strict=True) if each.rule == "foreign-workflow-name"] == ["error"]


def test_a_name_of_the_own_document_goes_first(tmp_path: Path) -> None:
    """Two workflows `issue`: the own one is meant as soon as it has ended."""
    main = """
    sourceDescriptions:
    - {name: refunds, url: lib/refunds.yaml, type: arazzo}
    - {name: api, url: api.json, type: openapi}
    workflows:
    - workflowId: main
      steps:
      - {stepId: call, workflowId: $sourceDescriptions.refunds.issue, parameters: [{name: amount, value: 5}]}
      - {stepId: own, workflowId: issue}
      outputs: {own: $workflows.issue.outputs.refundId}
    - workflowId: issue
      steps: [{stepId: s, operationId: $sourceDescriptions.api.three, outputs: {x: $statusCode}}]
      outputs: {refundId: $steps.s.outputs.x}
    """
    shelf = Shelf(tmp_path, {"main.yaml": main, "lib/refunds.yaml": REFUNDS})
    story = shelf.tell([(200, {"id": "r1"}), 201], workflow="main")
    assert story.end.outputs == {"own": 201}


def test_a_mistake_in_a_workflow_that_is_not_run_does_not_stand_in_the_way(tmp_path: Path) -> None:
    """It is told as a warning; `check` calls it an error. In every document."""
    broken = REFUNDS.replace(
        "operationId: three}", "operationId: $response.nothing, onSuccess: [{name: a, type: goto, stepId: no}]}"
    )
    main = (
        MAIN
        + "- workflowId: work\n  steps: [{stepId: a, operationId: x, onFailure: [{name: a, type: goto, stepId: no}]}]\n"
    )
    shelf = Shelf(tmp_path, {"main.yaml": main, "lib/refunds.yaml": broken})
    opened = shelf.open("main")
    told = {
        (each.place.document, each.severity)
        for each in opened.diagnostics
        if each.rule == "unknown-step" and each.place
    }
    assert told == {("main.yaml", "warning"), ("lib/refunds.yaml", "warning")}
    with pytest.raises(DescriptionError, match="unknown-step"):
        shelf.open("work")


def test_what_a_workflow_leads_to_must_be_right(tmp_path: Path) -> None:
    """By a step, by an action, by a dependency."""
    bad = (
        "- workflowId: bad\n  steps: [{stepId: a, operationId: one, onSuccess: [{name: a, type: goto, stepId: no}]}]\n"
    )
    head = "sourceDescriptions: [{name: api, url: api.json, type: openapi}]\nworkflows:\n"
    for way in (
        "- {workflowId: main, steps: [{stepId: s, workflowId: bad}]}\n",
        "- {workflowId: main, dependsOn: [bad], steps: [{stepId: s, operationId: one}]}\n",
        "- {workflowId: main, steps: [{stepId: s, operationId: one, onFailure: [{name: x, type: goto, workflowId: bad}]}]}\n",
        "- {workflowId: main, steps: [{stepId: s, operationId: one}], failureActions: [{name: x, type: retry, workflowId: bad}]}\n",
    ):
        with pytest.raises(DescriptionError, match="unknown-step"):
            Shelf(tmp_path, {"main.yaml": head + way + bad}).open("main")
    Shelf(tmp_path, {"main.yaml": head + "- {workflowId: main, steps: [{stepId: s, operationId: one}]}\n" + bad}).open(
        "main"
    )


def test_two_workflows_of_one_name_stand_in_the_way_of_every_run(tmp_path: Path) -> None:
    """Nobody can tell which one is meant."""
    one = "- {workflowId: one, steps: [{stepId: s, operationId: one}]}\n"
    text = "sourceDescriptions: [{name: api, url: api.json, type: openapi}]\nworkflows:\n" + one + one
    with pytest.raises(DescriptionError, match="duplicate-id"):
        Shelf(tmp_path, {"main.yaml": text}).open("one")


@pytest.mark.parametrize("name", ["#", "#/", "a#b", "#main"])
def test_a_workflow_may_have_a_number_sign_in_its_name(name: str, tmp_path: Path) -> None:
    """It parts documents from workflows only where there are several."""
    text = f"""
    sourceDescriptions: [{{name: api, url: api.json, type: openapi}}]
    workflows: [{{workflowId: '{name}', steps: [{{stepId: s, operationId: one}}]}}]
    """
    assert Shelf(tmp_path, {"main.yaml": text}).tell([200], workflow=name).requests == [("one", None)]
