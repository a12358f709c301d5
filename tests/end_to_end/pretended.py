"""Two GPUs on a machine that has none: devices that are files, in a `/dev` for some processes alone, and an `nvidia-smi`."""

from __future__ import annotations

import os
import shutil
import subprocess
import uuid
from dataclasses import dataclass
from pathlib import Path

from tests.end_to_end.world import BUCKET, World
from treadle.objects.filesystem import FilesystemObjects

__all__ = ["Pretended", "missing"]

# A /dev with all that the machine's has but its own GPUs, of which the kernel is not to tell either.
_DEVICES = """
set -e
new=$1; shift
mount -t tmpfs tmpfs "$new"
for each in /dev/*; do
    there="$new/${each#/dev/}"
    case $each in /dev/nvidia*) continue;; esac
    if [ -L "$each" ]; then cp -P "$each" "$there"; continue; fi
    if [ -d "$each" ]; then mkdir "$there"; else : > "$there"; fi
    mount --rbind "$each" "$there"
done
: > "$new/nvidia0"; : > "$new/nvidia1"
mount --rbind "$new" /dev
if [ -d /proc/driver/nvidia ]; then mount -t tmpfs tmpfs /proc/driver/nvidia; fi
exec "$@"
"""


def missing() -> str:
    """Say what is missing for it, "" for nothing."""
    if shutil.which("unshare") is None:
        return "there is no unshare"
    tried = subprocess.run(["unshare", "--mount", "true"], capture_output=True, text=True, check=False)
    return f"it takes root: {tried.stderr.strip()}" if tried.returncode else ""


@dataclass(frozen=True)
class Pretended:
    """GPUs with these UUIDs, for whoever is started `within`, with `path` as its PATH."""

    uuids: tuple[str, str]
    within: tuple[str, ...]
    path: str

    @classmethod
    def make(cls, directory: Path) -> Pretended:
        """Make them, with UUIDs that nobody has had."""
        uuids = (f"GPU-{uuid.uuid4()}", f"GPU-{uuid.uuid4()}")
        devices, programs = directory / "dev", directory / "bin"
        devices.mkdir()
        programs.mkdir()
        smi = programs / "nvidia-smi"
        smi.write_text("#!/bin/sh\n" + "".join(f"echo {each}\n" for each in uuids))
        smi.chmod(0o755)
        within = ("unshare", "--mount", "--propagation", "private", "sh", "-c", _DEVICES, "sh", str(devices))
        return cls(uuids, within, f"{programs}{os.pathsep}{os.environ['PATH']}")

    def world(self, root: Path) -> World:
        """Give a home whose service has them."""
        # What this machine says of its own is not meant.
        others = {"CUDA_VISIBLE_DEVICES": "0,1", "NVIDIA_VISIBLE_DEVICES": "all"}
        made = World(root, more={"PATH": self.path, **others}, within=self.within)
        made.home.prepare()
        FilesystemObjects(made.home.s3).create_bucket(BUCKET)
        return made
