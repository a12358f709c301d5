"""AWS's images of frameworks where no container engine listens: a script runs with the Python that runs Treadle.

On one machine the service knows when it takes the job (`training.images`). What a node of a cluster has is known there
alone.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec

from treadle.errors import LaunchError
from treadle.launchers.engine import Engine
from treadle.seams import HostSpec
from treadle.training.algorithms import catalogue
from treadle.training.images import Containers, ImageRegistry

__all__ = ["settled"]


def settled(spec: HostSpec, directory: Path, find: Callable[[], Engine]) -> tuple[HostSpec, str]:
    """Give the specification of what is run here, and what the log should say of it. Blocks. Raises `ImageError`.

    `directory` is the host's, where no images are registered.
    """
    if spec.sandbox != "auto" or catalogue.framework(spec.image["name"]) is None:
        return spec, ""
    try:
        find()
    except LaunchError as error:
        problem = f"{error.message} {error.hint}".strip()
    else:
        return spec, ""
    algorithm = spec.request["AlgorithmSpecification"]
    image, command = ImageRegistry(directory / "images.json", Containers(lambda: problem)).resolve(
        spec.image["name"],
        algorithm.get("ContainerEntrypoint") or (),
        algorithm.get("ContainerArguments") or (),
        spec.request.get("HyperParameters"),
    )
    note = str(image.pop("note"))
    return msgspec.structs.replace(spec, image=image, command=command), note
