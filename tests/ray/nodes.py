"""A Ray cluster of the tests' own: nodes in network namespaces, joined by a bridge, each with an address of its own.

This process is in a network namespace already (`make test-ray`): it is the machine of the head and of the service. The
others are held by a process each, and have no name: they go with it. Nothing of Ray is imported here.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tests.waiting import until

__all__ = ["HEAD", "PORT", "QUIET", "RAY", "Cluster", "Node", "inside", "missing"]

HEAD, PORT = "10.77.0.1", 6380
RAY = Path(sys.executable).with_name("ray")
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DISABLE_MEMORY_MONITOR": "1", "RAY_memory_monitor_refresh_ms": "0"}


def missing() -> str:
    """Say what is missing for these tests, "" for nothing."""
    if not RAY.exists():
        return "Ray is not installed here; `make test-ray` has an environment with it"
    if os.geteuid() or {name for _, name in _interfaces()} - {"lo", "bridge"}:
        return "they take root and a network namespace of their own; `make test-ray` gives them one"
    return ""


def _interfaces() -> list[tuple[int, str]]:
    import socket

    return socket.if_nameindex()


@dataclass
class Node:
    """A machine: its address, its scratch directory, the process that holds its network, and Ray's."""

    address: str
    scratch: Path
    holder: subprocess.Popen[bytes] | None
    ray: subprocess.Popen[bytes] | None = None

    @property
    def network(self) -> str:
        """Its network namespace, as links in /proc name it."""
        return _network(self.holder.pid if self.holder else "self")

    def processes(self, *having: str) -> list[int]:
        """Give the processes of the machine whose command line has all these texts."""
        network, found = self.network, []
        for pid in (int(each.name) for each in Path("/proc").iterdir() if each.name.isdigit()):
            with contextlib.suppress(OSError):
                command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                if command and _network(pid) == network and all(text in command for text in having):
                    found.append(pid)
        return [pid for pid in found if not self.holder or pid != self.holder.pid]

    def raylet(self) -> int:
        """Give the process of Ray that stands for the node."""
        (pid,) = self.processes("raylet/raylet ")
        return pid

    def lost(self) -> None:
        """Lose the machine: every process on it is killed at once, as without power."""
        assert self.holder is not None, "the head is this machine"
        while found := self.processes():
            for pid in found:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if self.ray is not None:
                self.ray.poll()
            if all(_dead(pid) for pid in found):
                break
        if self.ray is not None:
            self.ray.wait()
        self.holder.kill()
        self.holder.wait()

    def close(self) -> None:
        """End it in good order."""
        if self.ray is not None:
            self.ray.terminate()
            try:
                self.ray.wait(30)
            except subprocess.TimeoutExpired:
                self.ray.kill()
                self.ray.wait()
        if self.holder is not None:
            self.lost()


def _network(pid: int | str) -> str:
    return str(Path(f"/proc/{pid}/ns/net").readlink())


def _dead(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] in b"ZX"
    except OSError:
        return True


class Cluster:
    """The head, on this machine, and nodes that come and go. A context manager."""

    def __init__(self) -> None:
        # Short: names of Unix sockets below it have at most 107 bytes.
        self.root = Path(tempfile.mkdtemp(prefix="tr-", dir="/tmp"))
        self.nodes: dict[str, Node] = {}
        self._number = 1

    @property
    def address(self) -> str:
        """What `--ray-address` takes."""
        return f"{HEAD}:{PORT}"

    def __enter__(self) -> Self:
        _ip("link", "add", "bridge", "type", "bridge")
        _ip("addr", "add", f"{HEAD}/24", "dev", "bridge")
        _ip("link", "set", "bridge", "up")
        # Ray asks which address the machine would speak to others by; nothing is sent.
        _ip("route", "add", "default", "dev", "bridge")
        self.head = Node(HEAD, self.root / "head", None)
        self._begin(self.head, "--head", f"--port={PORT}", f"--temp-dir={self.root}/ray", "--num-cpus=0")
        return self

    def __exit__(self, *_: object) -> None:
        for each in [*self.nodes.values(), self.head]:
            each.close()
        _ip("link", "del", "bridge")
        shutil.rmtree(self.root, ignore_errors=True)

    def add(self, *, cpus: int = 2, memory: int = 16 << 30, gpus: int = 0) -> Node:
        """Add a node, with a machine of its own."""
        node = self.machine()
        self._begin(node, f"--address={self.address}", f"--num-cpus={cpus}", f"--memory={memory}", f"--num-gpus={gpus}")
        self.nodes[node.address] = node
        return node

    def machine(self) -> Node:
        """Make a machine that is no node yet."""
        self._number += 1
        address = f"10.77.0.{self._number}"
        holder = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
        until(lambda: _network(holder.pid) != _network("self"), what="a network")
        node = Node(address, self.root / f"node-{self._number}", holder)
        here, there = f"veth{self._number}", "eth0"
        _ip("link", "add", here, "type", "veth", "peer", "name", there, "netns", str(holder.pid))
        _ip("link", "set", here, "master", "bridge", "up")
        for words in (
            ("link", "set", "lo", "up"),
            ("addr", "add", f"{address}/24", "dev", there),
            ("link", "set", there, "up"),
            ("route", "add", "default", "dev", there),
        ):
            subprocess.run([*inside(holder.pid), "ip", *words], check=True)
        return node

    def remove(self, node: Node) -> None:
        """End a node."""
        del self.nodes[node.address]
        node.close()

    def _begin(self, node: Node, *options: str) -> None:
        """Start Ray, and wait until it says that it runs."""
        node.scratch.mkdir(mode=0o700)
        log = node.scratch.with_suffix(".log")
        common = [
            "--block",
            "--disable-usage-stats",
            "--object-store-memory=100000000",
            f"--node-ip-address={node.address}",
        ]
        dashboard = ["--include-dashboard=false"] if "--head" in options else []
        with log.open("wb") as said:
            ray = node.ray = subprocess.Popen(
                [*(inside(node.holder.pid) if node.holder else ()), str(RAY), "start", *common, *dashboard, *options],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                env=os.environ | QUIET | {"TREADLE_SCRATCH": str(node.scratch)},
                start_new_session=True,
            )

        def runs() -> bool:
            assert ray.poll() is None, log.read_text()
            return "Ray runtime started" in log.read_text()

        until(runs, 60, what="Ray has started")


def inside(pid: int) -> list[str]:
    return ["nsenter", f"--net=/proc/{pid}/ns/net"]


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)
