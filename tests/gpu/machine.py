"""The machine's GPUs as NVIDIA's own `nvidia-smi` tells them, for tests to hold Treadle's word against."""

from __future__ import annotations

import re
import shutil
import subprocess

__all__ = ["listed", "processes", "used"]

_LINE = re.compile(r"GPU (?P<number>\d+): .*\(UUID: (?P<uuid>GPU-[0-9a-f-]+)\)")


def listed() -> dict[int, str]:
    """Give the UUID of each GPU by its number; none where there is no driver."""
    if shutil.which("nvidia-smi") is None:
        return {}
    said = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False).stdout
    return {int(each["number"]): each["uuid"] for each in _LINE.finditer(said)}


def used() -> int:
    """Give how many MiB of memory are taken on all GPUs together."""
    return sum(map(int, _asked("--query-gpu=memory.used")))


def processes() -> set[int]:
    """Give the processes that have a GPU open; a driver behind gVisor tells none."""
    return {int(each.partition(",")[0]) for each in _asked("--query-compute-apps=pid,used_memory")}


def _asked(query: str) -> list[str]:
    command = ["nvidia-smi", query, "--format=csv,noheader,nounits"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
