"""The machine's container engine, Docker or Podman, spoken to through Docker's Engine API on a Unix socket.

Found as `docker` finds it, then where Podman listens: `DOCKER_HOST`, `/var/run/docker.sock`, `/run/podman/podman.sock`,
`$XDG_RUNTIME_DIR/podman/podman.sock`. Only an engine of this machine will do: what a job reads and writes is bound into
its container from this machine's disk.

The API itself is the `docker` package's: `Engine.speaking` gives a client of it, what that raises is a `LaunchError`.

Source: docs.docker.com/reference/api/engine, version 1.41 and newer, which Podman 4 and 5 answer as well.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import socket
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from treadle.errors import LaunchError
from treadle.seams import Json

__all__ = ["Engine", "addresses", "problem"]

# An engine that holds its answer for so long to anything but a pull or a wait does not work.
_PATIENCE: Final = 120.0
_ROOT: Final = Path("/")
_ANY: Final = "1.41"
_SERVER: Final = re.compile(r"(?P<name>Docker|Libpod)/(?P<version>[^ ]+)")

_START: Final = (
    "Install Docker or Podman and start it (`sudo systemctl start docker`, `sudo systemctl start podman.socket` or, "
    "without root, `systemctl --user start podman.socket`), or name its socket: DOCKER_HOST=unix:///path."
)


def addresses(environment: Mapping[str, str], root: Path = _ROOT) -> list[str]:
    """Give where engines may listen, in the order in which they are asked. `root` is for tests.

    >>> addresses({"DOCKER_HOST": "unix:///tmp/engine.sock"})
    ['unix:///tmp/engine.sock']
    """
    if named := environment.get("DOCKER_HOST"):
        return [named]  # as for `docker`: who names one means no other
    sockets = ["/var/run/docker.sock", "/run/podman/podman.sock"]
    if runtime := environment.get("XDG_RUNTIME_DIR"):
        sockets.append(f"{runtime}/podman/podman.sock")
    found = (root / each.lstrip("/") for each in sockets)
    return [f"unix://{each}" for each in found if each.is_socket()]


def problem(environment: Mapping[str, str] = os.environ) -> str:
    """Give "" when an engine answers, else why none does and what to do about it."""
    try:
        Engine.find(environment)
    except LaunchError as error:
        return f"{error.message} {error.hint}".strip()
    return ""


@dataclass(frozen=True)
class Engine:
    """An engine that has answered; `api` is the version of the API that it speaks."""

    address: str
    podman: bool
    version: str
    api: str

    @classmethod
    def find(cls, environment: Mapping[str, str] = os.environ) -> Engine:
        """Give the first engine that answers. Raises `LaunchError`."""
        reasons = []
        for address in addresses(environment):
            try:
                return cls.connect(address)
            except LaunchError as error:
                reasons.append(f"{error.message} {error.hint}".strip())
        why = " ".join(reasons) or "No container engine listens on this machine."
        raise LaunchError(why, hint=_START)

    @classmethod
    def connect(cls, address: str) -> Engine:
        """Speak to the engine at an address. Raises `LaunchError`."""
        if not address.startswith("unix://"):
            raise LaunchError(
                f"The container engine at {address} is not on a socket of this machine, so it cannot see a job's files."
            )
        what = f"The container engine at {address} does not answer"
        # To ask for its version takes Podman a third of a second; the head of the least answer has all of it.
        with _speaking(address, _ANY, what) as client:
            answer = client.get(f"{client.base_url}/_ping", timeout=_PATIENCE)
        found = _SERVER.match(answer.headers.get("Server", ""))
        if not answer.ok or found is None:
            raise LaunchError(f"{what}: what listens there is no engine.")
        return cls(address, found["name"] == "Libpod", found["version"], answer.headers.get("Api-Version", _ANY))

    @functools.cached_property
    def information(self) -> Mapping[str, Json]:
        """The engine's `GET /info`. Raises `LaunchError`."""
        with self.speaking("The container engine does not tell about itself") as client:
            found: dict[str, Json] = client.info()
        return found

    @contextlib.contextmanager
    def speaking(self, what: str) -> Iterator[Any]:
        """Give a `docker.APIClient`; what goes wrong is a `LaunchError`: `what`, then the engine's own words.

        It is for one thread and one purpose: a client that waits for an answer cannot ask for anything else.
        """
        with _speaking(self.address, self.api, what) as client:
            yield client

    @property
    def name(self) -> str:
        """As people say it: `Podman 4.3.1`."""
        return f"{'Podman' if self.podman else 'Docker'} {self.version}"

    @property
    def rootless(self) -> bool:
        """Whether it runs with a user's rights, in a user namespace and a network of its own."""
        return bool(self.information.get("Rootless")) or self._secured_by("rootless")  # Podman, Docker

    @property
    def selinux(self) -> bool:
        """Whether SELinux keeps containers from files that are not labelled for them."""
        return self._secured_by("selinux")

    @property
    def remaps(self) -> bool:
        """Whether root in a container is another user outside (Docker's userns-remap)."""
        return self._secured_by("userns")

    @property
    def unlimited(self) -> bool:
        """Whether limits of memory and CPUs have no effect: there are no control groups, or they are root's."""
        version_1 = self.information.get("CgroupVersion") == "1"
        return (self.rootless and version_1) or not self.information.get("MemoryLimit", True)

    def _secured_by(self, name: str) -> bool:
        return any(each.split(",")[0] == f"name={name}" for each in self.information.get("SecurityOptions") or ())


def _knock(path: str, what: str) -> None:
    """See that somebody listens on a socket who listens to us, too. Raises `LaunchError`.

    The package would say less about it, and leave its socket open.
    """
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
        except PermissionError as error:
            hint = "Join the group that may (`sudo usermod -aG docker $USER`), or use Podman without root."
            raise LaunchError(f"{what}: this user may not use its socket.", hint=hint) from error
        except OSError as error:
            raise LaunchError(f"{what}: {error.strerror}.") from error


@contextlib.contextmanager
def _speaking(address: str, version: str, what: str) -> Iterator[Any]:
    try:
        import docker  # only who meets an engine pays for it
        import requests
    except ImportError as error:
        raise LaunchError(
            "The Python package that speaks to container engines is not installed.",
            hint=f"Install it: {sys.executable} -m pip install 'treadle[training]'.",
        ) from error
    _knock(address.removeprefix("unix://"), what)
    try:
        with contextlib.closing(docker.APIClient(base_url=address, version=version, timeout=_PATIENCE)) as client:
            yield client
    except docker.errors.APIError as error:
        raise LaunchError(f"{what}: {said(error)}.") from error
    except (docker.errors.DockerException, requests.RequestException) as error:
        raise LaunchError(f"{what}: {_innermost(error)}.") from error


def said(error: Any) -> str:
    """Give what the engine itself said in a `docker.errors.APIError`."""
    return str(error.explanation or error).strip().rstrip(".")


def _innermost(error: BaseException) -> str:
    """Give the reason of a chain of wrapped errors, which alone says something to people."""
    seen: BaseException = error
    while (inner := seen.__cause__ or seen.__context__) is not None:
        seen = inner
    return str(getattr(seen, "strerror", None) or seen).strip().rstrip(".")
