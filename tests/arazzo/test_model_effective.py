"""What holds for a step: its own parameters and actions, those of its workflow, references filled in."""

from __future__ import annotations

from textwrap import dedent

import pytest

from treadle.arazzo.build import build
from treadle.arazzo.effective import Effective, effective, expand_parameters, reusable
from treadle.arazzo.load import load
from treadle.arazzo.model import Components, Description, ReusableObject, Selector, selector_in
from treadle.seams import Json

TEXT = """\
arazzo: 1.0.1
info: {title: Test, version: 1.0.0}
sourceDescriptions: [{name: api, url: ./api.yaml}]
workflows:
- workflowId: main
  parameters:
  - {name: X-Key, in: header, value: workflow}
  - {name: page, in: query, value: workflow}
  - {name: user, value: workflow}
  - {reference: $components.parameters.size}
  successActions:
  - {name: done, type: end}
  - {reference: $components.successActions.next}
  failureActions:
  - {name: again, type: retry, retryLimit: 1}
  - {name: stop, type: end}
  steps:
  - stepId: plain
    operationId: x
  - stepId: own
    operationId: x
    parameters:
    - {name: x-key, in: header, value: step}
    - {name: page, in: path, value: step}
    - {reference: $components.parameters.size, value: 99}
    - {reference: $components.parameters.nowhere}
    onSuccess:
    - {name: next, type: goto, stepId: plain}
    onFailure:
    - {name: stop, type: goto, stepId: plain}
    - {name: other, type: end}
    - {reference: $components.successActions.next}
  - stepId: call
    workflowId: main
    parameters:
    - {name: page, value: step}
components:
  parameters:
    size: {name: size, in: query, value: 10}
  successActions:
    next: {name: next, type: goto, stepId: own}
"""


@pytest.fixture(scope="module")
def description() -> Description:
    made, found = build(load(dedent(TEXT).encode(), "test.yaml"))
    assert found == []
    assert made is not None
    return made


def holds(description: Description, step_id: str) -> Effective:
    workflow = description.workflows[0]
    step = workflow.step(step_id)
    assert step is not None
    return effective(step, workflow, description.components)


def parameters(found: Effective) -> list[tuple[str, str | None, Json, str]]:
    return [(each.name, each.in_, each.value, each.pointer) for each in found.parameters]


def test_a_step_without_its_own_has_its_workflow_s(description: Description) -> None:
    """References filled in; what has no place is for calls of workflows."""
    found = holds(description, "plain")
    assert parameters(found) == [
        ("X-Key", "header", "workflow", "/workflows/0/parameters/0"),
        ("page", "query", "workflow", "/workflows/0/parameters/1"),
        ("size", "query", 10, "/components/parameters/size"),
    ]
    assert [action.name for action in found.on_success] == ["done", "next"]
    assert found.on_success[1].step_id == "own"
    assert [action.name for action in found.on_failure] == ["again", "stop"]


def test_a_step_overrides_by_name_and_place_and_removes_nothing(description: Description) -> None:
    """Its own come first in their order; header names compare without case; an overriding value has its own place."""
    found = holds(description, "own")
    assert parameters(found) == [
        ("x-key", "header", "step", "/workflows/0/steps/1/parameters/0"),
        ("page", "path", "step", "/workflows/0/steps/1/parameters/1"),
        ("size", "query", 99, "/workflows/0/steps/1/parameters/2"),
        ("page", "query", "workflow", "/workflows/0/parameters/1"),
    ]
    assert [(action.name, action.step_id) for action in found.on_success] == [("next", "plain"), ("done", None)]
    assert [(action.name, action.type) for action in found.on_failure] == [
        ("stop", "goto"),
        ("other", "end"),
        ("again", "retry"),
    ]


def test_a_call_of_a_workflow_takes_parameters_by_name(description: Description) -> None:
    """All of them are inputs, whatever their place."""
    assert [(name, value) for name, _, value, _ in parameters(holds(description, "call"))] == [
        ("page", "step"),
        ("X-Key", "workflow"),
        ("user", "workflow"),
        ("size", 10),
    ]


@pytest.mark.parametrize(
    "reference",
    ["$components.parameters.nowhere", "$components.inputs.size", "$components.size", "$steps.size", "size", ""],
)
def test_a_reference_to_nothing_is_nothing(description: Description, reference: str) -> None:
    """A rule reports it; expanding goes on."""
    assert reusable(reference, description.components) is None
    wrong = ReusableObject(pointer="/x", reference=reference)
    assert expand_parameters([wrong], description.components) == ()
    assert expand_parameters([wrong], Components(pointer="/components")) == ()


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ({"context": "$response.body", "selector": "$.a", "type": "jsonpath"}, "jsonpath"),
        ({"context": "$response.body", "selector": "/a", "type": "xpath", "x-note": 1}, "xpath"),
        ({"context": "$inputs.a", "selector": "/a", "type": {"type": "jsonpointer", "version": "rfc6901"}}, "jsonpointer"),
        ({"context": "$response.body", "selector": "$.a", "type": "regex"}, None),
        ({"context": "response", "selector": "$.a", "type": "jsonpath"}, None),
        ({"context": "$response.body", "selector": "$.a", "type": "jsonpath", "more": 1}, None),
        ({"context": "$response.body", "selector": "$.a"}, None),
        ({"context": "$response.body", "selector": 1, "type": "jsonpath"}, None),
        ({"context": "$response.body", "selector": "a", "type": {"type": "jsonpath"}}, None),
        ("$response.body", None),
    ],
)  # fmt: skip
def test_a_selector_is_told_from_data(value: Json, kind: str | None) -> None:
    """In a payload an object may well have members of these names."""
    found = selector_in(value, "/payload")
    assert (found.kind if isinstance(found, Selector) else None) == kind
