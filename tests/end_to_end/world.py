"""A home of its own with everything that a fault needs: images, data, gates, a service, and an eye on every process.

Nothing here sleeps for a guessed time: `until` looks for a condition until a deadline. A program waits at a `Gate`, a
named pipe: it stands still until the test opens it, and the test knows that it is there. What cannot be made to wait is
stopped with SIGSTOP, or by holding the lock that it needs.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import io
import itertools
import json
import os
import signal
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.conftest import environment_for
from tests.waiting import until
from treadle.aws.sigv4 import Credentials
from treadle.cli.client import Client, LogReader
from treadle.home import Home
from treadle.objects.filesystem import FilesystemObjects
from treadle.training.images import ImageRegistry

__all__ = ["BUCKET", "FINAL", "Done", "Gate", "Process", "World", "until"]

BUCKET = "data"
FINAL = ("Completed", "Failed", "Stopped")
EXAMPLE = Path(__file__).parents[2] / "examples" / "sagemaker" / "train-and-poll-job.arazzo.yaml"

# What every program begins with. `wait` stands still until the test opens the gate of that name.
_PRELUDE = """\
import os, pathlib, signal, subprocess, sys, time
ML = pathlib.Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml"))
MODEL = ML / "model"
def say(text):
    print(text, flush=True)
def wait(name="gate"):
    with open(f"{os.environ['E2E_ROOT']}/{name}") as gate:
        gate.read()
"""


@dataclass(frozen=True)
class Gate:
    """A named pipe at which a program waits."""

    path: Path

    def _opened(self) -> int:
        try:
            return os.open(self.path, os.O_WRONLY | os.O_NONBLOCK)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            return -1

    def open(self, seconds: float = 20.0) -> None:
        """Wait until somebody waits at the gate, and let it go on."""
        os.close(until(lambda: self._opened() + 1, seconds, what=f"somebody at {self.path.name}") - 1)


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def outputs(self) -> dict[str, Any]:
        """The outputs of a run that was told as JSON lines."""
        result = json.loads(self.out.splitlines()[-1])
        assert result["event"] == "RunFinished"
        outputs: dict[str, Any] = result["outputs"]
        return outputs


class Process:
    """A process of the command line; what it says goes to files, so that it never waits for a reader."""

    def __init__(self, popen: subprocess.Popen[bytes], said: Path) -> None:
        self.popen = popen
        self._said = said

    @property
    def pid(self) -> int:
        """Its number."""
        return self.popen.pid

    @property
    def out(self) -> str:
        """Its standard output so far."""
        return self._said.with_suffix(".out").read_text()

    @property
    def err(self) -> str:
        """Its standard error so far."""
        return self._said.with_suffix(".err").read_text()

    def signal(self, number: int) -> None:
        """Send it a signal."""
        self.popen.send_signal(number)

    def kill(self) -> None:
        """Kill it, and wait until it is dead."""
        self.popen.kill()
        self.popen.wait()

    def says(self, text: str, times: int = 1) -> None:
        """Wait until it has said something so many times, while it runs."""

        def said() -> bool:
            if (self.out + self.err).count(text) >= times:
                return True
            assert self.popen.poll() is None, f"ended with {self.popen.returncode}:\n{self.out}\n{self.err}"
            return False

        until(said, what=f"it says {text!r}")

    def ended(self, seconds: float = 20.0) -> Done:
        """Wait until it ends by itself."""
        code = self.popen.wait(seconds)
        assert "Traceback" not in self.err, self.err
        return Done(code, self.out, self.err)


@dataclass
class World:
    """A home, and what tests do with it."""

    root: Path
    sandbox: str = "auto"
    more: dict[str, str] = field(default_factory=dict)
    within: tuple[str, ...] = ()
    """A command that its commands are started by, which becomes them."""
    started: list[Process] = field(default_factory=list)

    @property
    def home(self) -> Home:
        """Its home."""
        return Home(self.root / "home")

    @property
    def environment(self) -> dict[str, str]:
        """The environment of its commands."""
        return environment_for(self.home, NO_COLOR="1", **self.more)

    # -- the command line ---------------------------------------------------------------------------------------------

    def start(self, *arguments: str, module: str = "treadle.cli", **more: str) -> Process:
        """Start `treadle`, or another module, with arguments."""
        said = self.root / f"said-{len(self.started)}"
        with said.with_suffix(".out").open("wb") as out, said.with_suffix(".err").open("wb") as err:
            popen = subprocess.Popen(
                [*self.within, sys.executable, "-m", module, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=self.environment | more,
                cwd=self.root,
                start_new_session=True,
            )
        self.started.append(Process(popen, said))
        return self.started[-1]

    def treadle(self, *arguments: str, **more: str) -> Done:
        """Run `treadle` with arguments to its end."""
        return self.start(*arguments, **more).ended(60)

    def run_arguments(
        self, job: str, image: str, *more: str, on: str = "local", document: Path = EXAMPLE, **inputs: Any
    ) -> list[str]:
        """Give the arguments that run the main job's document."""
        values: dict[str, Any] = {
            "trainingJobName": job,
            "trainingImage": image,
            "roleArn": "arn:aws:iam::000000000000:role/test",
            "s3OutputPath": f"s3://{BUCKET}/out",
            "instanceType": "ml.m5.large",
            "instanceCount": 1,
            "volumeSizeInGB": 1,
            "maxRuntimeInSeconds": 600,
            **inputs,
        }
        file = self.root / f"inputs-{job}.json"
        file.write_text(json.dumps({name: value for name, value in values.items() if value is not None}))
        return ["run", str(document), "--inputs", str(file), "--on", on, *more]

    def serve(self, *options: str) -> Process:
        """Start the service in the foreground, and wait until it listens."""
        process = self.start("serve", "--sandbox", self.sandbox, *options)

        def listens() -> bool:
            assert process.popen.poll() is None, process.err
            endpoint = self.home.endpoint()
            return endpoint is not None and endpoint.pid == process.pid

        until(listens, what="the service listens")
        return process

    # -- what jobs need -----------------------------------------------------------------------------------------------

    def gate(self, name: str = "gate") -> Gate:
        """Make a gate."""
        gate = Gate(self.root / name)
        os.mkfifo(gate.path)
        return gate

    def image(self, name: str, program: str, **environment: str) -> Path:
        """Register an image whose program is this text; give its directory."""
        directory = self.root / "images" / name
        directory.mkdir(parents=True)
        (directory / "train.py").write_text(_PRELUDE + program)
        variables = {"E2E_ROOT": str(self.root), **environment}
        lines = [f"{name} = {json.dumps(value)}" for name, value in variables.items()]
        text = "\n".join([f'name = "{name}"', 'command = ["python", "train.py"]', "[environment]", *lines])
        (directory / "image.toml").write_text(text + "\n")
        ImageRegistry(self.home.images_file).add(directory)
        return directory

    def put(self, key: str, data: bytes) -> None:
        """Store an object."""
        FilesystemObjects(self.home.s3).write(BUCKET, key, iter([data]))

    def put_many(self, prefix: str, count: int) -> None:
        """Store so many small objects that to bring them takes a while."""
        directory = self.home.s3 / BUCKET / prefix
        directory.mkdir(parents=True)
        for number in range(count):
            (directory / f"{number:05d}").write_bytes(b"%d" % number)

    def channel(self, prefix: str, name: str = "train") -> dict[str, Any]:
        """Give a channel of a request that brings all objects below a prefix."""
        return {
            "ChannelName": name,
            "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/{prefix}"}},
        }

    @contextlib.contextmanager
    def bucket_held(self) -> Iterator[None]:
        """Let nobody put an object into its place meanwhile: uploads, and the commit of outputs, stand still."""
        bucket = os.open(self.home.s3 / BUCKET, os.O_RDONLY)
        try:
            fcntl.flock(bucket, fcntl.LOCK_EX)
            yield
        finally:
            os.close(bucket)

    # -- the API ------------------------------------------------------------------------------------------------------

    @property
    def client(self) -> Client:
        """A client of the service that listens now."""
        until(lambda: self.home.endpoint() is not None, what="an endpoint")
        endpoint = self.home.endpoint()
        assert endpoint is not None
        return Client(endpoint.url, endpoint.region, Credentials(*self.home.credentials()))

    def create(self, job: str, image: str, **changes: Any) -> None:
        """Create a job."""
        request = {
            "TrainingJobName": job,
            "RoleArn": "arn:aws:iam::000000000000:role/test",
            "AlgorithmSpecification": {"TrainingImage": image, "TrainingInputMode": "File"},
            "OutputDataConfig": {"S3OutputPath": f"s3://{BUCKET}/out"},
            "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
            "StoppingCondition": {"MaxRuntimeInSeconds": 600},
            **changes,
        }
        self.client.call("SageMaker.CreateTrainingJob", request)

    def stop(self, job: str) -> None:
        """Call StopTrainingJob."""
        self.client.call("SageMaker.StopTrainingJob", {"TrainingJobName": job})

    def describe(self, job: str) -> dict[str, Any]:
        """Describe a job."""
        return self.client.describe(job)

    def reached(self, job: str, secondary: str) -> dict[str, Any]:
        """Wait until a job has this SecondaryStatus; it must not end before."""

        def look() -> dict[str, Any] | None:
            found = self.describe(job)
            if found["SecondaryStatus"] == secondary:
                return found
            assert found["TrainingJobStatus"] not in FINAL, found
            return None

        return until(look, what=f"{job} is {secondary}") or {}

    def ended(self, job: str, seconds: float = 30.0) -> dict[str, Any]:
        """Wait until a job has ended; what is true of every job's end is checked."""

        def look() -> dict[str, Any] | None:
            found = self.describe(job)
            return found if found["TrainingJobStatus"] in FINAL else None

        found = until(look, seconds, what=f"{job} has ended") or {}
        _check_transitions(found)
        return found

    def log(self, job: str, *, own: bool = False) -> list[str]:
        """Give the lines of the program in a job's log, with `own` those of the agent instead."""
        lines = [line.text for line in LogReader(self.client, job).read()]
        return [line for line in lines if line.startswith("[treadle]") == own]

    def model(self, job: str, name: str = "model.tar.gz") -> dict[str, bytes] | None:
        """Give the files of a job's artifact, or None when there is no artifact. It must be whole."""
        path = self.home.s3 / BUCKET / "out" / job / "output" / name
        if not path.exists():
            return None
        with tarfile.open(fileobj=io.BytesIO(path.read_bytes()), mode="r:gz") as archive:
            files = [member for member in archive if member.isfile()]
            return {member.name: (archive.extractfile(member) or io.BytesIO()).read() for member in files}

    # -- processes ----------------------------------------------------------------------------------------------------

    def processes(self, *having: str) -> list[int]:
        """Give every living process of this world whose command line or environment has all these texts."""
        found = []
        for pid in _pids():
            about = _about(pid)
            if pid != os.getpid() and all(text.encode() in about for text in (str(self.root), *having)):
                found.append(pid)
        return found

    def agent(self, job: str) -> int:
        """Wait for the agent of a job; give its process number."""
        place = f"/jobs/{job}/"
        return until(lambda: self.processes("treadle.agent\0", place), what=f"the agent of {job}")[0]

    def programs(self, job: str) -> list[int]:
        """Give the processes of a job's program: all that carry the job's marker, but its agent and keepers."""
        found = self.processes(f"TREADLE_ATTEMPT={job}/", "E2E_ROOT=")
        return [pid for pid in found if b"enter.py" not in _read(pid, "cmdline")]

    @contextlib.contextmanager
    def held(self, job: str, phase: str) -> Iterator[int]:
        """Wait until a job is in a phase, and keep it there; give its agent.

        Its program must say "begun" and then wait at the gate, which is opened here for Uploading. In Downloading the
        job must have much to bring (`put_many`).
        """
        agent = self.agent(job)
        if phase in {"Starting", "Downloading"}:
            if phase == "Downloading":
                data = self.home.jobs / job / "1" / "algo-1" / "ml" / "input" / "data"
                until(lambda: list(data.glob("*/*"))[:1], what="the first file")
            os.kill(agent, signal.SIGSTOP)
            try:
                self.reached(job, phase)
                yield agent
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(agent, signal.SIGCONT)
            return
        until(lambda: "begun" in self.log(job), what="the program has begun")
        if phase == "Training":
            yield agent
            return
        with self.bucket_held():
            Gate(self.root / "gate").open()
            self.reached(job, "Uploading")
            yield agent

    def clean(self, job: str, *, logs: bool = True) -> None:
        """Wait until nothing of a job that has ended is left but its log and its outputs."""
        until(lambda: not (self.home.jobs / job).exists(), what=f"the directory of {job} is gone")
        until(lambda: not self.processes(f"/jobs/{job}/"), what=f"the agent of {job} is gone")
        assert not self.programs(job)
        staging = self.home.s3 / BUCKET / ".treadle" / "staging" / job
        assert not staging.exists()
        if logs:
            assert list((self.home.logs / job).glob("*.log"))

    def zombies(self) -> list[int]:
        """Give the dead children of the service that nobody has reaped."""
        endpoint = self.home.endpoint()
        if endpoint is None:
            return []
        stats = [_read(pid, "stat").rpartition(b")")[2].split() for pid in _pids()]
        return [int(each[1]) for each in stats if each and each[0] == b"Z" and int(each[1]) == endpoint.pid]

    # -- the end ------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """End what runs; then no process of this world may be left, and no traceback be written anywhere."""
        zombies: list[int] = []
        try:
            until(lambda: not self.zombies(), 10, what="the service has reaped its children")
        except AssertionError:  # said at the end; to look again after success could find one that ended this moment
            zombies = self.zombies()
        if (endpoint := self.home.endpoint()) is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(endpoint.pid, signal.SIGTERM)
        for process in self.started:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.popen.wait(10)
        try:
            until(lambda: not self.processes(), 10, what="every process of the home is gone")
        except AssertionError:
            left = {
                pid: _read(pid, "cmdline").replace(b"\0", b" ").decode(errors="replace") for pid in self.processes()
            }
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            raise AssertionError(f"processes were left behind: {left}") from None
        finally:
            for process in self.started:
                process.kill()
        assert not zombies, "dead children of the service that it has not reaped"
        said = [*self.root.glob("said-*.err"), *self.root.glob("said-*.out"), self.home.service_log]
        said += [*self.home.root.glob("error-*.txt"), *self.home.logs.glob("*/*.agent.txt")]
        for path in said:
            assert not path.exists() or b"Traceback" not in path.read_bytes(), path.read_text(errors="replace")


def _check_transitions(job: Mapping[str, Any]) -> None:
    """Entries are contiguous, each status comes once in a row, and the last one ends where it began (§2.3)."""
    steps = job["SecondaryStatusTransitions"]
    for one, next_one in itertools.pairwise(steps):
        assert one["EndTime"] == next_one["StartTime"], steps
        assert one["Status"] != next_one["Status"], steps
        assert one["StartTime"] <= one["EndTime"], steps
    assert steps[-1]["StartTime"] == steps[-1]["EndTime"], steps
    assert steps[-1]["Status"] == job["SecondaryStatus"]


def steps(job: Mapping[str, Any]) -> list[str]:
    """Give the statuses that a job has gone through."""
    return [each["Status"] for each in job["SecondaryStatusTransitions"]]


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208  (names, thousands of times)


def _about(pid: int) -> bytes:
    """Give what a process is known by; nothing for one that is dead."""
    stat = _read(pid, "stat").rpartition(b")")[2].split()
    if not stat or stat[0] in {b"Z", b"X"}:
        return b""
    cwd = b""
    with contextlib.suppress(OSError):
        cwd = os.readlink(f"/proc/{pid}/cwd").encode()  # noqa: PTH115  (as above)
    return b"\0".join((_read(pid, "cmdline"), _read(pid, "environ"), cwd))


def _read(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""
