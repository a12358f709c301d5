"""Documents, and descriptions of their APIs, with one thing in them replaced by something odd.

Findings, refusals and answers, and nothing else comes out. The unusual documents of `test_documents` are what is changed: they use everything that there is.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.arazzo.test_documents import SHOP, UNUSUAL, written
from treadle.arazzo.load import load
from treadle.cli.checking import check_document
from treadle.cli.opening import Setup, open_plan
from treadle.errors import DescriptionError, TreadleError
from treadle.mock import Mock
from treadle.seams import Json

QUICK = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
ODD: list[Json] = [
    None, True, False, 0, -1, 1.5, 10**40, "", " ", "null", "$", "$.", "{$", "$inputs.", "$steps", "$response.body#", "#/", "~", "\u0000",
    [], {}, [[]], [None], {"": None}, {"$ref": "#"}, {"reference": "$components.parameters.x"}, {"a": {"b": {}}}, "$statusCode == ", "^(",
    "//", "$[?", ["x"], {"context": "$response.body", "selector": "$.a", "type": "jsonpath"}, {"context": 1, "selector": 2, "type": 3},
    "{$steps.a.outputs.b}{", "$sourceDescriptions.x.y", "retry", "goto", {"type": ["string", "null"]}, "==",
]  # fmt: skip


DOCUMENTS: list[Json] = [load(written(case).encode(), "main.yaml").value for case in UNUSUAL]


def places(value: Json, at: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    if at:
        yield at
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, each in members:
        yield from places(each, (*at, name))


@st.composite
def changed(draw: st.DrawFn, values: list[Json]) -> Json:
    value: Any = copy.deepcopy(draw(st.sampled_from(values)))
    for _ in range(draw(st.integers(1, 2))):
        way = draw(st.sampled_from(list(places(value))))
        holder = value
        for name in way[:-1]:
            holder = holder[name]
        new = draw(st.sampled_from([*ODD, holder[way[-1]], [holder[way[-1]]]]))
        if draw(st.booleans()) and isinstance(holder, dict):
            del holder[way[-1]]
        else:
            holder[way[-1]] = copy.deepcopy(new)
    return value


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shop")


@QUICK
@given(value=changed(DOCUMENTS))
def test_a_document_with_something_odd_in_it_is_checked_and_planned(value: Json, folder: Path) -> None:
    """Every finding can be shown; what can be planned can be answered, to its end."""
    tried(folder, value, SHOP)


@QUICK
@given(value=st.sampled_from(DOCUMENTS), described=changed([load(SHOP.encode(), "shop.yaml").value]))
def test_a_description_with_something_odd_in_it_is_read_with_patience(
    value: Json, described: Json, folder: Path
) -> None:
    """By the check, the plan and the mock."""
    tried(folder, value, json.dumps(described))


def tried(folder: Path, value: Json, description: str) -> None:
    (folder / "shop.yaml").write_text(description)
    path = folder / "main.json"
    path.write_text(json.dumps(value))
    try:
        found = check_document(Setup(document=str(path))).diagnostics
    except DescriptionError as error:
        found = tuple(error.diagnostics)
    assert all(each.message and each.render() for each in found)
    workflows = value.get("workflows") if isinstance(value, dict) else None
    for each in workflows if isinstance(workflows, list) else ():
        name = each.get("workflowId") if isinstance(each, dict) else None
        if isinstance(name, str):
            played(str(path), name)


def played(document: str, workflow: str) -> None:
    try:
        opened = open_plan(Setup(document=document, workflow=workflow))
    except TreadleError:
        return
    mock = Mock([opened.plan], {name: target.url for name, target in opened.targets.items()})
    rehearsal = mock.rehearse(opened.plan)
    assert rehearsal.result is not None or rehearsal.problems or not rehearsal.visits
