"""`treadle mock` as a process, and runs against it: recorded, and replayed without it."""

from __future__ import annotations

import json
import re
import shlex
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.mock.shelf import api, operation

Run = Callable[..., "subprocess.CompletedProcess[str]"]

DOCUMENT = """\
arazzo: 1.0.1
info: {title: Jobs, version: 1.0.0}
sourceDescriptions:
- {name: jobs, url: ./jobs.json, type: openapi}
workflows:
- workflowId: run-job
  inputs:
    type: object
    required: [name, key]
    properties:
      name: {type: string}
      key: {type: string, format: password}
      more: {type: object, properties: {pin: {type: string, format: password}}}
      size: {type: integer, default: 3}
  steps:
  - stepId: create
    operationId: create
    parameters: [{name: X-Api-Key, in: header, value: $inputs.key}]
    requestBody: {payload: {name: $inputs.name, size: $inputs.size, more: $inputs.more}}
    successCriteria: [{condition: $statusCode == 202}]
    outputs: {id: $response.body#/id}
  - stepId: poll
    operationId: get
    parameters: [{name: id, in: path, value: $steps.create.outputs.id}]
    onSuccess:
    - name: again
      type: goto
      stepId: poll
      criteria: [{context: $response.body, type: jsonpath, condition: '$.state == "running"'}]
    - name: failed
      type: end
      criteria: [{condition: $response.body#/state == 'failed'}]
    outputs: {state: $response.body#/state}
  outputs: {state: $steps.poll.outputs.state}
"""
STATES = {"type": "object", "properties": {"state": {"enum": ["running", "failed", "done"]}}}
API = api(
    {
        "create": ("POST /jobs", operation({"type": "object"}, status=201)),
        "get": ("GET /jobs/{id}", operation(STATES, parameters=[{"name": "id", "in": "path", "required": True}])),
    }
)


@pytest.fixture
def document(tmp_path: Path) -> Path:
    path = tmp_path / "work"
    path.mkdir(exist_ok=True)
    (path / "jobs.json").write_text(json.dumps({**API, "servers": [{"url": "https://jobs.invalid/v1"}]}))
    (path / "flow.yml").write_text(DOCUMENT)
    return path / "flow.yml"


class Mock:
    """A mock as a process: what it printed first, and where it listens."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []
        assert process.stdout is not None
        for line in process.stdout:
            self.lines.append(line.rstrip())
            if "Ctrl-C" in line:
                break
        found = re.search(r"http://\S+", "\n".join(self.lines))
        assert found, self.lines
        self.url = found[0]

    @property
    def command(self) -> list[str]:
        """The arguments of the command that it prints."""
        line = next(each for each in self.lines if each.strip().startswith("treadle run"))
        return shlex.split(line)[1:]

    def end(self) -> tuple[int, str]:
        self.process.send_signal(signal.SIGINT)
        _, said = self.process.communicate(timeout=20)
        return self.process.returncode, said


@pytest.fixture
def serve(environment: dict[str, str]) -> Iterator[Callable[..., Mock]]:
    started: list[subprocess.Popen[str]] = []

    def begin(*args: str) -> Mock:
        process = subprocess.Popen(
            [sys.executable, "-m", "treadle.cli", "mock", *args],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        started.append(process)
        return Mock(process)

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def test_the_printed_command_runs_the_document_against_the_mock(
    serve: Callable[..., Mock], treadle: Run, document: Path
) -> None:
    """It is copied from the terminal and succeeds; the mock tells of each request and ends in order."""
    mock = serve(str(document), "--visits", "1")
    assert any("POST /jobs" in line for line in mock.lines)
    done = treadle(*mock.command, "--poll", "0")
    assert done.returncode == 0, done.stderr
    assert "done" in done.stdout
    code, said = mock.end()
    assert code == 0
    assert re.findall(r"(\d{3})  (\w+) \S+  step (\w+)", said) == [
        ("202", "POST", "create"),
        ("200", "GET", "poll"),
        ("200", "GET", "poll"),
    ]


def test_requests_by_hand_are_answered_and_refused(serve: Callable[..., Mock], document: Path) -> None:
    """Any client may call it; what is not served is a 404 that lists what is."""
    mock = serve(str(document))
    with urllib.request.urlopen(f"{mock.url}/jobs/7", timeout=10) as answer:
        assert json.load(answer)["state"] == "running"
        assert answer.headers["Content-Type"] == "application/json"
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{mock.url}/nothing", timeout=10)
    with refused.value as error:
        assert error.code == 404
        assert json.load(error)["served"] == ["POST /jobs", "GET /jobs/{id}"]


def test_a_run_is_recorded_and_replayed_without_the_server(
    serve: Callable[..., Mock], treadle: Run, document: Path, tmp_path: Path
) -> None:
    """The recording holds no secret; replayed, the run gives the same outputs with nobody listening, and at once."""
    recording = tmp_path / "run.jsonl"
    mock = serve(str(document))
    inputs = ["-i", "name=n", "-i", "key=very-secret-key", "-i", 'more={"pin": "secret-within"}']
    first = treadle("run", str(document), *inputs, "--server", f"jobs={mock.url}", "--record", str(recording), "-q")
    assert first.returncode == 0, first.stderr
    mock.end()
    assert "very-secret-key" not in recording.read_text()
    assert "secret-within" not in recording.read_text()
    again = treadle("run", str(document), "--replay", str(recording), "-q")
    assert (again.returncode, again.stdout) == (0, first.stdout), again.stderr
    other = treadle("run", str(document), "--replay", str(recording), "-q", "-i", "size=4")
    assert other.returncode == 1
    assert "the body at /size was '3' and is '4'" in other.stderr


def test_a_replay_that_ends_early_says_so(serve: Callable[..., Mock], treadle: Run, document: Path) -> None:
    """A document that no longer sends a recorded request has changed."""
    recording = document.with_name("run.jsonl")
    mock = serve(str(document))
    assert treadle(*mock.command, "--record", str(recording), "-q").returncode == 0
    lines = recording.read_text().splitlines()
    recording.write_text("\n".join([*lines, lines[-1]]) + "\n")
    ended = treadle("run", str(document), "--replay", str(recording), "-q")
    assert ended.returncode == 1
    assert "1 recorded request was not sent" in ended.stderr


def test_record_and_replay_exclude_each_other(treadle: Run, document: Path) -> None:
    """Nothing is sent, and nothing is written."""
    recording = document.with_name("run.jsonl")
    recording.write_text("{}")
    refused = treadle("run", str(document), "--record", str(recording), "--replay", str(recording))
    assert refused.returncode == 2
    assert "exclude each other" in refused.stderr


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        ([], 0, ["run-job: succeeded", "202  create  success", "200  poll  success, goto 'again'"]),
        (["--take", "poll=failed", "--visits", "0"], 0, ["200  poll  success, end 'failed'"]),
        (["--workflow", "run-job"], 0, ["run-job: succeeded"]),
        (["--workflow", "other"], 2, ["There is no workflow other"]),
    ],
)
def test_a_rehearsal_serves_nothing(args: list[str], code: int, said: list[str], treadle: Run, document: Path) -> None:
    """It says what a run of each workflow would meet, and whether it would succeed."""
    done = treadle("mock", str(document), "--rehearse", *args)
    assert done.returncode == code, done.stderr
    for each in said:
        assert each in done.stdout + done.stderr


def test_what_cannot_be_satisfied_is_told(treadle: Run, document: Path) -> None:
    """A criterion that no answer can satisfy: exit code 1, and the step is named."""
    document.write_text(DOCUMENT.replace("$statusCode == 202", "$statusCode == 202 && $statusCode == 201"))
    done = treadle("mock", str(document), "--rehearse")
    assert done.returncode == 1
    assert "cannot be satisfied: run-job: no answer was found that satisfies the step 'create'" in done.stdout


def test_a_document_that_cannot_be_planned_is_refused(treadle: Run, document: Path) -> None:
    """Without its API description, and with requests that are not spelled out, there is nothing to serve."""
    document.with_name("jobs.json").unlink()
    done = treadle("mock", str(document))
    assert done.returncode == 2
    assert "There is no workflow that could be served." in done.stderr
    assert "jobs.json" in done.stderr


SPELLED_OUT = """\
arazzo: 1.0.1
info: {title: Jobs, version: 1.0.0}
sourceDescriptions: [{name: a, url: ./nowhere.yml, type: openapi}, {name: b, url: ./gone.yml, type: openapi}]
workflows:
- workflowId: w
  steps:
  - stepId: poll
    operationId: Describe
    parameters: [{name: X-Amz-Target, in: header, value: SageMaker.Describe}]
    onSuccess:
    - name: again
      type: goto
      stepId: poll
      criteria: [{context: $response.body, type: jsonpath, condition: '$.Status == "InProgress"'}]
    outputs: {status: $response.body#/Status}
  outputs: {status: $steps.poll.outputs.status}
"""


def test_a_document_that_spells_its_requests_out_needs_no_description(
    serve: Callable[..., Mock], treadle: Run, tmp_path: Path
) -> None:
    """None of its sources can be read: what is served comes from the document alone."""
    path = tmp_path / "alone.yml"
    path.write_text(SPELLED_OUT)
    mock = serve(str(path))
    assert any("X-Amz-Target: SageMaker.Describe" in line for line in mock.lines)
    done = treadle(*mock.command, "--poll", "0", "-q")
    assert done.returncode == 0, done.stderr
    assert "Completed" in done.stdout


def test_a_port_that_is_taken_is_told(serve: Callable[..., Mock], treadle: Run, document: Path) -> None:
    """Exit code 2, with the address."""
    mock = serve(str(document))
    port = mock.url.rpartition(":")[2]
    done = treadle("mock", str(document), "--port", port)
    assert done.returncode == 2
    assert f"127.0.0.1:{port} cannot be listened on" in done.stderr
