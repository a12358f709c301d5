"""What the machine has for a program: control groups of either version, and GPUs by name."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import pytest

from treadle.launchers import cgroups, gpus

# Control groups


def machine(root: Path, *, mounts: str, own: str) -> Path:
    """Make a root with what the kernel would say of its hierarchies."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/mountinfo").write_text(mounts)
    (root / "proc/self/cgroup").write_text(own)
    return root


V2 = "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
V1 = (
    "31 23 0:27 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
    "32 23 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
    "33 23 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
)


def unified(root: Path, path: str, controllers: str = "cpu memory pids") -> Path:
    """Make a group of v2."""
    group = root / "sys/fs/cgroup" / path
    group.mkdir(parents=True, exist_ok=True)
    (group / "cgroup.controllers").write_text(controllers)
    return group


def test_v2(tmp_path: Path) -> None:
    """One group below our own, with both controllers switched on there."""
    root = machine(tmp_path, mounts=V2, own="0::/user/job\n")
    unified(root, "")
    own = unified(root, "user/job")
    group = cgroups.create("treadle-x", root / "record", cpus=1.5, memory=1 << 30, root=root)
    assert (group.directories, group.problem) == ((own / "treadle-x",), "")
    assert (own / "cgroup.subtree_control").read_text() == "+memory +cpu"
    assert (own / "treadle-x/memory.max").read_text() == str(1 << 30)
    assert (own / "treadle-x/cpu.max").read_text() == "150000 100000"
    assert json.loads((root / "record").read_text()) == [str(own / "treadle-x")]
    (own / "treadle-x/memory.events").write_text("low 0\noom 2\noom_kill 3\noom_group_kill 0\n")
    assert group.out_of_memory == 3


def test_v2_where_our_own_group_has_processes(tmp_path: Path) -> None:
    """No groups with limits can be below it: the nearest one above is taken whose groups have the controllers."""
    root = machine(tmp_path, mounts=V2, own="0::/slice/scope\n")
    unified(root, "")
    own, slice_ = unified(root, "slice/scope"), unified(root, "slice")
    (own / "cgroup.subtree_control").mkdir()  # to write to it fails
    (slice_ / "treadle-x").mkdir()
    for name in ("memory.max", "cpu.max"):  # the kernel would have put them there
        (slice_ / "treadle-x" / name).touch()
    group = cgroups.create("treadle-x", root / "record", cpus=1, memory=1 << 20, root=root)
    assert (group.directories, group.problem) == ((slice_ / "treadle-x",), "")
    assert not (own / "treadle-x").exists()


def test_v2_where_only_memory_is_given(tmp_path: Path) -> None:
    """One limit is better than none: systemd gives memory to a user's own groups, and often not the CPUs."""
    root = machine(tmp_path, mounts=V2, own="0::/slice/scope\n")
    unified(root, "")
    own, slice_ = unified(root, "slice/scope"), unified(root, "slice")
    (own / "cgroup.subtree_control").mkdir()
    (slice_ / "treadle-x").mkdir()
    (slice_ / "treadle-x/memory.max").touch()
    group = cgroups.create("treadle-x", root / "record", cpus=1, memory=1 << 20, root=root)
    assert group.directories == (slice_ / "treadle-x",)
    assert group.problem.startswith("no limit of cpu (")
    assert (slice_ / "treadle-x/memory.max").read_text() == str(1 << 20)


def test_v1(tmp_path: Path) -> None:
    """A group for each controller; where our own path is not in the mount, its part begins there."""
    root = machine(tmp_path, mounts=V1, own="4:cpu,cpuacct:/job\n5:memory:/docker/abc\n0::/\n")
    cpu, memory = root / "sys/fs/cgroup/cpu,cpuacct/job", root / "sys/fs/cgroup/memory"
    for each in (cpu, memory):
        each.mkdir(parents=True)
    group = cgroups.create("treadle-x", root / "record", cpus=0.25, memory=4096, root=root)
    assert (set(group.directories), group.problem) == ({cpu / "treadle-x", memory / "treadle-x"}, "")
    assert (cpu / "treadle-x/cpu.cfs_quota_us").read_text() == "25000"
    assert (memory / "treadle-x/memory.limit_in_bytes").read_text() == "4096"
    (memory / "treadle-x/memory.oom_control").write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 1\n")
    assert group.out_of_memory == 1


@pytest.mark.parametrize(
    ("mounts", "problem"),
    [
        ("", "no limit of memory and cpu (there is no such control group)"),
        (V2, "No such file or directory"),
        ("30 23 0:26 / /proc/none rw - cgroup cgroup rw,memory\n", "no limit of memory and cpu ("),
    ],
    ids=["none", "not there", "one only"],
)
def test_none(tmp_path: Path, mounts: str, problem: str) -> None:
    """It is said which limits there are not, and why; nothing fails."""
    root = machine(tmp_path, mounts=mounts, own="")
    if mounts == V2:
        (root / "sys/fs/cgroup").mkdir(parents=True)
        (root / "sys/fs/cgroup/cgroup.controllers").write_text("memory cpu")
        (root / "sys/fs/cgroup/cgroup.subtree_control").mkdir()
        problem = "no limit of memory and cpu ("
    group = cgroups.create("treadle-x", root / "record", cpus=1, memory=1, root=root)
    assert group.directories == ()
    assert group.problem.startswith(problem)
    assert group.out_of_memory == 0
    group.remove()
    cgroups.remove_recorded(root / "none")


# GPUs


def gpu(root: Path, bus: str, minor: int, uuid: str = "", *, device: bool = True) -> None:
    directory = root / "proc/driver/nvidia/gpus" / bus
    directory.mkdir(parents=True)
    (directory / "information").write_text(
        f"Model: \t\t NVIDIA H200\nGPU UUID: \t {uuid or 'GPU-????????-????-????-????-????????????'}\nDevice Minor: \t {minor}\n"
    )
    if device:
        (root / "dev").mkdir(exist_ok=True)
        (root / f"dev/nvidia{minor}").touch()


ONE, TWO = (f"GPU-{each}aaaaaaa-0000-0000-0000-000000000000" for each in (1, 2))


def test_gpus(tmp_path: Path) -> None:
    """In the order of their buses, and only those whose devices are here."""
    assert gpus.devices(tmp_path) == []
    gpu(tmp_path, "0000:81:00.0", 0, TWO)
    gpu(tmp_path, "0000:01:00.0", 3, ONE)
    gpu(tmp_path, "0000:41:00.0", 1, device=False)
    assert gpus.devices(tmp_path) == [gpus.Gpu(0, ONE), gpus.Gpu(1, TWO)]


def program(path: Path, script: str) -> str:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def test_gpus_that_the_kernel_does_not_list(tmp_path: Path) -> None:
    """As in gVisor and WSL: `nvidia-smi` is asked, once, and where it does not say, the devices count."""
    smi = program(tmp_path / "smi", f"echo asked >>{tmp_path}/log; printf '%s\\n' {TWO} {ONE}")
    silent = program(tmp_path / "silent", "echo NVIDIA-SMI has failed; exit 9")
    assert gpus.devices(tmp_path, smi) == []
    (tmp_path / "proc/driver/nvidia/gpus").mkdir(parents=True)
    (tmp_path / "dev").mkdir()
    for name in ("nvidiactl", "nvidia-uvm", "nvidia0", "nvidia1"):
        (tmp_path / "dev" / name).touch()
    for _ in range(2):
        assert gpus.devices(tmp_path, smi) == [gpus.Gpu(0, TWO), gpus.Gpu(1, ONE)]
    assert (tmp_path / "log").read_text() == "asked\n"
    for missing in (silent, str(tmp_path / "nothing")):
        assert gpus.devices(tmp_path, missing) == [gpus.Gpu(0, ""), gpus.Gpu(1, "")]
    (tmp_path / "wsl/dev").mkdir(parents=True)
    (tmp_path / "wsl/dev/dxg").touch()
    assert gpus.devices(tmp_path / "wsl", smi) == [gpus.Gpu(0, TWO), gpus.Gpu(1, ONE)]
    assert gpus.devices(tmp_path / "wsl", silent) == []


def test_the_device_that_cuda_needs_is_made(tmp_path: Path) -> None:
    """By NVIDIA's own program, where the driver is there and the device is not."""
    device = tmp_path / "dev/nvidia-uvm"
    device.parent.mkdir()
    modprobe = program(tmp_path / "modprobe", f'test "$*" = "-u -c=0" && touch {device}')
    assert gpus.made_ready(tmp_path, modprobe) == ""
    assert not device.exists()
    (tmp_path / "dev/nvidiactl").touch()
    missing = "there is no /dev/nvidia-uvm, without which CUDA finds no GPU: `sudo nvidia-modprobe -u -c=0` makes it"
    for useless in (str(tmp_path / "nothing"), program(tmp_path / "useless", "exit 1")):
        assert gpus.made_ready(tmp_path, useless) == missing
    assert gpus.made_ready(tmp_path, modprobe) == ""
    assert device.exists()


def test_what_tells_of_gpus_is_hidden(tmp_path: Path) -> None:
    """Wherever it is, and only from programs that have none."""
    for each in ("one", "two", "without"):
        (tmp_path / each).mkdir()
    found = [Path(program(tmp_path / each / "nvidia-smi", "")) for each in ("one", "two")]
    path = [str(tmp_path / each) for each in ("without", "one", "two", "nowhere")]
    assert gpus.hidden([], path) == found
    assert gpus.hidden([0], path) == []


FIVE_F, A_0, A_1 = (gpus.Gpu(number, f"GPU-{uuid}") for number, uuid in enumerate(("5f00", "a000", "a111")))
MIG = ", and parts of a GPU (MIG) are not assigned"


@pytest.mark.parametrize(
    ("given", "left", "withheld"),
    [
        ({}, [FIVE_F, A_0, A_1], ""),
        ({"CUDA_VISIBLE_DEVICES": "2,0"}, [A_1, FIVE_F], "CUDA_VISIBLE_DEVICES is '2,0'"),
        ({"CUDA_VISIBLE_DEVICES": "0,1,2"}, [FIVE_F, A_0, A_1], ""),
        ({"CUDA_VISIBLE_DEVICES": " GPU-a1, 0,0"}, [A_1, FIVE_F], "CUDA_VISIBLE_DEVICES is ' GPU-a1, 0,0'"),
        ({"CUDA_VISIBLE_DEVICES": ""}, [], "CUDA_VISIBLE_DEVICES is ''"),
        ({"CUDA_VISIBLE_DEVICES": "-1"}, [], "CUDA_VISIBLE_DEVICES is '-1'"),
        ({"CUDA_VISIBLE_DEVICES": "NoDevFiles"}, [], "CUDA_VISIBLE_DEVICES is 'NoDevFiles'"),
        # As CUDA reads it: what comes after a name that is nobody's does not count, nor what two could be meant by.
        ({"CUDA_VISIBLE_DEVICES": "1,7,0"}, [A_0], "CUDA_VISIBLE_DEVICES is '1,7,0'"),
        ({"CUDA_VISIBLE_DEVICES": "GPU-a"}, [], "CUDA_VISIBLE_DEVICES is 'GPU-a'"),
        ({"CUDA_VISIBLE_DEVICES": "MIG-12"}, [], f"CUDA_VISIBLE_DEVICES is 'MIG-12'{MIG}"),
        ({"NVIDIA_VISIBLE_DEVICES": "all"}, [FIVE_F, A_0, A_1], ""),
        ({"NVIDIA_VISIBLE_DEVICES": "void"}, [], "NVIDIA_VISIBLE_DEVICES is 'void'"),
        (
            {"NVIDIA_VISIBLE_DEVICES": "GPU-5f00,1", "CUDA_VISIBLE_DEVICES": "1,2"},
            [A_0],
            "CUDA_VISIBLE_DEVICES is '1,2' and NVIDIA_VISIBLE_DEVICES is 'GPU-5f00,1'",
        ),
    ],
)
def test_gpus_that_a_service_has_been_left(
    tmp_path: Path, given: dict[str, str], left: list[gpus.Gpu], withheld: str
) -> None:
    """Both variables hold, and what they keep from the service is told by their names."""
    assert gpus.visible([FIVE_F, A_0, A_1], given, tmp_path) == gpus.Visible(tuple(left), withheld)
    assert gpus.visible([], given, tmp_path) == gpus.Visible(())


def test_what_a_container_was_started_with(tmp_path: Path) -> None:
    """Its runtime has kept the GPUs away already; their numbers are the host's, and CDI says `void` of those it gives."""
    (tmp_path / "proc/1").mkdir(parents=True)
    (tmp_path / "proc/1/environ").write_bytes(b"PATH=/bin\0NVIDIA_VISIBLE_DEVICES=3\0CUDA_VISIBLE_DEVICES=1\0")
    one = [FIVE_F]
    assert gpus.visible(one, {"NVIDIA_VISIBLE_DEVICES": "3"}, tmp_path).gpus == (FIVE_F,)
    assert gpus.visible(one, {"NVIDIA_VISIBLE_DEVICES": "2"}, tmp_path).gpus == ()
    assert gpus.visible(one, {"CUDA_VISIBLE_DEVICES": "1"}, tmp_path).gpus == ()
    image = {"NVIDIA_VISIBLE_DEVICES": "2", "NVIDIA_DRIVER_CAPABILITIES": "compute,utility"}
    assert gpus.visible(one, image, tmp_path).gpus == (FIVE_F,)


def test_a_gpu_is_one_hosts() -> None:
    """Until nobody has the claim; of two without UUIDs the number tells them apart."""
    unique = gpus.Gpu(0, f"GPU-{uuid.uuid4()}")
    with gpus.claim(unique) or pytest.fail("it is free"):
        assert gpus.claim(unique) is None
        assert gpus.claim(gpus.Gpu(1, unique.uuid)) is None
    again = gpus.claim(unique)
    assert again is not None
    again.close()
    assert gpus.named(["1", "GPU-a000", "7", "GPU-7"], [FIVE_F, A_0]) == [
        A_0,
        A_0,
        gpus.Gpu(7, "7"),
        gpus.Gpu(-1, "GPU-7"),
    ]


def test_gpu_variables(tmp_path: Path) -> None:
    """A program is told its own GPUs, by UUID where it is known, and none where it has none."""
    gpu(tmp_path, "0000:01:00.0", 0, ONE)
    gpu(tmp_path, "0000:02:00.0", 1, TWO)
    two = gpus.devices(tmp_path)
    assert gpus.environment([1], two) == {"NVIDIA_VISIBLE_DEVICES": TWO, "CUDA_VISIBLE_DEVICES": TWO}
    assert gpus.environment([], two) == {"NVIDIA_VISIBLE_DEVICES": "void", "CUDA_VISIBLE_DEVICES": ""}
    assert gpus.environment([], []) == {"NVIDIA_VISIBLE_DEVICES": "void"}
    nameless = [gpus.Gpu(0, ""), gpus.Gpu(1, "")]
    assert gpus.environment([0, 1], nameless) == {
        "NVIDIA_VISIBLE_DEVICES": "0,1",
        "CUDA_VISIBLE_DEVICES": "0,1",
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
    }
