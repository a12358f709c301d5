"""Everything that a program finds when it starts: the channels' data, earlier checkpoints, a /tmp of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from treadle.agent import channels, contract, source, staging, volume
from treadle.agent.contract import Followed
from treadle.agent.faults import DataError
from treadle.agent.mirror import Mirror
from treadle.agent.streams import Stream
from treadle.seams import HostObjects, HostSpec, Mount

__all__ = ["DIRECTORIES", "IMAGE", "Data", "Shows", "Staging"]

Shows: TypeAlias = Literal["nowhere", "covering", "anywhere"]
"""Whether the sandbox shows the program a directory where it does not lie: over one that is there, or anywhere."""

_OUTSIDE = "outside"
_TMP = "tmp"
CHANGES = "changes"

IMAGE = "image"
"""In a host's directory: a local image that was brought from another machine."""

DIRECTORIES = ("ml", _OUTSIDE, _TMP, CHANGES)
"""In a host's directory, what the program can write: `/opt/ml`, what is kept of a LocalPath elsewhere, `/tmp`, and what
it changes of its image and its interpreter's packages."""

_ML = "/opt/ml/"


@dataclass(frozen=True, slots=True)
class Data:
    """What has been brought: `mounts` and `streams` are for when the program runs."""

    mounts: tuple[Mount, ...] = ()
    streams: tuple[Stream, ...] = ()
    mirrors: tuple[Mirror, ...] = ()


@dataclass(frozen=True, slots=True)
class Staging:
    """Brings it, in a thread. `shows` says where a directory can be shown to the program besides where it lies."""

    spec: HostSpec
    directory: Path
    objects: HostObjects
    say: Callable[[str], None]
    cancelled: threading.Event
    shows: Shows

    def bring(self) -> Data:
        """Plan, see that there is room, then download. Raises `DataError`, `CancelledStagingError`."""
        ml = self.directory / "ml"
        followed = [(each, *self._mirror(each, ml)) for each in contract.followed(self.spec.request)]
        plan = channels.plan(self.spec, self.objects, mounts=self.shows != "nowhere")
        found = [(mirror, mirror.find()) for its, mirror, _ in followed if its.restored]
        coming = plan.size + sum(each.info.size for _, files in found for each in files)
        if problem := volume.problem([ml], self.spec.volume_bytes, coming=coming):
            raise DataError(f"With the input data {problem}.")
        staging.download(plan.files, self.objects, ml / "input/data", self.cancelled)
        if self.spec.image.get("script_mode"):
            source.unpack(self.spec, self.objects, ml, self.cancelled)
        for _, mirror, _ in followed:
            mirror.begin()
        for mirror, files in found:
            mirror.restore(files, self.cancelled)
            self.say(f"checkpoints: {len(files)} files restored")
            plan.manifests.setdefault("checkpoints-manifest", channels.manifest(mirror.key, files))
        for name, text in plan.manifests.items():
            if not (beside := ml / "input/data" / name).exists():  # else it is a channel, or a file of one
                beside.write_text(text, "utf-8", "surrogateescape")
        mounts = [*self._tmp(), *plan.mounts, *(each for _, _, shown in followed for each in shown)]
        mounts += self._sealed(plan, ml)
        for each in mounts:
            if each.target.startswith(_ML):
                (ml / each.target.removeprefix(_ML)).mkdir(parents=True, exist_ok=True)
        return Data(tuple(mounts), tuple(plan.streams), tuple(mirror for _, mirror, _ in followed))

    def mirrors(self) -> list[Mirror]:
        """Give what is kept in S3, for a program that has ended: what is there already need not be uploaded again."""
        followed = contract.followed(self.spec.request)
        found = [self._mirror(each, self.directory / "ml")[0] for each in followed]
        for each in found:
            each.go_on()
        return found

    def _tmp(self) -> list[Mount]:
        """Give the program a /tmp of its own; it comes before what is mounted below it. A container has one."""
        if self.shows != "covering":
            return []
        directory = self.directory / _TMP
        directory.mkdir(exist_ok=True)
        directory.chmod(0o1777)
        return [Mount(directory, "/tmp", writable=True)]  # noqa: S108  (it is the job's own)

    def _sealed(self, plan: channels.Plan, ml: Path) -> list[Mount]:
        """Make channels in FastFile mode that were copied read-only as well."""
        for name in plan.copied:
            self.say(f"channel {name}: the data is copied, it cannot be shown as it lies")
        if self.shows == "nowhere":
            return []
        return [Mount(ml / "input/data" / name, f"{_ML}input/data/{name}") for name in plan.copied]

    def _mirror(self, its: Followed, ml: Path) -> tuple[Mirror, list[Mount]]:
        """Find the place of what is kept, which may lie outside /opt/ml. Raises `DataError`."""
        seen_at = its.local.rstrip("/")
        inside = f"{seen_at}/".startswith(_ML)
        in_tmp = self.shows == "covering" and seen_at.startswith("/tmp/")  # noqa: S108  (it is the job's own)
        if ".." in seen_at.split("/") or seen_at == "/opt/ml":
            raise DataError(f'{its.member}.LocalPath "{seen_at}" cannot be used; name a directory below /opt/ml.')
        possible = self.shows == "anywhere" or (self.shows == "covering" and Path(seen_at).is_dir())
        if in_tmp:
            return Mirror(self.objects, its.uri, self.directory / _TMP / seen_at[5:], self.say, its.what), []
        if not inside and not possible:
            # To make it would be to make it on the machine, for good and for everybody.
            raise DataError(
                f'{its.member}.LocalPath "{seen_at}" is not below /opt/ml, and there is no such directory on this '
                "machine that could be covered."
            )
        directory = ml / seen_at.removeprefix(_ML) if inside else self.directory / _OUTSIDE / its.member
        shown = [] if inside else [Mount(directory, seen_at, writable=True)]
        return Mirror(self.objects, its.uri, directory, self.say, its.what), shown
