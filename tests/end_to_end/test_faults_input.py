"""Bad input: each is a clear error with a place or AWS's own words, the right exit code, and nothing is sent or lost."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.world import BUCKET, EXAMPLE, Gate, Process, World
from tests.waiting import until
from treadle.errors import ServiceError

QUICK = "(MODEL / 'm').write_text('m'); say('done')"


@dataclass(frozen=True)
class Case:
    """What is changed about a run that would work, and how that is told."""

    said: str
    code: int = 2
    edit: tuple[str, str] = ("", "")
    text: bytes | None = None
    inputs: dict[str, Any] = field(default_factory=dict)
    more: tuple[str, ...] = ()
    on: str = "local"


CHANNEL = {
    "ChannelName": "train",
    "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/nothing/"}},
}

BEFORE_ANYTHING_IS_SENT = {
    "unreadable-yaml": Case("document.yml:1:15: error:", text=b"arazzo: [1.0.1\n"),
    "binary": Case("document.yml:1:", text=b"\x7fELF\x02\x01\x00\xff\xfe"),
    "not-utf-8": Case("document.yml:", text="arazzo: 1.0.1\ninfo: {title: é".encode("latin-1")),
    "empty": Case("document.yml", text=b""),
    "a-list": Case("document.yml:1:1", text=b"- 1\n"),
    "wrong-version": Case("document.yml:1:9: error:", edit=("arazzo: 1.0.1", "arazzo: 7.0.0")),
    "a-key-twice": Case("document.yml:2:1: error:", edit=("info:", "arazzo: 1.0.1\ninfo:")),
    "unknown-operation": Case(
        "DescribeTrainingJobs", edit=("operationId: DescribeTrainingJob", "operationId: DescribeTrainingJobs")
    ),
    "unknown-target": Case(
        "pollTrainingJobs", edit=("goto\n      stepId: pollTrainingJob", "goto\n      stepId: pollTrainingJobs")
    ),
    "unreadable-criterion": Case(
        "document.yml:117", edit=('$.TrainingJobStatus == "InProgress"', "$.TrainingJobStatus === ")
    ),
    "missing-input": Case("the input `trainingImage` is missing", inputs={"trainingImage": None}),
    "wrong-type": Case("the input `instanceCount` must be a whole number", inputs={"instanceCount": "one"}),
    "unknown-workflow": Case("the document has no workflow 'other'", more=("other",)),
    "inputs-that-are-no-file": Case("cannot be read", more=("--inputs", "nowhere.json")),
    "no-url": Case("nonsense", on="nonsense"),
}

REFUSED = {
    "unknown-image": Case("Invalid training image", 1, inputs={"trainingImage": "not-there"}),
    "no-data": Case('No S3 objects found under S3 URL "s3://data/nothing/"', 1, inputs={"inputDataConfig": [CHANNEL]}),
    "no-bucket": Case(
        "There is no bucket",
        1,
        inputs={"inputDataConfig": [json.loads(json.dumps(CHANNEL).replace("data/no", "gone/no"))]},
    ),
    "no-output-bucket": Case(
        "The bucket 'gone' of 'outputDataConfig.s3OutputPath' does not exist",
        1,
        inputs={"s3OutputPath": "s3://gone/out"},
    ),
    "a-long-name": Case("Member must have length less than or equal to 63", 1, inputs={"trainingJobName": "n" * 64}),
    "a-bad-name": Case("Member must satisfy regular expression pattern", 1, inputs={"trainingJobName": "../x"}),
    "an-unknown-instance": Case("Member must satisfy enum value set", 1, inputs={"instanceType": "ml.none"}),
    "no-hosts": Case("Value '0' at 'resourceConfig.instanceCount'", 1, inputs={"instanceCount": 0}),
}


def begun(world: World, name: str, case: Case) -> Process:
    """Start the run in a directory of its own, its document changed as the case says."""
    directory = world.root / name
    directory.mkdir()
    text = EXAMPLE.read_text()
    before, after = case.edit
    assert before in text
    document = directory / "document.yml"
    document.write_bytes(text.replace(before, after, 1).encode() if case.text is None else case.text)
    shutil.copy(EXAMPLE.with_name("sagemaker.openapi.yaml"), directory)
    given = world.run_arguments("never", "quick", on=case.on, **case.inputs)
    inputs = shutil.copy(world.root / "inputs-never.json", directory)
    options = [] if "--inputs" in case.more else ["--inputs", str(inputs)]
    return world.start("run", str(document), *case.more, *options, *given[given.index("--on") :])


def told(world: World, cases: Mapping[str, Case]) -> None:
    """Run all of them at once; each must end as it should, with what it should say."""
    runs = {name: begun(world, name, case) for name, case in cases.items()}
    for name, case in cases.items():
        done = runs[name].ended(60)
        assert (done.code, done.out) == (case.code, ""), (name, done.err)
        assert case.said in done.err, (name, done.err)


def test_what_is_wrong_before_anything_is_sent(world: World) -> None:
    """Exit code 2, with the place where there is one; no run is stored."""
    world.image("quick", QUICK)
    told(world, BEFORE_ANYTHING_IS_SENT)
    assert json.loads(world.treadle("runs", "ls", "--json").out) == []


def test_what_the_service_refuses(world: World) -> None:
    """Exit code 1, in AWS's words; no job comes into being; the service stays up."""
    world.image("quick", QUICK)
    world.serve()
    told(world, REFUSED)
    assert json.loads(world.treadle("jobs", "ls", "--json").out) == []
    world.create("after", "quick")
    assert world.ended("after")["TrainingJobStatus"] == "Completed"
    world.clean("after")


def test_an_image_that_has_gone_since_it_was_registered(world: World) -> None:
    """At create: AWS's sentence, and where it was. Between create and start: the job fails with the reason."""
    gone = world.image("gone", QUICK)
    held = world.image("held", QUICK)
    world.serve()
    shutil.rmtree(gone)
    with pytest.raises(ServiceError, match=r"Invalid training image.*which is not there any more") as refused:
        world.create("gone", "gone")
    assert refused.value.code == "ValidationException"
    world.create("held", "held")
    with world.held("held", "Starting"):
        shutil.rmtree(held)
    job = world.ended("held")
    assert job["TrainingJobStatus"] == "Failed"
    assert str(held) in job["FailureReason"]
    world.clean("held")


# ---------------------------------------------------------------------------------------------------------------------
# Servers that answer something else
# ---------------------------------------------------------------------------------------------------------------------

CREATED = json.dumps({"TrainingJobArn": "arn:aws:sagemaker:us-east-1:000000000000:training-job/j"}).encode()

# What DescribeTrainingJob is answered, and what the run says of it.
ANSWERS = {
    "html": (b"<html><title>Sign in</title></html>", "HTML"),
    "half-an-answer": (b'{"TrainingJobStatus": "Compl', "JSON"),
    "nothing": (b"", "the answer has no body"),
    "another-encoding": ('{"TrainingJobStatus": "Completed"}'.encode("utf-16"), "JSON"),
    "a-list": (b"[]", "the context $response.body is an array"),
    "a-text": (b'"Completed"', "not an object or an array"),
    "null": (b"null", "the answer is null"),
}


class Stub:
    """Answers CreateTrainingJob well, and DescribeTrainingJob with the answer that has the job's name."""

    def __init__(self) -> None:

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                creates = self.headers["X-Amz-Target"].endswith("CreateTrainingJob")
                body = CREATED if creates else ANSWERS[asked["TrainingJobName"]][0]
                self.send_response(200)
                self.send_header("Content-Type", "application/x-amz-json-1.1")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def stub() -> Iterator[Stub]:
    made = Stub()
    yield made
    made.close()


def test_an_answer_that_is_not_what_it_says_is_never_a_success(world: World, stub: Stub) -> None:
    """Whatever comes with status 200 instead of a job: exit code 1 and a reason, never 0."""
    runs = {name: world.start(*world.run_arguments(name, "quick", on=stub.url)) for name in ANSWERS}
    for name, (_, said) in ANSWERS.items():
        done = runs[name].ended(60)
        assert done.code == 1, (name, done.out, done.err)
        assert said in done.err, (name, done.err)


# ---------------------------------------------------------------------------------------------------------------------
# A disk that is full
# ---------------------------------------------------------------------------------------------------------------------

_libc = ctypes.CDLL(None, use_errno=True)


@pytest.fixture
def small(place: Path) -> Iterator[World]:
    """A world whose home is a disk of its own, of 64 MB."""
    made = World(place)
    made.home.prepare()
    disk = os.fsencode(made.home.root)
    if _libc.mount(b"tmpfs", disk, b"tmpfs", 0, b"size=64m") != 0:
        pytest.skip(f"no disk of its own can be mounted here: {os.strerror(ctypes.get_errno())}")
    try:
        (made.home.s3 / BUCKET).mkdir(parents=True)
        yield made
        made.close()
    finally:
        _libc.umount2(disk, 2)  # MNT_DETACH


def fill(world: World, leave: int) -> Path:
    """Fill the disk but for so many bytes; give the file that does it."""
    ballast = world.home.root / "ballast"
    with ballast.open("ab") as file:
        free = os.statvfs(world.home.root)
        size = ballast.stat().st_size + free.f_bavail * free.f_frsize - leave
        os.posix_fallocate(file.fileno(), 0, max(size, 1))
    return ballast


def test_a_disk_that_runs_full(small: World) -> None:
    """The job fails with a reason that says so, nothing half is published; with room again all is as ever."""
    small.image("quick", QUICK)
    small.image("large", "(MODEL / 'm').write_bytes(os.urandom(30 * 1024**2)); say('begun'); wait(); say('done')")
    small.gate()
    small.serve("--disk-floor", "0MB")  # so that it does not refuse what it is to fail at
    small.create("large", "large")
    with small.held("large", "Training"):
        ballast = fill(small, 600 * 1024)
        job = small.ended("large")
    assert job["TrainingJobStatus"] == "Failed"
    assert "the machine's disk has" in job["FailureReason"]
    assert small.model("large") is None
    small.clean("large")
    # Not a byte is left: a run cannot be stored, so it does not begin; a job cannot, so it is refused.
    fill(small, 0)
    full = small.treadle(*small.run_arguments("refused", "quick"))
    assert full.code == 1
    assert "the disk is full" in full.err
    with pytest.raises(ServiceError) as refused:
        small.create("refused", "quick")
    assert (refused.value.code, refused.value.status) == ("ServiceUnavailable", 503)
    ballast.unlink()
    assert small.treadle(*small.run_arguments("after", "quick")).code == 0
    assert small.model("after") == {"m": b"m"}
    small.clean("after")
    assert not list(small.home.s3.glob(".treadle/tmp/*"))


def test_a_disk_that_is_full_for_a_while(small: World) -> None:
    """What ends while nothing can be stored is stored when there is room again, with what was in the way."""
    small.image("patient", "(MODEL / 'm').write_text('m'); say('begun'); wait(); say('done')")
    small.gate()
    small.serve("--disk-floor", "0MB")  # so that it does not refuse what it is to fail at
    small.create("patient", "patient")
    with small.held("patient", "Training"):
        ballast = fill(small, 0)
        gate = Gate(small.root / "gate")
        gate.open()
        until(lambda: not small.programs("patient"), what="the program has ended")
        assert small.describe("patient")["SecondaryStatus"] == "Training"
    ballast.unlink()
    job = small.ended("patient")
    # Either the outputs could wait until there was room, or the job says what there was too little of.
    if job["TrainingJobStatus"] == "Completed":
        assert small.model("patient") == {"m": b"m"}
    else:
        assert "No space left on device" in job["FailureReason"]
    small.clean("patient")
