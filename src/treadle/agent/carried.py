"""What a host on another machine gets of its service's: the local image, and what Ray says of the GPUs."""

from __future__ import annotations

import tarfile
import threading
from collections.abc import Sequence
from pathlib import Path

from treadle.agent.channels import split_uri
from treadle.agent.faults import CancelledStagingError, DataError
from treadle.errors import LaunchError, ObjectError
from treadle.launchers.gpus import Gpu
from treadle.seams import HostObjects
from treadle.training import archives

__all__ = ["bring_image", "gpu_numbers"]


def bring_image(uri: str, objects: HostObjects, directory: Path, cancelled: threading.Event) -> None:
    """Unpack the image's tar. Blocks. Raises `DataError`, `CancelledStagingError`.

    It is the user's own, as the directory is that it was made from: links lead where they led.
    """
    bucket, key = split_uri(uri)
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        for archive, member in archives.members(objects.read(bucket, key)):
            if cancelled.is_set():
                raise CancelledStagingError
            archive.extract(member, directory, filter="tar")
    except ObjectError as error:
        raise DataError(f"The image cannot be brought: {error.message}") from error
    except (OSError, tarfile.TarError, EOFError) as error:
        raise DataError(f"The image cannot be unpacked: {error}.") from error


def gpu_numbers(assigned: Sequence[str], machine: Sequence[Gpu]) -> list[int]:
    """Give the numbers of GPUs that are known by number or UUID. Raises `LaunchError`.

    >>> gpu_numbers(["1", "GPU-5f"], [Gpu(0, "GPU-5f"), Gpu(1, "")])
    [1, 0]
    """
    named = {each.uuid: each.number for each in machine if each.uuid}
    unknown = [each for each in assigned if not each.isdigit() and each not in named]
    if unknown:
        raise LaunchError(f"This machine has no GPU {', '.join(unknown)}.", hint="Parts of a GPU (MIG) are not known.")
    return [int(each) if each.isdigit() else named[each] for each in assigned]
