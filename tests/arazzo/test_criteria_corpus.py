"""Every criterion and expression of the public documents compiles; the few that cannot work are known by name."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from treadle.arazzo.criteria import compile_criterion
from treadle.arazzo.expressions import Scope, compile_value
from treadle.arazzo.expressions.selectors import kind_of

pytestmark = pytest.mark.suite

CORPUS = Path(__file__).resolve().parents[3] / "shared" / "corpus"

if not (CORPUS / "INDEX.jsonl").is_file():
    pytest.skip("the public documents do not stand beside the checkout", allow_module_level=True)

# Conditions that no reading makes sense of: only an operator (a lost left and right side).
HOPELESS = {"=="}


def _documents() -> Iterator[Any]:
    for line in (CORPUS / "INDEX.jsonl").read_text("utf-8").splitlines():
        yield yaml.load((CORPUS / json.loads(line)["path"]).read_text("utf-8"), Loader=yaml.CSafeLoader)


def _criteria(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        if "condition" in value:
            yield value
        for inner in value.values():
            yield from _criteria(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _criteria(inner)


def _scope(workflow: dict[str, Any], document: dict[str, Any]) -> Scope:
    return Scope(
        str(document["arazzo"]),
        frozenset(workflow.get("inputs", {}).get("properties", {})),
        {step["stepId"]: frozenset(step.get("outputs", {})) for step in workflow["steps"]},
        {each["workflowId"]: (frozenset[str](), frozenset[str]()) for each in document["workflows"]},
        frozenset(each["name"] for each in document["sourceDescriptions"]),
    )


def test_every_criterion_of_the_public_documents_compiles() -> None:
    """One engine for all of them, by the specification or by a named rule."""
    broken, total, rules = set(), 0, set()
    for document in _documents():
        for workflow in document["workflows"]:
            for criterion in _criteria(workflow):
                total += 1
                name, version = kind_of(criterion.get("type", "simple"))
                scope = _scope(workflow, document)
                condition = str(criterion["condition"])
                compile_criterion(condition, scope, type=name, version=version, context=criterion.get("context"))
                rules |= {note.rule for note in scope.notes}
                if any(note.rule == "bad-condition" for note in scope.notes):
                    broken.add(condition)
    assert broken == HOPELESS
    assert total > 500
    assert "jsonpath-comparison" in rules


def test_every_output_of_the_public_documents_is_an_expression() -> None:
    """Outputs are {expression}: each compiles to one, some through a dialect rule."""
    suspicious = set()
    for document in _documents():
        for workflow in document["workflows"]:
            for holder in [workflow, *workflow["steps"]]:
                scope = _scope(workflow, document)
                for text in holder.get("outputs", {}).values():
                    template = compile_value(text, scope, kind="expression")
                    if not template.expressions:
                        suspicious.add(text)
                        assert any(note.rule == "bad-expression" for note in scope.notes)
    assert all(not text.startswith("$") or text == "$datetime.iso8601" for text in suspicious)
