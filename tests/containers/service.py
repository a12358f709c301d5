"""A container engine that tests start by themselves, with storage of its own, and of which nothing is left afterwards.

Podman from Debian's packages; with `TREADLE_TEST_ENGINE=docker` the same tests run on a dockerd. The images are made
here, without a registry: what the machine has is put into an archive.
"""

from __future__ import annotations

import contextlib
import io
import os
import resource
import shlex
import shutil
import signal
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from treadle.errors import LaunchError
from treadle.launchers.engine import Engine

__all__ = ["BUSYBOX", "Service", "missing", "running", "until"]

BUSYBOX = "localhost/treadle-busybox:1"

# What the hosts of continuous integration need: see containers.conf(5). Podman's own limits exceed what they may set,
# and crun cannot do with their control groups.
_CONTAINERS = """
[containers]
default_ulimits = ["nofile={0}:{0}", "nproc=20000:20000"]
[engine]
runtime = "runc"
events_logger = "file"
cgroup_manager = "cgroupfs"
"""
_STORAGE = """
[storage]
driver = "overlay"
graphroot = "{0}/root"
runroot = "{0}/run"
"""
_PROGRAMS = {
    "podman": ("podman", "runc", "conmon", "iptables", "busybox"),
    "docker": ("dockerd", "runc", "iptables", "busybox"),
}


def _kind() -> str:
    return os.environ.get("TREADLE_TEST_ENGINE", "podman")


def missing() -> str:
    """Say why no engine can be started here, "" when one can."""
    if os.geteuid() != 0:
        return "only root starts an engine here"
    absent = [each for each in _PROGRAMS[_kind()] if shutil.which(each) is None]
    return f"not installed: {', '.join(absent)}" if absent else ""


def until(condition: Callable[[], Any], seconds: float = 20.0, *, what: str = "") -> Any:
    """Look until the condition gives something true, and give that; fail after `seconds`."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what or condition}"
        time.sleep(0.02)
    return found


@dataclass(frozen=True)
class Service:
    """A running engine; `environment` is what others find it by, `directory` is on its disk."""

    engine: Engine
    environment: Mapping[str, str]
    directory: Path

    def image(self, name: str, files: Mapping[str, bytes | Path] | None = None, **config: Any) -> str:
        """Make an image of busybox with these files (path in the image → content) and this configuration."""
        changes = [f"{word} {value}" for word, value in config.items()]
        archive = _archive(files or {})
        repository, _, tag = name.rpartition(":")
        with self.engine.speaking("an image is made") as client:
            said = client.import_image_from_data(archive, repository=repository, changes=changes)
            client.tag(said.rpartition("sha256:")[2][:64], repository, tag)  # Podman does not heed the tag of an import
        return name

    def left(self) -> list[str]:
        """Give the names of the containers and networks of jobs."""
        wanted = {"label": "treadle.directory"}
        with self.engine.speaking("what is left") as client:
            containers = [each["Names"][0].lstrip("/") for each in client.containers(all=True, filters=wanted)]
            return containers + [each["Name"] for each in client.networks(filters=wanted)]


def _archive(files: Mapping[str, bytes | Path]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.add(str(shutil.which("busybox")), "bin/busybox")
        applets = subprocess.run(["busybox", "--list"], capture_output=True, text=True, check=True).stdout.split()
        for each in applets:
            if each != "busybox":
                archive.addfile(_member(f"bin/{each}", type=tarfile.SYMTYPE, linkname="busybox"))
        for each in ("tmp", "etc", "opt", "root"):
            archive.addfile(_member(each, type=tarfile.DIRTYPE, mode=0o1777 if each == "tmp" else 0o755))
        for name, content in files.items():
            if isinstance(content, Path):
                archive.add(content, name.lstrip("/"))
            else:
                archive.addfile(_member(name.lstrip("/"), size=len(content), mode=0o755), io.BytesIO(content))
    return buffer.getvalue()


def _member(name: str, **members: Any) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    for each, value in members.items():
        setattr(member, each, value)
    return member


# ---------------------------------------------------------------------------------------------------------------------
# Its life
# ---------------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def running(registries: str = "") -> Iterator[Service]:
    """Start an engine, and end it with all that it made."""
    directory = Path(tempfile.mkdtemp(prefix="treadle-engine-", dir="/tmp"))
    before = _rules()
    address = f"unix://{directory}/engine.sock"
    try:
        with _process(directory, address, registries):
            service = Service(until(lambda: _connected(address)), {"DOCKER_HOST": address}, directory)
            service.image(BUSYBOX)
            try:
                yield service
            finally:
                _remove_everything(service.engine)
    finally:
        _unmount(directory)
        _restore(before)
        shutil.rmtree(directory)


def _connected(address: str) -> Engine | None:
    with contextlib.suppress(LaunchError):
        return Engine.connect(address)
    return None


@contextlib.contextmanager
def _process(directory: Path, address: str, registries: str) -> Iterator[None]:
    files = min(20_000, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    (directory / "containers.conf").write_text(_CONTAINERS.format(files))
    (directory / "storage.conf").write_text(_STORAGE.format(directory))
    (directory / "registries.conf").write_text(registries)
    environment = os.environ | {
        "CONTAINERS_CONF": str(directory / "containers.conf"),
        "CONTAINERS_STORAGE_CONF": str(directory / "storage.conf"),
        "CONTAINERS_REGISTRIES_CONF": str(directory / "registries.conf"),
    }
    argv = ["podman", "system", "service", "--time=0", address]
    if _kind() == "docker":
        argv = ["dockerd", "--data-root", f"{directory}/root", "--exec-root", f"{directory}/run"]
        argv += ["--pidfile", f"{directory}/pid", "-H", address]
    with (directory / "log").open("wb") as log, _service(argv, environment, log):
        yield


@contextlib.contextmanager
def _service(argv: Sequence[str], environment: Mapping[str, str], log: Any) -> Iterator[None]:
    process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def _remove_everything(engine: Engine) -> None:
    with engine.speaking("everything is removed") as client:
        for each in client.containers(all=True):
            client.remove_container(each["Id"], force=True, v=True)
        for each in client.networks():
            if each["Name"] not in {"bridge", "host", "none", "podman"}:
                client.remove_network(each["Id"])


def _unmount(directory: Path) -> None:
    lines = Path("/proc/self/mounts").read_text().splitlines()
    places = [line.split()[1] for line in lines if line.split()[1].startswith(f"{directory}/")]
    for each in sorted(places, reverse=True):
        subprocess.run(["umount", "--lazy", each], check=True)


# Engines leave chains behind, on purpose: what was not there before is taken away.
_TABLES = ("filter", "nat", "mangle", "raw")


def _rules() -> dict[str, list[str]]:
    if shutil.which("iptables") is None:
        return {}
    listed = {}
    for table in _TABLES:
        done = subprocess.run(["iptables", "-w", "-t", table, "-S"], capture_output=True, text=True, check=False)
        listed[table] = done.stdout.splitlines()
    return listed


def _restore(before: Mapping[str, list[str]]) -> None:
    for table, lines in _rules().items():
        new = [shlex.split(line) for line in lines if line not in before[table]]
        for words in (each for each in new if each[0] == "-A"):
            _iptables(table, "-D", *words[1:])
        for words in (each for each in new if each[0] == "-N"):
            _iptables(table, "-X", words[1])
        for words in (line.split() for line in before[table] if line.startswith("-P ") and line not in lines):
            _iptables(table, *words)


def _iptables(table: str, *words: str) -> None:
    subprocess.run(["iptables", "-w", "-t", table, *words], check=True)
