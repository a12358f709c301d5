"""Treadle in a program: documents are read, looked at and run, with and without an event loop."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import treadle as package
from treadle.arazzo import events
from treadle.cli.opening import open_plan
from treadle.cli.tape import Still
from treadle.errors import DescriptionError, TransportError, UsageError
from treadle.home import Home, Lock
from treadle.http import ScriptedTransport
from treadle.library import Document, Result, RunError, load, run
from treadle.mock import Mock
from treadle.mock.app import serving
from treadle.seams import Request, Response
from treadle.stores.memory import MemoryRunStore
from treadle.stores.sqlite import SqliteRunStore

API = """\
openapi: 3.1.0
info: {title: Orders, version: 1.0.0}
servers: [{url: http://orders.example}]
paths:
  /orders/{id}:
    get:
      operationId: getOrder
      parameters: [{name: id, in: path, required: true, schema: {type: string}}]
      responses:
        '200':
          description: The order.
          content:
            application/json:
              schema: {type: object, properties: {state: {type: string, enum: [open, done]}}}
"""

ARAZZO = """\
arazzo: 1.0.1
info: {title: Orders, version: 1.0.0}
sourceDescriptions:
- {name: orders, url: ./orders.yaml, type: openapi}
workflows:
- workflowId: wait
  summary: Waits for an order.
  inputs:
    type: object
    required: [id]
    properties: {id: {type: string}, token: {type: string, format: password}, note: {type: string, default: none}}
  steps:
  - stepId: look
    operationId: getOrder
    parameters: [{name: id, in: path, value: $inputs.id}]
    successCriteria: [{condition: $statusCode == 200}]
    outputs: {state: $response.body#/state}
    onSuccess:
    - {name: again, type: goto, stepId: look, criteria: [{condition: $response.body#/state == 'open'}]}
  outputs: {state: $steps.look.outputs.state}
"""

SECOND = """\
- workflowId: once
  inputs: {type: object, properties: {id: {type: string}}}
  steps:
  - stepId: look
    operationId: getOrder
    parameters: [{name: id, in: path, value: $inputs.id}]
    successCriteria: [{condition: $statusCode == 200}]
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Give a document beside its API description."""
    (tmp_path / "orders.yaml").write_text(API)
    (tmp_path / "orders.arazzo.yaml").write_text(ARAZZO)
    return tmp_path / "orders.arazzo.yaml"


@pytest.fixture
def at_home(home: Home, monkeypatch: pytest.MonkeyPatch) -> Home:
    """Give the home that this process uses."""
    monkeypatch.setenv("TREADLE_HOME", str(home.root))
    return home


def answer(state: str = "done", status: int = 200) -> Response:
    return Response(status, (("Content-Type", "application/json"),), json.dumps({"state": state}).encode())


def scripted(*states: str) -> ScriptedTransport:
    return ScriptedTransport([answer(each) for each in states])


# -- reading ----------------------------------------------------------------------------------------------------------


def test_a_document_says_what_it_has(path: Path) -> None:
    """Workflows in their order, with inputs, outputs, steps and the line where they begin."""
    path.write_text(ARAZZO + SECOND)
    found = load(path).workflows
    assert list(found) == ["wait", "once"]
    wait = found["wait"]
    assert (wait.summary, wait.outputs, wait.steps, wait.line) == ("Waits for an order.", ("state",), ("look",), 6)
    assert {name: each.required for name, each in wait.inputs.items()} == {"id": True, "token": False, "note": False}
    assert wait.inputs["token"].secret


@pytest.mark.parametrize("text", ["", "a: [", "openapi: 3.1.0"], ids=["empty", "broken", "api"])
def test_what_is_no_document_is_refused(tmp_path: Path, text: str) -> None:
    """With everything that is wrong, as on the command line."""
    file = tmp_path / "x.arazzo.yaml"
    file.write_text(text)
    with pytest.raises(DescriptionError) as caught:
        load(file)
    assert str(file) in str(caught.value)


def test_check_gives_the_findings(path: Path) -> None:
    """Nothing for a good document; the rule and the line for another; switches of `treadle.toml` count."""
    assert {each.severity for each in load(path).check()} == {"note"}
    path.write_text(ARAZZO.replace("operationId: getOrder", "operationId: getOrders"))
    errors = [each for each in load(path).check() if each.severity == "error"]
    assert [each.place.line for each in errors if each.place] == [14]
    path.write_text(ARAZZO.replace("note: {", "unused: {type: string}, note: {"))
    assert "unused-input" in {each.rule for each in load(path).check()}
    (path.parent / "treadle.toml").write_text('[rules]\nunused-input = "off"\n')
    assert "unused-input" not in {each.rule for each in load(path).check()}


# -- running ----------------------------------------------------------------------------------------------------------


async def test_a_run_ends_with_its_result(path: Path) -> None:
    """Typed, frozen, with outputs; requests were those of the document; the transport stays the caller's."""
    transport = scripted("open", "open", "done")
    result = await load(path).run(inputs={"id": "7"}, store="memory", transport=transport, poll=0)
    assert (result.ok, result.workflow, result.status, result.outputs) == (True, "wait", "succeeded", {"state": "done"})
    assert result.raise_for_status() is result
    assert [each.url for each in transport.requests] == ["http://orders.example/orders/7"] * 3
    assert not transport.closed
    with pytest.raises(AttributeError):
        result.status = "failed"  # type: ignore[misc]


async def test_a_run_that_fails_says_why(path: Path) -> None:
    """The result has step and reason; `raise_for_status` makes an error of it."""
    transport = ScriptedTransport([answer("gone", 404)])
    result = await load(path).run("wait", {"id": "7"}, store="memory", transport=transport)
    assert (result.ok, result.status, result.step, result.last_body) == (False, "failed", "look", {"state": "gone"})
    with pytest.raises(RunError, match=r"the workflow wait ended failed at look: .*404") as caught:
        result.raise_for_status()
    assert caught.value.result is result


async def test_what_is_wrong_before_is_raised(path: Path) -> None:
    """Inputs, workflows and options that are wrong send nothing."""
    transport = scripted()
    document = load(path)
    with pytest.raises(DescriptionError, match="the input `id` is missing"):
        await document.run(store="memory", transport=transport)
    with pytest.raises(DescriptionError, match="waiting"):
        await document.run("waiting", {"id": "7"}, store="memory", transport=transport)
    with pytest.raises(UsageError, match="no source petstore"):
        await load(path, servers={"petstore": "http://x"}).run(inputs={"id": "7"}, store="memory", transport=transport)
    assert transport.requests == []


async def test_what_was_read_is_what_is_run(path: Path) -> None:
    """A file that changes meanwhile changes nothing for a document that was read."""
    document = load(path)
    path.write_text("no longer there")
    assert (await document.run(inputs={"id": "7"}, store="memory", transport=scripted("done"))).ok


async def test_events_come_one_by_one_and_then_the_result(path: Path) -> None:
    """The iterator ends with the run; awaiting it then gives the result, as often as one likes."""
    begun = load(path).start(inputs={"id": "7"}, store="memory", transport=scripted("open", "done"), poll=0)
    seen = [event async for event in begun]
    assert isinstance(seen[0], events.RunStarted)
    assert isinstance(seen[-1], events.RunFinished)
    assert sum(isinstance(each, events.RequestSent) for each in seen) == 2
    assert await begun == await begun
    assert (await begun).run_id == seen[0].run_id
    assert [event async for event in begun] == []


async def test_secrets_do_not_appear_in_events(path: Path) -> None:
    """What the schema calls a password is masked before anybody is told."""
    inputs = {"id": "7", "token": "correct-horse"}
    begun = load(path).start(inputs=inputs, store="memory", transport=scripted("done"))
    assert not any(b"correct-horse" in events.encode(each) for each in [event async for event in begun])


async def test_leaving_a_run_interrupts_it(path: Path) -> None:
    """`async with` leaves no task behind; the run can be resumed."""
    transport = ScriptedTransport(lambda _: answer("open"))
    store = MemoryRunStore()
    async with load(path).start(inputs={"id": "7"}, store=store, transport=transport, poll=60) as begun:
        async for event in begun:
            if isinstance(event, events.Waiting):
                break
    result = await begun
    assert (result.status, result.resumable) == ("interrupted", True)
    assert [each.status for each in await store.runs()] == ["interrupted"]


async def test_the_cause_is_what_was_raised_within(path: Path) -> None:
    """A run that ends meanwhile, whichever way, does not hide it."""
    with pytest.raises(KeyError):
        async with load(path).start(inputs={}, store="memory", transport=scripted()):
            raise KeyError
    with pytest.raises(DescriptionError):
        async for _ in load(path).start(inputs={}, store="memory", transport=scripted()):
            pass


async def test_cancelling_the_task_cancels_the_run(path: Path) -> None:
    """As any other coroutine."""
    asked = asyncio.Event()

    async def never(_: Request) -> Response:
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError

    running = asyncio.create_task(
        load(path).run(inputs={"id": "7"}, store="memory", transport=ScriptedTransport([never]))
    )
    await asked.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_many_runs_of_one_document_at_once(path: Path) -> None:
    """They know nothing of each other."""
    document = load(path)
    found = await asyncio.gather(
        *(document.run(inputs={"id": str(n)}, store="memory", transport=scripted("done")) for n in range(20))
    )
    assert len({each.run_id for each in found}) == 20
    assert all(each.ok for each in found)


# -- durable ----------------------------------------------------------------------------------------------------------


async def test_runs_are_kept_at_home(path: Path, at_home: Home) -> None:
    """As those of the command line are; `store="memory"` leaves nothing."""
    document = load(path)
    await document.run(inputs={"id": "7"}, store="memory", transport=scripted("done"))
    assert not at_home.runs_db.exists()
    result = await document.run(inputs={"id": "7"}, transport=scripted("done"))
    store = SqliteRunStore(at_home.runs_db)
    kept = await store.load(result.run_id)
    await store.close()
    assert kept is not None
    assert kept.status == "succeeded"
    assert not at_home.driven(result.run_id)


async def test_the_command_line_goes_on(
    path: Path, at_home: Home, treadle: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    """The setup is stored with it: document, servers, inputs."""
    refused = ScriptedTransport(lambda request: TransportError("refused", "nobody there", sent=False, url=request.url))
    listening = socket.create_server(("127.0.0.1", 0))
    with listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        named = load(path, servers={"orders": url})
        async with named.start(inputs={"id": "7"}, transport=refused) as begun:
            async for event in begun:
                if isinstance(event, events.Trouble):
                    break
        result = await begun
        assert result.status == "interrupted"
        plan = await asyncio.to_thread(lambda: open_plan(named.setup).plan)
        async with serving(Mock([plan], {"orders": url}), listening, None):
            done = await asyncio.to_thread(treadle, "resume", result.run_id, "--poll", "0")
    assert done.returncode == 0, done.stderr
    assert "state: done" in " ".join(done.stdout.split())
    assert not at_home.driven(result.run_id)


async def test_a_recording_is_replayed(path: Path, tmp_path: Path, at_home: Home) -> None:
    """No network, no waiting, nothing stored; another document than the recorded one is noticed."""
    tape = tmp_path / "run.tape"
    await load(path).run(
        inputs={"id": "7"}, store="memory", transport=scripted("open", "done"), record=tape, clock=Still()
    )
    again = await load(path).run(replay=tape)
    assert (again.status, again.outputs) == ("succeeded", {"state": "done"})
    assert not at_home.runs_db.exists()
    path.write_text(ARAZZO.replace("goto, stepId: look", "end"))
    with pytest.raises(UsageError, match="1 recorded request was not sent"):
        await load(path).run(replay=tape)


# -- the service of this machine --------------------------------------------------------------------------------------


async def test_the_local_service_stays_while_a_run_lasts(root: Path, at_home: Home) -> None:
    """It is started, asked with its own credentials, and held by the lock that tells it of its users."""
    example = root / "examples/sagemaker"
    inputs = {**json.loads((example / "inputs.json").read_text()), "trainingJobName": "digits-1"}
    begun = load(example / "train-and-poll-job.arazzo.yaml", on="local").start(inputs=inputs, store="memory")
    held = [_in_use(at_home) async for event in begun if isinstance(event, events.RequestSent)]
    result = await begun
    assert set(held) == {True}
    assert (result.status, result.step) == ("failed", "createTrainingJob")  # there is no such image
    assert not _in_use(at_home)


def _in_use(home: Home) -> bool:
    """Tell whether anybody has the lock, shared as its users have it."""
    taken = Lock.alone(home.clients_lock)
    if taken is not None:
        taken.release()
    return taken is None


# -- the mock ---------------------------------------------------------------------------------------------------------


def test_on_mock_needs_no_server_and_no_inputs(path: Path, at_home: Home) -> None:
    """It is played as the document wants it, at once, without a trace on the disk."""
    result = run(path, on="mock")
    assert (result.status, result.outputs) == ("succeeded", {"state": "done"})
    assert not at_home.root.exists()


def test_on_mock_the_document_must_be_good(path: Path) -> None:
    """A workflow that cannot be run is refused as anywhere else, also one that is not named."""
    path.write_text(ARAZZO + SECOND)
    with pytest.raises(DescriptionError, match="the document has 2 workflows"):
        run(path, on="mock")
    assert run(path, "once", {"id": "1"}, on="mock").ok
    path.write_text(ARAZZO.replace("operationId: getOrder", "operationId: getOrders"))
    with pytest.raises(DescriptionError, match="getOrders"):
        run(path, on="mock")


# -- without an event loop --------------------------------------------------------------------------------------------


def test_without_an_event_loop(path: Path) -> None:
    """`run` takes a path or a document, and gives the result."""
    assert run(str(path), inputs={"id": "7"}, store="memory", transport=scripted("done")).ok
    document = load(path)
    assert run(document, inputs={"id": "7"}, store="memory", transport=scripted("done")).ok
    with pytest.raises(UsageError, match="belong to the document"):
        run(document, on="local")


async def test_within_an_event_loop_it_says_what_to_do(path: Path) -> None:
    """A loop that is blocked would serve nobody else."""
    with pytest.raises(UsageError, match="within an event loop") as caught:
        run(path)
    assert "await" in caught.value.hint


def test_the_package_gives_the_names() -> None:
    """They are those of the library; others are not there."""
    assert (package.load, package.run, package.Document, package.Result) == (load, run, Document, Result)
    assert set(package.__all__) <= set(dir(package))
    with pytest.raises(AttributeError, match="loads"):
        package.loads  # type: ignore[attr-defined]  # noqa: B018


def test_nothing_is_imported_for_those_who_do_not_use_it() -> None:
    """Neither by the package nor by the command line's help."""
    code = "import sys, treadle, treadle.pytest_plugin; print([n for n in sys.modules if n.startswith('treadle.')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['treadle._version', 'treadle.pytest_plugin']"
