"""A storm: jobs of every kind, while the service, agents and programs are killed at any moment, and the disk fills up.

`make storm` has one of twenty minutes; `test_storm.py` has a short one. It goes in rounds: while one lasts, a thread kills
and starts the service, and the main one creates, stops, interrupts, deletes and prunes jobs, kills agents and programs
and fills the disk. Then it is calm, everything must come to its end, and this must hold:

* what was answered is so, for ever: jobs that were created are there, those that were deleted are gone, no others are;
* each job has ended as what was done to it allows, with contiguous transitions that have only ever grown; one that was
  told to stop has stopped, whoever was killed then;
* its outputs are whole and its own; without success there is no model, and what was stopped while it trained has one;
* the log of each attempt has every line once and in order, to the last one that its program had said, which its agent
  need not have lived to tell;
* nothing is left: processes, mounts, control groups, networks, directories, what outputs wait in; the machine is free.

Whatever chance decides comes from the seed; what the kernel decides does not, so a storm cannot be played again.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import json
import os
import random
import shutil
import signal
import sqlite3
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tests.end_to_end.world import BUCKET, FINAL, Process, World
from tests.networks import listening
from tests.waiting import until
from treadle.agent.sandbox import network
from treadle.agent.sandbox.namespace import NamespaceSandbox
from treadle.cli.client import LOG_GROUP
from treadle.errors import ServiceError, TransportError
from treadle.launchers import processes
from treadle.launchers.local import LAUNCH_FILE
from treadle.objects.filesystem import FilesystemObjects
from treadle.seams import HostLaunch
from treadle.training.supervisor import AGENTS

__all__ = ["Storm", "storming"]

_REPOSITORY = Path(__file__).parents[2]
_MNT_DETACH = 2
_libc = ctypes.CDLL(None, use_errno=True)

# The line before a checkpoint is said before the checkpoint is there: it can be behind, never ahead. So it is with what
# `said` counts.
_STEPS = """
import json
count = int(json.loads((ML / "input/config/hyperparameters.json").read_text())["count"])
name = os.environ["TRAINING_JOB_NAME"]
said = os.open(ML / "said", os.O_WRONLY | os.O_CREAT)
def steps(begin=0, after=lambda done: None):
    for number in range(begin, count):
        say(f"line {number}")
        os.pwrite(said, b"%d" % (number + 1), 0)
        after(number + 1)
        time.sleep(0.01)
"""
_WAITS = (
    _STEPS
    + """
def stop(*_):
    (MODEL / "m").write_text(f"{name} 0 {count}")
    say("done")
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
steps()
while True:
    signal.pause()
"""
)
PROGRAMS = {
    "quick": _STEPS + '(MODEL / "m").write_text(f"{name} 0 {count}")\nsteps()\nsay("done")\n',
    "fails": _STEPS + '(MODEL / "m").write_text(f"{name} 0 {count}")\nsteps()\nsys.exit(3)\n',
    "waits": _WAITS,
    "late": _WAITS,
    "spot": _STEPS
    + """
kept, new = ML / "checkpoints" / "done", ML / "checkpoints" / ".new"
begin = int(kept.read_text()) if kept.exists() else 0
def keep(done):
    new.write_text(str(done))
    new.replace(kept)
steps(begin, keep)
(MODEL / "m").write_text(f"{name} {begin} {count}")
say("done")
""",
    "pair": _STEPS
    + """
import socket
config = json.loads((ML / "input/config/resourceconfig.json").read_text())
me, (first, second) = config["current_host"], config["hosts"]
listener = socket.create_server((socket.gethostbyname(me), 5000))
if me == first:
    listener.accept()[0].sendall(b"!")
else:
    while True:
        try:
            with socket.create_connection((first, 5000)) as met:
                assert met.recv(1) == b"!"
            break
        except ConnectionRefusedError:
            time.sleep(0.01)
steps()
(MODEL / me).write_text(f"{name} 0 {count}")
say("done")
""",
}


@dataclass
class Entry:
    """What is known of a job: what it is, what was done to it, and what it was seen to be."""

    name: str
    kind: str
    count: int
    retries: int
    created: bool = False
    """It was answered that there is the job; else it may be there."""
    stopped: bool = False
    killed: Counter[tuple[int, str]] = field(default_factory=Counter)
    """How many agents an attempt's host has lost."""
    programs_killed: int = 0
    disk_was_full: bool = False
    said: dict[tuple[int, str], int] = field(default_factory=dict)
    """How many lines an attempt's host had said when its agent was killed."""
    deleted: str = ""
    """`asked`, or `answered`."""
    seen: list[dict[str, Any]] = field(default_factory=list, repr=False)
    """The transitions that it had last."""
    final: dict[str, Any] | None = field(default=None, repr=False)
    checked_at: float = 0.0

    @property
    def agents_killed(self) -> int:
        """How many agents were killed, in all attempts."""
        return self.killed.total()

    @property
    def given_up(self) -> bool:
        """Whether a host may have lost as many agents as it can have: nobody tells what was left then."""
        return max(self.killed.values(), default=0) >= AGENTS

    @property
    def request(self) -> dict[str, Any]:
        """What its request has besides what all have."""
        members: dict[str, Any] = {"HyperParameters": {"count": str(self.count)}}
        count = 2 if self.kind == "pair" else 1
        members["ResourceConfig"] = {"InstanceType": "ml.t3.medium", "InstanceCount": count, "VolumeSizeInGB": 1}
        if self.retries:
            members["RetryStrategy"] = {"MaximumRetryAttempts": self.retries}
        if self.kind == "late":
            members["StoppingCondition"] = {"MaxRuntimeInSeconds": 1}
        if self.kind == "spot":
            members["EnableManagedSpotTraining"] = True
            members["StoppingCondition"] = {"MaxRuntimeInSeconds": 600, "MaxWaitTimeInSeconds": 3600}
            members["CheckpointConfig"] = {"S3Uri": f"s3://{BUCKET}/checkpoints/{self.name}"}
        return members

    def allowed(self) -> set[str]:
        """Give the statuses that it may end with."""
        if self.disk_was_full:
            return set(FINAL)
        found = {"fails": {"Failed"}, "waits": set(), "late": {"Stopped"}}.get(self.kind, {"Completed"})
        found |= {"Stopped"} if self.stopped else set()
        # What is lost when the job has been told to stop is no failure.
        lost = self.agents_killed > self.retries
        return found | ({"Failed"} if lost or self.programs_killed else set())

    def saw(self, job: dict[str, Any]) -> None:
        """Take an answer of DescribeTrainingJob: the story of a job goes on, and never changes."""
        now = job["SecondaryStatusTransitions"]
        told = [(each["Status"], each["StartTime"]) for each in self.seen]
        assert [(each["Status"], each["StartTime"]) for each in now[: len(told)]] == told, (self, now)
        assert all(each in now for each in self.seen[:-1]), (self, now)
        self.seen = now
        assert self.final is None or job == self.final, (self, job)


@dataclass
class Storm:
    """The weather of a world. `seconds` is how long a round lasts before it calms down."""

    world: World
    seed: int
    seconds: float = 15.0
    fills: bool = False
    done: Counter[str] = field(default_factory=Counter)
    entries: dict[str, Entry] = field(default_factory=dict)
    tokens: set[str] = field(default_factory=set)
    _service: Process | None = None
    _numbers: int = 0

    def __post_init__(self) -> None:
        self._chance = random.Random(self.seed)
        for name, program in PROGRAMS.items():
            self.world.image(name, program)
        # Only in a network of their own do two hosts find each other by their names.
        self._pairs = [] if NamespaceSandbox().probe() or network.problem() else ["pair"]

    # -- a round ------------------------------------------------------------------------------------------------------

    def round(self) -> None:
        """Storm for a while, then let it calm down and look at everything."""
        calm = threading.Event()
        killing = threading.Thread(target=self._keep_killing, args=(calm, self._chance.random()))
        self._start()
        killing.start()
        try:
            end = time.monotonic() + self.seconds
            while time.monotonic() < end:
                self._act()
                self._look()
        finally:
            calm.set()
            killing.join()
        self._calm_down()

    def _keep_killing(self, calm: threading.Event, seed: float) -> None:
        """Kill the service and start it again, until it is calm; then it runs."""
        chance = random.Random(seed)
        while not calm.wait(chance.expovariate(1 / 1.5)):
            number = chance.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGKILL, signal.SIGTERM])
            assert self._service is not None
            self._service.signal(number)
            self._service.popen.wait(30)
            self.done[f"service, {number.name}"] += 1
            calm.wait(chance.choice([0, 0, chance.expovariate(1 / 0.5)]))
            self._start()

    def _start(self) -> None:
        """Start the service, if need be again and again: on a disk that is full it may not be able to."""
        repository = {"PYTHONPATH": str(_REPOSITORY)}

        def started() -> bool:
            if self._service is None or self._service.popen.poll() is not None:
                self._service = self.world.start(module="tests.end_to_end.storm_service", **repository)
            endpoint = self.world.home.endpoint()
            return endpoint is not None and endpoint.pid == self._service.pid

        until(started, 30, what="the service listens")

    def _act(self) -> None:
        acts: dict[Callable[[], None], float] = {
            self._create: 12,
            self._stop: 3,
            self._stop_and_kill: 3,
            self._interrupt: 3,
            self._kill_agent: 5,
            self._kill_program: 1,
            self._delete: 2,
            self._prune: 1,
            self._fill: 0.3 if self.fills and not self._ballast.exists() else 0,
        }
        [act] = self._chance.choices(list(acts), list(acts.values()))
        act()
        self._note_fullness()
        time.sleep(self._chance.expovariate(1 / 0.08))

    def _ask(self, what: str, call: Callable[[], Any]) -> bool:
        """Call the service; False when nobody knows what became of it. What is refused is raised."""
        try:
            call()
        except TransportError:
            self.done[f"{what}, in doubt"] += 1
            return False
        except ServiceError as error:
            if error.status < 500:
                raise
            self.done[f"{what}, not now"] += 1
            return False
        self.done[what] += 1
        return True

    def _living(self, *kinds: str) -> list[Entry]:
        return [each for each in self.entries.values() if not each.final and (not kinds or each.kind in kinds)]

    # -- what is done -------------------------------------------------------------------------------------------------

    def _create(self) -> None:
        if len(self._living()) >= 8:
            return
        self._numbers += 1
        kind = self._chance.choice(["quick", "quick", "fails", "waits", "late", "spot", "spot", *self._pairs])
        entry = Entry(
            f"{kind}-{self._numbers}", kind, self._chance.randrange(1, 120), self._chance.choice([0, 0, 1, 3])
        )
        entry.disk_was_full = self._ballast.exists()  # afterwards it need not be there any more
        self.entries[entry.name] = entry
        entry.created = self._ask("create", lambda: self.world.create(entry.name, kind, **entry.request))

    def _stop(self) -> None:
        if living := self._living():
            self._stop_one(self._chance.choice(living))

    def _stop_one(self, entry: Entry) -> None:
        entry.stopped = True
        with _unless_gone(entry):
            self._ask("stop", lambda: self.world.stop(entry.name))

    def _stop_and_kill(self) -> None:
        """Stop a job, and right after that kill its agent, and perhaps the service as well."""
        if living := self._living():
            entry = self._chance.choice(living)
            self._stop_one(entry)
            time.sleep(self._chance.choice([0, 0.01, self._chance.uniform(0, 0.5)]))
            if self._chance.random() < 0.3 and self._service is not None:
                self._service.signal(signal.SIGKILL)
            for agent in self.world.processes("treadle.agent\0", f"/jobs/{entry.name}/"):
                self._kill(agent, "agent")
                self.done["agent killed while its job stops"] += 1

    def _interrupt(self) -> None:
        if living := self._living("spot"):
            entry = self._chance.choice(living)
            call = {"TrainingJobName": entry.name}
            with contextlib.suppress(ServiceError):  # it does not run now
                self._ask("interrupt", lambda: self.world.client.call("Treadle.InterruptTrainingJob", call))

    def _kill_agent(self) -> None:
        if found := self.world.processes("treadle.agent\0"):
            self._kill(self._chance.choice(found), "agent")

    def _kill_program(self) -> None:
        found = set(self.world.processes("TREADLE_ATTEMPT=")) - set(self.world.processes("treadle.agent\0"))
        if found:
            self._kill(self._chance.choice(sorted(found)), "program")

    def _kill(self, pid: int, what: str) -> None:
        with contextlib.suppress(OSError):
            variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
            marker = next((each for each in variables if each.startswith(b"TREADLE_ATTEMPT=")), b"").decode()
            name, *place = marker.partition("=")[2].split("/")
            if entry := self.entries.get(name):
                if what == "agent":
                    attempt, host = int(place[0]), place[1]
                    self._note_what_was_said(entry, attempt, host)
                    entry.killed[attempt, host] += 1
                entry.programs_killed += what == "program"
                os.kill(pid, signal.SIGKILL)
                self.done[f"{what} killed"] += 1

    def _note_what_was_said(self, entry: Entry, attempt: int, host: str) -> None:
        said = self.world.home.jobs / entry.name / str(attempt) / host / "ml/said"
        with contextlib.suppress(OSError):  # it has not begun
            entry.said[attempt, host] = int(said.read_text() or 0)

    def _delete(self) -> None:
        ended = [each for each in self.entries.values() if each.final and not each.deleted]
        if ended:
            entry = self._chance.choice(ended)
            entry.deleted = "asked"
            call = {"TrainingJobName": entry.name}
            if self._ask("delete", lambda: self.world.client.call("SageMaker.DeleteTrainingJob", call)):
                entry.deleted = "answered"

    def _prune(self) -> None:
        """Remove what ended some seconds ago: all of that has been seen."""
        age = 5.0
        if not self._look():
            return
        answer: dict[str, Any] = {}
        old = [each for each in self.entries.values() if each.final and each.checked_at + age < time.monotonic() + 1]
        for each in old:
            each.deleted = each.deleted or "asked"
        call = {"OlderThanSeconds": age, "DryRun": False}
        if self._ask("prune", lambda: answer.update(self.world.client.call("Treadle.PruneTrainingJobs", call))):
            for name in answer["TrainingJobNames"]:
                assert self.entries[name].final, name
                self.entries[name].deleted = "answered"

    def _fill(self) -> None:
        """Leave no byte on the disk for a while."""
        with contextlib.suppress(OSError), self._ballast.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(1 << 16))
        self._note_fullness()
        self.done["disk full"] += 1
        threading.Timer(self._chance.uniform(0.1, 1.5), self._ballast.unlink).start()

    @property
    def _ballast(self) -> Path:
        return self.world.home.root / "ballast"

    def _note_fullness(self) -> None:
        if self._ballast.exists():
            for each in self._living():
                each.disk_was_full = True

    # -- what is seen -------------------------------------------------------------------------------------------------

    def _look(self) -> bool:
        """Describe what lives; tell whether every answer came."""
        whole = True
        with contextlib.suppress(OSError, ValueError):  # one goes, or is not whole yet
            for launch in self.world.home.jobs.glob(f"*/*/*/{LAUNCH_FILE}"):
                self.tokens.add(json.loads(launch.read_bytes())["token"])
        for entry in self._living():
            job: dict[str, Any] = {}
            with _unless_gone(entry), contextlib.suppress(AssertionError):  # there is no service for long
                self._ask("describe", partial(self._describe, entry.name, job))
            if not job:
                whole = whole and not entry.created
                continue
            entry.created = True
            entry.saw(job)
            if job["TrainingJobStatus"] in FINAL:
                entry.final = job
                entry.checked_at = time.monotonic()
        return whole

    def _describe(self, name: str, into: dict[str, Any]) -> None:
        into.update(self.world.describe(name))

    def _calm_down(self) -> None:
        """Let everything end, and look at all of it."""
        until(lambda: not self._ballast.exists(), what="there is room on the disk")
        for entry in self._living():
            with _unless_gone(entry):
                entry.saw(self.world.describe(entry.name))
                entry.created = True
        waiting = [each for each in self._living() if each.created]
        for entry in waiting:
            if entry.kind == "waits":
                self._stop_one(entry)
        for entry in waiting:
            entry.final = self.world.ended(entry.name, 120)
            entry.saw(entry.final)
        for entry in self.entries.values():
            self._check(entry)
        self._check_names()
        self._check_machine()
        for entry in self.entries.values():
            if not entry.deleted:
                self.world.client.call("SageMaker.DeleteTrainingJob", {"TrainingJobName": entry.name})
        self.entries.clear()
        self._check_names()

    def _check(self, entry: Entry) -> None:
        half_deleted = entry.deleted == "asked"  # the record goes last
        if entry.deleted or not entry.created:
            entry.created = False
            found: list[dict[str, Any]] = []
            with _unless_gone(entry):
                found.append(self.world.describe(entry.name))
            assert not found or (entry.deleted != "answered" and found[0] == entry.final), (entry, found)
            entry.deleted = "" if found else entry.deleted or "never there"
        if entry.final is None:
            assert entry.deleted == "never there", entry
            return
        status = entry.final["TrainingJobStatus"]
        self.done[f"{status}, {entry.kind}"] += 1
        assert status in entry.allowed(), (entry, status, entry.final.get("FailureReason"), entry.seen)
        self._check_stop(entry, status)
        self._check_model(entry, status)
        self.world.clean(entry.name, logs=False)
        if entry.deleted:
            assert not (self.world.home.logs / entry.name).exists(), entry
        else:
            assert self.world.describe(entry.name) == entry.final
            if not half_deleted:
                self._check_log(entry, status)

    def _check_stop(self, entry: Entry, status: str) -> None:
        """A stop that is seen is kept: only the program itself can fail after it. What it had saved is kept, too."""
        path = [each["Status"] for each in entry.seen]
        assert entry.final is not None
        if "Stopping" not in path or entry.disk_was_full:
            return
        reason = entry.final.get("FailureReason", "AlgorithmError")
        assert status == "Stopped" or (status == "Failed" and reason.startswith("AlgorithmError")), (entry, reason)
        if status == "Stopped" and path[-3] == "Training" and not entry.given_up:
            assert self.world.model(entry.name) is not None, entry

    def _check_model(self, entry: Entry, status: str) -> None:
        model = self.world.model(entry.name)
        if status == "Failed":
            assert model is None, (entry, model)
        if status != "Completed":
            assert all(each.decode().startswith(f"{entry.name} ") for each in (model or {}).values()), (entry, model)
            return
        assert model is not None, entry
        hosts = ["algo-1", "algo-2"] if entry.kind == "pair" else ["m"]
        assert sorted(model) == hosts, (entry, model)
        for content in model.values():
            name, begin, count = content.decode().split()
            assert (name, int(count)) == (entry.name, entry.count), (entry, model)
            assert begin == "0" or entry.kind == "spot", (entry, model)
        if entry.kind == "spot" and not entry.disk_was_full:
            kept = b"".join(FilesystemObjects(self.world.home.s3).read(BUCKET, f"checkpoints/{entry.name}/done"))
            assert int(kept) == entry.count, (entry, kept)

    def _check_log(self, entry: Entry, status: str) -> None:
        # A program's keeper saves what its agent has not read; a keeper that is killed as well cannot.
        unheard = entry.given_up or (entry.agents_killed > 0 and entry.programs_killed > 0)
        hurt = entry.stopped or entry.programs_killed or entry.disk_was_full
        ends = {}
        before: dict[str, int] = {}
        for stream in self.world.client.streams(entry.name):
            host = stream.rpartition("/")[2].rpartition("-")[0]
            said = [each for each in self._lines(stream) if not each.startswith("[treadle]")]
            told = _numbers(said)
            begin = told[0] if told else 0
            assert told == sorted(set(told)), (entry, stream, said)
            gaps = told[-1] + 1 - begin - len(told) if told else 0
            dropped = [int(each.split()[1]) for each in said if _DROPPED in each]
            assert gaps <= sum(dropped), (entry, stream, said)
            assert not dropped or entry.disk_was_full, (entry, stream, said)
            assert said.count("done") <= 1, (entry, stream, said)
            assert unheard or begin <= before.get(host, 0) + sum(dropped), (entry, stream, said)
            last = told[-1] + 1 if told else begin
            if not unheard and not entry.disk_was_full:
                attempt = self._attempt_of(stream)
                assert last >= entry.said.get((attempt, host), 0), (entry, stream, said)
                self.done["lines that an agent left"] += (attempt, host) in entry.said
            before[host] = max(before.get(host, 0), last)
            ends[host] = (said[-1:] == ["done"], unheard or before[host] == entry.count)
        if status == "Completed" and not entry.disk_was_full:
            assert set(ends.values()) == {(True, True)}, (entry, ends)
        if entry.kind == "fails" and "agent is gone" not in (entry.final or {}).get("FailureReason", "") and not hurt:
            assert ends["algo-1"] == (False, True), (entry, ends)
            assert entry.final is not None
            assert entry.final["FailureReason"].startswith("AlgorithmError: , exit code: 3"), entry.final

    def _attempt_of(self, stream: str) -> int:
        """Give the attempt that a stream belongs to, which only its file says."""
        with (self.world.home.logs / f"{stream}.log").open() as file:
            return int(file.readline().partition("#")[2])

    def _lines(self, stream: str) -> Iterator[str]:
        token: str | None = None
        while True:
            asked = {"logGroupName": LOG_GROUP, "logStreamName": stream, "startFromHead": True}
            page = self.world.client.call("Logs_20140328.GetLogEvents", asked | ({"nextToken": token} if token else {}))
            yield from (each["message"] for each in page["events"])
            if page["nextForwardToken"] == token:
                return
            token = page["nextForwardToken"]

    def _check_names(self) -> None:
        """The service has the jobs that there must be, and no others."""
        names: list[str] = []
        page: dict[str, Any] = {"MaxResults": 100}
        while True:
            answer = self.world.client.call("SageMaker.ListTrainingJobs", page)
            names += [each["TrainingJobName"] for each in answer["TrainingJobSummaries"]]
            if "NextToken" not in answer:
                break
            page["NextToken"] = answer["NextToken"]
        assert sorted(names) == sorted(each.name for each in self.entries.values() if not each.deleted)

    def _check_machine(self) -> None:
        """Nothing of a job is left, and all of the machine can be had."""
        world = self.world
        assert self._service is not None
        until(lambda: world.processes() == [self._service and self._service.pid], what="only the service is left")
        assert list(world.home.jobs.iterdir()) == []
        assert listening(*self.tokens) == set()
        self.tokens.clear()
        mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
        assert [each for each in mounts if each.startswith(f"{world.root}/") and each != str(world.home.root)] == []
        names = {
            self._group_of(each, host, attempt)
            for each in self.entries.values()
            for host in ("algo-1", "algo-2")
            for attempt in range(1, 10)
        }
        for _, directories, _ in os.walk("/sys/fs/cgroup"):
            assert not names & set(directories)
        uploads = FilesystemObjects(world.home.s3)
        assert not [each.key for each in uploads.list(BUCKET, ".treadle/")]
        assert not list(world.home.s3.glob(".treadle/tmp/*"))
        with contextlib.closing(sqlite3.connect(world.home.service_db)) as database:
            assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        whole = {"InstanceType": "ml.local.cpu", "InstanceCount": 1, "VolumeSizeInGB": 1}
        last = Entry(f"last-{self._numbers}", "quick", 1, 0, created=True)
        self.entries[last.name] = last
        world.create(last.name, "quick", **last.request | {"ResourceConfig": whole})
        last.final = world.ended(last.name)
        self._check(last)

    def _group_of(self, entry: Entry, host: str, attempt: int) -> str:
        directory = str(self.world.home.jobs / entry.name / str(attempt) / host)
        launch = HostLaunch(
            job=entry.name, attempt=attempt, host=host, token="", endpoint="", endpoint_file="", directory=directory
        )
        return f"treadle-{hashlib.sha256(processes.marker(launch).encode()).hexdigest()[:24]}"

    def end(self) -> None:
        """End the service."""
        if self._service is not None:
            self._service.signal(signal.SIGTERM)
            self._service.popen.wait(30)


_DROPPED = " dropped: the host could not keep them"


def _numbers(said: list[str]) -> list[int]:
    return [int(each.split()[1]) for each in said if each.startswith("line ")]


@contextlib.contextmanager
def _unless_gone(entry: Entry) -> Iterator[None]:
    """A job whose creation was not answered need not be there, and one that has ended cannot be stopped."""
    try:
        yield
    except ServiceError as error:
        expected = "is in status" in error.message or (not entry.created and "not found" in error.message)
        if not expected:
            raise AssertionError(entry, error.message) from error


@contextlib.contextmanager
def storming(seed: int, seconds: float, *, keep: bool = False) -> Iterator[Storm]:
    """Give a storm over a world of its own, on a disk of its own where one can be mounted.

    With `keep`, a copy of the home stays when something is not as it should be.
    """
    root = Path(tempfile.mkdtemp(prefix="treadle-storm-", dir="/var/tmp"))
    world = World(root)
    world.home.prepare()
    disk = os.fsencode(world.home.root)
    own = _libc.mount(b"tmpfs", disk, b"tmpfs", 0, b"size=64m") == 0
    try:
        FilesystemObjects(world.home.s3).create_bucket(BUCKET)
        made = Storm(world, seed, seconds, fills=own)
        yield made
        made.end()
        world.close()
    except BaseException:
        for pid in world.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if keep:
            shutil.copytree(world.home.root, root / "as-it-was")
        raise
    finally:
        if own:
            _libc.umount2(disk, _MNT_DETACH)
        if not keep or not (root / "as-it-was").exists():
            shutil.rmtree(root)


def main(seconds: float, seed: int) -> None:
    """Storm, round by round, until the time is over."""
    end = time.monotonic() + seconds
    with storming(seed, 20.0, keep=True) as storm:
        while time.monotonic() < end:
            storm.round()
            left = end - time.monotonic()
            print(f"{left:.0f} s left", dict(sorted(storm.done.items())), flush=True)  # noqa: T201  (what it is for)


if __name__ == "__main__":
    given = [float(each) for each in sys.argv[1:]]
    main(given[0] if given else 1200.0, int(given[1]) if len(given) > 1 else int(time.time()))
