"""StopTrainingJob and MaxRuntimeInSeconds in every phase: status, transitions and artifacts as on AWS (§1.9, §2.3)."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import pytest

from tests.end_to_end.world import Gate, World, steps
from tests.waiting import until
from treadle.errors import ServiceError

PHASES = ["Starting", "Downloading", "Training", "Uploading"]
IN_ONE = pytest.mark.parametrize("boxed", ["auto"], indirect=True)

SAVES = """
def stop(*_):
    (MODEL / "model.txt").write_text("saved at the stop")
    say("stopping")
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
say("begun")
wait()
(MODEL / "model.txt").write_text("trained")
"""

# SIGTERM changes nothing for it, and its child goes its own way.
STUBBORN = """
signal.signal(signal.SIGTERM, signal.SIG_IGN)
(MODEL / "model.txt").write_text("half")
subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()", "E2E child"], start_new_session=True)
say("begun")
while True:
    signal.pause()
"""


def saving(world: World, *options: str) -> None:
    """Start a service that has an image which saves its model when it is stopped, and much to bring."""
    world.gate()
    world.image("saves", SAVES)
    world.put_many("many", 1500)
    world.serve(*options)


def create(world: World, job: str, **changes: Any) -> None:
    world.create(job, "saves", InputDataConfig=[world.channel("many/")], **changes)


@pytest.mark.parametrize(
    ("boxed", "phase"), [("auto", each) for each in PHASES] + [("plain", "Training")], indirect=["boxed"]
)
def test_a_stop_in_each_phase(boxed: World, phase: str) -> None:
    """Stopping, then Stopped; what the program has saved is the model; what never trained has none."""
    saving(boxed)
    create(boxed, "stopped")
    with boxed.held("stopped", phase):
        boxed.stop("stopped")
        if phase != "Training":
            assert boxed.describe("stopped")["TrainingJobStatus"] == "Stopping"
        boxed.stop("stopped")  # once more changes nothing
    job = boxed.ended("stopped")
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Stopped", "Stopped")
    assert steps(job) == [*PHASES[: PHASES.index(phase) + 1], "Stopping", "Stopped"]
    assert job["SecondaryStatusTransitions"][-1]["StatusMessage"] == "Training job stopped"
    assert "FailureReason" not in job
    saved = {"Training": {"model.txt": b"saved at the stop"}, "Uploading": {"model.txt": b"trained"}}
    assert boxed.model("stopped") == saved.get(phase)
    if phase == "Training":
        assert boxed.log("stopped") == ["begun", "stopping"]
        assert job["TrainingTimeInSeconds"] >= 1
    with pytest.raises(ServiceError) as refused:
        boxed.stop("stopped")
    assert (refused.value.code, refused.value.message) == (
        "ValidationException",
        "The request was rejected because the training job is in status Stopped.",
    )
    boxed.clean("stopped", logs=phase in {"Training", "Uploading"})


def test_a_program_that_ignores_sigterm_is_killed_after_the_grace(boxed: World) -> None:
    """Not before it, and with all that it has started; what it had written is kept."""
    boxed.image("stubborn", STUBBORN)
    boxed.serve("--stop-grace", "1s")
    boxed.create("stubborn", "stubborn")
    until(lambda: "begun" in boxed.log("stubborn"), what="the program has begun")
    assert boxed.processes("E2E child")
    began = time.monotonic()
    boxed.stop("stubborn")
    job = boxed.ended("stubborn")
    assert 1.0 <= time.monotonic() - began < 10.0
    assert steps(job) == ["Starting", "Downloading", "Training", "Stopping", "Stopped"]
    assert boxed.model("stubborn") == {"model.txt": b"half"}
    assert not boxed.processes("E2E child")
    boxed.clean("stubborn")


@IN_ONE
def test_max_runtime_ends_like_a_stop(boxed: World) -> None:
    """Stopped, MaxRuntimeExceeded, with the model that the program saved: not Failed."""
    saving(boxed)
    create(boxed, "late", StoppingCondition={"MaxRuntimeInSeconds": 1})
    job = boxed.ended("late")
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Stopped", "MaxRuntimeExceeded")
    assert steps(job) == [*PHASES, "MaxRuntimeExceeded"]
    assert boxed.model("late") == {"model.txt": b"saved at the stop"}
    assert boxed.log("late") == ["begun", "stopping"]
    boxed.clean("late")


@IN_ONE
def test_max_runtime_holds_while_there_is_no_service(boxed: World) -> None:
    """The agent's own clock ends the program; the next service hears of it."""
    saving(boxed)
    create(boxed, "late", StoppingCondition={"MaxRuntimeInSeconds": 2})
    with boxed.held("late", "Training"):
        boxed.started[0].kill()
    until(lambda: not boxed.programs("late"), what="the program has ended")
    boxed.serve()
    job = boxed.ended("late")
    assert steps(job) == [*PHASES, "MaxRuntimeExceeded"]
    assert boxed.model("late") == {"model.txt": b"saved at the stop"}
    boxed.clean("late")


@IN_ONE
def test_a_stop_outlives_the_service(boxed: World) -> None:
    """Asked for and then killed: the next service still wants it stopped."""
    saving(boxed)
    create(boxed, "stopped")
    with boxed.held("stopped", "Starting"):
        boxed.stop("stopped")
        boxed.started[0].kill()
        boxed.serve()
        assert boxed.describe("stopped")["TrainingJobStatus"] == "Stopping"
    job = boxed.ended("stopped")
    assert steps(job) == ["Starting", "Stopping", "Stopped"]
    assert boxed.model("stopped") is None
    boxed.clean("stopped", logs=False)


@IN_ONE
@pytest.mark.parametrize("service_too", [False, True], ids=["agent", "everybody"])
def test_an_agent_that_is_killed_while_its_job_stops(boxed: World, service_too: bool) -> None:
    """The stop was promised, so the job ends Stopped, with what there was of a model; as it does after the grace."""
    boxed.image("stubborn", STUBBORN)
    service = boxed.serve()
    boxed.create("stubborn", "stubborn")
    until(lambda: "begun" in boxed.log("stubborn"), what="the program has begun")
    boxed.stop("stubborn")
    until(lambda: any("SIGTERM" in line for line in boxed.log("stubborn", own=True)), what="SIGTERM was sent")
    agent = boxed.agent("stubborn")
    if service_too:
        service.kill()
    os.kill(agent, signal.SIGKILL)
    if service_too:
        boxed.serve()
    job = boxed.ended("stubborn")
    assert steps(job) == ["Starting", "Downloading", "Training", "Stopping", "Stopped"]
    assert "FailureReason" not in job
    assert boxed.model("stubborn") == {"model.txt": b"half"}
    boxed.clean("stubborn")


@pytest.mark.parametrize("phase", PHASES)
@IN_ONE
def test_a_stop_in_each_phase_outlives_everybody(boxed: World, phase: str) -> None:
    """Answered, and then service and agent are killed: the job ends as it would have ended, with what there was."""
    saving(boxed)
    create(boxed, "stopped", RetryStrategy={"MaximumRetryAttempts": 3})
    with boxed.held("stopped", phase) as agent:
        os.kill(agent, signal.SIGSTOP)  # it does not hear of the stop
        boxed.stop("stopped")
        boxed.started[0].kill()
        os.kill(agent, signal.SIGKILL)
    boxed.serve()
    job = boxed.ended("stopped")
    assert steps(job) == [*PHASES[: PHASES.index(phase) + 1], "Stopping", "Stopped"]
    assert "FailureReason" not in job
    saved: dict[str, dict[str, bytes]] = {"Training": {}, "Uploading": {"model.txt": b"trained"}}
    assert boxed.model("stopped") == saved.get(phase)
    if phase in saved:
        assert boxed.log("stopped") == ["begun"]
    boxed.clean("stopped", logs=phase in saved)


@IN_ONE
def test_a_job_that_waits_for_room_is_stopped_at_once(boxed: World) -> None:
    """Pending, Stopping, Stopped; the job before it is left alone."""
    saving(boxed)
    full = {"ResourceConfig": {"InstanceType": "ml.m5.24xlarge", "InstanceCount": 1, "VolumeSizeInGB": 1}}
    create(boxed, "first", **full)
    with boxed.held("first", "Training"):
        create(boxed, "second", **full)
        boxed.reached("second", "Pending")
        boxed.stop("second")
        job = boxed.ended("second")
        assert steps(job) == ["Starting", "Pending", "Stopping", "Stopped"]
        assert "TrainingStartTime" not in job
    Gate(boxed.root / "gate").open()
    assert boxed.ended("first")["TrainingJobStatus"] == "Completed"
    boxed.clean("first")


@IN_ONE
def test_the_command_line_stops_a_job_and_shows_its_end(boxed: World) -> None:
    """`treadle jobs stop`, while `treadle jobs logs -f` follows; then a stop of what has ended says so."""
    saving(boxed)
    create(boxed, "told")
    with boxed.held("told", "Training"):
        follows = boxed.start("jobs", "logs", "-f", "told")
        follows.says("begun")
        assert boxed.treadle("jobs", "stop", "told").code == 0
    followed = follows.ended()
    assert followed.code == 0
    assert followed.out.splitlines()[-1] == "stopping"
    assert "Stopped" in followed.err
    again = boxed.treadle("jobs", "stop", "told")
    assert (again.code, again.err) == (0, "told has already ended: Stopped.\n")
    boxed.clean("told")
