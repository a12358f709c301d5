"""The machine's GPUs: which there are, and how a program is told which of them are its own.

`nvidia-smi` counts GPUs in the order of their bus addresses; CUDA by default the fastest first. So a program is given
UUIDs where the driver tells them, and else numbers with the order that they are meant in. What is not NVIDIA's is not
seen.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Gpu", "devices", "environment", "hidden", "made_ready"]

_FIELD = re.compile(r"^(?P<name>GPU UUID|Device Minor):\s*(?P<value>\S+)", re.MULTILINE)
_UUID = re.compile(r"GPU-[0-9a-fA-F-]{36}")
# A driver that nobody keeps awake takes seconds to wake up.
_PATIENCE = 20.0


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU: its number as `nvidia-smi` counts, its UUID, "" where it is not told."""

    number: int
    uuid: str


def devices(root: Path = Path("/"), smi: str = "nvidia-smi") -> list[Gpu]:
    """Give the GPUs whose devices are there: a container may see the names of others.

    Where the kernel does not list them (gVisor, WSL), `nvidia-smi` is asked, once for the same devices. `root` and
    `smi` are for tests.
    """
    nodes = tuple(sorted(each.name for each in (root / "dev").glob("nvidia[0-9]*")))
    if listed := _listed(root / "proc/driver/nvidia/gpus", nodes):
        return listed
    there = nodes or (root / "dev/dxg").exists()  # WSL's way to whatever GPU Windows has
    return list(_asked(smi, nodes)) if there else []


def _listed(directory: Path, nodes: Sequence[str]) -> list[Gpu]:
    found = []
    for number, each in enumerate(sorted(directory.iterdir()) if directory.is_dir() else ()):
        try:
            fields = dict(_FIELD.findall((each / "information").read_text()))
        except OSError:
            fields = {}
        if f"nvidia{fields.get('Device Minor', number)}" in nodes:
            uuid = fields.get("GPU UUID", "")
            found.append(uuid if _UUID.fullmatch(uuid) else "")
    return [Gpu(number, uuid) for number, uuid in enumerate(found)]


@functools.cache
def _asked(smi: str, nodes: Sequence[str]) -> Sequence[Gpu]:
    """Ask `nvidia-smi`; where it does not say, the devices count. It can take seconds: so the answer is kept."""
    command = [smi, "--query-gpu=uuid", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE, check=True)
    except (OSError, subprocess.SubprocessError):
        return [Gpu(number, "") for number in range(len(nodes))]
    return [Gpu(number, uuid) for number, uuid in enumerate(_UUID.findall(done.stdout))]


def made_ready(root: Path = Path("/"), modprobe: str = "nvidia-modprobe") -> str:
    """Have the device made that CUDA needs besides the GPU's; give what is wrong where it is not there then.

    Until somebody has used CUDA, many a machine has none. CUDA has it made by `nvidia-modprobe`, whose rights
    (set-user-ID) do not count in programs of jobs, because they can gain none (`no_new_privs`).
    """
    device = root / "dev/nvidia-uvm"
    if device.exists() or not (root / "dev/nvidiactl").exists():  # the second: WSL does without both
        return ""
    if program := shutil.which(modprobe):
        with contextlib.suppress(subprocess.TimeoutExpired):
            subprocess.run([program, "-u", "-c=0"], capture_output=True, timeout=_PATIENCE, check=False)
    if device.exists():
        return ""
    return "there is no /dev/nvidia-uvm, without which CUDA finds no GPU: `sudo nvidia-modprobe -u -c=0` makes it"


def hidden(numbers: Sequence[int], path: Sequence[str] | None = None) -> list[Path]:
    """Give what a program with these GPUs must not find: with none, `nvidia-smi`. `path` is by default the machine's.

    It tells programs of GPUs that they do not see: XGBoost (3.2) then measures several classes in a GPU's memory, also
    when it trains on the CPU, and fails.
    """
    places = () if numbers else os.get_exec_path() if path is None else path
    return [found for each in places if (found := Path(each, "nvidia-smi")).exists()]


def environment(numbers: Sequence[int], machine: Sequence[Gpu]) -> dict[str, str]:
    """Give the variables by which a program knows its GPUs; with none, that it has none.

    >>> environment([], [])
    {'NVIDIA_VISIBLE_DEVICES': 'void'}
    """
    if not numbers:
        # As on AWS. CUDA_VISIBLE_DEVICES keeps programs off the GPUs of others, where there are any.
        return {"NVIDIA_VISIBLE_DEVICES": "void", **({"CUDA_VISIBLE_DEVICES": ""} if machine else {})}
    uuids = [each.uuid for each in machine if each.number in numbers and each.uuid]
    plain = ",".join(str(number) for number in numbers)
    if len(uuids) == len(numbers):
        return {"NVIDIA_VISIBLE_DEVICES": ",".join(uuids), "CUDA_VISIBLE_DEVICES": ",".join(uuids)}
    return {"NVIDIA_VISIBLE_DEVICES": plain, "CUDA_VISIBLE_DEVICES": plain, "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
