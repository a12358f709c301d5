"""Spot jobs whose instances are taken away, and jobs that wait for too long: supervisor and scripted hosts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.training.control import Control, good, new_job, obedient, path_of
from tests.training.test_service import CALLER, Images

from treadle.errors import ServiceError
from treadle.launchers.scripted import ScriptedHost
from treadle.training.file_systems import FileSystems
from treadle.training.service import TrainingService

SPOT: dict[str, Any] = {
    "EnableManagedSpotTraining": True,
    "StoppingCondition": {"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": 3600},
}


@pytest.fixture
async def control(tmp_path: Path) -> AsyncIterator[Control]:
    made = Control(tmp_path)
    async with made.supervised(clock=lambda: 1_000_010.0):
        yield made
    await made.launcher.close()


@pytest.fixture
def service(control: Control) -> TrainingService:
    return TrainingService(
        jobs=control.jobs,
        objects=control.objects,
        images=Images(),
        file_systems=FileSystems(control.home.file_systems),
        supervisor=control.supervisor,
        clock=lambda: 1.0,
    )


async def no_room(control: Control) -> None:
    """Let another job have the whole machine."""
    control.script = obedient
    assert await control.supervisor.add(new_job("all", ResourceConfig={"InstanceType": "ml.m5.2xlarge"}))
    await control.reached("Training", "all")


async def interrupt(service: TrainingService) -> dict[str, Any]:
    return await service.interrupt_training_job({"TrainingJobName": "j"}, CALLER)


async def test_an_interrupted_job_begins_again(control: Control, service: TrainingService) -> None:
    """The host is told to save, the job is placed anew, and completes; the old attempt is over."""
    commands: list[str] = []

    async def first(host: ScriptedHost) -> None:
        await host.claim()
        await host.happened("downloading")
        await host.happened("training")
        control.script = good
        commands.extend(await host.command())
        await host.ended("interrupted", exit_code=143)

    control.script = first
    assert await control.supervisor.add(new_job(**SPOT))
    await control.reached("Training")
    assert await interrupt(service) == {"TrainingJobArn": "arn:j"}
    # good's output is not in staging: what matters is the way there.
    job = await control.ended()
    assert commands == ["interrupt"]
    assert path_of(job)[:7] == [
        "Starting",
        "Downloading",
        "Training",
        "Interrupted",
        "Starting",
        "Downloading",
        "Training",
    ]
    assert [launch.attempt for launch in control.launcher.launched] == [1, 2]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        pytest.param({}, "j is not a managed spot job: EnableManagedSpotTraining is not set.", id="not spot"),
        pytest.param(SPOT, "j has no instances that could be taken away; it is Pending.", id="no instances"),
    ],
)
async def test_what_cannot_be_interrupted(
    control: Control, service: TrainingService, changes: dict[str, Any], text: str
) -> None:
    """It says why."""
    await no_room(control)
    assert await control.supervisor.add(new_job(**changes))
    await control.reached("Pending")
    with pytest.raises(ServiceError) as caught:
        await interrupt(service)
    assert (caught.value.code, caught.value.message) == ("ValidationException", text)
    await control.supervisor.request_stop("j")
    await control.ended()
    with pytest.raises(ServiceError, match="the training job is in status Stopped"):
        await interrupt(service)
    with pytest.raises(ServiceError, match=r"Requested resource not found\."):
        await service.interrupt_training_job({"TrainingJobName": "nobody"}, CALLER)


@pytest.mark.parametrize(
    ("condition", "secondary"),
    [
        pytest.param({"MaxWaitTimeInSeconds": 5}, "MaxWaitTimeExceeded", id="all of its life"),
        pytest.param({"MaxPendingTimeInSeconds": 0}, "Stopped", id="in Pending"),
    ],
)
async def test_a_job_that_waits_too_long_is_stopped(
    control: Control, condition: dict[str, int], secondary: str
) -> None:
    """Nobody asks: the supervisor looks at the clock."""
    await no_room(control)
    limits = {"StoppingCondition": {"MaxRuntimeInSeconds": 5, **condition}}
    # One of an accelerated type: MaxPendingTimeInSeconds has no effect without.
    types = [{"InstanceType": each, "InstanceCount": 1} for each in ("ml.p3.2xlarge", "ml.m5.2xlarge")]
    assert await control.supervisor.add(new_job(**SPOT | limits, ResourceConfig={"InstancePreferences": types}))
    job = await control.ended()
    assert (job.status, job.secondary_status) == ("Stopped", secondary)


async def test_a_spot_job_that_runs_out_of_time_saves_what_it_has(control: Control) -> None:
    """Its host is told to stop, as at MaxRuntimeInSeconds."""
    commands: list[str] = []

    async def listens(host: ScriptedHost) -> None:
        await host.claim()
        await host.happened("training")
        commands.extend(await host.command())
        await host.ended("stopped", exit_code=143)

    control.script = listens
    limits = {"StoppingCondition": {"MaxRuntimeInSeconds": 5, "MaxWaitTimeInSeconds": 5}}
    assert await control.supervisor.add(new_job(**SPOT | limits))
    job = await control.ended()
    assert commands == ["stop"]
    assert path_of(job)[-2:] == ["Training", "MaxWaitTimeExceeded"]
