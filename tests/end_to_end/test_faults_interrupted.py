"""Ctrl-C, SIGTERM, and several at once on one home: who leaves takes nothing along, who comes finds everything."""

from __future__ import annotations

import json
import os
import signal
import time

import pytest

from tests.end_to_end.relay import Relay, keys
from tests.end_to_end.world import Gate, World, steps
from tests.waiting import until

WHOLE = ["Starting", "Downloading", "Training", "Uploading", "Completed"]
PATIENT = """
say("begun")
wait()
(MODEL / "model.txt").write_text("trained")
say("done")
"""
QUICK = '(MODEL / "model.txt").write_text("trained")\n'


@pytest.fixture
def gate(world: World) -> Gate:
    """A world with an image that waits at this gate."""
    world.image("patient", PATIENT)
    return world.gate()


def services(world: World) -> list[int]:
    """Give the services of this world that live."""
    return world.processes("treadle.cli\0serve")


def resuming(told: str) -> list[str]:
    """Give the arguments of the command that a run says it can be resumed with."""
    line = next(each for each in told.splitlines() if each.startswith("To go on with the run: "))
    return line.rpartition(": ")[2].split()[1:]


def test_ctrl_c_leaves_the_job_alone_and_resume_finishes(world: World, gate: Gate) -> None:
    """The whole foreground group gets SIGINT, as from a terminal: 130, both commands; the job never notices."""
    run = world.start(*world.run_arguments("goes-on", "patient"))
    run.says("secondaryStatus: Training")
    os.killpg(run.pid, signal.SIGINT)
    stopped = run.ended()
    assert stopped.code == 130
    assert "The training job goes-on goes on. To stop it: treadle jobs stop goes-on" in stopped.err
    assert "the state is saved" in stopped.err
    assert world.describe("goes-on")["SecondaryStatus"] == "Training"
    resumed = world.start(*resuming(stopped.err))
    resumed.says("pollTrainingJob")
    gate.open()
    done = resumed.ended()
    assert done.code == 0, done.err
    assert "trainingJobStatus: Completed" in done.out
    job = world.describe("goes-on")
    assert steps(job) == WHOLE
    assert world.log("goes-on") == ["begun", "done"]


def test_the_stop_command_that_ctrl_c_names_stops_the_job(world: World, gate: Gate) -> None:
    """And resume then tells how it ended."""
    assert gate.path.exists()
    run = world.start(*world.run_arguments("to-stop", "patient"))
    run.says("secondaryStatus: Training")
    run.signal(signal.SIGINT)
    stopped = run.ended()
    line = next(each for each in stopped.err.splitlines() if "To stop it: " in each)
    assert world.treadle(*line.rpartition(": ")[2].split()[1:]).code == 0
    resumed = world.treadle(*resuming(stopped.err), "--json")
    # `Stopping` is not `InProgress`: the document ends there, or at `Stopped`.
    assert resumed.outputs["trainingJobStatus"] in {"Stopping", "Stopped"}
    # The program does not catch SIGTERM, so it ends by it; that is a stop all the same.
    assert world.ended("to-stop")["TrainingJobStatus"] == "Stopped"


def test_a_second_ctrl_c_ends_it_at_once(world: World, gate: Gate) -> None:
    """The first one waits for the answer to a request with effects; the second one does not."""
    world.serve()
    with Relay(world) as relay:
        relay.passing.clear()
        run = world.start(*world.run_arguments("asked", "patient", on=relay.url), **keys(world))
        assert relay.held.wait(20), run.err
        run.signal(signal.SIGINT)
        run.says("a second Ctrl-C")
        began = time.monotonic()
        run.signal(signal.SIGINT)
        assert run.ended().code == 130
        assert time.monotonic() - began < 5.0
        relay.passing.set()
        run_id = json.loads(world.treadle("runs", "ls", "--resumable", "--json").out)[0]["run_id"]
        resumed = world.treadle("resume", run_id, **keys(world))
    assert (resumed.code, "in doubt at createTrainingJob" in resumed.err) == (1, True)
    gate.open()
    assert world.ended("asked")["TrainingJobStatus"] == "Completed"


def test_sigterm_ends_the_service_and_the_next_one_finds_the_job(world: World, gate: Gate) -> None:
    """Within seconds, exit code 0; the job goes on meanwhile, and nothing of it is missing."""
    service = world.serve()
    world.create("found", "patient")
    with world.held("found", "Training") as agent:
        began = time.monotonic()
        service.signal(signal.SIGTERM)
        assert service.ended().code == 0
        assert time.monotonic() - began < 4.0
        assert world.home.endpoint() is None
        assert not world.home.endpoint_file.exists()
    gate.open()
    world.serve()
    job = world.ended("found")
    assert steps(job) == WHOLE
    assert world.log("found") == ["begun", "done"]
    world.clean("found")
    assert agent not in world.processes()


def test_sigterm_while_a_client_follows_a_log(world: World, gate: Gate) -> None:
    """Who is connected holds nobody up, and is told plainly."""
    service = world.serve()
    world.create("followed", "patient")
    follows = world.start("jobs", "logs", "-f", "followed")
    follows.says("begun")
    service.signal(signal.SIGTERM)
    assert service.ended(5).code == 0
    told = follows.ended()
    assert told.code == 1
    assert "error: The training service at http://127.0.0.1:" in told.err
    world.serve()
    gate.open()
    assert world.ended("followed")["TrainingJobStatus"] == "Completed"


def test_a_service_that_dies_in_the_middle_of_a_run_is_started_again(world: World, gate: Gate) -> None:
    """The run goes on with the next service; the job never noticed."""
    run = world.start(*world.run_arguments("revived", "patient", "--json"))
    run.says('"Training"')
    [first] = services(world)
    os.kill(first, signal.SIGKILL)
    until(lambda: [pid for pid in services(world) if pid != first], what="there is another service")
    gate.open()
    done = run.ended()
    assert done.code == 0, done.err
    assert done.outputs["trainingJobStatus"] == "Completed"
    assert steps(world.describe("revived")) == WHOLE
    assert world.log("revived") == ["begun", "done"]


def test_two_runs_at_once_share_one_service_which_then_goes(world: World) -> None:
    """From a cold start: one service is started, both runs complete; it goes away by itself; the next run has another."""
    world.image("quick", QUICK)
    names = ["one", "two", "three"]
    runs = [world.start(*world.run_arguments(name, "quick", "--json")) for name in names]
    seen: set[int] = set()

    def over() -> bool:
        seen.update(services(world))
        return all(run.popen.poll() is not None for run in runs)

    until(over, 40, what="all runs have ended")
    for name, run in zip(names, runs, strict=True):
        done = run.ended()
        assert done.code == 0, done.err
        assert done.outputs["trainingJobStatus"] == "Completed"
        assert world.model(name) == {"model.txt": b"trained"}
    told = world.home.service_log.read_text()
    assert told.count("The training service listens on") == 1, told
    for name in names:
        world.clean(name)
    until(lambda: not services(world), 15, what="the service has gone by itself")
    assert world.home.endpoint() is None
    again = world.treadle(*world.run_arguments("four", "quick", "--json"))
    assert again.outputs["trainingJobStatus"] == "Completed"
    assert world.home.service_log.read_text().count("The training service listens on") == 2
    assert {each["TrainingJobName"] for each in json.loads(world.treadle("jobs", "ls", "--json").out)} == {
        *names,
        "four",
    }
