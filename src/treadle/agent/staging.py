"""Objects become files: small ones one after the other, beside them large ones, several at a time."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from treadle.agent.channels import Placement, PlainObjects
from treadle.agent.faults import CancelledStagingError, DataError
from treadle.errors import ObjectError
from treadle.seams import HostObjects, ObjectInfo

__all__ = ["download"]

_WORKERS = 4
# What is smaller costs its system calls, not its bytes; threads would only wait for each other to make them.
_LARGE = 1024 * 1024

_MD5 = re.compile(r"\A\"?([0-9a-f]{32})\"?\Z")
_SMALL = 64 * 1024 * 1024
_PIECE = 1024 * 1024


def download(placements: Iterable[Placement], objects: HostObjects, data: Path, cancelled: threading.Event) -> None:
    """Bring every object to its place below `data`. Raises `DataError`, `CancelledStagingError`."""
    failed = threading.Event()

    def bring(run: Sequence[Placement]) -> None:
        for placement in run:
            if cancelled.is_set() or failed.is_set():
                raise CancelledStagingError
            try:
                _bring(placement, objects, data)
            except BaseException:
                failed.set()  # the others need not go on
                raise

    # What comes from another machine is waited for, so there small ones are brought side by side, too.
    lanes = 1 if isinstance(objects, PlainObjects) else _WORKERS
    runs: list[list[Placement]] = [[] for _ in range(lanes)]
    for number, each in enumerate(placements):
        if each.info.size < _LARGE:
            runs[number % lanes].append(each)
        else:
            runs.append([each])
    with ThreadPoolExecutor(_WORKERS, thread_name_prefix="download") as pool:
        bringing = [pool.submit(bring, each) for each in runs]
    errors = [error for each in bringing if (error := each.exception()) is not None]
    for error in sorted(errors, key=lambda error: isinstance(error, CancelledStagingError)):
        raise error  # what is wrong rather than what was given up for it


def _bring(placement: Placement, objects: HostObjects, data: Path) -> None:
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
