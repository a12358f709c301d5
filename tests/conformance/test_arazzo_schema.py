"""Documents that the official schema of Arazzo 1.1 accepts and refuses, the specification's examples, and real ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from treadle.arazzo.build import build
from treadle.arazzo.inputs import Inputs
from treadle.arazzo.load import load
from treadle.arazzo.rules import check
from treadle.errors import DescriptionError, Diagnostic

pytestmark = pytest.mark.suite

SHARED = Path(__file__).resolve().parents[3] / "shared"
SUITE = SHARED / "suites" / "arazzo-1.1-schema"
if not SUITE.is_dir():
    pytest.skip("the documents of the Arazzo schema do not stand beside the checkout", allow_module_level=True)

MISNAMED = "the schema looks at the form only: the document names the source userAPI and has UserAPI"
SKIPPED = {"openapi-success-criteria.arazzo.yaml": MISNAMED, "workflow-success-criteria.arazzo.yaml": MISNAMED}

REFUSED_BY = {
    "async-both-operationId-and-channelPath": {"step-target"},
    "async-channelPath-without-action": {"step-target"},
    "async-depends-on-duplicate-values": {"depends-on"},
    "async-depends-on-empty": {"wrong-value"},
    "async-depends-on-invalid-reference": {"depends-on"},
    "channel-path-is-invalid-for-openapi": {"step-target"},
    "invalid-arazzo-version": {"version"},
    "invalid-async-correlation-id-non-receive-action": {"step-target"},
    "invalid-async-parameter-without-in": {"parameter-place"},
    "invalid-async": {"wrong-value"},
    "invalid-expression-type-object": {"missing-field", "wrong-value"},
    "invalid-openapi-parameter-without-in": {"parameter-place"},
    "invalid-openapi-success-criteria": {"wrong-value"},
    "invalid-querystring-without-value": {"missing-field"},
    "invalid-selector-object": {"missing-field"},
    "invalid-self-fragment": {"wrong-value"},
    "invalid-targetSelectorType": {"wrong-value"},
    "invalid-workflow-step-with-operationId": {"step-target"},
    "invalid-workflow-success-criteria": {"wrong-value"},
    "not-an-object": {"wrong-type"},
    "openapi-both-operationId-and-operationPath": {"step-target"},
    "openapi-duplicate-parameters": {"duplicate-parameter"},
    "openapi-missing-operation-target": {"step-target"},
    "workflow-duplicate-parameters": {"duplicate-parameter"},
    "workflow-missing-workflowId": {"step-target"},
    "workflow-step-with-action": {"step-target"},
    "workflow-step-with-channelPath": {"step-target"},
}


def _found(path: Path) -> list[Diagnostic]:
    try:
        document = load(path.read_bytes(), path.name)
    except DescriptionError as error:
        return list(error.diagnostics)
    description, found = build(document)
    return found + (check(description, document) if description else [])


def _errors(path: Path) -> list[str]:
    return [each.render() for each in _found(path) if each.severity == "error"]


def _documents(folder: Path) -> list[Any]:
    marked = {name: [pytest.mark.skip(reason=reason)] for name, reason in SKIPPED.items()}
    files = sorted(each for each in folder.rglob("*") if each.suffix in {".yaml", ".yml", ".json"})
    return [pytest.param(each, id=each.name, marks=marked.get(each.name, [])) for each in files]


@pytest.mark.parametrize("path", _documents(SUITE / "pass"))
def test_what_the_schema_accepts_has_no_errors(path: Path) -> None:
    """A document that conforms is not refused."""
    assert _errors(path) == []


@pytest.mark.parametrize("path", _documents(SUITE / "fail"))
def test_what_the_schema_refuses_has_an_error(path: Path) -> None:
    """A document that does not conform is refused for the reason that it was written for, and the error says where."""
    found = [each for each in _found(path) if each.severity == "error"]
    assert {each.rule for each in found} == REFUSED_BY.get(path.name.partition(".")[0])
    assert all(each.place is not None and each.place.line for each in found)


@pytest.mark.parametrize(
    "path", [each for each in _documents(SHARED / "suites" / "arazzo-examples") if "api." not in each.values[0].name]
)
def test_the_examples_of_the_specification_are_right(path: Path) -> None:
    """Every example builds and keeps the rules."""
    assert _errors(path) == []


def _corpus() -> list[Any]:
    index = SHARED / "corpus" / "INDEX.jsonl"
    lines = index.read_text().splitlines() if index.is_file() else []
    return [pytest.param(json.loads(line)["path"], id=json.loads(line)["path"]) for line in lines]


@pytest.mark.parametrize("name", _corpus())
def test_real_documents_are_read(name: str) -> None:
    """Documents of many authors load and build without an error, their inputs are usable, every finding has a place."""
    path = SHARED / "corpus" / name
    document = load(path.read_bytes(), name)
    description, found = build(document)
    assert description is not None
    found += check(description, document)
    for workflow in description.workflows:
        assert document.find(f"{workflow.pointer}/workflowId") == workflow.workflow_id
        inputs = Inputs({} if workflow.inputs is None else workflow.inputs, document, f"{workflow.pointer}/inputs")
        found += inputs.problems
    assert [each.render() for each in found if each.severity == "error"] == []
    assert all(each.place is not None and each.place.line for each in found)
