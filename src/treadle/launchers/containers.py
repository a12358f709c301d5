"""The containers and networks of jobs, found again by whoever has to remove them.

Their names are written down, in the file `RECORD` of the host's directory, before they are made; so what a killed agent
leaves is found by the launcher. Labels say the same to the engine: what outlives even that is found by `sweep`, which
removes what a home's hosts have made and no living host has.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from treadle.errors import LaunchError
from treadle.launchers import engine
from treadle.launchers.engine import Engine

__all__ = [
    "RECORD",
    "Record",
    "forget",
    "labels",
    "record_of",
    "remove_container",
    "remove_network",
    "remove_recorded",
    "sweep",
]

RECORD: Final = "container.json"
"""In a host's directory: its container and network, for who must remove them later."""

_DIRECTORY: Final = "treadle.directory"

_log: Final = logging.getLogger(__name__)


class Record(msgspec.Struct, frozen=True):
    """The engine's address, and what a host's container and the network of its job are called there, "" for none."""

    engine: str
    container: str = ""
    network: str = ""

    def write(self, directory: Path) -> None:
        """Write it down, before anything is made."""
        (directory / RECORD).write_bytes(msgspec.json.encode(self))

    @classmethod
    def read(cls, directory: Path) -> Record | None:
        """Give what was written down, None when there is nothing."""
        try:
            return msgspec.json.decode((directory / RECORD).read_bytes(), type=cls)
        except (OSError, msgspec.DecodeError):
            return None


def record_of(address: str, directory: Path, job: str, attempt: int, host: str) -> Record:
    """Give the names: made for people who look at `docker ps`, and of this very attempt in this very home alone."""
    attempts = hashlib.sha256(os.fspath(directory.parent).encode()).hexdigest()[:8]
    common = f"treadle-{job}-{attempt}-{attempts}"
    return Record(address, f"{common}-{host}", common)


def labels(directory: Path, job: str, attempt: int, host: str = "") -> dict[str, str]:
    """Give the labels of a host's container, or, without a host, of the network of its job."""
    named = {_DIRECTORY: os.fspath(directory), "treadle.job": job, "treadle.attempt": str(attempt)}
    return named | ({"treadle.host": host} if host else {})


def remove_recorded(directory: Path, its: Engine | None = None, *, network: bool = True) -> None:
    """Remove what was written down; no error when there is nothing. Raises `LaunchError`."""
    record = Record.read(directory)
    if record is None:
        return
    its = its or Engine.connect(record.engine)
    if record.container:
        remove_container(its, record.container)
        forget(directory, container=True)
    if network and record.network:
        remove_network(its, record.network)
        forget(directory, network=True)


def forget(directory: Path, *, container: bool = False, network: bool = False) -> None:
    """Strike out what is gone."""
    record = Record.read(directory)
    if record is None:
        return
    left = Record(record.engine, "" if container else record.container, "" if network else record.network)
    if left.container or left.network:
        left.write(directory)
    else:
        (directory / RECORD).unlink()


def remove_container(its: Engine, name: str) -> None:
    """End a container and remove it; no error when it is gone. Raises `LaunchError`."""
    being_removed = 409
    with its.speaking(f"The container {name} cannot be removed") as client, _unless(404, being_removed):
        client.remove_container(name, force=True, v=True)


def remove_network(its: Engine, name: str) -> None:
    """Remove a network; no error when it is gone, or another host of the job still has it. Raises `LaunchError`."""
    with its.speaking(f"The network {name} cannot be removed") as client, _unless(403, 404, 409):
        client.remove_network(name)


@contextlib.contextmanager
def _unless(*statuses: int) -> Iterator[None]:
    import docker.errors  # whoever has an engine has it imported already

    try:
        yield
    except docker.errors.APIError as error:
        if error.status_code not in statuses:
            raise


def sweep(root: Path, live: Callable[[], Collection[Path]], environment: Mapping[str, str] = os.environ) -> None:
    """Remove what hosts with directories below `root` have left, but for those of `live` hosts; never raises.

    Who lives is asked after the list is there: so what is made meanwhile is safe. An engine that is not there has
    nothing of ours, and one that does not answer is asked again by the next service.
    """
    for address in engine.addresses(environment):
        try:
            _sweep(Engine.connect(address), root, live)
        except LaunchError as error:
            _log.info("containers of earlier jobs are not looked for: %s", error.message)


def _sweep(its: Engine, root: Path, living: Callable[[], Collection[Path]]) -> None:
    with its.speaking("The containers of earlier jobs cannot be listed") as client:
        containers = client.containers(all=True, filters={"label": _DIRECTORY})
        networks = client.networks(filters={"label": _DIRECTORY})
    live = living()
    attempts = {each.parent for each in live}
    for each in containers:
        if _below(root, each) and Path(each["Labels"][_DIRECTORY]) not in live:
            _log.info("the container %s is left from an earlier job, and removed", each["Names"][0])
            remove_container(its, each["Id"])
    for each in networks:
        if _below(root, each) and Path(each["Labels"][_DIRECTORY]) not in attempts:
            remove_network(its, each["Name"])


def _below(root: Path, found: Mapping[str, Any]) -> bool:
    return root in Path((found.get("Labels") or {}).get(_DIRECTORY, "/")).parents
