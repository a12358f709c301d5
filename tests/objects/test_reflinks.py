"""Copies where the file system shares blocks: a btrfs of the test's own, in a file."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from treadle.objects.filesystem import FilesystemObjects

SIZE = 48 << 20

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("mkfs.btrfs") is None, reason="it takes root, and btrfs-progs"
)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    (image := tmp_path / "image").touch()
    os.truncate(image, 256 << 20)
    (mounted := tmp_path / "disk").mkdir()
    subprocess.run(["mkfs.btrfs", "-q", image], check=True, capture_output=True)
    done = subprocess.run(["mount", "-o", "loop", image, mounted], check=False, capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"no btrfs can be mounted here: {done.stderr.strip()}")
    yield mounted
    subprocess.run(["umount", mounted], check=True)


def used(disk: Path) -> int:
    os.sync()
    its = os.statvfs(disk)
    return (its.f_blocks - its.f_bfree) * its.f_frsize


def test_a_copy_takes_no_room(disk: Path) -> None:
    """The bytes of an object lie on the disk once, until somebody writes to the copy, and then the object stays."""
    objects = FilesystemObjects(disk / "s3")
    objects.create_bucket("bucket")
    content = os.urandom(1 << 20) * (SIZE >> 20)
    objects.write("bucket", "key", iter([content]))
    before = used(disk)
    copy = disk / "copy"
    objects.download("bucket", "key", copy)
    assert used(disk) - before < SIZE // 4
    with copy.open("r+b") as file:
        file.write(b"mine")
    assert copy.read_bytes() == b"mine" + content[4:]
    assert b"".join(objects.read("bucket", "key")) == content
