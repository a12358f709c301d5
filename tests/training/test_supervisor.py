"""The supervisor, with scripted hosts: every job comes to its end, whatever is stopped, lost, killed or started anew."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.training.control import Control, good, new_job, obedient, path_of, staged

from treadle.errors import LaunchError, ObjectError, StoreError
from treadle.launchers.scripted import Refused, ScriptedHost
from treadle.objects.memory import MemoryObjects
from treadle.seams import Capacity, HostEvent, JobRecord, StagedOutput
from treadle.stores.memory import MemoryJobStore
from treadle.training.job import INTERNAL_ERROR, Placed, StopRequested, Tagged, advance, record

HAPPY = ["Starting", "Downloading", "Training", "Uploading", "Completed"]


@pytest.fixture
async def control(tmp_path: Path) -> AsyncIterator[Control]:
    made = Control(tmp_path)
    yield made
    await made.launcher.close()


def texts(control: Control, job: str = "j") -> list[str]:
    return [text for name, _, _ in control.logs.streams(f"{job}/") for _, text in control.logs.lines(name) or ()]


async def status_of(call: Awaitable[object]) -> int:
    """Give the status with which the control plane answers."""
    try:
        await call
    except Refused as refused:
        return refused.status
    return 200


# ---------------------------------------------------------------------------------------------------------------------
# The course of a job
# ---------------------------------------------------------------------------------------------------------------------


async def test_a_job_completes(control: Control) -> None:
    """Placed, heard, its log kept, its output moved to its place, and nothing else left."""

    async def upload(host: ScriptedHost) -> None:
        spec = await host.claim()
        output = staged(spec.staging)
        control.objects.write(output.bucket, output.staged, iter([b"model"]))
        control.objects.write(output.bucket, output.staged + ".rest", iter([b"left over"]))
        await good(host)  # which claims again, as an agent may

    control.script = upload
    async with control.supervised() as supervisor:
        assert await supervisor.add(new_job())
        assert not await supervisor.add(new_job())
        job = await control.ended()
        assert path_of(job) == HAPPY
        assert texts(control) == ["[treadle] a note", "epoch 1", "epoch 2"]
        await supervisor.quiet()
    assert [info.key for info in control.objects.list("data")] == ["out/j/output/model.tar.gz", "train/a.csv"]
    assert not (control.home.jobs / "j").exists()
    await control.launcher.finished()


async def test_what_a_host_is_told(control: Control) -> None:
    """The launch has the secret of the attempt, the specification what was decided."""
    async with control.supervised() as supervisor:
        await supervisor.add(new_job())
        job = await control.ended()
    launch = control.launcher.launched[0]
    assert (launch.job, launch.attempt, launch.host) == ("j", 1, "algo-1")
    assert launch.directory == str(control.home.jobs / "j" / "1" / "algo-1")
    assert launch.token not in str(msgspec.json.encode(job))


async def test_outputs_are_in_their_place_before_the_status_says_so(control: Control) -> None:
    """Whoever sees Completed finds the model."""
    seen: list[bool] = []

    class Watching(MemoryJobStore):
        async def update(self, record: JobRecord) -> bool:
            if record.status == "Completed":
                seen.append(any(info.key.startswith("out/") for info in control.objects.list("data")))
            return await super().update(record)

    async def upload(host: ScriptedHost) -> None:
        output = staged((await host.claim()).staging)
        control.objects.write(output.bucket, output.staged, iter([b"model"]))
        await host.ended("completed", outputs=[output])

    control.jobs, control.script = Watching(), upload
    async with control.supervised() as supervisor:
        await supervisor.add(new_job())
        await control.ended()
    assert seen == [True]


async def test_an_output_that_is_lost_fails_the_job(control: Control) -> None:
    """It was reported and is nowhere."""
    async with control.supervised() as supervisor:
        await supervisor.add(new_job())
        job = await control.ended()
    assert job.failure_reason.startswith(f"{INTERNAL_ERROR} An output is lost")
    assert job.status == "Failed"


@pytest.mark.parametrize("phase", ["Starting", "Downloading", "Training", "Uploading"])
async def test_a_stop_in_each_phase(control: Control, phase: str) -> None:
    """The command arrives at once, and the job ends Stopped."""
    order = ["downloading", "training", "uploading"]

    async def until(host: ScriptedHost) -> None:
        await host.claim()
        for kind in order[: ["Starting", "Downloading", "Training", "Uploading"].index(phase)]:
            await host.happened(kind)  # type: ignore[arg-type]
        assert await host.command() == ["stop"]
        await host.ended("stopped")

    control.script = until
    async with control.supervised() as supervisor:
        await supervisor.add(new_job())
        await control.until("j", lambda job: job.secondary_status == phase and any(each.agent for each in job.hosts))
        loop = asyncio.get_running_loop()
        asked = loop.time()
        await supervisor.request_stop("j")
        job = await control.ended()
        assert loop.time() - asked < 1.0
    assert path_of(job)[-3:] == [phase, "Stopping", "Stopped"]
    await control.launcher.finished()


async def test_a_stop_before_there_is_room(control: Control) -> None:
    """Nothing has been launched, so it ends at once."""
    control.script = obedient
    async with control.supervised() as supervisor:
        await supervisor.add(new_job("a", ResourceConfig={"InstanceType": "ml.local.cpu"}))
        await control.reached("Training", "a")
        await supervisor.add(new_job("b"))
        await control.reached("Pending", "b")
        await supervisor.request_stop("b")
        assert path_of(await control.ended("b")) == ["Starting", "Pending", "Stopping", "Stopped"]
        await supervisor.request_stop("a")
        await control.ended("a")
    assert len(control.launcher.launched) == 1


async def test_jobs_wait_for_room_in_their_order(control: Control) -> None:
    """8 CPUs: the third job of 4 waits, and a small one behind it does not pass."""
    control.script = obedient
    async with control.supervised() as supervisor:
        for name in ("a", "b", "c"):
            await supervisor.add(new_job(name))
        await supervisor.add(new_job("d", ResourceConfig={"InstanceType": "ml.m5.large"}))
        await control.reached("Training", "a")
        await control.reached("Training", "b")
        waiting = [await control.reached("Pending", name) for name in ("c", "d")]
        assert {each.transitions[-1].message for each in waiting} == {"Training job waiting for capacity"}
        await supervisor.request_stop("a")
        await control.reached("Training", "c")
        assert (await control.reached("Pending", "d")).attempt == 0
        for name in ("b", "c"):
            await supervisor.request_stop(name)
        job = await control.reached("Training", "d")
        assert path_of(job) == ["Starting", "Pending", "Downloading", "Training"]
        await supervisor.request_stop("d")
        await control.ended("d")
    assert [each.job for each in control.launcher.launched] == ["a", "b", "c", "d"]


async def test_who_comes_behind_others_is_stored_once(control: Control) -> None:
    """It is seen to wait from the first moment, without a second write."""
    written: list[tuple[str, str]] = []

    class Writing(MemoryJobStore):
        async def insert(self, record: JobRecord) -> bool:
            written.append((record.name, record.secondary_status))
            return await super().insert(record)

        async def update(self, record: JobRecord) -> bool:
            written.append((record.name, record.secondary_status))
            return await super().update(record)

    control.jobs, control.script = Writing(), obedient
    whole: dict[str, Any] = {"ResourceConfig": {"InstanceType": "ml.local.cpu"}}
    async with control.supervised() as supervisor:
        await supervisor.add(new_job("a", **whole))
        await control.reached("Training", "a")
        await supervisor.add(new_job("b", **whole))
        await control.reached("Pending", "b")
        await supervisor.add(new_job("c"))
        assert path_of(await control.reached("Pending", "c")) == ["Starting", "Pending"]
        assert [each for each in written if each[0] != "a"] == [("b", "Starting"), ("b", "Pending"), ("c", "Pending")]
        for name in ("a", "b", "c"):
            await supervisor.request_stop(name)
            await control.ended(name)


async def test_a_job_that_comes_back_is_before_those_that_came_later(control: Control) -> None:
    """It has been first before; who waits does not gain by its loss."""
    begun: list[str] = []

    async def lost_at_first(host: ScriptedHost) -> None:
        begun.append(host.launch.job)
        await (obedient(host) if len(begun) > 1 else host.claim())

    control.script = lost_at_first
    whole: dict[str, Any] = {"ResourceConfig": {"InstanceType": "ml.local.cpu"}}
    retried = new_job("a", RetryStrategy={"MaximumRetryAttempts": 1}, **whole)
    async with control.supervised(tick=0.2) as supervisor:
        await supervisor.add(msgspec.structs.replace(retried, created_at=1.0))
        for number, name in enumerate(("b", "c"), 2):
            await supervisor.add(msgspec.structs.replace(new_job(name, **whole), created_at=float(number)))
            await control.reached("Pending", name)
        for name in ("a", "b", "c"):
            await control.reached("Training", name)
            await supervisor.request_stop(name)
            await control.ended(name)
    assert begun == ["a", "a", "b", "c"]


async def test_the_first_preference_that_there_is_room_for(control: Control) -> None:
    """Of 8 CPUs 4 are taken: no GPU, not 8 CPUs, but 2 hosts of 2. What was selected stays, and the hosts are its."""
    control.script = obedient
    preferences = [
        {"InstanceType": "ml.p3.2xlarge", "InstanceCount": 1},
        {"InstanceType": "ml.m5.2xlarge", "InstanceCount": 1},
        {"InstanceType": "ml.m5.large", "InstanceCount": 2},
    ]
    async with control.supervised() as supervisor:
        await supervisor.add(new_job("a"))
        await control.reached("Training", "a")
        await supervisor.add(new_job("b", ResourceConfig={"InstancePreferences": preferences}))
        job = await control.reached("Training", "b")
        assert job.request["ResourceConfig"] == {
            "InstancePreferences": preferences,
            "SelectedInstanceType": "ml.m5.large",
            "SelectedInstanceCount": 2,
            "VolumeSizeInGB": 30,
        }
        assert [each.name for each in job.hosts] == ["algo-1", "algo-2"]
        assert job.notes[1:] == ("Of the InstancePreferences ml.m5.large was selected.",)
        await supervisor.add(new_job("c", ResourceConfig={"InstancePreferences": preferences[:2]}))
        waiting = await control.reached("Pending", "c")
        assert "SelectedInstanceType" not in waiting.request["ResourceConfig"]
        for name in ("a", "b"):
            await supervisor.request_stop(name)
        job = await control.reached("Training", "c")
        assert job.request["ResourceConfig"]["SelectedInstanceType"] == "ml.m5.2xlarge"
        await supervisor.request_stop("c")
        await control.ended("c")


# ---------------------------------------------------------------------------------------------------------------------
# What goes wrong
# ---------------------------------------------------------------------------------------------------------------------


async def test_an_agent_that_dies_is_noticed(control: Control) -> None:
    """Without retries the job fails with AWS's text and the reason."""

    async def dies(host: ScriptedHost) -> None:
        await host.claim()
        await host.happened("downloading")

    control.script = dies
    async with control.supervised() as supervisor:
        await supervisor.add(new_job())
        job = await control.ended()
    assert job.failure_reason == f"{INTERNAL_ERROR} The host algo-1 is lost: its agent is gone."
    assert path_of(job) == ["Starting", "Downloading", "Failed"]


async def test_an_agent_that_dies_is_replaced(control: Control) -> None:
    """By one that goes on as the same agent, in the same attempt; so the job need not be tried again."""

    async def dies(host: ScriptedHost) -> None:
        await host.claim()
        await host.happened("downloading")
        await host.happened("training")
        await host.log("one")

    async def goes_on(host: ScriptedHost) -> None:
        await host.claim()
        await host.log("two")
        await host.happened("uploading")
        await host.ended("completed")

    control.script, control.launcher.again = dies, goes_on
    async with control.supervised() as supervisor:
        await supervisor.add(new_job(RetryStrategy={"MaximumRetryAttempts": 1}))
        job = await control.ended()
    assert (job.status, job.attempt, job.hosts[0].agents, job.retries_left) == ("Completed", 1, 2, 1)
    assert texts(control)[1:] == ["one", "two"]


async def test_agents_that_die_again_and_again_are_given_up(control: Control) -> None:
    """Two more are tried, then the host is lost; a stop that was asked for is kept all the same."""

    async def dies(host: ScriptedHost) -> None:
        await host.claim()
        await host.log("one")

    control.script = control.launcher.again = dies
    async with control.supervised() as supervisor:
        await supervisor.add(new_job("lost"))
        await supervisor.add(new_job("stopped"))
        await supervisor.request_stop("stopped")
        lost, stopped = await control.ended("lost"), await control.ended("stopped")
    assert lost.failure_reason == f"{INTERNAL_ERROR} The host algo-1 is lost: its agent is gone."
    assert (stopped.status, stopped.failure_reason) == ("Stopped", "")
    assert texts(control, "lost")[-1:] == ["[treadle] The host algo-1 is lost: its agent is gone."]


async def test_an_agent_whose_job_has_ended_is_not_replaced(control: Control) -> None:
    """It is gone because it has nothing more to do."""
    again = 0

    async def too_late(_: ScriptedHost) -> None:
        nonlocal again
        again += 1

    control.launcher.again = too_late
    async with control.supervised() as supervisor:
        await supervisor.add(new_job())
        await control.ended()
        await supervisor.quiet()
    assert again == 0


async def test_an_agent_that_says_nothing_is_given_up(control: Control) -> None:
    """It lives and is silent: it is killed."""

    async def silent(host: ScriptedHost) -> None:
        await host.claim()
        await asyncio.Event().wait()

    control.script = silent
    async with control.supervised(silence=0.1) as supervisor:
        await supervisor.add(new_job())
        job = await control.ended()
        await supervisor.quiet()
    assert "its agent has said nothing for" in job.failure_reason
    assert not await control.launcher.alive("1")


async def test_a_lost_host_is_replaced_and_the_old_agent_is_fenced(control: Control) -> None:
    """The job starts again; the old agent, which was only cut off, is told 409 and nothing that it says counts."""
    old: list[ScriptedHost] = []
    refused: list[int] = []

    async def first_is_lost(host: ScriptedHost) -> None:
        if not old:
            old.append(host)
            await host.claim()
            await host.happened("downloading")
            await host.happened("training")
            return
        await host.claim()
        lates = (old[0].happened("uploading"), old[0].log("late"), old[0].claim())
        refused.extend([await status_of(late) for late in lates])
        await host.ended("completed")

    control.script = first_is_lost
    async with control.supervised() as supervisor:
        await supervisor.add(new_job(RetryStrategy={"MaximumRetryAttempts": 1}))
        job = await control.ended()
    assert refused == [409, 409, 409]
    assert path_of(job) == ["Starting", "Downloading", "Training", "Starting", "Completed"]
    assert "late" not in texts(control)
    assert [each.attempt for each in control.launcher.launched] == [1, 2]
    await control.launcher.finished()


async def test_a_fault_is_tried_again_however_much_else_happens(control: Control) -> None:
    """The disk fails once when a job is settled, while another job changes all the time."""

    class Failing(MemoryJobStore):
        failed = False

        async def update(self, record: JobRecord) -> bool:
            if record.status == "Completed" and not self.failed:
                self.failed = True
                raise StoreError("The disk is full.", hint="Make room.")
            return await super().update(record)

    async def by_name(host: ScriptedHost) -> None:
        await (obedient(host) if host.launch.job == "b" else host.claim())
        if host.launch.job == "a":
            await host.ended("completed")

    control.jobs, control.script = Failing(), by_name
    async with control.supervised(tick=0.2) as supervisor:
        await supervisor.add(new_job("b"))
        await control.reached("Training", "b")
        await supervisor.add(new_job("a"))
        async with asyncio.timeout(5):
            for number in itertools.count():
                await supervisor.edit("b", lambda _, number=number: Tagged(2_000_000.0, {"n": str(number)}))  # type: ignore[misc]
                job = await supervisor.find("a")
                if job is not None and job.finished:
                    break
                await asyncio.sleep(0.01)
        await supervisor.request_stop("b")
        await control.ended("b")
    assert control.jobs.failed


async def test_a_launch_that_fails_is_an_internal_error(control: Control) -> None:
    """The reason is the launcher's."""
    control.launcher.refusal = "There is no python."
    async with control.supervised() as supervisor:
        await supervisor.add(new_job())
        job = await control.ended()
    assert job.failure_reason == f"{INTERNAL_ERROR} There is no python."
    assert path_of(job) == ["Starting", "Failed"]


async def test_a_host_that_will_not_die_does_not_hold_the_job(
    control: Control, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged; its attempt is over whatever it does."""

    async def refuse(handle: str) -> None:
        raise LaunchError(f"{handle} will not die.")

    async def dies(host: ScriptedHost) -> None:
        await host.claim()

    control.script, control.launcher.kill = dies, refuse  # type: ignore[method-assign]
    async with control.supervised() as supervisor:
        await supervisor.add(new_job())
        await control.ended()
        await supervisor.quiet()
    assert "1 will not die." in caplog.text
    del control.launcher.kill


async def test_a_store_that_fails_for_a_while_only_delays(control: Control, caplog: pytest.LogCaptureFixture) -> None:
    """A full disk: agents are told to come again, the loop tries again, and the job completes."""

    class Failing(MemoryJobStore):
        failing = 0

        async def update(self, record: JobRecord) -> bool:
            if self.failing:
                self.failing -= 1
                raise StoreError("The disk is full.", hint="Make room.")
            return await super().update(record)

    store = Failing()
    refused: list[str] = []

    async def persistent(host: ScriptedHost) -> None:
        await host.claim()
        store.failing = 3
        for seq, kind in enumerate(("downloading", "training", "uploading", "ended"), 1):
            event = HostEvent(seq=seq, kind=kind, at=1.0, outcome="completed")  # type: ignore[arg-type]
            while await status_of(host.report(events=[event])) != 200:
                refused.append(kind)
            if kind == "uploading":
                store.failing = 2

    control.jobs, control.script = store, persistent
    async with control.supervised() as supervisor:
        await supervisor.add(new_job())
        job = await control.ended()
    assert path_of(job) == HAPPY
    assert refused == ["downloading"] * 3 + ["ended"] * 2
    assert "The disk is full." in caplog.text


# ---------------------------------------------------------------------------------------------------------------------
# The wire
# ---------------------------------------------------------------------------------------------------------------------


async def test_only_the_token_of_the_attempt_opens(control: Control) -> None:
    """A wrong one is 401, a job that is not there 409, so that its agent ends."""
    control.script = obedient
    async with control.supervised() as supervisor:
        await supervisor.add(new_job())
        await control.reached("Training")
        launch = control.launcher.launched[0]
        claim = {"job": "j", "attempt": 1, "host": "algo-1", "agent": "x"}
        cases: list[tuple[str, dict[str, Any], int]] = [
            ("wrong", claim, 401),
            ("", claim, 401),
            (launch.token, claim | {"attempt": 2}, 401),
            (launch.token, claim | {"attempt": 0}, 401),
            (launch.token, claim | {"job": "other"}, 409),
            (launch.token, claim | {"host": "algo-2"}, 409),
            (launch.token, claim, 409),
            (launch.token, {"job": "j"}, 400),
        ]
        for token, body, status in cases:
            found, _ = await control.handler("/v1/claim", token, msgspec.json.encode(body))
            assert (token == launch.token, body, found) == (token == launch.token, body, status)
        assert (await control.handler("/v1/other", launch.token, b"{}"))[0] == 404
        assert (await control.handler("/v1/report", launch.token, b"{"))[0] == 400
        await supervisor.request_stop("j")
        await control.ended()


async def test_what_is_sent_again_is_acknowledged_again(control: Control) -> None:
    """Events and lines count once, also after the job has ended: the agent may not have got the answer."""
    answers = []

    async def repeats(host: ScriptedHost) -> None:
        await host.claim()
        await host.claim()
        event = HostEvent(seq=1, kind="downloading", at=1.0)
        last = HostEvent(seq=2, kind="ended", at=2.0, outcome="completed")
        answers.extend([(await host.report(events=events)).events_to for events in ([event], [event], [event, last])])
        await control.ended()
        answers.append((await host.report(events=[last])).events_to)

    control.script = repeats
    async with control.supervised(leave=5.0) as supervisor:
        await supervisor.add(new_job())
        await control.ended()
        await control.launcher.finished()
        assert answers == [1, 1, 2, 2]
        assert supervisor.busy


async def test_a_heartbeat_is_held_until_there_is_a_command(control: Control) -> None:
    """It waits as long as it says, and is not asked for again and again while the command is obeyed."""
    took = []

    async def measured(host: ScriptedHost) -> None:
        loop = asyncio.get_running_loop()
        await host.claim()
        await host.happened("training")
        for _ in range(3):
            asked = loop.time()
            commands = (await host.report(wait=0.1)).commands
            took.append((loop.time() - asked, commands))
            if len(took) == 1:
                await control.supervisor.request_stop("j")
        await host.ended("stopped")

    control.script = measured
    async with control.supervised() as supervisor:
        await supervisor.add(new_job())
        await control.ended()
    assert [commands for _, commands in took] == [[], ["stop"], ["stop"]]
    assert took[0][0] >= 0.09
    assert took[1][0] < 0.09
    assert took[2][0] >= 0.09


async def test_a_released_supervisor_holds_nothing(control: Control) -> None:
    """The service can stop listening without waiting for heartbeats."""
    held = asyncio.Event()

    async def waits(host: ScriptedHost) -> None:
        await host.claim()
        await host.happened("training")
        held.set()
        await host.report(wait=60.0)
        await asyncio.Event().wait()

    control.script = waits
    async with asyncio.timeout(5), control.supervised() as supervisor:
        await supervisor.add(new_job())
        await held.wait()


# ---------------------------------------------------------------------------------------------------------------------
# Starting anew
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", ["Starting", "Downloading", "Training", "Uploading", "Stopping"])
async def test_a_new_supervisor_goes_on(control: Control, phase: str) -> None:
    """The hosts of the old one are heard by the new one; no attempt is begun anew."""
    goes_on = asyncio.Event()
    order = ["downloading", "training", "uploading"]

    async def patient(host: ScriptedHost) -> None:
        await host.claim()
        done = {"Starting": 0, "Downloading": 1, "Training": 2, "Uploading": 3, "Stopping": 2}[phase]
        for kind in order[:done]:
            await host.happened(kind)  # type: ignore[arg-type]
        await goes_on.wait()
        for kind in order[done:]:
            await host.happened(kind)  # type: ignore[arg-type]
        await host.ended("stopped" if phase == "Stopping" else "completed")

    control.script = patient
    async with control.supervised() as supervisor:
        await supervisor.add(new_job())
        if phase == "Stopping":
            await control.reached("Training")
            await supervisor.request_stop("j")
        await control.until("j", lambda job: job.secondary_status == phase and bool(job.hosts and job.hosts[0].agent))
    async with control.supervised():
        goes_on.set()
        job = await control.ended()
    assert job.attempt == 1
    assert job.status == ("Stopped" if phase == "Stopping" else "Completed")
    await control.launcher.finished()


async def test_a_launch_that_nobody_can_find_is_done_again(control: Control) -> None:
    """Killed between placing and keeping the handle: a new attempt; the old agent finds that its own is over."""

    class Stuck(MemoryJobStore):
        handles = False

        async def update(self, record: JobRecord) -> bool:
            if b'"handle":"1"' in record.body and not self.handles:
                raise StoreError("killed")
            return await super().update(record)

    refused: list[int] = []
    goes_on, launched = asyncio.Event(), asyncio.Event()

    async def late(host: ScriptedHost) -> None:
        launched.set()
        if host.launch.attempt == 1:
            await goes_on.wait()
            with pytest.raises(Refused) as caught:
                await host.claim()
            refused.append(caught.value.status)
            return
        await host.claim()
        await host.ended("completed")
        goes_on.set()

    store = Stuck()
    control.jobs, control.script = store, late
    async with control.supervised(tick=60.0) as supervisor:
        await supervisor.add(new_job())
        await launched.wait()
    store.handles = True
    async with control.supervised():
        job = await control.ended()
        await control.launcher.finished()
    assert job.attempt == 2
    assert refused == [409]
    assert path_of(job) == ["Starting", "Completed"]


async def test_a_stop_of_a_launch_that_nobody_can_find(control: Control) -> None:
    """It is not launched again just to be stopped."""
    job = new_job()
    store = control.jobs
    job = advance(job, Placed(1_000_001.0, "hash", ("algo-1",)))
    job = advance(job, StopRequested(1_000_002.0))
    await store.insert(record(job))
    async with control.supervised():
        assert path_of(await control.ended()) == ["Starting", "Stopping", "Stopped"]
    assert control.launcher.launched == []


async def test_a_host_that_died_meanwhile_is_lost(control: Control) -> None:
    """After a reboot nothing of it is left."""
    control.script = obedient
    async with control.supervised() as supervisor:
        await supervisor.add(new_job())
        await control.reached("Training")
    await control.launcher.close()
    async with control.supervised():
        job = await control.ended()
    assert job.failure_reason.startswith(INTERNAL_ERROR)


async def test_outputs_are_committed_once_even_if_it_is_done_twice(control: Control) -> None:
    """Killed between moving the outputs and saying so: the new supervisor says so."""
    output = StagedOutput(bucket="data", staged="s/model.tar.gz", target="out/j/output/model.tar.gz")
    control.objects.write("data", output.target, iter([b"model"]))
    job = msgspec.structs.replace(new_job(), outcome="completed", outputs=(output,))
    await control.jobs.insert(record(job))
    async with control.supervised():
        assert (await control.ended()).status == "Completed"


async def test_directories_of_ended_jobs_are_swept(control: Control) -> None:
    """What a killed service left is removed at the next start, and what an agent said of itself is kept."""
    left = control.home.jobs / "gone" / "1" / "algo-1"
    (left / "ml" / "locked").mkdir(parents=True)
    (left / "ml" / "locked" / "file").write_text("x")
    (left / "ml" / "locked").chmod(0o000)
    (left / "agent.log").write_text("said")
    async with control.supervised() as supervisor:
        await supervisor.quiet()
    assert not (control.home.jobs / "gone").exists()
    assert (control.home.logs / "gone" / "algo-1-attempt-1.agent.txt").read_text() == "said"
    assert control.logs.streams("") == []


async def test_an_output_that_cannot_be_put_in_its_place_stays_where_it_is(control: Control) -> None:
    """Somebody trained for it: neither this service nor the next one removes it; the rest of staging goes."""

    class Unwilling(MemoryObjects):
        def move(self, bucket: str, source: str, target: str) -> None:
            raise ObjectError(f"{bucket} does not let {source} become {target}.")

    output = StagedOutput(bucket="data", staged=".treadle/staging/j/1/algo-1/model.tar.gz", target="out/model.tar.gz")
    control.objects = Unwilling()
    control.objects.create_bucket("data")
    for key in (output.staged, ".treadle/staging/j/1/algo-1/half"):
        control.objects.write("data", key, iter([b"model"]))
    await control.jobs.insert(record(msgspec.structs.replace(new_job(), outcome="completed", outputs=(output,))))
    async with control.supervised() as supervisor:
        job = await control.ended()
        await supervisor.quiet()
    assert f"An output stays at s3://data/{output.staged}" in job.failure_reason
    (control.home.jobs / "j").mkdir(parents=True)  # as if it had been killed before it had cleaned up
    async with control.supervised() as supervisor:
        await supervisor.quiet()
    assert [each.key for each in control.objects.list("data", ".treadle/")] == [output.staged]


@pytest.mark.parametrize("is_stored", [False, True])
async def test_a_caller_that_goes_away_does_not_tear_a_change_apart(control: Control, is_stored: bool) -> None:
    """A client that is given up while its job is stored leaves a job, whether it was stored by then or not."""

    class Slow(MemoryJobStore):
        async def insert(self, record: JobRecord) -> bool:
            inserted = is_stored and await super().insert(record)
            await asyncio.sleep(0)
            return inserted if is_stored else await super().insert(record)

    control.jobs = Slow()
    async with control.supervised() as supervisor:
        adding = asyncio.create_task(supervisor.add(new_job()))
        await asyncio.sleep(0)
        adding.cancel()
        with pytest.raises(asyncio.CancelledError):
            await adding
        assert (await control.ended()).finished


async def test_a_name_is_taken_by_one(control: Control) -> None:
    """Also when it is asked for twice in the same moment with the same request."""
    async with control.supervised() as supervisor:
        first, second = await asyncio.gather(supervisor.add(new_job()), supervisor.add(new_job()))
        assert (first, second) == (True, False)
        assert (await control.ended()).finished
        assert not await supervisor.add(new_job())


async def test_a_machine_without_what_a_stored_job_needs(control: Control) -> None:
    """The job was taken when there was a GPU: it does not run without, waits for it, and says so."""
    await control.jobs.insert(record(new_job(ResourceConfig={"InstanceType": "ml.p3.2xlarge"})))
    async with control.supervised():
        why = ": It needs 1 GPU, and this machine has none that NVIDIA's driver shows."
        await control.until("j", lambda job: job.transitions[-1].message == f"Training job waiting for capacity{why}")
        control.launcher.capacity_is(Capacity(cpus=8, memory=64 << 30, gpus=1))
        assert "Training" in path_of(await control.ended())


async def test_what_a_launcher_says_of_room_is_said_of_the_job(control: Control) -> None:
    """For as long as it is so."""
    control.launcher.capacity_is(Capacity(cpus=8, memory=64 << 30, gpus=1))
    why = "GPU 0 is taken by another service"

    def taken(_needs: object) -> bool:
        if why:
            raise LaunchError(why)
        return False

    control.launcher.room = taken
    async with control.supervised() as supervisor:
        await supervisor.add(new_job(ResourceConfig={"InstanceType": "ml.g5.xlarge"}))
        waiting = "Training job waiting for capacity"
        await control.until("j", lambda job: job.transitions[-1].message == f"{waiting}: {why}")
        why = ""
        await control.until("j", lambda job: job.transitions[-1].message == waiting)
        control.launcher.room = lambda _needs: True
        job = await control.ended()
        assert path_of(job)[:3] == ["Starting", "Pending", "Downloading"]
