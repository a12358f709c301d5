"""A directory of the program that is kept in S3 while it runs, and once more at its end: checkpoints, Debugger output.

Checkpoints go both ways (§1.8): what is in S3 is restored before the program starts.

The directory is looked through again and again. A file that is new or has changed is uploaded when it has been the same
in two looks, so one that is being written is mostly left alone until it is whole; a file that was known and is gone is
deleted in S3, too. What others put in S3 is never brought: several hosts of a job share the prefix, and the last one to
write a name has it, as on AWS.

To look is chosen over being told (inotify): it needs no watch for each directory, of which the kernel has few, and sees
what was written while nobody watched. It may take a tenth of the time, however many files there are.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from treadle.agent import staging
from treadle.agent.channels import Placement, place, split_uri
from treadle.agent.faults import DataError
from treadle.agent.files import open_regular
from treadle.errors import ObjectError
from treadle.seams import HostObjects

__all__ = ["Mirror"]

_WALK_SHARE = 10

Say: TypeAlias = Callable[[str], None]
Signature: TypeAlias = tuple[int, int, int]
"""What tells two states of a file apart: inode, size, time of its last change in nanoseconds."""


class Mirror:
    """What one host keeps: `directory` here, the prefix `uri` in S3; `what` a file of it is. One caller at a time."""

    def __init__(self, objects: HostObjects, uri: str, directory: Path, say: Say, what: str) -> None:
        self.what = what
        self._objects = objects
        self._bucket, self.key = split_uri(uri)
        self._prefix = f"{self.key.rstrip('/')}/" if self.key.strip("/") else ""
        self._directory = directory
        self._say = say
        self._kept: dict[str, Signature] = {}  # what S3 has
        self._seen: dict[str, Signature] = {}  # what the last look saw
        self._refused: dict[str, Signature | None] = {}  # what cannot be kept, and has been said

    def find(self) -> list[Placement]:
        """List what there is to restore. Raises `DataError`."""
        try:
            found = self._objects.list(self._bucket, self._prefix)
            listed = [(info, place(self._directory.name, self._prefix, info.key)) for info in found]
        except ObjectError as error:
            raise DataError(error.message) from error
        return [Placement(self._bucket, info, path) for info, path in listed if path is not None]

    def begin(self) -> None:
        """Make the directory."""
        self._directory.mkdir(parents=True, exist_ok=True)

    def restore(self, found: list[Placement], cancelled: threading.Event) -> None:
        """Bring what was found. Raises `DataError`, `CancelledStagingError`."""
        staging.download(found, self._objects, self._directory.parent, cancelled)
        self._kept = self._look()
        self._seen = dict(self._kept)

    def go_on(self) -> None:
        """Take what S3 has as it is here for kept by an earlier agent. What was deleted meanwhile stays in S3.

        Raises `ObjectError`.
        """
        self.begin()
        there = {info.key: info for info in self._objects.list(self._bucket, self._prefix)}
        for name, signature in self._look().items():
            _, size, changed = signature
            info = there.get(self._prefix + name)
            if info is not None and info.size == size and info.modified_at > changed / 1e9:
                self._kept[name] = signature

    def sync(self, *, last: bool = False) -> float:
        """Upload and delete what there is to; the seconds that the look took. `last` leaves nothing for later.

        A fault of one file is said, and the file is tried again at the next look; at the last one it is raised.
        Raises `ObjectError`.
        """
        began = time.monotonic()
        now = self._look()
        took = time.monotonic() - began
        for name, signature in now.items():
            if self._kept.get(name) != signature and (last or self._seen.get(name) == signature):
                self._try(name, signature, last=last)
        for name in [each for each in self._kept if each not in now]:
            self._try(name, None, last=last)
        self._seen = now
        return took

    def _try(self, name: str, signature: Signature | None, *, last: bool) -> None:
        try:
            self._keep(name, signature)
        except (ObjectError, OSError) as error:
            reason = error.message if isinstance(error, ObjectError) else f"{error.strerror}: {name}"
            if last:
                raise ObjectError(reason) from error
            if self._refused.get(name, ()) != signature:
                self._refused[name] = signature
                self._say(f"{self.what} {name} cannot be kept now: {reason}")

    def _keep(self, name: str, signature: Signature | None) -> None:
        key = self._prefix + name
        if signature is None:
            self._objects.delete(self._bucket, key)
            del self._kept[name]
            return
        descriptor = open_regular(self._directory / name)
        if descriptor is None:
            return  # it has gone, or become something else: the next look sees it
        try:
            # By its descriptor: whatever stands at the path by now, this is the file that was opened.
            self._objects.upload(Path(f"/proc/self/fd/{descriptor}"), self._bucket, key)
        finally:
            os.close(descriptor)
        self._kept[name] = signature
        self._refused.pop(name, None)

    def _look(self) -> dict[str, Signature]:
        """Give all regular files below the directory by their names; links are not followed."""
        found: dict[str, Signature] = {}
        ahead = [""]
        while ahead:
            below = ahead.pop()
            # What the program removes meanwhile is not there.
            with contextlib.suppress(OSError), os.scandir(self._directory / below) as entries:
                for entry in entries:
                    name = f"{below}{entry.name}"
                    if entry.is_dir(follow_symlinks=False):
                        ahead.append(f"{name}/")
                    elif entry.is_file(follow_symlinks=False) and self._sayable(name):
                        status = entry.stat(follow_symlinks=False)
                        found[name] = (status.st_ino, status.st_size, status.st_mtime_ns)
        return found

    def _sayable(self, name: str) -> bool:
        try:
            name.encode()
        except UnicodeEncodeError:
            if name not in self._refused:
                self._refused[name] = None
                self._say(f"{self.what} {os.fsencode(name)!r} is not kept: its name is not UTF-8")
            return False
        return True
