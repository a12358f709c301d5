"""Everything that a program finds when it starts: the channels' data, and the checkpoints of an earlier attempt."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from treadle.agent import channels, contract, source, staging, volume
from treadle.agent.checkpoints import Checkpoints
from treadle.agent.faults import DataError
from treadle.agent.streams import Stream
from treadle.seams import HostSpec, Mount, Objects

__all__ = ["CHECKPOINTS", "Data", "Shows", "Staging"]

Shows: TypeAlias = Literal["nowhere", "covering", "anywhere"]
"""Whether the sandbox shows the program a directory where it does not lie: over one that is there, or anywhere."""

CHECKPOINTS = "checkpoints"
"""In a host's directory: the checkpoints of a job whose LocalPath is not below /opt/ml."""

_ML = "/opt/ml/"


@dataclass(frozen=True, slots=True)
class Data:
    """What has been brought: `mounts` and `streams` are for when the program runs."""

    mounts: tuple[Mount, ...] = ()
    streams: tuple[Stream, ...] = ()
    checkpoints: Checkpoints | None = None


@dataclass(frozen=True, slots=True)
class Staging:
    """Brings it, in a thread. `shows` says where a directory can be shown to the program besides where it lies."""

    spec: HostSpec
    directory: Path
    objects: Objects
    say: Callable[[str], None]
    cancelled: threading.Event
    shows: Shows

    def bring(self) -> Data:
        """Plan, see that there is room, then download. Raises `DataError`, `CancelledStagingError`."""
        ml = self.directory / "ml"
        checkpoints, shown = self._checkpoints(ml)
        plan = channels.plan(self.spec, self.objects, mounts=self.shows != "nowhere")
        restored = checkpoints.find() if checkpoints is not None else []
        coming = plan.size + sum(each.info.size for each in restored)
        if problem := volume.problem(ml, self.spec.volume_bytes, coming=coming):
            raise DataError(f"With the input data {problem}.")
        staging.download(plan.files, self.objects, ml / "input/data", self.cancelled)
        if self.spec.image.get("script_mode"):
            source.unpack(self.spec, self.objects, ml)
        if checkpoints is not None:
            checkpoints.restore(restored, self.cancelled)
            self.say(f"checkpoints: {len(restored)} files restored")
        mounts = [*plan.mounts, *shown, *self._sealed(plan, ml)]
        for each in mounts:
            if each.target.startswith(_ML):
                (ml / each.target.removeprefix(_ML)).mkdir(parents=True, exist_ok=True)
        return Data(tuple(mounts), tuple(plan.streams), checkpoints)

    def _sealed(self, plan: channels.Plan, ml: Path) -> list[Mount]:
        """Make channels in FastFile mode that were copied read-only as well."""
        for name in plan.copied:
            self.say(f"channel {name}: the data is copied, it cannot be shown as it lies")
        if self.shows == "nowhere":
            return []
        return [Mount(ml / "input/data" / name, f"{_ML}input/data/{name}") for name in plan.copied]

    def _checkpoints(self, ml: Path) -> tuple[Checkpoints | None, list[Mount]]:
        """Find the place of the checkpoints, which may lie outside /opt/ml. Raises `DataError`."""
        config = self.spec.request.get("CheckpointConfig")
        if not config:
            return None, []
        seen_at = contract.checkpoint_path(self.spec.request).rstrip("/")
        inside = f"{seen_at}/".startswith(_ML)
        if ".." in seen_at.split("/") or seen_at == "/opt/ml":
            raise DataError(f'CheckpointConfig.LocalPath "{seen_at}" cannot be used; name a directory below /opt/ml.')
        possible = self.shows == "anywhere" or (self.shows == "covering" and Path(seen_at).is_dir())
        if not inside and not possible:
            # To make it would be to make it on the machine, for good and for everybody.
            raise DataError(
                f'CheckpointConfig.LocalPath "{seen_at}" is not below /opt/ml, and there is no such directory on this '
                "machine that could be covered."
            )
        directory = ml / seen_at.removeprefix(_ML) if inside else self.directory / CHECKPOINTS
        shown = [] if inside else [Mount(directory, seen_at, writable=True)]
        return Checkpoints(self.objects, config["S3Uri"], directory, self.say), shown
