"""Secrets given by reference: looked up when needed, stored as references, shown to nobody."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import pytest

from tests.arazzo.shelf import Shelf
from tests.arazzo.test_run_messages import Collected, Nobody
from treadle.arazzo import events
from treadle.arazzo.references import References, prepared, referring
from treadle.arazzo.run import Outcome, RunOptions, run
from treadle.arazzo.secrecy import Secrets
from treadle.errors import UsageError
from treadle.http import ScriptedTransport
from treadle.masking import MASK
from treadle.seams import Json, Response, RunRecord
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


class Kept(MemoryRunStore):
    """A store that remembers every state that a run was in."""

    def __init__(self) -> None:
        super().__init__()
        self.states: list[bytes] = []

    async def save(self, record: RunRecord, events: Sequence[bytes] = ()) -> None:
        self.states.append(record.state)
        await super().save(record, events)


class World:
    def __init__(self, tmp_path: Path, document: str = DOCUMENT) -> None:
        self.plan = Shelf(tmp_path, {"main.yaml": document}).open("outer").plan
        self.http = ScriptedTransport(lambda _: Response(200, (("Content-Type", "application/json"),), b"{}"))
        self.store = Kept()
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
            options=RunOptions(run_id="r", references=references),
        )

    async def kept(self) -> bytes:
        """Give all that is stored of the run in the end."""
        return self.store.states[-1] + b"".join(await self.store.events("r"))

    def shown(self) -> bytes:
        return b"".join(events.encode(fact) for fact in self.told.facts)


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
    assert b'"key":"env:MY_TOKEN"' in b"".join(world.store.states)
    assert b"s3cret-value" not in world.store.states[0] + await world.kept() + world.shown()


async def test_of_a_run_that_has_ended_its_story_is_kept_and_no_secret(tmp_path: Path) -> None:
    """What is needed to go on, plain secrets among it, is needed no more."""
    world = World(tmp_path)
    assert (await world.run({"token": "given-plainly"})).status == "succeeded"
    assert b"given-plainly" in world.store.states[0]
    assert b"given-plainly" not in await world.kept()
    assert b"StepSucceeded" in await world.kept()


@pytest.mark.parametrize(
    ("secret", "written"),
    [
        pytest.param("a/b+c&d=e f", "a%2Fb%2Bc%26d%3De%20f", id="percent-encoded"),
        pytest.param("a/b+c&d=e f", "a%2Fb%2Bc%26d%3De+f", id="form"),
        pytest.param('say "hi" \\o/', '{"t": "say \\"hi\\" \\\\o/"}', id="JSON in JSON"),
        pytest.param("pässwort", "p%C3%A4sswort", id="UTF-8"),
        pytest.param("longer-than", "longer-than-it-looks", id="beginning of a longer text"),
    ],
)
def test_a_secret_is_masked_however_it_was_written(secret: str, written: str) -> None:
    """In the address that it was put into, and in what an answer quotes."""
    secrets = Secrets().also([secret])
    fact = events.StepSucceeded(at=1, run_id="r", step_id="s", outputs={"o": [{"url": f"http://h/{written}/x"}]})
    assert secret not in str(fact) or written.startswith(secret)
    masked = secrets.mask(fact)
    assert written not in str(masked)
    assert MASK in masked.outputs["o"][0]["url"]


def test_a_secret_within_another_leaves_nothing_of_it() -> None:
    """The longer one is hidden first; what is too short to be a secret hides nothing."""
    secrets = Secrets().also(["pass", "passw0rd-long", "abc"])
    fact = events.Warned(at=1, run_id="r", rule="x", message="passw0rd-long, pass, abc")
    assert getattr(secrets.mask(fact), "message", "") == f"{MASK}, {MASK}, abc"


@pytest.mark.parametrize("secret", ["status", "succeeded", "type", "message", "event", "path", "direct", "200", "true"])
async def test_a_secret_that_is_a_word_of_the_engine_disturbs_nothing(tmp_path: Path, secret: str) -> None:
    """What an event is, and what the document calls its steps, are no secrets, whatever the password is."""
    world = World(tmp_path, DOCUMENT.replace(", minLength: 8", "").replace("{plain: $inputs.plain", "{succeeded: ok"))
    outcome = await world.run({"token": secret})
    assert outcome.status == "succeeded"
    read = [events.decode(each) for each in await world.store.events("r")]
    assert [type(each) for each in read[:2]] == [events.RunStarted, events.StepStarted]
    assert getattr(read[1], "step_id", "") == "direct"


FULL: dict[str, Any] = {
    "RunStarted": {"document": "d", "workflow_id": "w", "inputs": {"a": ["s3cret"], "s3cret": 1}},
    "Resumed": {"step_id": "s"},
    "StepStarted": {"step_id": "s", "visit": 1},
    "RequestSent": {"step_id": "s", "method": "GET", "url": "http://h/s3cret"},
    "AnswerReceived": {"step_id": "s", "status": 200, "seconds": 0.1, "size": 1, "problem": "s3cret is no JSON"},
    "MessageReceived": {"step_id": "s", "channel": "c/s3cret", "seconds": 0.1},
    "Trouble": {"step_id": "s", "message": "no s3cret", "tries": 1, "again_at": 2.0},
    "CriteriaJudged": {
        "step_id": "s",
        "passed": False,
        "verdicts": [{"condition": "x == 's3cret'", "passed": False, "reasons": ["s3cret"], "problem": "s3cret"}],
    },
    "StepSucceeded": {"step_id": "s", "outputs": {"o": {"s3cret": "s3cret"}}},
    "StepFailed": {"step_id": "s", "reason": "s3cret", "outputs": {"o": "s3cret"}},
    "Unchanged": {"step_id": "s", "status": 200, "seconds": 0.1, "size": 1},
    "ActionTaken": {"step_id": "s", "name": "a", "type": "end"},
    "Waiting": {"step_id": "s", "until": 2.0, "why": "poll"},
    "Warned": {"rule": "r", "message": "s3cret"},
    "RunFinished": {"status": "failed", "outputs": {"o": "s3cret"}, "reason": "s3cret", "last_body": {"b": "s3cret"}},
}


@pytest.mark.parametrize("name", [each.__name__ for each in get_args(events.Event)])
def test_no_event_shows_a_secret(name: str) -> None:
    """Whatever member it stands in; what cannot hold one stays as it is."""
    plain = events.decode(json.dumps({"event": name, "at": 1, "run_id": "r", **FULL[name]}).encode())
    masked = Secrets().also(["s3cret"]).mask(plain)
    assert b"s3cret" not in events.encode(masked)
    assert events.encode(masked) == events.encode(plain).replace(b"s3cret", MASK.encode())


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
    world = World(tmp_path, document)
    world.http = ScriptedTransport(
        lambda _: Response(200, (("Content-Type", "application/json"),), b'{"t":"handed-on-token"}')
    )
    assert (await world.run({"token": "given-plainly"})).status == "succeeded"
    after_call = [fact for fact in world.told.facts if getattr(fact, "path", ()) == ("outer",)]
    assert after_call
    assert all(b"handed-on-token" not in events.encode(fact) for fact in after_call)
