"""Objects become files: by several threads, each with a run of objects at a time, so that small ones cost no more."""

from __future__ import annotations

import hashlib
import itertools
import re
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from treadle.agent.channels import Placement
from treadle.agent.faults import CancelledStagingError, DataError
from treadle.errors import ObjectError
from treadle.seams import ObjectInfo, Objects

__all__ = ["download"]

_WORKERS = 4
# A run ends with whichever is reached first: handing out each small object by itself would cost as much as its copy.
_RUN_OBJECTS = 128
_RUN_BYTES = 16 * 1024 * 1024

_MD5 = re.compile(r"\A\"?([0-9a-f]{32})\"?\Z")
_SMALL = 64 * 1024 * 1024
_PIECE = 1024 * 1024


def download(placements: Iterable[Placement], objects: Objects, data: Path, cancelled: threading.Event) -> None:
    """Bring every object to its place below `data`. Raises `DataError`, `CancelledStagingError`."""

    def bring(run: Sequence[Placement]) -> None:
        for placement in run:
            if cancelled.is_set():
                raise CancelledStagingError
            _bring(placement, objects, data)

    with ThreadPoolExecutor(_WORKERS, thread_name_prefix="download") as pool:
        try:
            for _ in pool.map(bring, _runs(placements)):
                pass
        except BaseException:
            cancelled.set()  # the others need not go on
            raise


def _runs(placements: Iterable[Placement]) -> Iterator[list[Placement]]:
    """Cut into runs, in order: neighbours share a directory, whose lock in the kernel then is one thread's."""
    ahead = iter(placements)
    while run := list(itertools.islice(ahead, 1)):
        size = run[0].info.size
        while size < _RUN_BYTES and len(run) < _RUN_OBJECTS and (following := next(ahead, None)) is not None:
            run.append(following)
            size += following.info.size
        yield run


def _bring(placement: Placement, objects: Objects, data: Path) -> None:
    uri = f"s3://{placement.bucket}/{placement.info.key}"
    target = data / placement.path
    try:
        if placement.path.endswith("/"):
            target.mkdir(parents=True, exist_ok=True)
            return
        objects.download(placement.bucket, placement.info.key, target)
        if problem := _differs(target, placement.info) and _differs(
            target, objects.head(placement.bucket, placement.info.key)
        ):
            raise DataError(f'"{uri}" did not arrive whole: {problem}.')
    except ObjectError as error:
        raise DataError(error.message) from error
    except OSError as error:
        raise DataError(f'"{uri}" cannot be written to the volume: {error.strerror}.') from error


def _differs(file: Path, info: ObjectInfo) -> str:
    """Compare a file with what the store says of it: the size, and the MD5 where the ETag is one."""
    size = file.stat().st_size
    if size != info.size:
        return f"it has {size} bytes, {info.size} were announced"
    expected = _MD5.match(info.etag)
    if expected is None or size > _SMALL:  # reading a large file again would cost more than it tells
        return ""
    digest = hashlib.md5(usedforsecurity=False)
    with file.open("rb") as content:
        while piece := content.read(_PIECE):
            digest.update(piece)
    return "" if digest.hexdigest() == expected[1] else "its content has another MD5 than announced"
