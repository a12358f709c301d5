"""kill -9 at any moment, of anybody: nothing is lost, nothing is done twice, nobody is left."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from tests.end_to_end.relay import Relay, keys
from tests.end_to_end.world import Gate, Process, World, steps
from tests.waiting import until

WHOLE = ["Starting", "Downloading", "Training", "Uploading", "Completed"]
PHASES = ["Starting", "Downloading", "Training", "Uploading"]

PATIENT = """
say("begun")
wait()
data = list((ML / "input" / "data").glob("*/*"))  # a manifest lies beside each channel
(MODEL / "model.txt").write_text(f"trained on {len(data)} files")
say("done")
"""
FILES = 1500
# Each phase once, in the sandbox that jobs get here; and where a program runs, in the other one too.
IN_EACH_PHASE = pytest.mark.parametrize(
    ("boxed", "phase"), [("auto", each) for each in PHASES] + [("plain", "Training")], indirect=["boxed"]
)
IN_ONE = pytest.mark.parametrize("boxed", ["auto"], indirect=True)
MODEL = {"model.txt": b"trained on %d files" % FILES}

LOST = "InternalServerError: We encountered an internal error. Please try again. The host algo-1 is lost"


@pytest.fixture
def patient(boxed: World) -> World:
    """A world with an image whose program says "begun", waits at the gate, and counts its files; and with the files."""
    boxed.gate()
    boxed.image("patient", PATIENT)
    boxed.put_many("many", FILES)
    return boxed


def create(world: World, job: str, **changes: Any) -> None:
    world.create(job, "patient", InputDataConfig=[world.channel("many/")], **changes)


def gate(world: World) -> Gate:
    return Gate(world.root / "gate")


# ---------------------------------------------------------------------------------------------------------------------
# The training program
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("boxed", "number"),
    [("namespace", signal.SIGKILL), ("plain", signal.SIGKILL), ("auto", signal.SIGSEGV)],
    indirect=["boxed"],
)
def test_a_program_that_is_killed_fails_with_a_reason_that_says_so(boxed: World, number: signal.Signals) -> None:
    """AWS's form, then which signal, then the last lines; what it had written as a model is not published."""
    boxed.gate()
    boxed.image("patient", "(MODEL / 'half').write_text('half')\n" + PATIENT)
    boxed.serve()
    boxed.create("killed", "patient")
    until(lambda: "begun" in boxed.log("killed"), what="the program has begun")
    [program] = boxed.programs("killed")
    os.kill(program, number)
    job = boxed.ended("killed")
    assert job["TrainingJobStatus"] == "Failed"
    assert job["FailureReason"] == (
        f"AlgorithmError: , exit code: {128 + number}\nkilled by signal {number.value} ({number.name})\nbegun"
    )
    assert steps(job) == [*WHOLE[:-1], "Failed"]
    assert boxed.model("killed") is None
    boxed.clean("killed")


# ---------------------------------------------------------------------------------------------------------------------
# The agent
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("boxed", ["auto", "plain"], indirect=True)
def test_a_job_whose_agent_is_killed_fails_as_the_platforms_fault(patient: World) -> None:
    """It is settled within seconds; the program dies with its agent; nothing is published."""
    patient.serve()
    create(patient, "lost")
    with patient.held("lost", "Training") as agent:
        assert patient.programs("lost")
        os.kill(agent, signal.SIGKILL)
        until(lambda: not patient.programs("lost"), what="the program has died with its agent")
    job = patient.ended("lost")
    assert job["TrainingJobStatus"] == "Failed"
    assert job["FailureReason"] == f"{LOST}: its agent is gone."
    assert steps(job) == [*WHOLE[:3], "Failed"]
    assert patient.model("lost") is None
    assert patient.log("lost") == ["begun"]
    patient.clean("lost")


def completes(patient: World, name: str) -> None:
    """Wait for the job, which nothing has disturbed that can be seen: all steps once, model and log whole."""
    job = patient.ended(name)
    assert job["TrainingJobStatus"] == "Completed", job
    assert steps(job) == WHOLE
    assert patient.model(name) == MODEL
    assert patient.log(name) == ["begun", "done"]
    patient.clean(name)


@pytest.mark.parametrize("phase", ["Starting", "Downloading", "Uploading"])
@IN_ONE
def test_an_agent_that_is_killed_while_no_program_runs_is_replaced(patient: World, phase: str) -> None:
    """Nothing is lost that could not be done again: the job goes on, and does not even use up a retry."""
    patient.serve()
    create(patient, "goes-on")
    with patient.held("goes-on", phase) as agent:
        assert not patient.programs("goes-on")
        os.kill(agent, signal.SIGKILL)
    if phase != "Uploading":
        gate(patient).open()
    completes(patient, "goes-on")


@IN_ONE
def test_what_a_program_said_while_there_was_no_service_outlives_its_agent(boxed: World) -> None:
    """All of it is in the log, in order, though the agent is killed before there is a service again."""
    boxed.image(
        "talks", "for number in range(3000):\n    say(f'line {number}')\n(ML / 'said').touch()\ntime.sleep(600)\n"
    )
    service = boxed.serve()
    boxed.create("talks", "talks")
    until(lambda: boxed.log("talks"), what="it talks")
    service.kill()
    until((boxed.home.jobs / "talks/1/algo-1/ml/said").exists, what="it has said all that it has to say")
    os.kill(boxed.agent("talks"), signal.SIGKILL)
    boxed.serve()
    assert boxed.ended("talks")["TrainingJobStatus"] == "Failed"
    assert boxed.log("talks") == [f"line {number}" for number in range(3000)]
    boxed.clean("talks")


@IN_ONE
def test_a_retry_strategy_begins_again(patient: World) -> None:
    """RetryStrategy retries what the platform failed; the second attempt's output is the job's, and its log is added."""
    patient.serve()
    create(patient, "again", RetryStrategy={"MaximumRetryAttempts": 1})
    with patient.held("again", "Training") as agent:
        os.kill(agent, signal.SIGKILL)
    until(lambda: patient.log("again").count("begun") == 2, what="the program has begun again")
    gate(patient).open()
    job = patient.ended("again")
    assert job["TrainingJobStatus"] == "Completed"
    assert steps(job) == [*WHOLE[:3], *WHOLE]
    assert patient.model("again") == MODEL
    assert patient.log("again") == ["begun", "begun", "done"]
    patient.clean("again")


# ---------------------------------------------------------------------------------------------------------------------
# The service
# ---------------------------------------------------------------------------------------------------------------------


@IN_EACH_PHASE
def test_a_job_outlives_the_service(patient: World, phase: str) -> None:
    """Killed and started again in each phase: the same attempt goes on, and its log and artifact are whole."""
    service = patient.serve()
    create(patient, "goes-on")
    with patient.held("goes-on", phase) as agent:
        service.kill()
        patient.serve()
        assert patient.describe("goes-on")["SecondaryStatus"] == phase
    if phase != "Uploading":
        assert patient.agent("goes-on") == agent
        gate(patient).open()
    completes(patient, "goes-on")


@IN_ONE
def test_a_job_that_ends_while_there_is_no_service_is_found_complete(patient: World) -> None:
    """The agent uploads, keeps what it has to tell on its disk, and waits for the next service."""
    service = patient.serve()
    create(patient, "alone")
    with patient.held("alone", "Training"):
        service.kill()
    gate(patient).open()
    spool = patient.home.jobs / "alone" / "1" / "algo-1" / "spool" / "events.jsonl"
    until(lambda: b'"ended"' in spool.read_bytes(), what="the agent has noted the end")
    patient.serve()
    job = patient.ended("alone")
    assert steps(job) == WHOLE
    assert patient.model("alone") == MODEL
    assert patient.log("alone") == ["begun", "done"]
    patient.clean("alone")


@IN_ONE
def test_after_a_power_failure(patient: World) -> None:
    """Everybody dies at once: the next service settles what ran, and what waited for room gets its turn."""
    service = patient.serve()
    whole_machine = {"ResourceConfig": {"InstanceType": "ml.m5.24xlarge", "InstanceCount": 1, "VolumeSizeInGB": 1}}
    create(patient, "ran", **whole_machine)
    create(patient, "waited", **whole_machine)
    with patient.held("ran", "Training") as agent:
        for pid in (service.pid, agent):
            os.kill(pid, signal.SIGKILL)
        service.kill()
        until(lambda: not patient.programs("ran"), what="the program is dead")
    patient.serve()
    ran = patient.ended("ran")
    assert ran["FailureReason"].startswith(LOST)
    assert patient.model("ran") is None
    gate(patient).open()
    assert patient.ended("waited")["TrainingJobStatus"] == "Completed"
    assert patient.model("waited") == MODEL
    patient.clean("ran")
    patient.clean("waited")


@IN_ONE
def test_a_service_that_is_killed_right_after_create_has_taken_the_job(patient: World) -> None:
    """What CreateTrainingJob has answered is durable, wherever the launch was; exactly one attempt trains."""
    for number in range(2):
        job = f"taken-{number}"
        service = patient.serve()
        create(patient, job)
        if number:
            until(lambda job=job: (patient.home.jobs / job).exists(), what="it is being placed")  # type: ignore[misc]
        service.kill()
        service = patient.serve()
        gate(patient).open()
        found = patient.ended(job)
        assert found["TrainingJobStatus"] == "Completed", found
        assert steps(found) == WHOLE
        assert patient.model(job) == MODEL
        assert patient.log(job) == ["begun", "done"]
        patient.clean(job)
        service.signal(signal.SIGTERM)
        service.ended()


@IN_ONE
def test_a_service_that_is_killed_at_the_end_of_a_job(patient: World) -> None:
    """Between the outputs and the status, and right after the status: the next service says Completed, and cleans up."""
    service = patient.serve()
    create(patient, "ending")
    with patient.held("ending", "Training"):
        pass
    gate(patient).open()
    until(lambda: patient.model("ending"), what="the outputs are in their place")
    service.kill()
    service = patient.serve()
    job = patient.ended("ending")
    assert steps(job) == WHOLE
    service.kill()
    patient.serve()
    assert patient.describe("ending") == job
    assert patient.model("ending") == MODEL
    assert patient.log("ending") == ["begun", "done"]
    patient.clean("ending")


# ---------------------------------------------------------------------------------------------------------------------
# The client
# ---------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def relay(world: World) -> Iterator[Relay]:
    """Something between the client and the service of the world, which is started."""
    world.gate()
    world.image("patient", PATIENT)
    world.serve()
    with Relay(world) as made:
        yield made


def run_id(world: World) -> str:
    runs = json.loads(world.treadle("runs", "ls", "--json").out)
    found: str = runs[0]["run_id"]
    return found


def test_a_client_that_is_killed_while_it_creates_does_not_create_twice(world: World, relay: Relay) -> None:
    """The service has the job, the client never heard: the run is in doubt, and resume does not send it again."""
    relay.passing.clear()
    run = world.start(*world.run_arguments("once", "patient", on=relay.url), **keys(world))
    assert relay.held.wait(20), run.err
    run.kill()
    relay.passing.set()
    resumed = world.treadle("resume", run_id(world), **keys(world))
    assert resumed.code == 1
    assert "in doubt at createTrainingJob" in resumed.err
    assert "--resend" in resumed.err
    names = [each["TrainingJobName"] for each in json.loads(world.treadle("jobs", "ls", "--json").out)]
    assert names == ["once"]
    gate(world).open()
    assert world.ended("once")["TrainingJobStatus"] == "Completed"


def test_a_client_that_is_killed_in_the_middle_of_a_poll_goes_on(world: World, relay: Relay) -> None:
    """resume goes on to the end of the same job, and gives the outputs."""
    run = world.start(*world.run_arguments("polled", "patient", "--json", on=relay.url), **keys(world))
    run.says("pollTrainingJob", 3)
    relay.passing.clear()
    assert relay.held.wait(20)
    run.kill()
    relay.passing.set()
    resumed: Process = world.start("resume", run_id(world), "--json", **keys(world))
    resumed.says("pollTrainingJob")
    gate(world).open()
    done = resumed.ended()
    assert done.code == 0, done.err
    assert done.outputs["trainingJobStatus"] == "Completed"
    assert world.log("polled") == ["begun", "done"]
