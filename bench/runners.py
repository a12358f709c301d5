"""Other runners of Arazzo beside ours: the same documents against the same server, each runner a process of its own.

Two documents. The main job as it stands in the examples, with a job that has ended at the third look: how many looks
there were says whether a runner has run it. And a loop that asks the least of a runner, one step that goes to itself
while the answer is 202: what a request costs is what the program takes longer for many answers than for one.

The runners are those that a package registry has under names of their own; `make bench-peers` installs them.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from bench.poll import DOCUMENT, INPUTS
from bench.servers import NOT_INSTALLED, PEERS

LOOKS = 3
ANSWERS = 1000
ROUNDS = 3
PATIENCE = 120.0

LOOP = """\
arazzo: 1.0.1
info: {title: Look until it is done, version: 1.0.0}
sourceDescriptions:
- {name: jobs, url: ./jobs.openapi.yaml, type: openapi}
workflows:
- workflowId: look
  inputs: {type: object, properties: {name: {type: string}}}
  steps:
  - stepId: describe
    operationId: describeJob
    parameters:
    - {name: name, in: path, value: $inputs.name}
    successCriteria:
    - condition: $statusCode == 200 || $statusCode == 202
    outputs: {status: $response.body#/status}
    onSuccess:
    - name: again
      type: goto
      stepId: describe
      criteria:
      - condition: $statusCode == 202
    - {name: done, type: end}
  outputs: {status: $steps.describe.outputs.status}
"""
API = """\
openapi: 3.0.3
info: {title: Jobs, version: 1.0.0}
servers:
- url: URL
paths:
  /jobs/{name}:
    get:
      operationId: describeJob
      parameters:
      - {name: name, in: path, required: true, schema: {type: string}}
      responses:
        "200": &job
          description: The job.
          content: {application/json: {schema: {type: object, properties: {status: {type: string}}}}}
        "202": *job
"""
CREATED = b'{"TrainingJobArn":"arn:aws:sagemaker:us-east-1:000000000000:training-job/bench"}'
DESCRIBED = b'{"TrainingJobStatus":"%s","SecondaryStatus":"%s"}'


class Jobs:
    """Both servers in one: a job is in progress until it was `asked` about `until` times."""

    def __init__(self) -> None:
        self.asked = 0
        self.until = 1
        self.url = ""

    def answer(self, head: bytes) -> tuple[int, bytes, bytes]:
        if b"createtrainingjob" in head.lower():
            return 200, b"application/x-amz-json-1.1", CREATED
        self.asked += 1
        busy = self.asked < self.until
        if head.startswith(b"GET"):
            return (
                (202, b"application/json", b'{"status":"busy"}')
                if busy
                else (200, b"application/json", b'{"status":"over"}')
            )
        body = DESCRIBED % ((b"InProgress", b"Training") if busy else (b"Completed", b"Completed"))
        return 200, b"application/x-amz-json-1.1", body


class _Connection(asyncio.Protocol):
    def __init__(self, jobs: Jobs) -> None:
        self.jobs = jobs
        self.pending = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.pending += data
        while b"\r\n\r\n" in self.pending:
            head, _, rest = self.pending.partition(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0] or 0)
            if len(rest) < length:
                return
            self.pending = rest[length:]
            status, kind, body = self.jobs.answer(head)
            told = b"HTTP/1.1 %d .\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n" % (status, kind, len(body))
            self.transport.write(told + body)


@contextmanager
def serving() -> Iterator[Jobs]:
    """Serve both in a thread."""
    jobs, loop = Jobs(), asyncio.new_event_loop()
    server = loop.run_until_complete(loop.create_server(lambda: _Connection(jobs), "127.0.0.1", 0))
    jobs.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield jobs
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        server.close()
        loop.close()


class Runner(NamedTuple):
    """How a runner is called, what it says of its version, and whether it is there."""

    name: str
    program: Sequence[str]
    version: Sequence[str]

    def command(self, document: Path, workflow: str, inputs: Mapping[str, Any]) -> list[str]:
        """Give the command line that runs a workflow as fast as the runner can."""
        told = json.dumps(inputs)
        match self.name:
            case "treadle":
                (document.parent / "inputs.json").write_text(told)
                given = ["--inputs", str(document.parent / "inputs.json"), "--poll", "0"]
                return [*self.program, "run", str(document), workflow, *given]
            case "arazzo-runner":
                given = ["--workflow-id", workflow, "--inputs", told, str(document)]
                return [*self.program, "--log-level", "ERROR", "execute-workflow", *given]
            case _:
                given = ["--workflow", workflow, "--input", told, "--max-steps", str(10 * ANSWERS)]
                return [*self.program, "respect", document.name, *given]


def runners() -> list[Runner]:
    """Give ours, and those of the others that are installed."""
    ours = [sys.executable, "-m", "treadle.cli"]
    python = PEERS.parent / "arazzo-runner"
    node = PEERS.parent.parent / "node" / "node_modules" / ".bin" / "redocly"
    found = [Runner("treadle", ours, [*ours, "--version"])]
    if python.exists():
        asked = "import importlib.metadata as each; print(each.version('arazzo-runner'))"
        found.append(Runner("arazzo-runner", [str(python)], [str(PEERS), "-c", asked]))
    if node.exists() and shutil.which("node"):
        found.append(Runner("redocly respect", [str(node)], [str(node), "--version"]))
    return found


class Place:
    """A directory with both documents, whose sources name the server."""

    def __init__(self, root: Path, jobs: Jobs) -> None:
        self.root = root
        self.jobs = jobs
        (root / "look.arazzo.yaml").write_text(LOOP)
        (root / "jobs.openapi.yaml").write_text(API.replace("URL", jobs.url))
        shutil.copy(DOCUMENT, root)
        source = (DOCUMENT.parent / "sagemaker.openapi.yaml").read_text()
        before, _, rest = source.partition("servers:\n")
        (root / "sagemaker.openapi.yaml").write_text(
            f"{before}servers:\n- url: {jobs.url}\npaths:{rest.partition('paths:')[2]}"
        )

    def seconds(self, runner: Runner, name: str, workflow: str, inputs: Mapping[str, Any], until: int) -> float:
        """Run a workflow; give what its process took. `jobs.asked` says how often the server was asked."""
        self.jobs.asked, self.jobs.until = 0, until
        begun = time.perf_counter()
        subprocess.run(
            runner.command(self.root / name, workflow, inputs),
            cwd=self.root,
            capture_output=True,
            timeout=PATIENCE,
            check=False,
        )
        return time.perf_counter() - begun


def measure() -> dict[str, Any]:
    """Run both documents with each runner, in turns; give looks, and seconds for one answer and for many."""
    figures: dict[str, Any] = {}
    with serving() as jobs, tempfile.TemporaryDirectory() as root:
        place = Place(Path(root), jobs)
        for runner in runners():
            version = subprocess.run(runner.version, capture_output=True, text=True, check=True).stdout.split()[-1]
            place.seconds(runner, DOCUMENT.name, "train-and-poll-job", INPUTS, LOOKS)
            looks = jobs.asked
            times: dict[int, list[float]] = {1: [], ANSWERS: []}
            for _ in range(ROUNDS):
                for until, taken in times.items():
                    taken.append(place.seconds(runner, "look.arazzo.yaml", "look", {"name": "a"}, until))
            one, many = (statistics.median(each) for each in times.values())
            figures[runner.name] = {
                "version": version,
                "looks": looks,
                "asked": jobs.asked,
                "one_s": one,
                "many_s": many,
            }
    return figures


def table(figures: dict[str, Any]) -> list[str]:
    """Give the lines for people."""
    lines = [
        f"runners of Arazzo, each a process; seconds by the clock, median of {ROUNDS}",
        f"  {'':24}   main job   one answer   {ANSWERS} answers   a request more",
    ]
    for name, each in figures.items():
        shown = f"  {name + ' ' + each['version']:24}{each['looks']:5d} of {LOOKS}   {each['one_s']:8.2f} s"
        if each["asked"] == ANSWERS:
            more = (each["many_s"] - each["one_s"]) / (ANSWERS - 1) * 1000
            lines.append(f"{shown}   {each['many_s']:9.2f} s   {more:11.2f} ms")
        else:
            lines.append(f"{shown}   asked {each['asked']} times")
    missing = {"arazzo-runner", "redocly respect"} - set(figures)
    return lines + [f"  {name:24} {NOT_INSTALLED}" for name in sorted(missing)]
