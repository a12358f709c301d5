"""The Arazzo documents behind a document: checked with it, each once, with its own name and places."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.arazzo.shelf import Shelf
from treadle.cli.checking import check_document
from treadle.errors import Diagnostic, TreadleError
from treadle.settings import Others

MAIN = """
sourceDescriptions:
- {name: refunds, url: lib/refunds.yaml, type: arazzo}
- {name: gone, url: gone.yaml, type: arazzo}
workflows:
- workflowId: main
  steps: [{stepId: call, workflowId: $sourceDescriptions.refunds.good}]
"""
REFUNDS = """
sourceDescriptions:
- {name: api, url: ../api.json, type: openapi}
- {name: deep, url: deep.yaml, type: arazzo}
- {name: back, url: ../main.yaml, type: arazzo}
workflows:
- workflowId: good
  steps: [{stepId: one, operationId: one}]
- workflowId: unreached
  steps:
  - {stepId: two, operationId: tow}
  - {stepId: back, workflowId: $sourceDescriptions.back.main}
- workflowId: lax
  steps: [{stepId: three, operationId: three, successCriteria: [{condition: '{$statusCode} == 200'}]}]
"""
DEEP = """
sourceDescriptions: [{name: api, url: ../api.json, type: openapi}]
workflows:
- workflowId: deep
  steps: [{stepId: a, operationId: one, onSuccess: [{name: again, type: goto, stepId: a}]}]
"""

IN_OTHERS = [
    "lib/refunds.yaml:13:32 error unknown-operation",
    "lib/refunds.yaml:16:77 warning braced-operand",
    "lib/deep.yaml:7:53 error endless-loop",
]
GONE = "main.yaml:6:21 warning source"


def told(found: Any) -> list[str]:
    return [f"{each.place} {each.severity} {each.rule}" for each in found]


def shelf(folder: Path, **more: str) -> Shelf:
    return Shelf(folder, {"main.yaml": MAIN, "lib/refunds.yaml": REFUNDS, "lib/deep.yaml": DEEP, **more})


@pytest.mark.parametrize(("others", "want"), [("local", [GONE, *IN_OTHERS]), ("all", [GONE, *IN_OTHERS]), ("none", [])])
def test_documents_behind_a_document_are_checked(others: Others, want: list[str], tmp_path: Path) -> None:
    """All of their workflows, also those that nothing here calls; each at its own place, and once."""
    found = check_document(shelf(tmp_path).setup(), others=others).diagnostics
    assert sorted(told(found)) == sorted(want)


def test_a_circle_of_documents_is_gone_round_once(tmp_path: Path) -> None:
    """What the entry says is told as the entry's, not again from the other side."""
    broken = MAIN.replace("refunds.good", "refunds.godo")
    found = check_document(shelf(tmp_path, **{"main.yaml": broken}).setup(), others="local").diagnostics
    assert sorted(told(found)) == sorted([GONE, *IN_OTHERS, "main.yaml:9:38 error unknown-workflow"])


def test_what_planning_found_is_not_found_again(tmp_path: Path) -> None:
    """A workflow that the entry calls is planned twice, and its mistake told once."""
    calling = MAIN.replace("refunds.good", "refunds.unreached")
    found = check_document(shelf(tmp_path, **{"main.yaml": calling}).setup(), others="local").diagnostics
    assert sorted(told(found)) == sorted([GONE, *IN_OTHERS])


def test_one_document_by_two_names_is_checked_once(tmp_path: Path) -> None:
    """Its identity counts, not the way to it."""
    twice = MAIN.replace("{name: gone, url: gone.yaml", "{name: again, url: ./lib/../lib/refunds.yaml")
    found = check_document(shelf(tmp_path, **{"main.yaml": twice}).setup(), others="local").diagnostics
    assert sorted(told(found)) == sorted(IN_OTHERS)


HEAD = "arazzo: 1.0.1\ninfo: {title: Test, version: 1.0.0}\n"
API = b'{"openapi": "3.1.0", "info": {}, "servers": [{"url": "https://a.test"}], "paths": {"/x": {"get": {"operationId": "one"}}}}'
FAR = "https://far.test/far.yaml"
WITH_FAR = f"""
sourceDescriptions: [{{name: far, url: "{FAR}", type: arazzo}}, {{name: api, url: api.json, type: openapi}}]
workflows:
- workflowId: main
  steps: [{{stepId: one, STEP}}]
"""
THERE = {
    FAR: HEAD
    + """sourceDescriptions: [{name: api, url: api.json, type: openapi}, {name: near, url: "file:///etc/hosts", type: arazzo}]
workflows:
- workflowId: good
  steps: [{stepId: one, operationId: one}]
- workflowId: bad
  steps: [{stepId: one, operationId: oen}]
""",
    "https://far.test/api.json": API.decode(),
}


def far(folder: Path, step: str, others: Others) -> tuple[list[Diagnostic], list[str]]:
    """Check a document that names one from the network; give what was found, and what was asked for."""
    asked: list[str] = []

    def fetch(uri: str) -> bytes:
        asked.append(uri)
        if uri not in THERE:
            raise TreadleError("not found")
        return THERE[uri].encode()

    setup = Shelf(folder, {"main.yaml": WITH_FAR.replace("STEP", step)}).setup()
    return list(check_document(setup, fetch=fetch, others=others).diagnostics), asked


def test_a_document_from_the_network_is_not_read_without_need(tmp_path: Path) -> None:
    """A check of what stands here takes no more time than that."""
    assert far(tmp_path, "operationId: one", "local") == ([], [])


def test_a_document_from_the_network_that_is_needed_is_checked_as_far_as_it_is_needed(tmp_path: Path) -> None:
    """Whoever calls a workflow of it can do nothing about the others."""
    found, asked = far(tmp_path, "workflowId: $sourceDescriptions.far.good", "local")
    assert found == []
    assert asked == [FAR, "https://far.test/api.json"]


def test_documents_from_the_network_are_checked_on_demand(tmp_path: Path) -> None:
    """Also then they lead to no local file."""
    found, _ = far(tmp_path, "operationId: one", "all")
    assert told(found) == [f"{FAR}:3:83 warning source", f"{FAR}:8:38 error unknown-operation"]
    assert "may not read the local file" in found[0].message
