"""What runs on a node of the cluster for one host: an actor that starts the agent, and holds its lease.

The agent is a process of its own, in a session of its own, as on one machine. It reads from a pipe whose other end only
this process has: however this process ends, with its node's raylet or without, the agent sees the pipe close and ends
its program.

A node keeps hosts' directories below `TREADLE_SCRATCH`, by default in the directory for temporary files. An agent whose
lease is over removes its own. Whoever uses a directory holds a lock on it, which the kernel lets go of; so what both
left behind, because the machine went down, is known for nobody's, and the next host on the node removes it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec

from treadle._version import __version__
from treadle.errors import LaunchError
from treadle.home import remove_tree
from treadle.launchers.local import AGENT_LOG, LocalLauncher
from treadle.seams import HostLaunch

__all__ = ["SCRATCH", "HostActor", "scratch"]

SCRATCH = "TREADLE_SCRATCH"
"""The variable of a node's environment that says where the directories of its hosts are."""

_LOCK = "lock"
# What an agent says of itself is some lines; of a fault that repeats the last ones are enough.
_LONGEST_LOG = 256 * 1024


class HostActor:
    """An actor without Ray. Its methods are called by the clerk, and may overlap: they run in one event loop."""

    def __init__(self) -> None:
        self._launcher = LocalLauncher()
        self._handle = ""
        self._directory: Path | None = None
        self._locks: list[int] = []

    async def start(self, given: str, version: str, namespace: str, gpus: list[str] | None = None) -> str:
        """Start the agent of a `HostLaunch` (JSON); "" or why that is not possible. `gpus` is for tests."""
        if version != __version__:
            return f"it has Treadle {__version__}, the service has {version}: install the same version on all nodes"
        launch = msgspec.json.decode(given, type=HostLaunch)
        try:
            root = scratch()
            directory = root / namespace / launch.job / str(launch.attempt) / launch.host
            with _alone(root):
                _remove_what_is_nobodys(root)
                directory.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._locks.append(_locked(directory / _LOCK))
        except OSError as error:
            return f"the directory of the host cannot be made: {error}"
        self._directory = directory
        launch = msgspec.structs.replace(
            launch,
            directory=str(directory),
            endpoint_file="",
            leased=True,
            hidden=[str(root)],
            gpus=_assigned() if gpus is None else gpus,
        )
        try:
            self._handle = await self._launcher.launch(launch)
        except LaunchError as error:
            return error.message
        return ""

    async def start_again(self) -> str:
        """Start another agent in the place of the one that has been started; "" or why that is not possible."""
        try:
            self._handle = await self._launcher.launch_again(self._handle)
        except LaunchError as error:
            return error.message
        return ""

    async def alive(self) -> bool:
        """Tell whether the agent runs."""
        return bool(self._handle) and await self._launcher.alive(self._handle)

    async def end(self) -> str:
        """End the agent and all that it started, and remove its directory; give what it had to say about itself."""
        if self._handle:
            await self._launcher.kill(self._handle)
        if self._directory is None:
            return ""
        log = self._directory / AGENT_LOG
        said = log.read_bytes()[-_LONGEST_LOG:].decode(errors="replace") if log.exists() else ""
        remove_tree(self._directory)
        for each in (self._directory.parent, self._directory.parent.parent):
            with contextlib.suppress(OSError):  # another host's directory is still there
                each.rmdir()
        return said


def scratch() -> Path:
    """Give the directory for all hosts on this machine; it is this user's alone. Raises `OSError`."""
    named = os.environ.get(SCRATCH)
    root = Path(named) if named else Path(tempfile.gettempdir()) / f"treadle-{os.geteuid()}"
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = root.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise PermissionError(1, "it belongs to somebody else, or others can write to it", str(root))
    return root


def _assigned() -> list[str]:
    """Give the GPUs that Ray has assigned to this actor: numbers, or UUIDs where Ray was started with some."""
    import ray

    # The stub of the one that is not installed where types are checked knows nothing of it.
    return [str(each) for each in ray.get_runtime_context().get_accelerator_ids().get("GPU", ())]


@contextlib.contextmanager
def _alone(root: Path) -> Iterator[None]:
    held = _locked(root / _LOCK)
    try:
        yield
    finally:
        os.close(held)


def _locked(path: Path) -> int:
    """Lock a file, which stays open in this process alone."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    return descriptor


def _remove_what_is_nobodys(root: Path) -> None:
    for directory in root.glob("*/*/*/*"):
        with contextlib.suppress(OSError), (directory / _LOCK).open("rb") as held:  # else it is no host's directory
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)  # else somebody has it
            sys.stderr.write(f"removing {directory}, which a host left behind\n")
            remove_tree(directory)
