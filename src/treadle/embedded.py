"""The client's side of "one service per home": use the service that owns the home, or start one in the background.

Whoever uses the service holds `clients.lock` shared. The service that was started in the background goes away only
while it can hold that lock alone, so from the moment in which a client has the lock, an endpoint that it sees stays.
Clients that find no service at the same time take turns by `start.lock`: the first starts one, the others find it.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Final

from treadle.errors import LaunchError
from treadle.home import Endpoint, Home, Lock

__all__ = ["START", "ensure_service"]

START: Final = (sys.executable, "-P", "-m", "treadle.cli", "serve", "--embedded")
"""How the service is started; it gets the home in `TREADLE_HOME`. -P: what lies around must not become a module."""

# A service that listens does so within a second or two; a machine that is busy training takes longer.
_DEADLINE: Final = 60.0
_LOG_LIMIT: Final = 1 << 20
_LOG_SHOWN: Final = 2000

# Services outlive who started them. They are kept here so that one that ends first is reaped.
_started: list[subprocess.Popen[bytes]] = []


@atexit.register
def _let_go() -> None:
    """Leave the services behind, which is meant: without this, Popen warns of it."""
    for each in _started:
        each.returncode = each.poll() or 0


@contextlib.contextmanager
def ensure_service(home: Home, start: Sequence[str] = START, *, deadline: float = _DEADLINE) -> Iterator[Endpoint]:
    """Give the endpoint of the home's service, which is started where there is none; it stays while the context does.

    `deadline` in seconds for the start. Raises `LaunchError` with the end of the service's log, `UsageError`.
    """
    home.prepare()
    held = Lock.wait(home.clients_lock, shared=True)
    try:
        yield home.endpoint() or _start(home, start, time.monotonic() + deadline)
    finally:
        held.release()


def _start(home: Home, start: Sequence[str], until: float) -> Endpoint:
    turn = Lock.wait(home.start_lock, shared=False)
    try:
        if endpoint := home.endpoint():
            return endpoint
        _started[:] = [each for each in _started if each.poll() is None]
        before = _trimmed(home.service_log)
        child, pipe = _launched(home, start)
        with pipe:
            return _ready(home, child, pipe, before, until)
    finally:
        turn.release()


def _launched(home: Home, start: Sequence[str]) -> tuple[subprocess.Popen[bytes], BinaryIO]:
    """Start the service in a session of its own, where no Ctrl-C meant for us reaches it; also give its output."""
    ours, theirs = os.pipe()
    log = os.open(home.service_log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        child = subprocess.Popen(
            list(start),
            stdin=subprocess.DEVNULL,
            stdout=theirs,
            stderr=log,
            start_new_session=True,
            cwd=home.root,
            env={**os.environ, "TREADLE_HOME": str(home.root)},
        )
    except OSError as error:
        os.close(ours)
        raise LaunchError(f"The training service cannot be started: {start[0]}: {error.strerror or error}.") from error
    finally:
        os.close(log)
        os.close(theirs)
    _started.append(child)
    return child, os.fdopen(ours, "rb", buffering=0)


def _ready(home: Home, child: subprocess.Popen[bytes], pipe: BinaryIO, before: int, until: float) -> Endpoint:
    """Wait until the service says on its standard output that it listens, or ends."""
    while (left := until - time.monotonic()) > 0:
        ready, _, _ = select.select([pipe], [], [], left)
        said = pipe.read(4096) if ready else b""
        if endpoint := home.endpoint():
            return endpoint
        if ready and not said:
            return _after_end(home, child, before, until)
    child.kill()
    child.wait()
    raise LaunchError(
        f"The training service did not begin to listen in time.{_said(home.service_log, before)}",
        hint=f"Its log is {home.service_log}.",
    )


def _after_end(home: Home, child: subprocess.Popen[bytes], before: int, until: float) -> Endpoint:
    """Say why the child ended; 0 means that another service owns the home, which may not listen yet."""
    code = child.wait(timeout=max(until - time.monotonic(), 1.0))
    while code == 0 and time.monotonic() < until:
        if endpoint := home.endpoint():
            return endpoint
        time.sleep(0.05)  # that service is no child of ours: there is nothing to wait on
    raise LaunchError(
        f"The training service ended with exit code {code} before it listened.{_said(home.service_log, before)}",
        hint=f"Its log is {home.service_log}. `treadle serve` starts it in the foreground.",
    )


def _trimmed(log: Path) -> int:
    """Put a long log aside; give the size of what is there."""
    if not log.exists():
        return 0
    size = log.stat().st_size
    if size > _LOG_LIMIT:
        log.replace(log.with_name(f"{log.name}.1"))
        return 0
    return size


def _said(log: Path, before: int) -> str:
    """Give the end of what was written since."""
    with log.open("rb") as file:
        file.seek(max(before, log.stat().st_size - _LOG_SHOWN))
        text = file.read().decode(errors="replace").strip()
    return f" It said:\n{text}" if text else ""
