"""Control groups that keep a training program within its instance's memory and CPUs: cgroup v2, v1, or none.

A limit is worth having and never worth failing a job for: where no group can be made (no right to, no controller, no
cgroups at all) the program runs without, and whoever asks is told why. Directories are written down, in the file
`RECORD` of the host's directory, before they are made: so whoever cleans up after a killed agent finds them.

Sources: docs.kernel.org/admin-guide/cgroup-v2.html, cgroup-v1/memory.html; cgroups(7).
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import msgspec

__all__ = ["RECORD", "Group", "create", "of", "remove_recorded"]

RECORD = "cgroups.json"
"""In a host's directory: the control groups of its program, for who must remove them later."""

_PERIOD = 100_000  # microseconds, the kernel's own default
# A group is removed when its last process has gone through its exit, which no event tells.
_PATIENCE = 2.0
_LOOK_AGAIN = 0.01


@dataclass(frozen=True, slots=True)
class Group:
    """The control groups of one program: one directory (v2), or one for each controller (v1)."""

    directories: tuple[Path, ...]
    problem: str = ""
    """Which limit there is not, and why; "" when all were set."""

    @property
    def out_of_memory(self) -> int:
        """How many processes the kernel has killed in it because of its memory limit."""
        for directory in self.directories:
            for name in ("memory.events", "memory.oom_control"):
                fields = dict(line.split(maxsplit=1) for line in _read(directory / name).splitlines() if " " in line)
                if "oom_kill" in fields:
                    return int(fields["oom_kill"])
        return 0

    def remove(self) -> None:
        """Remove the groups; whoever is still in them makes them stay."""
        _remove(self.directories)


def create(name: str, record: Path, *, cpus: float = 0.0, memory: int = 0, root: Path = Path("/")) -> Group:
    """Make groups with these limits, 0 for none; `record` is the file that they are written down in.

    `root` is where /proc and /sys/fs/cgroup are looked for, for tests.
    """
    wanted = {"memory": memory, "cpu": cpus}
    left = [controller for controller, limit in wanted.items() if limit]
    made: list[Path] = []
    reasons = []
    for tree in _trees(root):
        for mine in _choices([each for each in left if each in tree.controllers]):
            try:
                made.append(tree.make(name, mine, cpus, memory, lambda path: _note(record, [*made, path])))
            except OSError as error:
                reasons.append(f"{error.filename or tree.mount}: {error.strerror}")
                continue
            left = [each for each in left if each not in mine]
            break
    why = "; ".join(dict.fromkeys(reasons)) or "there is no such control group"
    return Group(tuple(made), f"no limit of {' and '.join(left)} ({why})" if left else "")


def _choices(controllers: Sequence[str]) -> Iterator[Sequence[str]]:
    """Give all together, then each alone: to a user's own groups systemd gives memory, and often not the CPUs."""
    if controllers:
        yield controllers
    if len(controllers) > 1:
        yield from ([each] for each in controllers)


def of(pid: int, root: Path = Path("/")) -> Group:
    """Give the control groups that a process is in; none for 0, or when it has ended."""
    trees = _trees(root, str(pid)) if pid else ()
    return Group(tuple(each.own for each in trees if each.own != each.mount))


def remove_recorded(record: Path) -> None:
    """Remove the groups that were written down; no error when there is nothing."""
    try:
        paths = msgspec.json.decode(record.read_bytes(), type=list[str])
    except (OSError, msgspec.DecodeError):
        return
    _remove([Path(each) for each in paths])


def _note(record: Path, paths: Sequence[Path]) -> None:
    record.write_bytes(msgspec.json.encode([str(each) for each in paths]))


def _remove(directories: Sequence[Path]) -> None:
    deadline = time.monotonic() + _PATIENCE
    for directory in directories:
        while True:
            try:
                directory.rmdir()
            except OSError as error:
                if error.errno == errno.EBUSY and time.monotonic() < deadline:
                    time.sleep(_LOOK_AGAIN)
                    continue
            break


# ---------------------------------------------------------------------------------------------------------------------
# Hierarchies
# ---------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Tree:
    """A mounted hierarchy: `own` is this process's group in it, `unified` says that it is v2's."""

    mount: Path
    own: Path
    controllers: frozenset[str]
    unified: bool

    def make(self, name: str, controllers: Sequence[str], cpus: float, memory: int, note: _Note) -> Path:
        """Make a group below the nearest one that allows it, and set its limits. Raises OSError."""
        last = OSError(errno.ENOENT, os.strerror(errno.ENOENT), str(self.own))
        for parent in self._parents():
            path = parent / name
            note(path)
            try:
                path.mkdir(exist_ok=True)
                if self.unified:
                    self._enable(parent, path, controllers)
                _limit(path, controllers, cpus, memory, unified=self.unified)
            except OSError as error:
                last = error
                with contextlib.suppress(OSError):
                    path.rmdir()
                continue
            return path
        raise last

    def _parents(self) -> Iterator[Path]:
        """Give the own group, then those above: in v2 one that has processes has no groups with limits below it."""
        for each in (self.own, *self.own.parents):
            if each.is_dir() and (each == self.mount or self.mount in each.parents):
                yield each

    def _enable(self, parent: Path, path: Path, controllers: Sequence[str]) -> None:
        """See that the group has the controllers; only our own group is changed for that, never one above it."""
        missing = [each for each in controllers if not (path / _FILES[each]).exists()]
        if missing and parent == self.own:
            (parent / "cgroup.subtree_control").write_text(" ".join(f"+{each}" for each in missing))
        elif missing:
            raise OSError(errno.ENOTSUP, f"controllers not enabled: {', '.join(missing)}", str(parent))


class _Note(Protocol):
    """Takes notice of a directory that is about to be made."""

    def __call__(self, path: Path, /) -> None: ...


_FILES = {"memory": "memory.max", "cpu": "cpu.max"}


def _limit(path: Path, controllers: Sequence[str], cpus: float, memory: int, *, unified: bool) -> None:
    quota = max(1000, int(cpus * _PERIOD))  # less than a millisecond the kernel does not take
    if "memory" in controllers:
        (path / ("memory.max" if unified else "memory.limit_in_bytes")).write_text(str(memory))
        # Without it a program would swap instead of ending. Where swap is not accounted, there is no such file.
        name, value = ("memory.swap.max", "0") if unified else ("memory.memsw.limit_in_bytes", str(memory))
        if (path / name).exists():
            (path / name).write_text(value)
    if "cpu" in controllers and unified:
        (path / "cpu.max").write_text(f"{quota} {_PERIOD}")
    elif "cpu" in controllers:
        (path / "cpu.cfs_period_us").write_text(str(_PERIOD))
        (path / "cpu.cfs_quota_us").write_text(str(quota))


def _trees(root: Path, process: str = "self") -> Iterator[_Tree]:
    """Give the hierarchies that are mounted, v2's first; where each controller is, only one of them has it."""
    own = dict(_own_groups(root, process))
    found = []
    for line in _read(root / "proc/self/mountinfo").splitlines():
        head, _, tail = line.partition(" - ")
        kind, _, options = (*tail.split(" ", 2), "", "")[:3]
        # Octal escapes stand for spaces in paths; no cgroup mount has any.
        mount = root / head.split(" ")[4].lstrip("/")
        if kind == "cgroup2":
            controllers = frozenset(_read(mount / "cgroup.controllers").split())
            found.append(_Tree(mount, mount / own.get("", "/").lstrip("/"), controllers, unified=True))
        elif kind == "cgroup":
            names = frozenset(options.split(",")) & {"memory", "cpu"}
            path = next((own[each] for each in names if each in own), "/")
            found.append(_Tree(mount, _existing(mount, path), names, unified=False))
    yield from sorted((each for each in found if each.controllers), key=lambda each: not each.unified)


def _existing(mount: Path, path: str) -> Path:
    """Where a container sees another part of the hierarchy than its own path says, its part begins at the mount."""
    own = mount / path.lstrip("/")
    return own if own.is_dir() else mount


def _own_groups(root: Path, process: str) -> Iterator[tuple[str, str]]:
    for line in _read(root / "proc" / process / "cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        for each in controllers.split(","):
            yield each, path


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
