"""The specification's own examples: loaded, checked and planned against the descriptions that are published with them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from treadle.arazzo.load import load
from treadle.cli.opening import Setup, open_plan
from treadle.errors import DescriptionError
from treadle.sources.asyncapi import AsyncApiSource

pytestmark = pytest.mark.suite

EXAMPLES = Path(__file__).resolve().parents[3] / "shared" / "suites" / "arazzo-examples"
if not EXAMPLES.is_dir():
    pytest.skip("the examples of the specification do not stand beside the checkout", allow_module_level=True)

MISTAKES: Mapping[str, str] = {
    "ExtendedParametersExample.arazzo.yaml": "its source, ./animals.yaml, is not published with it",
    "LoginAndRetrievePets.arazzo.yaml": "its source is elsewhere",
}
SOURCES = {"bnpl-arazzo.yaml": {"BnplApi": "bnpl-openapi.yaml"}}
"""Descriptions that are meant by their address on the web, and stand beside the example."""


def _documents() -> list[Path]:
    return sorted(each for each in EXAMPLES.rglob("*.yaml") if "arazzo" in each.name)


def _workflows() -> list[object]:
    found: list[object] = []
    for path in _documents():
        reason = MISTAKES.get(path.name)
        marks = [pytest.mark.skip(reason=reason)] if reason else []
        found += [
            pytest.param(path, each["workflowId"], id=f"{path.name}-{each['workflowId']}", marks=marks)
            for each in load(path.read_bytes(), path.name).value["workflows"]
        ]
    return found


def _setup(path: Path, workflow: str | None = None) -> Setup:
    sources = {name: str(path.parent / file) for name, file in SOURCES.get(path.name, {}).items()}
    return Setup(document=str(path), label=path.name, workflow=workflow, sources=sources)


@pytest.mark.parametrize(("path", "workflow"), _workflows())
def test_an_example_can_be_planned(path: Path, workflow: str) -> None:
    """Every operation is found and every expression compiles; every step knows where it leads."""
    opened = open_plan(_setup(path, workflow))
    planned = opened.plan.workflows[workflow]
    written = opened.document.find(planned.pointer + "/steps")
    assert isinstance(written, list)
    assert [step.step_id for step in planned.steps] == [each["stepId"] for each in written]
    assert all(step.operation is not None or step.workflow is not None for step in planned.steps)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        pytest.param("ExtendedParametersExample.arazzo.yaml", "there is no file", id="no-source"),
    ],
)
def test_a_mistake_of_an_example_is_told(name: str, words: str) -> None:
    """What is skipped above is refused with the reason that the skip has."""
    path = next(each for each in _documents() if each.name == name)
    with pytest.raises(DescriptionError) as caught:
        open_plan(_setup(path))
    assert any(words in each.message + each.hint for each in caught.value.diagnostics)


def test_the_asyncapi_example_knows_its_channels() -> None:
    """1.1's example: an operation by its id, a channel by its pointer, and where messages have their correlation id."""
    path = EXAMPLES / "1.1.0" / "pet-asyncapi.yaml"
    source = AsyncApiSource("orders", load(path.read_bytes(), path.name).value, uri=path.as_uri())
    (place,) = source.find("placeOrder")
    confirm = source.at("/channels/confirm-order")
    assert confirm is not None
    assert (place.address, confirm.address) == ("place-order", "confirm-order")
    assert place.correlations == confirm.correlations == (("header", ("orderRequestId",)),)
    assert (place.server, place.protocol) == ("localhost:9092", "kafka")
