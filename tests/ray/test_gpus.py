"""GPUs of a node that is a workstation, too: they are Ray's to assign, and still one job's on the whole machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end import pretended as pretence
from tests.end_to_end.pretended import Pretended
from tests.end_to_end.world import World
from tests.ray.nodes import RAY
from tests.ray.workstation import workstation
from tests.waiting import until

pytestmark = [pytest.mark.ray, pytest.mark.timeout(240)]

TWO_GPUS = {"InstanceType": "ml.g5.xlarge", "InstanceCount": 2, "VolumeSizeInGB": 1}
ONE_GPU = TWO_GPUS | {"InstanceCount": 1}
HOLDER = 'say(os.environ["CUDA_VISIBLE_DEVICES"]); wait(os.environ["TRAINING_JOB_NAME"])'


@pytest.fixture
def pretended(place: Path) -> Pretended:
    """Two GPUs that are not there."""
    if not RAY.exists():
        pytest.skip("Ray is not installed here; `make test-ray` has an environment with it")
    if problem := pretence.missing():
        pytest.skip(problem)
    return Pretended.make(place)


@pytest.fixture
def worlds(place: Path, pretended: Pretended) -> Iterator[list[World]]:
    """Give a service whose jobs go to Ray on this machine, and one whose do not."""
    # Ray asks NVIDIA's library, which is not there.
    own = ("--num-gpus=2", f"--memory={32 << 30}")
    with workstation(*own, within=pretended.within, PATH=pretended.path) as address:
        made = []
        for name, options in (("ray", ("--launcher", "ray", "--ray-address", address)), ("local", ())):
            (place / name).mkdir()
            made.append(pretended.world(place / name))
            made[-1].image("holder", HOLDER)
            made[-1].serve(*options)
        yield made
        for each in made:
            each.close()


def message(world: World, job: str) -> str:
    return str(world.describe(job)["SecondaryStatusTransitions"][-1]["StatusMessage"])


def lines(world: World, job: str, count: int = 1) -> list[str]:
    return until(lambda: found if len(found := world.log(job)) == count else None, 40, what=f"{job} says something")


def test_who_comes_first_has_them(worlds: list[World], pretended: Pretended) -> None:
    """A job beside Ray waits for one of Ray's, and one of Ray's, if it comes too late, fails with the reason."""
    ray, local = worlds
    ray.gate("first")
    gate = local.gate("second")
    ray.create("first", "holder", ResourceConfig=TWO_GPUS)
    # Ray gives numbers; the program is told what they are called.
    assert sorted(lines(ray, "first", 2)) == sorted(pretended.uuids)
    local.create("second", "holder", ResourceConfig=ONE_GPU)
    taken = "Training job waiting for capacity: GPUs 0 and 1 are taken by another service"
    until(lambda: message(local, "second") == taken, what="it says why it waits")
    ray.stop("first")
    assert ray.ended("first")["TrainingJobStatus"] == "Stopped"
    [had] = lines(local, "second")
    ray.create("late", "holder", ResourceConfig=TWO_GPUS)
    late = ray.ended("late", 60)
    assert late["TrainingJobStatus"] == "Failed"
    assert f"GPU {had} is taken by another service of its machine" in late["FailureReason"]
    gate.open()
    assert local.ended("second")["TrainingJobStatus"] == "Completed"
