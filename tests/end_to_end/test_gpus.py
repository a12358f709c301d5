"""GPUs that are given to one job at a time, by services that are told of GPUs which are not there. (see `pretended`).

Who has which is as real as with real ones. What programs make of them is tested where there are some (`tests/gpu`).
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.pretended import Pretended
from tests.end_to_end.world import World
from tests.waiting import until
from treadle.errors import ServiceError

ONE_GPU = {"InstanceType": "ml.g5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 1}
HOLDER = 'say(os.environ["CUDA_VISIBLE_DEVICES"]); wait(os.environ["TRAINING_JOB_NAME"])'


@pytest.fixture
def worlds(place: Path, pretended: Pretended) -> Iterator[list[World]]:
    """Give two homes on a machine with two GPUs."""
    made = []
    for name in ("here", "there"):
        root = place / name
        root.mkdir()
        made.append(pretended.world(root))
        made[-1].image("holder", HOLDER)
    yield made
    for each in made:
        each.close()


def holds(world: World, job: str) -> str:
    """Wait until a job's program has a GPU; give which."""
    return until(lambda: world.log(job), what=f"the first line of {job}")[0]


def message(world: World, job: str) -> Any:
    return world.describe(job)["SecondaryStatusTransitions"][-1]["StatusMessage"]


def test_two_services_of_one_machine(worlds: list[World], pretended: Pretended) -> None:
    """A job waits for a GPU that another service has given away, and says why; it begins when that is free."""
    here, there = worlds
    for each in worlds:
        each.serve()
    here.gate("both")
    late = there.gate("late")
    here.create("both", "holder", ResourceConfig=ONE_GPU | {"InstanceCount": 2})
    until(lambda: set(here.log("both")) == set(pretended.uuids), what="each host has one of its own")
    there.create("late", "holder", ResourceConfig=ONE_GPU)
    taken = "Training job waiting for capacity: GPUs 0 and 1 are taken by another service"
    until(lambda: message(there, "late") == taken, what="late says why it waits")
    os.kill(here.agent("both"), signal.SIGKILL)
    assert here.ended("both")["TrainingJobStatus"] == "Failed"
    assert holds(there, "late") in pretended.uuids
    late.open()
    assert there.ended("late")["TrainingJobStatus"] == "Completed"


def test_a_service_is_killed_and_its_job_goes_on(worlds: list[World], pretended: Pretended) -> None:
    """It is the agent that has the GPU: another service waits until the job has ended."""
    here, there = worlds
    for each in worlds:
        each.more["CUDA_VISIBLE_DEVICES"] = pretended.uuids[1]
    service = here.serve()
    there.serve()
    gate, late = here.gate("job"), there.gate("job")
    here.create("job", "holder", ResourceConfig=ONE_GPU)
    assert holds(here, "job") == pretended.uuids[1]
    service.kill()
    there.create("job", "holder", ResourceConfig=ONE_GPU)
    taken = "Training job waiting for capacity: GPU 1 is taken by another service"
    until(lambda: message(there, "job") == taken, what="it says why it waits")
    here.serve()
    gate.open()
    assert here.ended("job")["TrainingJobStatus"] == "Completed"
    assert holds(there, "job") == pretended.uuids[1]
    late.open()
    assert there.ended("job")["TrainingJobStatus"] == "Completed"


def test_gpus_that_are_kept_from_a_service(worlds: list[World], pretended: Pretended) -> None:
    """By the variables that it is started with: the rest of the machine's are not given away."""
    world = worlds[0]
    world.more["CUDA_VISIBLE_DEVICES"] = "1"
    service = world.serve()
    with pytest.raises(ServiceError) as caught:
        world.create("two", "holder", ResourceConfig=ONE_GPU | {"InstanceType": "ml.g5.12xlarge"})
    assert caught.value.message.endswith(
        "It needs 4 GPUs, and this service has 1 of this machine's: CUDA_VISIBLE_DEVICES is '1'."
    )
    gates = [world.gate(job) for job in ("first", "second")]
    for job in ("first", "second"):
        world.create(job, "holder", ResourceConfig=ONE_GPU)
    assert holds(world, "first") == pretended.uuids[1]
    world.reached("second", "Pending")
    assert message(world, "second") == "Training job waiting for capacity"
    gates[0].open()
    assert holds(world, "second") == pretended.uuids[1]
    gates[1].open()
    assert world.ended("second")["TrainingJobStatus"] == "Completed"
    service.signal(signal.SIGTERM)
    service.ended()
    world.more["CUDA_VISIBLE_DEVICES"] = ""
    world.serve()
    with pytest.raises(ServiceError, match="this service has none of this machine's: CUDA_VISIBLE_DEVICES is ''"):
        world.create("none", "holder", ResourceConfig=ONE_GPU)
