"""The supervisor with a cluster: room for all hosts at once, in their turn, given back whatever happens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from tests.training.control import Control, new_job, obedient, path_of

from treadle.errors import ServiceError
from treadle.launchers.scripted import ScriptedHost
from treadle.seams import Capacity
from treadle.training import spec
from treadle.training.job import INTERNAL_ERROR

MACHINES = (Capacity(4, 16 << 30), Capacity(4, 16 << 30))
CLUSTER = Capacity(8, 32 << 30, machines=MACHINES)
TWO = {"InstanceType": "ml.m5.xlarge", "InstanceCount": 2, "VolumeSizeInGB": 1}


async def done(host: ScriptedHost) -> None:
    await host.claim()
    await host.ended("completed", exit_code=0)


@pytest.fixture
async def control(tmp_path: Path) -> AsyncIterator[Control]:
    made = Control(tmp_path, script=done, capacity=CLUSTER)
    yield made
    await made.launcher.close()


async def test_hosts_know_each_others_machines(control: Control) -> None:
    """Room is kept before any host is launched, and its addresses are told to all of them."""
    specs = []

    async def play(host: ScriptedHost) -> None:
        specs.append(await host.claim())
        await host.ended("completed", exit_code=0)

    control.script = play
    async with control.supervised() as supervisor:
        await supervisor.add(new_job(ResourceConfig=TWO))
        job = await control.ended()
        await supervisor.quiet()
    addresses = {"algo-1": "192.0.2.1", "algo-2": "192.0.2.2"}
    assert [each.addresses for each in specs] == [addresses] * 2
    assert {each.name: each.address for each in job.hosts} == addresses
    assert [(each.cpus, each.memory, each.gpus) for each in specs] == [(4, 16 << 30, [])] * 2
    assert control.launcher.kept == {}, "the room is given back"


async def test_a_job_waits_while_the_cluster_is_full(control: Control) -> None:
    """As Pending, though it would fit on an empty cluster; nobody passes it, and it begins when there is room."""
    control.launcher.room = lambda _: False
    async with control.supervised() as supervisor:
        await supervisor.add(new_job("first", ResourceConfig=TWO))
        await control.reached("Pending", "first")
        await supervisor.add(new_job("second"))
        await control.reached("Pending", "second")
        assert control.launcher.launched == []
        control.launcher.room = lambda _: True
        await control.ended("second")
    assert [each.job for each in control.launcher.launched] == ["first", "first", "second"]


async def test_what_is_preferred_second_when_there_is_no_room_for_the_first(control: Control) -> None:
    """Of InstancePreferences a job gets the first that the cluster has room for at this moment."""
    control.launcher.room = lambda needs: all(each.cpus < 4 for each in needs.values())
    preferences = [{"InstanceType": "ml.m5.xlarge"}, {"InstanceType": "ml.m5.large"}]
    resources = {"InstancePreferences": preferences, "InstanceCount": 2, "VolumeSizeInGB": 1}
    async with control.supervised() as supervisor:
        await supervisor.add(new_job(ResourceConfig=resources))
        job = await control.ended()
    assert (job.status, job.request["ResourceConfig"]["SelectedInstanceType"]) == ("Completed", "ml.m5.large")
    assert "Pending" not in path_of(job)


async def test_a_job_that_begins_at_once_was_never_pending(control: Control) -> None:
    """To ask whether there is room is not to wait for it."""
    async with control.supervised() as supervisor:
        await supervisor.add(new_job())
        job = await control.ended()
    assert "Pending" not in path_of(job)


async def test_a_stop_while_the_cluster_is_full(control: Control) -> None:
    """What it had asked for is given back."""
    control.launcher.room = lambda _: False
    async with control.supervised() as supervisor:
        await supervisor.add(new_job())
        await control.reached("Pending")
        control.launcher.kept["j"] = 1
        await supervisor.request_stop("j")
        assert (await control.ended()).status == "Stopped"
        await supervisor.quiet()
    assert control.launcher.kept == {}


async def test_a_lost_host_is_replaced_with_room_of_its_own(control: Control) -> None:
    """The next attempt asks anew."""

    async def play(host: ScriptedHost) -> None:
        await host.claim()
        if host.launch.attempt == 1:
            return  # its agent dies
        await host.ended("completed", exit_code=0)

    control.script = play
    async with control.supervised() as supervisor:
        await supervisor.add(new_job(RetryStrategy={"MaximumRetryAttempts": 1}))
        job = await control.ended()
        assert (job.status, job.attempt, control.launcher.kept) == ("Completed", 2, {"j": 2})


async def test_a_cluster_that_has_lost_its_machines_is_waited_for(control: Control) -> None:
    """A job that was taken is not refused later."""
    control.launcher.capacity_is(Capacity(0, 0, machines=()))
    async with control.supervised() as supervisor:
        await supervisor.add(new_job())
        await control.reached("Pending")
        control.launcher.capacity_is(CLUSTER)
        assert (await control.ended()).status == "Completed"


async def test_an_image_that_cannot_be_carried(control: Control) -> None:
    """It is a fault of the platform, which says what is wrong."""
    job = new_job()
    async with control.supervised() as supervisor:
        gone = {"kind": "local", "directory": str(control.directory / "gone")}
        await supervisor.add(msgspec.structs.replace(job, image=gone))
        found = await control.ended()
    assert found.failure_reason.startswith(f"{INTERNAL_ERROR} The image in {control.directory / 'gone'} cannot be read")


async def test_the_next_supervisor_goes_on(control: Control) -> None:
    """With hosts that live, and with the room that is kept for them."""
    control.script = obedient
    async with control.supervised() as supervisor:
        await supervisor.add(new_job(ResourceConfig=TWO))
        await control.reached("Training")
    async with control.supervised() as supervisor:
        assert (await control.reached("Training")).attempt == 1
        await supervisor.request_stop("j")
        assert (await control.ended()).status == "Stopped"
        async with asyncio.timeout(5):
            await supervisor.quiet()
    assert control.launcher.kept == {}


def test_what_has_no_effect_is_said_as_it_is_there() -> None:
    """Nothing is claimed of one machine."""
    request = {
        "EnableInterContainerTrafficEncryption": True,
        "VpcConfig": {"Subnets": ["subnet-1"]},
        "ResourceConfig": {"InstancePlacementConfig": {"EnableMultipleJobs": True}},
    }
    said = " ".join(spec.notices(spec.members(request), cluster=True))
    assert "the network of the machines is used" in said
    assert "the cluster chooses where instances are" in said
    assert "this machine" not in said


def test_encryption_between_hosts_is_not_promised() -> None:
    """Between machines nobody encrypts, so a job that asks for it is refused; of one host there is nothing to see."""
    spec.check_on_cluster({"EnableInterContainerTrafficEncryption": True}, 1)
    spec.check_on_cluster({"EnableInterContainerTrafficEncryption": False}, 2)
    with pytest.raises(
        ServiceError, match="enableInterContainerTrafficEncryption is not supported by Treadle on a cluster"
    ):
        spec.check_on_cluster({"EnableInterContainerTrafficEncryption": True}, 2)
