"""A container engine that tests start by themselves, with storage of its own, and of which nothing is left afterwards.

Podman from Debian's packages; with `TREADLE_TEST_ENGINE=docker` the same tests run on a dockerd. The images are made
here, without a registry: what the machine has is put into an archive.
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import resource
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Self

import botocore
import pytest

from tests.waiting import until
from treadle.errors import LaunchError
from treadle.launchers.engine import Engine

__all__ = ["BUSYBOX", "PASSWORD", "USER", "Service", "missing", "python_files", "running"]

USER, PASSWORD = "tester", "a password that nobody prints"
_BCRYPT = "$2y$05$Zr1PO7C2fmxHqmRJUQaRieggTmUbIKZCTGIIpwDQADU1b2ORVyxLy"
_REGISTRY = """
version: 0.1
log: {{level: error}}
storage: {{filesystem: {{rootdirectory: {0}/data}}}}
http: {{addr: "127.0.0.1:{1}"}}
auth: {{htpasswd: {{realm: tests, path: {0}/users}}}}
"""
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
[network]
network_config_dir = "{1}/networks"
"""
_STORAGE = """
[storage]
driver = "overlay"
graphroot = "{0}/root"
runroot = "{0}/run"
"""
_REGISTRIES = """
[[registry]]
location = "127.0.0.1:{0}"
insecure = true
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


@dataclass(frozen=True)
class Service:
    """A running engine; `environment` is what others find it by, `directory` is on its disk."""

    engine: Engine
    environment: Mapping[str, str]
    directory: Path
    registry_port: int
    restart: Callable[[], None]

    def image(self, name: str, files: Mapping[str, bytes | Path] | None = None, **config: Any) -> str:
        """Make an image of busybox with these files (path in the image → content) and this configuration."""
        changes = [f"{word} {value}" for word, value in config.items()]
        archive = _archive(files or {})
        repository, _, tag = name.rpartition(":")
        with self.engine.speaking("an image is made") as client:
            said = client.import_image_from_data(archive, repository=repository, changes=changes)
            client.tag(said.rpartition("sha256:")[2][:64], repository, tag)  # Podman does not heed the tag of an import
        return name

    @contextlib.contextmanager
    def registry(self) -> Iterator[str]:
        """Run a registry that wants the password `PASSWORD` of `USER`; give its address. Skip where there is none."""
        if shutil.which("docker-registry") is None:
            pytest.skip("docker-registry is not installed")
        place = self.directory / "registry"
        place.mkdir()
        (place / "users").write_text(f"{USER}:{_BCRYPT}\n")
        (place / "config.yml").write_text(_REGISTRY.format(place, self.registry_port))
        argv = ["docker-registry", "serve", str(place / "config.yml")]
        with (place / "log").open("wb") as log, _service(argv, os.environ, place, log):
            address = f"127.0.0.1:{self.registry_port}"
            until(lambda: _listens(self.registry_port), what="the registry listens")
            yield address

    def move(self, name: str, address: str, to: str) -> str:
        """Put an image into the registry under another name, so that the engine does not have it any more."""
        reference = f"{address}/{to}"
        repository, _, tag = reference.rpartition(":")
        with self.engine.speaking("an image is pushed") as client:
            client.tag(name, repository, tag)
            auth = {"username": USER, "password": PASSWORD, "serveraddress": address}
            said = list(client.push(repository, tag=tag, stream=True, decode=True, auth_config=auth))
            assert not [each for each in said if "error" in each], said
            client.remove_image(reference)
        return reference

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
def running() -> Iterator[Service]:
    """Start an engine, and end it with all that it made. It takes a registry at `registry_port` without TLS."""
    port = _free_port()
    directory = Path(tempfile.mkdtemp(prefix="treadle-engine-", dir="/tmp"))
    _forget_names()
    turn = (Path(tempfile.gettempdir()) / "treadle-engines.lock").open("wb")
    fcntl.flock(turn, fcntl.LOCK_SH)
    before = _rules()
    address = f"unix://{directory}/engine.sock"
    try:
        with _Process(directory, address, port) as process:
            engine = until(lambda: _connected(address), what="the engine answers")
            service = Service(engine, {"DOCKER_HOST": address}, directory, port, process.restart)
            service.image(BUSYBOX)
            try:
                yield service
            finally:
                _remove_everything(service.engine)
    finally:
        _unmount(directory)
        if _alone(turn):
            _restore(before)
        turn.close()
        shutil.rmtree(directory)


def _alone(turn: IO[bytes]) -> bool:
    """Tell whether no other run of the tests has an engine: what engines leave on the machine, they leave together."""
    try:
        fcntl.flock(turn, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


# Shared by all that root's Podman runs on a machine.
_NAMES = Path("/run/containers/networks/aardvark-dns")


def _forget_names() -> None:
    """Remove the names of networks that nobody serves: those of runs that were killed. The server would stay for them."""
    with contextlib.suppress(FileNotFoundError):
        pid = (_NAMES / "aardvark.pid").read_text("ascii").strip()
        with contextlib.suppress(OSError):
            if Path(f"/proc/{pid}/comm").read_text("ascii").strip() == "aardvark-dns":
                return
    shutil.rmtree(_NAMES, ignore_errors=True)


def _connected(address: str) -> Engine | None:
    with contextlib.suppress(LaunchError):
        return Engine.connect(address)
    return None


class _Process:
    """The engine's process."""

    def __init__(self, directory: Path, address: str, port: int) -> None:
        self._directory = directory
        files = min(20_000, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
        (directory / "containers.conf").write_text(_CONTAINERS.format(files, directory))
        (directory / "storage.conf").write_text(_STORAGE.format(directory))
        (directory / "registries.conf").write_text(_REGISTRIES.format(port))
        # Podman 4.3 leaves every archive that it is sent in its temporary directory.
        (directory / "tmp").mkdir()
        self._environment = os.environ | {
            "TMPDIR": str(directory / "tmp"),
            "CONTAINERS_CONF": str(directory / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(directory / "storage.conf"),
            "CONTAINERS_REGISTRIES_CONF": str(directory / "registries.conf"),
        }
        self._argv = ["podman", "system", "service", "--time=0", address]
        if _kind() == "docker":
            self._argv = ["dockerd", "--data-root", f"{directory}/root", "--exec-root", f"{directory}/run"]
            self._argv += ["--pidfile", f"{directory}/pid", "-H", address]
        self._log = (directory / "log").open("ab")
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        self._stack.enter_context(_service(self._argv, self._environment, self._directory, self._log))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
        self._log.close()

    def restart(self) -> None:
        """End it and start it again."""
        self._stack.close()
        self._stack.enter_context(_service(self._argv, self._environment, self._directory, self._log))


@contextlib.contextmanager
def _service(argv: Sequence[str], environment: Mapping[str, str], directory: Path, log: Any) -> Iterator[None]:
    # Of a container that the kernel killed for its memory, Podman's monitor leaves a file `oom` where it was started.
    process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, cwd=directory)
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
    if _kind() == "docker":
        subprocess.run(["ip", "link", "delete", "docker0"], check=True)
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


# ---------------------------------------------------------------------------------------------------------------------
# An image with Python
# ---------------------------------------------------------------------------------------------------------------------

# What a training program hardly needs, and would take longer to pack than all the rest.
_LEFT_OUT = (
    "test",
    "idlelib",
    "lib2to3",
    "tkinter",
    "turtledemo",
    "ensurepip",
    "site-packages",
    "__pycache__",
    "config-",
)
_S3_ONLY = ("endpoints.json", "partitions.json", "sdk-default-configuration.json", "_retry.json", "s3")
_PACKAGES = ("botocore", "jmespath", "dateutil", "urllib3", "six.py")


def python_files() -> dict[str, Path]:
    """Give the files of this very Python and of botocore as far as S3 needs it: path in the image → file here."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    base = Path(sys.base_prefix)
    interpreter = (base / "bin" / version).resolve()
    library = base / "lib" / version
    found = {str(interpreter): interpreter, "/usr/bin/python3": interpreter}
    for file in _files(library, _LEFT_OUT):
        found[str(file)] = file
    site = Path(botocore.__file__).parents[1]
    for package in _PACKAGES:
        for file in _files(site / package, ("__pycache__",)):
            inside = file.relative_to(site).parts
            if inside[:2] != ("botocore", "data") or inside[2] in _S3_ONLY:
                found[str(library / "site-packages" / file.relative_to(site))] = file
    binaries = [interpreter, *(file for file in found.values() if ".so" in file.suffixes)]
    return found | {str(each): each.resolve() for each in _linked(binaries)}


def _files(place: Path, without: tuple[str, ...]) -> Iterator[Path]:
    if place.is_file():
        yield place
        return
    for entry in place.iterdir():
        if not entry.name.startswith(without) or entry.name == "testing":
            yield from _files(entry, ("__pycache__", "tests"))


def _linked(binaries: Sequence[Path]) -> set[Path]:
    """Give the shared libraries that programs and libraries are linked with."""
    said = subprocess.run(["ldd", *map(str, binaries)], capture_output=True, text=True, check=False).stdout
    words = (word for line in said.splitlines() if line.startswith("\t") for word in line.split())
    return {Path(word) for word in words if word.startswith("/") and Path(word).exists()}
