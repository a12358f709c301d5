"""GPUs: the request that an engine gets, and what is refused. There is no GPU here: no engine has been asked."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import pytest

from treadle.agent.sandbox.container_process import Keeper
from treadle.agent.sandbox.devices import request
from treadle.errors import LaunchError
from treadle.launchers import gpus
from treadle.launchers.engine import Engine
from treadle.launchers.gpus import Gpu

UUID = "GPU-01234567-89ab-cdef-0123-456789abcdef"
GPUS = [Gpu(0, ""), Gpu(1, UUID)]


def engine(*, podman: bool = False, version: str = "28.0.0", **information: Any) -> Engine:
    made = Engine("unix:///nobody", podman, version, "1.48")
    made.__dict__["information"] = information  # what it would be asked for when it is needed
    return made


def described(root: Path, directory: str = "etc/cdi") -> Path:
    """Put a specification of NVIDIA's where engines look for it."""
    (root / directory).mkdir(parents=True)
    (root / directory / "nvidia.yaml").write_text("cdiVersion: 0.5.0\nkind: nvidia.com/gpu\n")
    return root


def test_none(tmp_path: Path) -> None:
    """Who has no GPU asks for none, whatever the engine offers."""
    assert request(engine(), [], GPUS, tmp_path) == {}


@pytest.mark.parametrize(
    "its",
    [
        pytest.param(engine(CDISpecDirs=["/etc/cdi"]), id="docker"),
        pytest.param(engine(CDISpecDirs=["/etc/cdi"], Runtimes={"nvidia": {}}), id="docker-with-both"),
        pytest.param(engine(podman=True, version="5.2.0"), id="podman"),
    ],
)
def test_cdi(tmp_path: Path, its: Engine) -> None:
    """CDI names the machine's numbers."""
    asked = request(its, [0, 1], GPUS, described(tmp_path))["DeviceRequests"]
    assert [(each["Driver"], each["DeviceIDs"]) for each in asked] == [
        ("cdi", ["nvidia.com/gpu=0", "nvidia.com/gpu=1"])
    ]


def test_runtime(tmp_path: Path) -> None:
    """Docker's own way names UUIDs where the driver tells them."""
    (asked,) = request(engine(Runtimes={"nvidia": {}}), [0, 1], GPUS, tmp_path)["DeviceRequests"]
    assert (asked["Driver"], asked["DeviceIDs"], asked["Capabilities"]) == ("nvidia", ["0", UUID], [["gpu"]])


@pytest.mark.parametrize(
    ("its", "numbers", "said"),
    [
        pytest.param(engine(), [0], "has no GPUs to give", id="nothing-installed"),
        pytest.param(engine(CDISpecDirs=["/run/cdi"]), [0], "has no GPUs to give", id="specification-elsewhere"),
        pytest.param(
            engine(podman=True, version="4.9.3"), [0], "does not give GPUs", id="podman-that-would-not-heed-it"
        ),
        pytest.param(engine(Runtimes={"nvidia": {}}), [2], "has no GPU 2", id="not-there"),
    ],
)
def test_refused(tmp_path: Path, its: Engine, numbers: list[int], said: str) -> None:
    """GPUs that are asked for and not there are refused."""
    with pytest.raises(LaunchError, match=said):
        request(its, numbers, GPUS, described(tmp_path))


def test_a_container_has_its_gpus_until_it_is_gone(tmp_path: Path) -> None:
    """Its keeper outlives an agent that is killed, and has the claims until nothing is left to be removed."""
    unique = Gpu(0, f"GPU-{uuid.uuid4()}")
    with gpus.claim(unique) or pytest.fail("it is free") as claim:
        keeper = Keeper.of(tmp_path, [claim.fileno()])
    assert gpus.claim(unique) is None
    keeper.dismiss()
    again = gpus.claim(unique)
    assert again is not None
    again.close()
