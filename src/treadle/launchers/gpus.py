"""The machine's GPUs: which there are, and how a program is told which of them are its own.

`nvidia-smi` counts GPUs in the order of their bus addresses; CUDA by default the fastest first. So a program is given
UUIDs where the driver tells them, and else numbers with the order that they are meant in. What is not NVIDIA's is not
seen.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Gpu", "devices", "environment"]

_FIELD = re.compile(r"^(?P<name>GPU UUID|Device Minor):\s*(?P<value>\S+)", re.MULTILINE)
_UUID = re.compile(r"GPU-[0-9a-fA-F-]{36}")


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU: its number as `nvidia-smi` counts, its device `/dev/nvidia<minor>`, its UUID, "" where it is not told."""

    number: int
    minor: int
    uuid: str


def devices(root: Path = Path("/")) -> list[Gpu]:
    """Give the GPUs whose devices are there: a container may see the names of others. `root` is for tests."""
    listed = root / "proc/driver/nvidia/gpus"
    found = []
    for number, directory in enumerate(sorted(listed.iterdir()) if listed.is_dir() else ()):
        try:
            fields = dict(_FIELD.findall((directory / "information").read_text()))
        except OSError:
            fields = {}
        minor = int(fields.get("Device Minor", number))
        if (root / f"dev/nvidia{minor}").exists():
            uuid = fields.get("GPU UUID", "")
            found.append((minor, uuid if _UUID.fullmatch(uuid) else ""))
    return [Gpu(number, minor, uuid) for number, (minor, uuid) in enumerate(found)]


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
