"""Ray on one machine, as a user of a workstation starts it: its GPUs, one node, loopback alone."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence

from tests.ray.nodes import QUIET, RAY
from tests.waiting import until

__all__ = ["workstation"]

_PORT = 6390


@contextlib.contextmanager
def workstation(*own: str, within: Sequence[str] = (), **environment: str) -> Iterator[str]:
    """Start it with options of the test's own, by a command that becomes it, and give its address."""
    options = ("--head", "--block", "--disable-usage-stats", "--include-dashboard=false", f"--port={_PORT}")
    more = ("--node-ip-address=127.0.0.1", "--object-store-memory=100000000", "--num-cpus=8", *own)
    # Short: names of Unix sockets below it have at most 107 bytes.
    with tempfile.TemporaryDirectory(prefix="tr-", dir="/tmp") as root, tempfile.TemporaryFile("w+") as said:
        ray = subprocess.Popen(
            [*within, str(RAY), "start", *options, *more, f"--temp-dir={root}"],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            env=os.environ | QUIET | {"TREADLE_SCRATCH": f"{root}/scratch"} | environment,
            start_new_session=True,
        )

        def runs() -> bool:
            said.seek(0)
            text = said.read()
            assert ray.poll() is None, text
            return "Ray runtime started" in text

        try:
            until(runs, 60, what="Ray has started")
            yield f"127.0.0.1:{_PORT}"
        finally:
            ray.terminate()
            try:
                ray.wait(30)
            except subprocess.TimeoutExpired:
                ray.kill()
                ray.wait()
