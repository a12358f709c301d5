"""Secrets given by reference: looked up when needed, stored as references, shown to nobody."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.arazzo.shelf import Shelf
from tests.arazzo.test_run_messages import Collected, Nobody
from treadle.arazzo import events
from treadle.arazzo.references import References, prepared, referring
from treadle.arazzo.run import Outcome, RunOptions, Secrets, run
from treadle.errors import UsageError
from treadle.http import ScriptedTransport
from treadle.seams import Json, Response
from treadle.stores.memory import MemoryRunStore

DOCUMENT = """
sourceDescriptions: [{name: api, url: api.json, type: openapi}]
workflows:
- workflowId: outer
  inputs:
    type: object
    required: [token]
    properties: {token: {type: string, format: password, minLength: 8}, plain: {type: string}}
  steps:
  - stepId: direct
    operationId: one
    parameters: [{name: Authorization, in: header, value: 'Bearer {$inputs.token}'}]
    requestBody: {payload: {plain: $inputs.plain, token: $inputs.token}}
  - stepId: call
    workflowId: inner
    parameters: [{name: key, value: $inputs.token}, {name: text, value: $inputs.token}, {name: fixed, value: 'env:HOME'}]
- workflowId: inner
  inputs:
    type: object
    properties: {key: {type: string, writeOnly: true}, text: {type: string}, fixed: {type: string, format: password}}
  steps:
  - {stepId: s, operationId: two, requestBody: {payload: {key: $inputs.key, text: $inputs.text, fixed: $inputs.fixed}}}
"""


class World:
    def __init__(self, tmp_path: Path) -> None:
        self.plan = Shelf(tmp_path, {"main.yaml": DOCUMENT}).open("outer").plan
        self.http = ScriptedTransport(lambda _: Response(200, (("Content-Type", "application/json"),), b"{}"))
        self.store = MemoryRunStore()
        self.told = Collected()

    async def run(self, given: dict[str, Json]) -> Outcome:
        entry = self.plan.workflows["outer"].inputs
        values, references = referring(entry, given)
        inputs, found = prepared(entry, values, references)
        assert [each for each in found if each.severity == "error"] == []
        return await run(
            self.plan,
            inputs,
            transport=self.http,
            authoriser=Nobody(),
            store=self.store,
            reporter=self.told,
            options=RunOptions(run_id="r", references=references, secrets=Secrets.of(inputs, entry.secrets)),
        )

    async def stored(self) -> bytes:
        record = await self.store.load("r")
        assert record is not None
        return record.state + b"".join(await self.store.events("r"))


async def test_a_reference_is_looked_up_for_requests_and_stored_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the database nor a reporter sees the secret."""
    monkeypatch.setenv("MY_TOKEN", "s3cret-value")
    world = World(tmp_path)
    assert (await world.run({"token": "env:MY_TOKEN", "plain": "env:MY_TOKEN"})).status == "succeeded"
    first, second = world.http.requests
    assert first.header("Authorization") == "Bearer s3cret-value"
    assert first.body == b'{"plain":"env:MY_TOKEN","token":"s3cret-value"}'
    assert second.body == b'{"key":"s3cret-value","text":"s3cret-value","fixed":"env:HOME"}'
    stored = await world.stored()
    assert b'"key":"env:MY_TOKEN"' in stored
    shown = b"".join(events.encode(fact) for fact in world.told.facts)
    assert b"s3cret-value" not in shown


async def test_a_document_cannot_look_anything_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what the user wrote is a reference: `env:HOME` in a document is text, even for a secret input."""
    monkeypatch.setenv("HOME", "/somewhere/private")
    world = World(tmp_path)
    await world.run({"token": "given-plainly"})
    assert b"private" not in world.http.requests[1].body


async def test_a_file_is_read_again_when_it_changes(tmp_path: Path) -> None:
    """A token that is renewed in the middle of a run is used at once."""
    path = tmp_path / "token"
    path.write_text("first-token\n")
    world = World(tmp_path)

    def answer(request: object) -> Response:
        del request
        path.write_text("second-token\n")
        os.utime(path, ns=(1, 1))
        return Response(200, (("Content-Type", "application/json"),), b"{}")

    world.http = ScriptedTransport(answer)
    await world.run({"token": f"file:{path}"})
    assert b"first-token" in world.http.requests[0].body
    assert b"second-token" in world.http.requests[1].body


def test_a_relative_path_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run may be taken up again from another directory."""
    monkeypatch.chdir(tmp_path)
    entry = World(tmp_path).plan.workflows["outer"].inputs
    values, references = referring(entry, {"token": "file:token", "plain": "file:other"})
    assert values == {"token": f"file:{tmp_path}/token", "plain": "file:other"}
    assert references == (f"file:{tmp_path}/token",)


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        pytest.param("env:NOT_SET_AT_ALL", "NOT_SET_AT_ALL is not set", id="environment"),
        pytest.param("file:/not/there", "cannot be read", id="file"),
    ],
)
def test_a_reference_to_nothing_is_told_before_the_run(reference: str, words: str) -> None:
    """Exit code 2: nothing was sent."""
    with pytest.raises(UsageError, match=words):
        References([reference])


def test_a_secret_is_judged_by_its_schema_not_the_reference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`minLength` is about the secret."""
    monkeypatch.setenv("SHORT", "abc")
    entry = World(tmp_path).plan.workflows["outer"].inputs
    values, found = prepared(entry, {"token": "env:SHORT"}, ["env:SHORT"])
    assert values == {"token": "env:SHORT"}
    errors = [each.message for each in found if each.severity == "error"]
    assert len(errors) == 1
    assert "abc" not in errors[0]


async def test_secrets_that_workflows_hand_to_each_other_are_masked(tmp_path: Path) -> None:
    """A token that a step got and passes on is known by the schema of the workflow that takes it."""
    document = DOCUMENT.replace("value: $inputs.token}, {name: text", "value: $steps.direct.outputs.t}, {name: text")
    document = document.replace(
        "    requestBody: {payload: {plain", "    outputs: {t: $response.body#/t}\n    requestBody: {payload: {plain"
    )
    world = World.__new__(World)
    world.plan = Shelf(tmp_path, {"main.yaml": document}).open("outer").plan
    world.http = ScriptedTransport(
        lambda _: Response(200, (("Content-Type", "application/json"),), b'{"t":"handed-on-token"}')
    )
    world.store, world.told = MemoryRunStore(), Collected()
    assert (await world.run({"token": "given-plainly"})).status == "succeeded"
    after_call = [fact for fact in world.told.facts if getattr(fact, "path", ()) == ("outer",)]
    assert after_call
    assert all(b"handed-on-token" not in events.encode(fact) for fact in after_call)
