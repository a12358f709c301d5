"""VolumeSizeInGB, enforced: what the job's directory takes is measured, and the machine's disk is never filled."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Sequence
from pathlib import Path

__all__ = ["free_floor", "outgrown", "problem", "used"]

# A walk may take at most a tenth of the time, however many files there are.
_WALK_SHARE = 10
_LARGEST_FLOOR = 1024**3
_FLOOR_SHARE = 50


def used(directory: Path) -> int:
    """Give the bytes that the files below a directory take on the disk. Links are not followed."""
    total = 0
    ahead = [os.fspath(directory)]
    while ahead:
        # What the program removes meanwhile takes nothing.
        with contextlib.suppress(OSError), os.scandir(ahead.pop()) as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    total += entry.stat(follow_symlinks=False).st_blocks * 512
                    if entry.is_dir(follow_symlinks=False):
                        ahead.append(entry.path)
    return total


def free_floor(total: int) -> int:
    """Give the bytes that stay free on a disk of `total` bytes: 2 %, at most 1 GiB."""
    return min(_LARGEST_FLOOR, total // _FLOOR_SHARE)


def problem(directories: Sequence[Path], limit: int, *, coming: int = 0) -> str:
    """Say what is too much, "" when nothing is. `coming` bytes are about to be added; the first directory is there."""
    if (taken := sum(map(used, directories)) + coming) > limit:
        return (
            f"the job's files take {_gigabytes(taken)}, more than ResourceConfig.VolumeSizeInGB ({_gigabytes(limit)})"
        )
    disk = os.statvfs(directories[0])
    free, floor = disk.f_bavail * disk.f_frsize - coming, free_floor(disk.f_blocks * disk.f_frsize)
    if free < floor:
        return f"the machine's disk has {_gigabytes(max(free, 0))} left for the job, {_gigabytes(floor)} must stay free"
    return ""


async def outgrown(directories: Sequence[Path], limit: int, period: float = 1.0) -> str:
    """Measure every `period` seconds, and give what is too much as soon as something is."""
    while True:
        began = time.monotonic()
        if text := await asyncio.to_thread(problem, directories, limit):
            return text
        await asyncio.sleep(max(period, _WALK_SHARE * (time.monotonic() - began)))


def _gigabytes(size: int) -> str:
    return f"{size / 1024**3:.1f} GB" if size >= 1024**3 // 10 else f"{size / 1024**2:.1f} MB"
