"""The servers that are measured: Treadle's service, and moto's where `make bench-peers` has installed it."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from treadle.aws.sigv4 import Credentials
from treadle.cli.client import Client
from treadle.home import Home

PEERS = Path(__file__).resolve().parents[1] / ".venv-peers" / "bin" / "python"
NOT_INSTALLED = "not installed: make bench-peers"


class Server(NamedTuple):
    """A server that listens: a client of it, and its process."""

    client: Client
    pid: int


@contextlib.contextmanager
def treadle(home: Home) -> Iterator[Server]:
    """Run the service in a process of its own."""
    command = [sys.executable, "-m", "treadle.cli", "serve", "--port", "0"]
    # Bytecode is kept, as it is for whoever has installed Treadle.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment["TREADLE_HOME"] = str(home.root)
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            while (endpoint := home.endpoint()) is None:
                assert process.poll() is None, "the service ended before it listened"
                time.sleep(0.02)
            client = Client(endpoint.url, endpoint.region, Credentials(*home.credentials()))
            yield Server(client, process.pid)
        finally:
            process.terminate()


@contextlib.contextmanager
def moto() -> Iterator[Server | None]:
    """Run moto's server where it is installed."""
    if not PEERS.exists():
        yield None
        return
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [str(PEERS), "-m", "moto.server", "-p", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            while True:
                assert process.poll() is None, "moto's server ended before it listened"
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.2):
                    break
                time.sleep(0.05)
            client = Client(f"http://127.0.0.1:{port}", "us-east-1", Credentials("AKIABENCH", "secret"))
            yield Server(client, process.pid)
        finally:
            process.terminate()


def cpu_seconds(pid: int) -> float:
    """Give the seconds that a process has had on processors, user and system."""
    behind_its_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(int(each) for each in behind_its_name[11:13]) / os.sysconf("SC_CLK_TCK")


def resident_mib(pid: int) -> float:
    """Give the resident memory of a process in MiB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
