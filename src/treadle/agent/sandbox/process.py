"""A training program behind an `enter` process, as the agent holds it; both sandboxes give this.

The plan that `enter` reads is a marshalled dictionary: `kind`, `parent` (who must be alive), `argv`, `environment`,
`directory`, `rest` (a file, or ""), `unlayered` (None, or where `layer` is not made: `files` and `links` to make, and
what the plan has `instead`); for a namespace also `ml`, `host`, `etc_hosts` (a file), `hidden`, `readable`, `mounts`
(source, target, writable), `layers` (directory, changes), `network`, `network_namespace` (a file, or None).
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from treadle.agent.sandbox import enter
from treadle.agent.sandbox.entrance import Entrance
from treadle.errors import LaunchError
from treadle.launchers.marking import MARKER
from treadle.seams import Json, SandboxCommand

__all__ = ["EnteredProcess", "start", "unlayered"]


class EnteredProcess:
    """`seams.SandboxProcess`. Whoever reads `output` closes it."""

    def __init__(self, popen: subprocess.Popen[bytes], output: int) -> None:
        self._popen = popen
        self._output = output

    @property
    def pid(self) -> int:
        """The `enter` process: it ends when the program and everything that it started have ended."""
        return self._popen.pid

    @property
    def output(self) -> int:
        """The end of the pipe to read the program's output from."""
        return self._output

    def terminate(self) -> None:
        """Send SIGTERM to every process of the job."""
        self._popen.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Have every process of the job ended. SIGCONT, because a job may have stopped its own keeper."""
        self._popen.send_signal(enter.KILL_ALL)
        self._popen.send_signal(signal.SIGCONT)

    async def wait(self) -> int:
        """Wait until program and followers are gone; the program's exit code, 128 + n when signal n ended it."""
        if self._popen.poll() is None:
            await _ended(self._popen.pid)
            self._popen.wait()
        code: int = self._popen.returncode
        return code if code >= 0 else 128 - code


def start(
    plan: Mapping[str, Json], *, cgroups: Sequence[Path] = (), entrance: Entrance | None = None
) -> EnteredProcess:
    """Carry out a plan in its control groups, and wait until the program has been started. Raises `LaunchError`.

    `entrance` is one that is up already. Must be called from a thread that lives as long as the program may: the kernel
    takes the end of the thread that started a process for the death of its parent.
    """
    if entrance is None:
        try:
            entrance = Entrance({**os.environ, MARKER: plan["environment"].get(MARKER, "")})
        except OSError as error:
            raise LaunchError(f"{sys.executable} cannot be started: {error.strerror}.") from error
    if refusal := entrance.start(plan, cgroups):
        raise LaunchError(refusal)
    return EnteredProcess(entrance.popen, entrance.output)


def unlayered(command: SandboxCommand, *, instead: bool = True) -> dict[str, Json] | None:
    """Give the member of a plan; without `instead` for one that has that already."""
    if (its := command.unlayered) is None:
        return None
    return {
        "layer": str(its.layer) if its.layer else None,
        "instead": {"argv": its.argv, "environment": dict(its.environment)} if instead else {},
        "files": list(its.files.items()),
        "links": list(its.links.items()),
    }


async def _ended(pid: int) -> None:
    """Wait until a child process has ended; it is not reaped."""
    try:
        watched = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(watched, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(watched)
        os.close(watched)
