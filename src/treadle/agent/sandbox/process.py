"""A training program behind an `enter` process, as the agent holds it; both sandboxes give this.

The plan that `enter` reads is a marshalled dictionary: `kind`, `parent` (who must be alive), `argv`, `environment`,
`directory`; for a namespace also `ml`, `host`, `etc_hosts` (a file), `hidden`, `readable`, `mounts` (source, target,
writable), `network`, `network_namespace` (a descriptor that it inherits, or None).
"""

from __future__ import annotations

import contextlib
import marshal
import os
import select
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.machinery import SourceFileLoader
from pathlib import Path

from treadle.agent.sandbox import enter
from treadle.errors import LaunchError
from treadle.launchers.processes import MARKER
from treadle.seams import Json

__all__ = ["EnteredProcess", "start"]

# Mounting takes milliseconds; a machine that takes this long is not going to.
_START_TIMEOUT = 60.0

# A script would be compiled for every program. What `enter` was compiled to for the agent comes before the plan.
_ENTER = "import marshal, sys; del sys.argv[0]; exec(marshal.load(sys.stdin.buffer))"


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

    def settled(self) -> str:
        """Wait, blocking, for a program that ends by itself soon; "" when its exit code is 0, else what it said."""
        with os.fdopen(self._output, "rb") as output:
            said = output.read(4096).decode(errors="replace").strip()
        code = self._popen.wait()
        return "" if code == 0 else said or f"a trial program ended with exit code {code}"


def start(plan: Mapping[str, Json], *, cgroups: Sequence[Path] = (), descriptors: Sequence[int] = ()) -> EnteredProcess:
    """Start `enter` with a plan and wait until it has started the program. Raises `LaunchError` with its reason.

    It is in its control groups, and has the descriptors, before it is told what to do. Must be called from a thread
    that lives as long as the program may: the kernel takes the end of the thread that started a process for the death
    of its parent.
    """
    code = SourceFileLoader(enter.__name__, enter.__file__).get_code(enter.__name__)
    told = marshal.dumps(code) + marshal.dumps({**plan, "parent": os.getpid()})
    output, output_end = os.pipe()
    status, status_end = os.pipe()
    try:
        popen = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _ENTER, enter.__file__, str(status_end)],
            stdin=subprocess.PIPE,
            stdout=output_end,
            stderr=subprocess.STDOUT,
            pass_fds=(status_end, *descriptors),
            start_new_session=True,
            cwd="/",
            env=_environment(plan["environment"]),
        )
    except OSError as error:
        os.close(output)
        os.close(status)
        raise LaunchError(f"{sys.executable} cannot be started: {error.strerror}.") from error
    finally:
        os.close(output_end)
        os.close(status_end)
    process = EnteredProcess(popen, output)
    refusal = _told(popen, status, told, cgroups)
    if refusal:
        popen.kill()
        popen.wait()
        os.close(output)
        raise LaunchError(refusal)
    return process


def _put_into(cgroups: Sequence[Path], pid: int) -> str:
    try:
        for each in cgroups:
            (each / "cgroup.procs").write_text(str(pid))
    except OSError as error:
        return f"the program cannot be put into the control group {error.filename}: {error.strerror}"
    return ""


def _environment(program: Mapping[str, str]) -> dict[str, str]:
    # The marker, so that this process is found with the others; the rest is what an interpreter may need to start.
    wanted = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}
    return wanted | {name: program[name] for name in (MARKER,) if name in program}


def _told(popen: subprocess.Popen[bytes], status: int, plan: bytes, cgroups: Sequence[Path]) -> str:
    """Hand the plan over and wait for the answer: "" when the program runs."""
    with os.fdopen(status, "rb") as answer:
        if popen.stdin is None:  # it was asked for as a pipe
            return "no pipe to hand the plan over"
        with contextlib.suppress(BrokenPipeError), popen.stdin as pipe:
            if problem := _put_into(cgroups, popen.pid):
                return problem
            pipe.write(plan)
        ready, _, _ = select.select([answer], [], [], _START_TIMEOUT)
        return answer.read().decode(errors="replace") if ready else f"no answer within {_START_TIMEOUT:.0f} s"


async def _ended(pid: int) -> None:
    """Wait until a child process has ended; it is not reaped."""
    import asyncio  # a probe waits without it, while the agent is still importing it

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
