"""Every public document of the sample is checked, planned, and run to its end against the mock.

What must hold is read from the document's own text, not from what the mock thinks: the status that a criterion names
is the status that came, each step follows from the one before it by an action or by order, a poll goes round and comes
out, and what the workflow's outputs name has a value. A document that falls through fails here, and so does a mock that
answers something that the document did not ask for.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.mock.shelf import ran as played

from treadle.arazzo import events
from treadle.arazzo.build import build
from treadle.arazzo.load import load
from treadle.arazzo.registry import Registry
from treadle.arazzo.run import Outcome
from treadle.cli.checking import check_document
from treadle.cli.opening import Opened, Setup, open_plan
from treadle.errors import DescriptionError
from treadle.mock import Mock, variants
from treadle.seams import Json

CORPUS = Path(__file__).resolve().parents[2].parent / "shared" / "corpus"

pytestmark = [
    pytest.mark.suite,
    pytest.mark.skipif(not CORPUS.is_dir(), reason="the folder shared/corpus does not stand beside this checkout"),
]

SKIPPED: Mapping[tuple[str, str], str] = {
    ("OperationResolution/ambiguous.arazzo.yaml", "wf"): "a fixture: its operationId is ambiguous on purpose",
    ("OperationResolution/valid.arazzo.yaml", "wf"): "a fixture that is never run: nothing fills {petId} of its path",
    (
        "cross-document-child.arazzo.yaml",
        "callsBack",
    ): "a fixture: a document that it reaches names no source on purpose",
}
"""(end of the path, workflow) → why it cannot run to its end. Such a document must be refused, or fail with a reason."""


@dataclass(frozen=True)
class Entry:
    """A document of the index."""

    path: str
    family: str
    sources: Mapping[str, str]

    @functools.cached_property
    def raw(self) -> Mapping[str, Any]:
        value: Mapping[str, Any] = load((CORPUS / self.path).read_bytes(), self.path).value
        return value

    @property
    def spelled_out(self) -> bool:
        """Whether every step that calls an operation says all of its request itself, as those of AWS can."""
        steps = [step for workflow in self.raw["workflows"] for step in workflow["steps"] if "workflowId" not in step]
        names = [{str(each.get("name", "")).lower() for each in step.get("parameters") or ()} for step in steps]
        return bool(steps) and all("x-amz-target" in each for each in names)

    def setup(self, workflow: str | None = None, *, missing: bool = False) -> Setup:
        servers = {
            # What cannot be read cannot be told apart: then all sources are at one place.
            each["name"]: "http://mock.example" if missing else f"http://mock.example/{index}"
            for index, each in enumerate(self.raw["sourceDescriptions"])
            if each.get("type") != "arazzo"
        }
        sources = {name: str(CORPUS / ("nothing.yml" if missing else path)) for name, path in self.sources.items()}
        return Setup(document=str(CORPUS / self.path), workflow=workflow, servers=servers, sources=sources)


@functools.cache
def entries() -> Sequence[Entry]:
    index = CORPUS / "INDEX.jsonl"
    rows = [json.loads(line) for line in index.read_text().splitlines()] if index.is_file() else []
    return [Entry(row["path"], row["family"], row["local_sources"]) for row in rows]


def workflows() -> Iterator[Any]:
    for entry in entries():
        for workflow in entry.raw["workflows"]:
            yield pytest.param(entry, workflow["workflowId"], id=f"{entry.path}::{workflow['workflowId']}")


def reason_to_skip(entry: Entry, workflow: str) -> str:
    return next(
        (reason for (path, name), reason in SKIPPED.items() if entry.path.endswith(path) and name == workflow), ""
    )


# ---------------------------------------------------------------------------------------------------------------------
# Running
# ---------------------------------------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=4)
def opened_all(path: str, *, missing: bool = False) -> Mapping[str, Opened | DescriptionError]:
    """Open every workflow of a document, as `treadle mock` does; `missing`: none of its sources can be read."""
    entry = next(each for each in entries() if each.path == path)
    found: dict[str, Opened | DescriptionError] = {}
    for workflow in entry.raw["workflows"]:
        name = workflow["workflowId"]
        try:
            found[name] = open_plan(entry.setup(name, missing=missing))
        except DescriptionError as error:
            found[name] = error
    return found


async def ran(
    entry: Entry, workflow: str, given: Mapping[str, Json] | None = None, *, missing: bool = False, **options: Any
) -> tuple[Outcome, list[events.Event], Mock, Opened]:
    """Run a workflow against a mock that serves the whole document."""
    every = opened_all(entry.path, missing=missing)
    opened = every[workflow]
    if isinstance(opened, DescriptionError):
        pytest.fail(f"the workflow cannot be planned:\n{opened.message}")
    served = [each for each in every.values() if isinstance(each, Opened)]
    bases = {name: target.url for each in served for name, target in each.targets.items()}
    mock = Mock([each.plan for each in served], bases, **options)
    outcome, listing = await played(mock, opened.plan, given)
    return outcome, listing.told, mock, opened


# ---------------------------------------------------------------------------------------------------------------------
# What the document says
# ---------------------------------------------------------------------------------------------------------------------

STATUS = re.compile(r"\$statusCode\s*==\s*'?(\d{3})'?\s*\Z")


def steps_of(raw: Mapping[str, Any], workflow: str) -> list[Mapping[str, Any]]:
    return next((each["steps"] for each in raw["workflows"] if each["workflowId"] == workflow), [])


def stated_statuses(step: Mapping[str, Any]) -> list[int]:
    """Give the statuses that must have come, one for each criterion that names exactly one."""
    found = []
    for each in step.get("successCriteria") or ():
        match = STATUS.match(str(each.get("condition", "")).strip())
        if match and each.get("type", "simple") == "simple":
            found.append(int(match[1]))
    return found


def actions_of(raw: Mapping[str, Any], step: Mapping[str, Any], kind: str) -> list[Mapping[str, Any]]:
    found = []
    for each in step.get(kind) or ():
        reference = str(each.get("reference", ""))
        if reference.startswith("$components."):
            _, section, name = reference.split(".", 2)
            found.append(raw["components"][section][name])
        else:
            found.append(each)
    return found


@dataclass
class Passage:
    """One visit of a step: what was told between its start and what followed."""

    step_id: str
    succeeded: events.StepSucceeded | None = None
    taken: events.ActionTaken | None = None


def passages(told: Sequence[events.Event]) -> list[Passage]:
    """Give the visits of the entry workflow's own steps, in order."""
    found: list[Passage] = []
    for each in told:
        if each.path:
            continue
        if isinstance(each, events.StepStarted):
            found.append(Passage(each.step_id))
        elif isinstance(each, events.StepSucceeded):
            found[-1].succeeded = each
        elif isinstance(each, events.ActionTaken):
            found[-1].taken = each
        elif isinstance(each, events.Unchanged):  # as the visit before it
            found[-1] = found[-2]
    return found


def wrong_statuses(raw: Mapping[str, Any], workflow: str, visits: Sequence[Passage]) -> Iterator[str]:
    by_id = {each["stepId"]: each for each in steps_of(raw, workflow)}
    for visit in visits:
        step = by_id[visit.step_id]
        came = visit.succeeded.status if visit.succeeded else None
        for status in stated_statuses(step):
            if visit.succeeded and came is not None and came != status:
                yield f"{visit.step_id}: {came} came, and {status} is what the document names"


def wrong_turns(raw: Mapping[str, Any], workflow: str, visits: Sequence[Passage]) -> Iterator[str]:
    """Say where a step does not follow from the one before it."""
    order = [each["stepId"] for each in steps_of(raw, workflow)]
    if visits[0].step_id != order[0]:
        yield f"it begins with {visits[0].step_id}"
    for visit, following in zip(visits, [*visits[1:], None], strict=True):
        came = following.step_id if following else ""
        if visit.taken and visit.taken.type == "goto":
            wanted = visit.taken.target if visit.taken.target in order else ""
        elif visit.taken and visit.taken.type == "end":
            wanted = ""
        elif visit.taken:
            continue
        else:
            place = order.index(visit.step_id) + 1
            wanted = order[place] if place < len(order) else ""
        if came != wanted:
            yield f"after {visit.step_id} came {came or 'the end'} instead of {wanted or 'the end'}"


def unfinished_polls(raw: Mapping[str, Any], workflow: str, visits: Sequence[Passage]) -> Iterator[str]:
    """Say which loop was not gone round, or was left without the action that is there for it."""
    order = [each["stepId"] for each in steps_of(raw, workflow)]
    for step in steps_of(raw, workflow):
        mine = [each for each in visits if each.step_id == step["stepId"]]
        actions = actions_of(raw, step, "onSuccess")
        back = [
            each
            for each in actions
            if each["type"] == "goto"
            and each.get("stepId") in order[: order.index(step["stepId"]) + 1]
            and "$response" in json.dumps(each.get("criteria"))
        ]
        if not mine or not back:
            continue
        names = {each["name"] for each in back}
        rounds = [each for each in mine if each.taken and each.taken.name in names]
        if len(rounds) < 2:
            yield f"{step['stepId']} was not polled"
        if mine[-1].taken and mine[-1].taken.name in names:
            yield f"{step['stepId']} did not come out of its loop"
        leaving = [each for each in actions if each not in back and each.get("criteria")]
        if leaving and mine[-1].taken is None:
            yield f"{step['stepId']} fell through, though {leaving[0]['name']!r} is there"


def missing_outputs(raw: Mapping[str, Any], workflow: str, visits: Sequence[Passage], outcome: Outcome) -> list[str]:
    """Give the outputs of the workflow that name declared outputs of steps that were done, and have no value."""
    done = {each.step_id for each in visits if each.succeeded}
    by_id = {each["stepId"]: each for each in steps_of(raw, workflow)}
    declared = next(each for each in raw["workflows"] if each["workflowId"] == workflow).get("outputs") or {}
    found = []
    for name, value in declared.items():
        match = re.fullmatch(r"\$steps\.([\w-]+)\.outputs\.([\w-]+)", str(value))
        if (
            match
            and match[1] in done
            and match[2] in (by_id[match[1]].get("outputs") or {})
            and name not in outcome.outputs
        ):
            source = str(by_id[match[1]]["outputs"][match[2]])
            if source.startswith("$response"):
                found.append(name)
    return found


# ---------------------------------------------------------------------------------------------------------------------
# Tests
# ---------------------------------------------------------------------------------------------------------------------

RESULTS: dict[str, dict[str, int]] = {}


def count(family: str, what: str) -> None:
    row = RESULTS.setdefault(family, {})
    row[what] = row.get(what, 0) + 1


@pytest.mark.parametrize("entry", [pytest.param(each, id=each.path) for each in entries()])
def test_a_document_is_checked_without_a_crash(entry: Entry) -> None:
    """Findings are findings: whatever a document holds, checking ends with diagnostics."""
    count(entry.family, "documents")
    for each in check_document(entry.setup()).diagnostics:
        assert each.message
        assert each.render()


@pytest.mark.parametrize("entry", [pytest.param(each, id=each.path) for each in entries()])
def test_a_document_finds_its_sources_itself(entry: Entry) -> None:
    """Where they lie beside it, or where its repository has them, without being told."""
    document = load((CORPUS / entry.path).read_bytes(), str(CORPUS / entry.path))
    description, _ = build(document)
    assert description is not None
    for each in description.source_descriptions:
        if each.name in entry.sources and "://" not in each.url:
            assert Registry().locate(document, each) == (CORPUS / entry.sources[each.name]).as_uri()


@pytest.mark.parametrize(("entry", "workflow"), list(workflows()))
async def test_a_workflow_runs_to_its_end(entry: Entry, workflow: str) -> None:
    """It succeeds against the mock, with the steps, statuses, turns and outputs that the document names."""
    count(entry.family, "workflows")
    reason = reason_to_skip(entry, workflow)
    if reason:
        count(entry.family, "skipped")
        await refused_or_failed(entry, workflow)
        pytest.skip(reason)
    await runs_as_it_says(entry, workflow)
    count(entry.family, "passed")


async def runs_as_it_says(entry: Entry, workflow: str, *, missing: bool = False) -> None:
    outcome, told, mock, _ = await ran(entry, workflow, missing=missing)
    assert outcome.status == "succeeded", outcome.reason
    assert not [each.problem for each in mock.exchanges if each.problem]
    assert all(each.step_id for each in mock.exchanges), "the mock knew every request for a step's"
    visits = passages(told)
    assert not list(wrong_statuses(entry.raw, workflow, visits))
    assert not list(wrong_turns(entry.raw, workflow, visits))
    assert not list(unfinished_polls(entry.raw, workflow, visits))
    assert not missing_outputs(entry.raw, workflow, visits, outcome)
    count(entry.family, "steps")
    RESULTS[entry.family]["steps"] += len([each for each in told if isinstance(each, events.StepStarted)]) - 1


@pytest.mark.parametrize(
    ("entry", "workflow"), [each for each in workflows() if each.values[0].spelled_out or "sagemaker" in str(each.id)]
)
async def test_a_document_that_spells_its_requests_out_needs_no_source(entry: Entry, workflow: str) -> None:
    """With its API description out of reach it runs against a mock that is made from the document alone."""
    assert entry.spelled_out
    await runs_as_it_says(entry, workflow, missing=True)
    count(entry.family, "alone")


async def refused_or_failed(entry: Entry, workflow: str) -> None:
    """A document that cannot be run says so: never success."""
    if isinstance(opened_all(entry.path)[workflow], DescriptionError):
        return
    outcome, *_ = await ran(entry, workflow)
    assert outcome.status == "failed"
    assert outcome.reason


def choices() -> Iterator[Any]:
    """Give every action of every step of every entry workflow."""
    for entry in entries():
        for workflow in entry.raw["workflows"]:
            for step in workflow["steps"]:
                for kind in ("onSuccess", "onFailure"):
                    for action in actions_of(entry.raw, step, kind):
                        name = f"{entry.path}::{workflow['workflowId']}::{step['stepId']}::{action['name']}"
                        yield pytest.param(entry, workflow["workflowId"], step["stepId"], action["name"], id=name)


@pytest.mark.parametrize(("entry", "workflow", "step", "action"), list(choices()))
async def test_each_action_can_be_asked_for(entry: Entry, workflow: str, step: str, action: str) -> None:
    """`--take STEP=ACTION` leads a run through any action that its document's conditions let it reach."""
    if reason_to_skip(entry, workflow):
        pytest.skip(reason_to_skip(entry, workflow))
    opened = opened_all(entry.path)[workflow]
    assert isinstance(opened, Opened)
    # Some actions ask for certain inputs, which are not the mock's to choose.
    tried = [None, *variants(opened.plan)]
    told = [(await ran(entry, workflow, given, takes={step: action}))[1] for given in tried[:1]]
    while not reached(told[-1], step, action) and len(told) < len(tried):
        told.append((await ran(entry, workflow, tried[len(told)], takes={step: action}))[1])
    if not any(each.step_id == step for every in told for each in passages(every)):
        pytest.skip("the way leads past the step")
    assert reached(told[-1], step, action)
    count(entry.family, "actions")


def reached(told: Sequence[events.Event], step: str, action: str) -> bool:
    return any(each.step_id == step and each.taken and each.taken.name == action for each in passages(told))


def test_the_table_of_results(capsys: pytest.CaptureFixture[str]) -> None:
    """What came of it, by family."""
    columns = ("documents", "workflows", "passed", "skipped", "steps", "actions", "alone")
    lines = [f"{'family':<24}" + "".join(f"{each:>11}" for each in columns)]
    for family, row in sorted(RESULTS.items()):
        lines.append(f"{family:<24}" + "".join(f"{row.get(each, 0):>11}" for each in columns))
    total = [sum(row.get(each, 0) for row in RESULTS.values()) for each in columns]
    lines.append(f"{'all':<24}" + "".join(f"{each:>11}" for each in total))
    with capsys.disabled():
        print("\n\n" + "\n".join(lines))  # noqa: T201  (the table is what this is for)
    for row in RESULTS.values():
        assert row.get("passed", 0) + row.get("skipped", 0) == row.get("workflows", 0)
