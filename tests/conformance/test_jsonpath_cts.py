"""The JSONPath compliance suite (RFC 9535), through the engine's own queries and through jsonpath criteria."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from treadle.arazzo.criteria import compile_criterion
from treadle.arazzo.expressions import Context, Scope
from treadle.arazzo.jsonpath import JsonPathError, compile_query
from treadle.seams import Answer

pytestmark = pytest.mark.suite

SUITE = Path(__file__).resolve().parents[3] / "shared" / "suites" / "jsonpath-cts.json"

if not SUITE.is_file():
    pytest.skip("the JSONPath compliance suite does not stand beside the checkout", allow_module_level=True)

CASES: list[dict[str, Any]] = json.loads(SUITE.read_text("utf-8"))["tests"]
VALID = [case for case in CASES if not case.get("invalid_selector")]
INVALID = [case for case in CASES if case.get("invalid_selector")]


def _name(case: dict[str, Any]) -> str:
    return str(case["name"])


@pytest.mark.parametrize("case", VALID, ids=_name)
def test_a_valid_query_selects_the_right_nodes(case: dict[str, Any]) -> None:
    """The node list is one of those that the suite allows, and `first` is its first node."""
    query = compile_query(case["selector"])
    found = query.find(case["document"])
    allowed = case["results"] if "results" in case else [case["result"]]
    assert found in allowed
    if found:
        assert query.first(case["document"]) == found[0]


@pytest.mark.parametrize("case", INVALID, ids=_name)
def test_an_invalid_query_is_refused(case: dict[str, Any]) -> None:
    """What RFC 9535 does not have is no query, whatever the dialect makes of it later."""
    with pytest.raises(JsonPathError):
        compile_query(case["selector"])


def test_a_criterion_passes_when_the_node_list_is_not_empty() -> None:
    """Criteria give the verdicts that the suite's node lists imply, without any dialect rule (they are strict here)."""
    checked = 0
    for case in VALID:
        document = case["document"]
        if not isinstance(document, (dict, list)) or case["selector"] != case["selector"].strip():
            continue
        scope = Scope(version="1.1.0", strict=True)
        criterion = compile_criterion(case["selector"], scope, type="jsonpath", context="$response.body")
        verdict = criterion.judge(Context(response=Answer(200, (), document)))
        allowed = case["results"] if "results" in case else [case["result"]]
        assert verdict.passed is any(bool(result) for result in allowed), case["name"]
        assert not verdict.problem, case["name"]
        assert not scope.notes, case["name"]
        checked += 1
    assert checked > 400
