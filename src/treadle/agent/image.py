"""A container's image, brought from its registry when the engine has none of that name.

What the engine has is used as it is, also under the tag `latest`, as `docker run` does: an image that was built here
and never pushed is one to train with, and a job does not change because a registry did. The log says which it was.

Credentials are those that `docker login` and `podman login` have left for this user, and what the credential helpers
give that docker's configuration names (ECR's among them). They go to the engine, and nowhere else.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from treadle.agent.faults import PullError
from treadle.errors import LaunchError
from treadle.launchers.engine import Engine
from treadle.seams import Json

__all__ = ["bring"]

# Between two words about the progress: each is an event of the job, stored and told.
_PERIOD: Final = 2.0

Say = Callable[[str], None]


def bring(
    its: Engine,
    reference: str,
    say: Say,
    progress: Say,
    cancelled: threading.Event,
    environment: Mapping[str, str],
    *,
    period: float = _PERIOD,
) -> str:
    """Give the id of an image, pulled if need be; `progress` hears how far that is, each `period` seconds. Blocks.

    Gives "" when it is cancelled meanwhile. Raises `PullError`, `LaunchError`.
    """
    found = _found(its, reference)
    if found:
        say(f"image: {reference} is here already ({_short(found)}); `docker pull` or `podman pull` fetches a newer one")
        return found
    began = time.monotonic()
    progress("")
    for note in _pull(its, reference, environment, cancelled, period):
        progress(note)
    if cancelled.is_set():
        return ""
    found = _found(its, reference)
    if not found:
        raise _cannot(reference, f"{its.name} has pulled it and does not have it")
    say(f"image: {reference} pulled in {time.monotonic() - began:.1f} s ({_short(found)})")
    return found


def _short(identity: str) -> str:
    return identity.removeprefix("sha256:")[:12]


def _found(its: Engine, reference: str) -> str:
    import docker.errors  # the engine's client has it imported

    with its.speaking(f"{its.name} cannot look the image {reference} up") as client:
        try:
            return str(client.inspect_image(reference)["Id"])
        except docker.errors.ImageNotFound:
            return ""


def _pull(
    its: Engine, reference: str, environment: Mapping[str, str], cancelled: threading.Event, period: float
) -> Iterator[str]:
    """Pull, and give from time to time how far it is."""
    import docker.errors  # as above

    repository, tag = _split(reference)
    told = time.monotonic()
    layers: dict[str, tuple[int, int]] = {}
    try:
        with its.speaking(f"{reference} cannot be pulled") as client:
            auth = _credentials(repository, environment)
            for line in client.pull(repository, tag=tag, stream=True, decode=True, auth_config=auth):
                if cancelled.is_set():
                    return
                if "error" in line:
                    raise docker.errors.DockerException(line["error"])
                if _counted(line, layers) and time.monotonic() - told >= period:
                    told = time.monotonic()
                    yield _progress(layers)
    except LaunchError as error:
        raise _cannot(reference, error.message) from error


def _split(reference: str) -> tuple[str, str]:
    """Give repository and tag or digest; `latest` is what is meant by none.

    >>> _split("127.0.0.1:5000/team/image"), _split("image:1"), _split("image@sha256:0")
    (('127.0.0.1:5000/team/image', 'latest'), ('image', '1'), ('image', 'sha256:0'))
    """
    name, at, digest = reference.partition("@")
    if at:
        return name.rpartition(":")[0] if ":" in name.rpartition("/")[2] else name, digest
    repository, colon, tag = reference.rpartition(":")
    return (repository, tag) if colon and "/" not in tag else (reference, "latest")


def _counted(line: Mapping[str, Json], layers: dict[str, tuple[int, int]]) -> bool:
    """Take notice of how much of a layer is there; False when the line does not say."""
    detail = line.get("progressDetail") or {}
    if line.get("status") != "Downloading" or not detail.get("total"):
        return False
    layers[str(line.get("id"))] = (detail.get("current", 0), detail["total"])
    return True


def _progress(layers: Mapping[str, tuple[int, int]]) -> str:
    have, total = (sum(each) for each in zip(*layers.values(), strict=True))
    return f"{have / 1e6:.0f} of {total / 1e6:.0f} MB"


def _cannot(reference: str, why: str) -> PullError:
    # AWS's words for it, then what is the matter here.
    return PullError(
        "ClientError: Cannot pull algorithm container. Either the image does not exist or its permissions are "
        f"incorrect. {why}.".replace("..", "."),
        hint=f"Try `docker pull {reference}` or `podman pull {reference}`, after `docker login` if need be.",
    )


# ---------------------------------------------------------------------------------------------------------------------
# Credentials
# ---------------------------------------------------------------------------------------------------------------------


def _credentials(repository: str, environment: Mapping[str, str]) -> Any:
    """Give the credentials for a repository's registry, None for none. Raises `docker.errors.DockerException`."""
    from docker import auth  # the engine's client has it imported

    registry, _ = auth.resolve_repository_name(repository)
    for file in _files(environment):
        if file.is_file():
            found = auth.load_config(os.fspath(file)).resolve_authconfig(registry)
            if found:
                return found
    return None


def _files(environment: Mapping[str, str]) -> Iterator[Path]:
    """Give where credentials may be: docker's file, then Podman's (containers-auth.json(5))."""
    home = Path(environment.get("HOME") or os.path.expanduser("~"))  # noqa: PTH111  (it gives no RuntimeError)
    yield Path(environment.get("DOCKER_CONFIG") or home / ".docker") / "config.json"
    if named := environment.get("REGISTRY_AUTH_FILE"):
        yield Path(named)
    elif runtime := environment.get("XDG_RUNTIME_DIR"):
        yield Path(runtime) / "containers/auth.json"
    else:
        yield Path(f"/run/containers/{os.geteuid()}/auth.json")
    yield home / ".config/containers/auth.json"
