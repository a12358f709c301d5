"""A channel of 100,000 small objects becomes files: how many a second, beside copying the same files.

It is what an agent does for a channel in File mode, listing included; the floor opens, reads and writes each file.
"""

from __future__ import annotations

import tempfile
import threading
import time
from pathlib import Path

from treadle.agent import staging
from treadle.agent.channels import Placement, place
from treadle.objects.filesystem import FilesystemObjects

OBJECTS = 100_000
SIZE = 1000
DIRECTORIES = 100


def staged(objects: FilesystemObjects, data: Path) -> float:
    """Stage the channel; give the seconds."""
    begun = time.perf_counter()
    found = objects.list("bench", "data/")
    placements = [Placement("bench", info, place("train", "data/", info.key) or "") for info in found]
    staging.download(placements, objects, data, threading.Event())
    assert len(placements) == OBJECTS
    return time.perf_counter() - begun


def copied(source: Path, target: Path) -> float:
    """Copy the files; give the seconds."""
    begun = time.perf_counter()
    for directory in sorted(source.iterdir()):
        (target / directory.name).mkdir(parents=True)
        for file in directory.iterdir():
            (target / directory.name / file.name).write_bytes(file.read_bytes())
    return time.perf_counter() - begun


def measure() -> dict[str, float]:
    """Do both; give files a second."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as directory:
        root = Path(directory)
        data = root / "s3/bench/data"
        for number in range(OBJECTS):
            if number < DIRECTORIES:
                (data / str(number)).mkdir(parents=True)
            (data / str(number % DIRECTORIES) / f"{number}.csv").write_bytes(bytes(SIZE))
        objects = FilesystemObjects(root / "s3")
        return {
            "staged_per_s": OBJECTS / staged(objects, root / "staged"),
            "copied_per_s": OBJECTS / copied(data, root / "copied"),
        }


def table(figures: dict[str, float]) -> list[str]:
    """Give the lines for people."""
    ratio = figures["copied_per_s"] / figures["staged_per_s"]
    return [
        f"a channel of {OBJECTS:,} objects of {SIZE} B, once each",
        f"  staged {figures['staged_per_s']:7.0f} files/s",
        f"  copied {figures['copied_per_s']:7.0f} files/s   {ratio:.1f} times as fast",
    ]
