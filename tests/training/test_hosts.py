"""Hosts of a job: names, groups, what they take of the machine together, and GPUs that nobody shares."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from tests.training.control import Control, new_job, obedient

from treadle.errors import ServiceError
from treadle.launchers.scripted import ScriptedHost
from treadle.seams import Capacity, HostSpec
from treadle.training import hosts, instances

GIB = 1 << 30


def groups(*wanted: tuple[str, str, int]) -> dict[str, Any]:
    return {
        "ResourceConfig": {
            "VolumeSizeInGB": 1,
            "InstanceGroups": [
                {"InstanceGroupName": name, "InstanceType": kind, "InstanceCount": count}
                for name, kind, count in wanted
            ],
        }
    }


def test_names() -> None:
    """Sorted as strings, as in resourceconfig.json."""
    request = {"ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 11}}
    assert hosts.host_names(request)[:4] == ("algo-1", "algo-10", "algo-11", "algo-2")
    assert hosts.host_names(groups(("a", "x", 1), ("b", "y", 2))) == ("algo-1", "algo-2", "algo-3")


def test_groups() -> None:
    """Each group has its hosts in order of their numbers."""
    request = groups(("a", "ml.m5.large", 9), ("b", "ml.c5.large", 2))
    found = hosts.instance_groups(request, hosts.host_names(request))
    assert [(each.name, each.hosts[-2:]) for each in found] == [
        ("a", ("algo-8", "algo-9")),
        ("b", ("algo-10", "algo-11")),
    ]
    assert hosts.instance_types(request)["algo-10"] == "ml.c5.large"


def test_needs_are_the_sum() -> None:
    """All hosts count, up to what there is; a notice says that they share."""
    machine = Capacity(cpus=16, memory=64 * GIB, gpus=4)
    two = instances.needs(["ml.m5.xlarge", "ml.c5.xlarge"], machine)
    assert (two.capacity, two.notices) == (Capacity(8, 24 * GIB), ())
    many = instances.needs(["ml.m5.xlarge"] * 5, machine)
    assert many.capacity == Capacity(16, 64 * GIB)
    assert many.notices == ("The 5 instances of the job share this machine's 16 CPUs and 64.0 GiB.",)


def test_gpus_are_never_shared() -> None:
    """More than the machine has are refused, also when each instance alone would have enough."""
    machine = Capacity(cpus=64, memory=512 * GIB, gpus=4)
    assert instances.needs(["ml.g5.xlarge"] * 4, machine).capacity.gpus == 4
    with pytest.raises(
        ServiceError, match=r"request delta of 2 Instances. It needs 8 GPUs for its 2 instances"
    ) as caught:
        instances.needs(["ml.g5.12xlarge"] * 2, machine)
    assert caught.value.code == "ResourceLimitExceeded"


@pytest.fixture
def control(tmp_path: Path) -> Control:
    return Control(tmp_path, script=obedient, capacity=Capacity(cpus=64, memory=512 * GIB, gpus=3))


async def test_gpus_of_hosts(control: Control) -> None:
    """Every host is told its own; a job for which there are none left waits for one that ends."""
    given: dict[str, list[int]] = {}

    async def tell(host: ScriptedHost) -> None:
        spec = await host.claim()
        given[f"{spec.job}/{spec.host}"] = spec.gpus
        await host.happened("downloading")
        await host.happened("training")
        await host.command()
        await host.ended("stopped")

    control.script = tell
    resources = {"InstanceType": "ml.g5.xlarge", "VolumeSizeInGB": 1}
    async with control.supervised() as supervisor:
        jobs = [
            new_job(f"j{number}", ResourceConfig=resources | {"InstanceCount": count})
            for number, count in enumerate((2, 1, 2))
        ]
        await asyncio.gather(*(supervisor.add(each) for each in jobs))
        for name in ("j0", "j1"):
            await control.reached("Training", name)
        await control.reached("Pending", "j2")
        assert sorted(number for numbers in given.values() for number in numbers) == [0, 1, 2]
        assert set(map(len, given.values())) == {1}
        await supervisor.request_stop("j0")
        await control.reached("Training", "j2")
        assert sorted(given["j2/algo-1"] + given["j2/algo-2"]) == sorted(given["j0/algo-1"] + given["j0/algo-2"])
        for name in ("j1", "j2"):
            await supervisor.request_stop(name)
            await control.ended(name)


async def test_limits_of_hosts(control: Control) -> None:
    """A host may use what its own instance has; one that has all of the machine needs no limit."""
    specs: list[HostSpec] = []

    async def tell(host: ScriptedHost) -> None:
        specs.append(await host.claim())
        await host.ended("completed", exit_code=0)

    control.script = tell
    async with control.supervised() as supervisor:
        await supervisor.add(new_job("j", **groups(("a", "ml.m5.large", 1), ("b", "ml.local.cpu", 1))))
        await control.ended("j")
    limits = {each.host: (each.cpus, each.memory) for each in specs}
    assert limits == {"algo-1": (2, 8 * GIB), "algo-2": (0.0, 0)}
