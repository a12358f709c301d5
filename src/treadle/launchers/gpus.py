"""The machine's GPUs: which there are, and how a program is told which of them are its own.

`nvidia-smi` counts GPUs in the order of their bus addresses; CUDA by default the fastest first. So a program is given
UUIDs where the driver tells them, and else numbers with the order that they are meant in. What is not NVIDIA's is not
seen.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from treadle.errors import LaunchError

__all__ = ["Claim", "Gpu", "Visible", "claim", "devices", "environment", "hidden", "made_ready", "named", "visible"]

_FIELD = re.compile(r"^(?P<name>GPU UUID|Device Minor):\s*(?P<value>\S+)", re.MULTILINE)
_UUID = re.compile(r"GPU-[0-9a-fA-F-]{36}")
_RUNTIMES = "NVIDIA_VISIBLE_DEVICES"
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


@dataclass(frozen=True, slots=True)
class Visible:
    """The GPUs that are a service's to assign, and what keeps others of the machine from it, "" where nothing does."""

    gpus: tuple[Gpu, ...]
    withheld: str = ""


def visible(machine: Sequence[Gpu], environment: Mapping[str, str], root: Path = Path("/")) -> Visible:
    """Give what `CUDA_VISIBLE_DEVICES` and `NVIDIA_VISIBLE_DEVICES` leave of the machine's GPUs.

    Numbers are those of `nvidia-smi`, UUIDs may be shortened, and as in CUDA neither a name that is nobody's nor what
    comes after it counts. The second variable is addressed to what starts containers; where it is this container's
    (`_runtimes`), its numbers are the host's, or it is `void` because the GPUs came in another way (CDI). What it keeps
    away is not there anyway.

    >>> visible([Gpu(0, "GPU-5f"), Gpu(1, "GPU-a0")], {"CUDA_VISIBLE_DEVICES": "1"})
    Visible(gpus=(Gpu(number=1, uuid='GPU-a0'),), withheld="CUDA_VISIBLE_DEVICES is '1'")
    """
    left, withheld = list(machine), []
    for name in ("CUDA_VISIBLE_DEVICES", _RUNTIMES):
        value = environment.get(name)
        if value is None or (name == _RUNTIMES and (value == "all" or _runtimes(environment, root))):
            continue
        meant = _meant(value, machine)
        if any(each not in meant for each in left):
            parts = ", and parts of a GPU (MIG) are not assigned" if "MIG-" in value else ""
            withheld.append(f"{name} is {value!r}{parts}")
        left = [each for each in meant if each in left]
    return Visible(tuple(left), " and ".join(withheld))


def _meant(value: str, machine: Sequence[Gpu]) -> list[Gpu]:
    found: list[Gpu] = []
    for word in (each.strip() for each in value.split(",")):
        short = word.startswith("GPU-")
        fits = [each for each in machine if word == str(each.number) or (short and each.uuid.startswith(word))]
        if len(fits) != 1:
            break
        found += [each for each in fits if each not in found]
    return found


def named(names: Sequence[str], machine: Sequence[Gpu]) -> list[Gpu]:
    """Give the GPUs that somebody has assigned by these numbers or UUIDs, those too of which there is only the name."""
    known = {name: each for each in machine for name in (str(each.number), each.uuid)}
    return [known.get(name) or Gpu(int(name) if name.isdigit() else -1, name) for name in names]


def _runtimes(environment: Mapping[str, str], root: Path) -> bool:
    """Tell whether a container was started with the variable.

    Images for GPUs have another one beside it; else process 1 has the same. Where that cannot be read, it was not.
    """
    if "NVIDIA_DRIVER_CAPABILITIES" in environment:
        return True
    try:
        first = (root / "proc/1/environ").read_bytes().split(b"\0")
    except OSError:
        return False
    return f"{_RUNTIMES}={environment[_RUNTIMES]}".encode(errors="replace") in first


Claim = socket.socket
"""That a GPU is one host's. It lasts until every process that has it has closed it, or is gone."""


def claim(gpu: Gpu) -> Claim | None:
    """Claim a GPU for a host; None where it is another's, of whichever service, home and user on this machine.

    A claim is a socket with a name that stands for the GPU (unix(7): abstract). The kernel gives a name once at a
    time, and frees it when its last holder is gone, however that ends. There is no file, so no directory that all users
    must share, that somebody cleans or that a service has one of its own of. Containers with a network of their own
    do not see the names of others. Raises `LaunchError` where there are no such names.
    """
    made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        made.bind(f"\0treadle-gpu-{gpu.uuid or gpu.number}")
    except OSError as error:
        made.close()
        if error.errno == errno.EADDRINUSE:
            return None
        raise LaunchError(f"GPU {gpu.number} cannot be claimed for a job: {error}.") from error
    return made


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
