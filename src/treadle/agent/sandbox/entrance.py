"""An `enter` process that is up before anybody knows what it will run.

To start an interpreter takes longer than all that `enter` does. So an agent starts it first of all; while the agent
imports and asks for its work, the process tries in a child of its own whether namespaces work here.

This module imports little, like `enter`: what is imported before it begins is waited for.
"""

from __future__ import annotations

import contextlib
import marshal
import os
import select
import subprocess
import sys
import threading
from importlib.machinery import SourceFileLoader

from treadle.agent.sandbox import enter
from treadle.launchers.marking import MARKER

TYPE_CHECKING = False  # importing it from typing would be to import typing
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from typing import Any

__all__ = ["TRIAL", "Entrance"]

# Mounting takes milliseconds; a machine that takes this long is not going to.
_START_TIMEOUT = 60.0

# A script would be compiled for every program. What `enter` was compiled to for the agent comes before the plans.
_ENTER = "import marshal, sys; del sys.argv[0]; exec(marshal.load(sys.stdin.buffer))"

# What an interpreter may need to start, and what the process is found by. No more: programs can see it.
_KEPT = ("LD_LIBRARY_PATH", MARKER)

TRIAL: Mapping[str, Any] = {
    "kind": "namespace",
    "rest": "",
    "argv": ("/bin/sh", "-c", "test -d /opt/ml/bin && test $$ -lt 9"),
    "environment": {"PATH": "/usr/bin:/bin"},
    "directory": "/",
    "ml": "/usr",
    "host": "algo-1",
    "etc_hosts": os.devnull,
    "hidden": (),
    "readable": (),
    "mounts": (),
    "layers": (),
    "unlayered": None,
    "network": True,
    "network_namespace": None,
}
"""A plan whose program succeeds where namespaces work: it sees another `/opt/ml` and processes of its own."""


class Entrance:
    """Waits for the plan of one program, and may try another one before. Build it in a thread that outlives both."""

    def __init__(self, environment: Mapping[str, str], trial: Mapping[str, Any] | None = None) -> None:
        """Start it, and the trial. Raises OSError."""
        self.output, output_end = os.pipe()
        self._status, status_end = os.pipe()
        try:
            self.popen = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _ENTER, enter.__file__, str(status_end), str(self.output)],
                stdin=subprocess.PIPE,
                stdout=output_end,
                stderr=subprocess.STDOUT,
                pass_fds=(status_end, self.output),
                start_new_session=True,
                cwd="/",
                env={name: environment[name] for name in _KEPT if name in environment},
            )
        except OSError:
            os.close(self.output)
            os.close(self._status)
            raise
        finally:
            os.close(output_end)
            os.close(status_end)
        self._waits = True
        self._joining: threading.Thread | None = None
        self._refusal = ""
        self._problem = None if trial else ""
        told = [SourceFileLoader(enter.__name__, enter.__file__).get_code(enter.__name__)]
        self._tell(*told, *([{"trial": {**trial, "parent": self.popen.pid}}] if trial else []))

    def problem(self) -> str:
        """Wait for the trial; "" when its program has succeeded, else what it said."""
        if self._problem is None:
            self._problem = self._answer(b"\0")
        return self._problem

    def join(self, cgroups: Sequence[Path]) -> None:
        """Begin to put it into control groups: the kernel takes a grace period of RCU for that, 6 to 16 ms."""
        self._joining = threading.Thread(target=self._join, args=(cgroups,), daemon=True)
        self._joining.start()

    def start(self, plan: Mapping[str, Any], cgroups: Sequence[Path] = ()) -> str:
        """Carry a plan out, in these control groups; "" when its program has been started, else why not."""
        self.problem()
        if self._joining is None:
            self._join(cgroups)
        else:
            self._joining.join()
        if self.popen.poll() is not None:
            self._refusal = "the process that was up for the program has ended"
        if not self._refusal:
            self._tell({**plan, "parent": os.getpid()})
            self._refusal = self._answer(b"")
        if self._refusal:
            self.close()
        else:
            self._let_go()
        return self._refusal

    def close(self) -> None:
        """End it, if no program has been started."""
        if self._waits:
            if self._joining is not None:
                self._joining.join()
            self._let_go()
            os.close(self.output)
            self.popen.kill()
            self.popen.wait()

    def _join(self, cgroups: Sequence[Path]) -> None:
        try:
            for each in cgroups:
                (each / "cgroup.procs").write_text(str(self.popen.pid))
        except OSError as error:
            self._refusal = f"the program cannot be put into the control group {error.filename}: {error.strerror}"

    def _let_go(self) -> None:
        self._waits = False
        os.close(self._status)
        if self.popen.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self.popen.stdin.close()

    def _tell(self, *values: Any) -> None:
        with contextlib.suppress(BrokenPipeError):  # it has ended; so the answer does, too
            if self.popen.stdin is not None:
                self.popen.stdin.write(b"".join(marshal.dumps(each) for each in values))
                self.popen.stdin.flush()

    def _answer(self, end: bytes) -> str:
        """Read what it answers up to a byte, or with b"" to the end."""
        said = b""
        while not (end and said.endswith(end)):
            if not select.select([self._status], [], [], _START_TIMEOUT)[0]:
                return f"no answer within {_START_TIMEOUT:.0f} s"
            if not (piece := os.read(self._status, 4096)):
                return said.decode(errors="replace") or ("it ended before it answered" if end else "")
            said += piece
        return said.removesuffix(end).decode(errors="replace")
