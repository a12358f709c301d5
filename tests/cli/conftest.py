"""A server that answers like the training API from a script, and a document that drives it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from treadle.cli import app
from treadle.home import Home

ARN = "arn:aws:sagemaker:us-east-1:000000000000:training-job/churn-1"

# What follows the payload of a step `create`: it waits until the job has ended.
WAITING = """\
    successCriteria:
    - condition: $statusCode == 200
    outputs:
      arn: $response.body#/TrainingJobArn
  - stepId: poll
    operationId: DescribeTrainingJob
    parameters:
    - {name: X-Amz-Target, in: header, value: SageMaker.DescribeTrainingJob}
    requestBody:
      contentType: application/x-amz-json-1.1
      payload: {TrainingJobName: $inputs.job}
    successCriteria:
    - condition: $statusCode == 200
    outputs:
      status: $response.body#/TrainingJobStatus
      secondaryStatus: $response.body#/SecondaryStatus
    onSuccess:
    - name: again
      type: goto
      stepId: poll
      criteria:
      - condition: $response.body#/TrainingJobStatus == 'InProgress'
  outputs:
    arn: $steps.create.outputs.arn
    status: $steps.poll.outputs.status
"""

DOCUMENT = (
    """\
arazzo: 1.0.1
info: {title: Train, version: 1.0.0}
sourceDescriptions:
- {name: trainer, url: ./not-there.yml, type: openapi}
workflows:
- workflowId: train
  inputs:
    type: object
    required: [job, hosts]
    properties:
      job: {type: string, description: The name of the job.}
      hosts: {type: integer}
      token: {type: string, format: password}
      mode: {type: string, default: File}
  steps:
  - stepId: create
    operationId: CreateTrainingJob
    parameters:
    - {name: X-Amz-Target, in: header, value: SageMaker.CreateTrainingJob}
    requestBody:
      contentType: application/x-amz-json-1.1
      payload:
        TrainingJobName: $inputs.job
        Token: $inputs.token
        ResourceConfig: {InstanceType: ml.m5.large, InstanceCount: $inputs.hosts}
        StoppingCondition: {MaxRuntimeInSeconds: 3600}
"""
    + WAITING
)

Answer = tuple[int, dict[str, Any] | bytes]
Said = Callable[..., tuple[int, str, str]]
Start = Callable[..., subprocess.Popen[str]]


class Trainer:
    """Answers CreateTrainingJob, and DescribeTrainingJob `InProgress` until `end` is set."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.end: dict[str, Any] | None = None
        self.polls_until_end = 3
        self.instead: dict[str, Answer] = {}
        self.held = threading.Event()
        self.held.set()
        self._changed = threading.Condition()
        self.url = ""

    def answer(self, target: str, body: dict[str, Any]) -> Answer:
        operation = target.partition(".")[2]
        with self._changed:
            self.calls.append((operation, body))
            self._changed.notify_all()
        self.held.wait(30)
        if operation in self.instead:
            return self.instead[operation]
        if operation == "CreateTrainingJob":
            return 200, {"TrainingJobArn": ARN}
        if self.count("DescribeTrainingJob") >= self.polls_until_end:
            return 200, {"TrainingJobName": "churn-1", **(self.end or status("Completed"))}
        return 200, {"TrainingJobName": "churn-1", **status("InProgress", "Training")}

    def count(self, operation: str) -> int:
        return sum(each == operation for each, _ in self.calls)

    def wait_for(self, operation: str, calls: int) -> None:
        """Wait until an operation was called so often."""
        with self._changed:
            assert self._changed.wait_for(lambda: self.count(operation) >= calls, timeout=30)


def status(status: str, secondary: str = "", **more: str) -> dict[str, Any]:
    return {"TrainingJobStatus": status, "SecondaryStatus": secondary or status, **more}


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Said:
    """Give a function that runs the command line in this process: exit code, standard output, standard error."""

    def run(*args: str) -> tuple[int, str, str]:
        try:
            code = app.run(list(args))
        except SystemExit as leave:
            code = int(leave.code or 0)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture
def start(environment: dict[str, str], tmp_path: Path) -> Iterator[Start]:
    """Give a function that starts the command line as a process; whatever still runs in the end is killed."""
    started: list[subprocess.Popen[str]] = []

    def begin(*args: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "treadle.cli", *args],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
            cwd=tmp_path,
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def trainer() -> Iterator[Trainer]:
    made = Trainer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: object) -> None:
            pass

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            code, answer = made.answer(self.headers["X-Amz-Target"], body)
            data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            kind = "text/html" if isinstance(answer, bytes) else "application/x-amz-json-1.1"
            try:
                self.send_response(code)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)
            except OSError:
                self.close_connection = True

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    made.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield made
    made.held.set()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def document(tmp_path: Path) -> str:
    """Give the path of a document that trains and polls; its API description is not there."""
    path = tmp_path / "train.yml"
    path.write_text(DOCUMENT)
    return str(path)


@pytest.fixture
def arguments(document: str, trainer: Trainer) -> Callable[..., list[str]]:
    """Give the arguments of a run against the scripted server, and more."""

    def made(*more: str) -> list[str]:
        return ["run", document, "-i", "job=churn-1", "-i", "hosts=1", "--on", trainer.url, "--poll", "0.01", *more]

    return made


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch, home: Home) -> None:
    """Nothing here touches the state or the AWS account of whoever runs the tests."""
    for name in [each for each in os.environ if each.startswith(("AWS_", "TREADLE_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("TREADLE_HOME", str(home.root))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(home.root / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(home.root / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
