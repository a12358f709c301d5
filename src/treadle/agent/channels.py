"""Input channels in File mode: objects become files below `/opt/ml/input/data/<channel>` (§1.6).

First all of it is planned: what is listed, where each object goes, whether every place lies below the channel and no
place is wanted twice. Only then is something written. Keys are anybody's: they are never joined to a path before
each of their segments has been looked at.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from treadle.agent.contract import Channel, channels, instance_groups
from treadle.errors import ObjectError
from treadle.seams import HostSpec, Json, ObjectInfo, Objects

__all__ = ["CancelledStagingError", "DataError", "Placement", "download", "plan", "split_uri"]

_LONGEST_NAME = 255
_WORKERS = 4
_MD5 = re.compile(r"\A\"?([0-9a-f]{32})\"?\Z")
_SMALL = 64 * 1024 * 1024
_PIECE = 1024 * 1024


class DataError(Exception):
    """The data cannot be brought; the text is for the user, after `ClientError: Data download failed:`."""


class CancelledStagingError(Exception):
    """Somebody asked to stop."""


@dataclass(frozen=True, slots=True)
class Placement:
    """An object and where it goes, relative to `/opt/ml/input/data`."""

    bucket: str
    info: ObjectInfo
    path: str


def split_uri(uri: str) -> tuple[str, str]:
    """Give bucket and key of an s3:// URI. Raises `DataError`."""
    if not uri.startswith("s3://") or not (rest := uri.removeprefix("s3://")).partition("/")[0]:
        raise DataError(f'"{uri}" is not an s3:// URI.')
    bucket, _, key = rest.partition("/")
    return bucket, key


def plan(spec: HostSpec, objects: Objects) -> list[Placement]:
    """List every channel and give each object its place. Raises `DataError`."""
    placements: list[Placement] = []
    for channel in channels(spec.request):
        placements += _planned(channel, spec, objects)
    return placements


def _planned(channel: Channel, spec: HostSpec, objects: Objects) -> list[Placement]:
    if channel.mode not in {"File", "FastFile"}:
        raise DataError(f'Channel "{channel.name}": input mode {channel.mode} is not offered here; use File.')
    if not channel.s3:
        raise DataError(f'Channel "{channel.name}" has no S3DataSource; other data sources are not offered here.')
    groups = channel.s3.get("InstanceGroupNames")
    sharers = [
        host
        for each in instance_groups(spec)
        if not groups or each["instance_group_name"] in groups
        for host in each["hosts"]
    ]
    if spec.host not in sharers:
        return []
    try:
        found = list(_listed(channel, objects))
    except ObjectError as error:
        raise DataError(error.message) from error
    if not found:
        uri = channel.s3["S3Uri"]
        raise DataError(f'No S3 objects found under S3 URL "{uri}" given in input data source.')
    if channel.distribution == "ShardedByS3Key":
        # [guess]: AWS does not say how it deals; in turn, as the keys are sorted, is fair.
        found = found[sharers.index(spec.host) :: len(sharers)]
    return _without_clashes(channel.name, found)


def _listed(channel: Channel, objects: Objects) -> Iterator[Placement]:
    bucket, key = split_uri(channel.s3["S3Uri"])
    kind = channel.s3.get("S3DataType", "S3Prefix")
    if kind == "S3Prefix":
        for info in objects.list(bucket, key):
            if (path := place(channel.name, key, info.key)) is not None:
                yield Placement(bucket, info, path)
        return
    if kind != "ManifestFile":
        raise DataError(f'Channel "{channel.name}": S3DataType {kind} is not offered in File mode.')
    prefix, suffixes = _manifest(channel.s3["S3Uri"], b"".join(objects.read(bucket, key)))
    bucket, start = split_uri(prefix)
    for suffix in suffixes:
        info = objects.head(bucket, start + suffix)
        if (path := place(channel.name, start, info.key)) is not None:
            yield Placement(bucket, info, path)


def _manifest(uri: str, data: bytes) -> tuple[str, list[str]]:
    """Read `[{"prefix": "s3://…/"}, "suffix", …]`."""
    try:
        head, *suffixes = json.loads(data)
        prefix: Json = head["prefix"]
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(f'The manifest "{uri}" is not a JSON array that begins with {{"prefix": "s3://…"}}.') from error
    if not isinstance(prefix, str) or not all(isinstance(each, str) for each in suffixes):
        raise DataError(f'The manifest "{uri}" has members that are not strings.')
    return prefix, suffixes


def place(channel: str, prefix: str, key: str) -> str | None:
    """Say where the object goes, as `<channel>/<path>`; a path with a final `/` is a directory. None: nowhere.

    Of a prefix that ends within a name, everything up to its last `/` is taken off. [guess]

    >>> place("train", "data/train", "data/train/part/0.csv")
    'train/part/0.csv'
    >>> place("train", "data/train.csv", "data/train.csv")
    'train/train.csv'
    >>> place("train", "data/tr", "data/train/0.csv")
    'train/train/0.csv'
    """
    if key == prefix and not key.endswith("/"):
        rest = key.rpartition("/")[2]
    elif not prefix or prefix.endswith("/") or key.startswith(prefix + "/"):
        rest = key.removeprefix(prefix).removeprefix("/" if prefix and not prefix.endswith("/") else "")
    else:
        rest = key[len(prefix.rpartition("/")[0]) :].removeprefix("/")
    if not rest:
        return None
    for segment in (channel, *rest.removesuffix("/").split("/")):
        if problem := _unfit(segment):
            raise DataError(f'The key {key!r} cannot become a file of the channel "{channel}": {problem}.')
    return f"{channel}/{rest}"


def _unfit(segment: str) -> str:
    if segment in {"", ".", ".."}:
        return f'it has the segment "{segment}"'
    if "\0" in segment:
        return "it has a NUL character"
    if len(segment.encode("utf-8", "surrogateescape")) > _LONGEST_NAME:
        return f"it has a segment of more than {_LONGEST_NAME} bytes"
    return ""


def _without_clashes(channel: str, found: Sequence[Placement]) -> list[Placement]:
    """Refuse what no directory can hold: one name for a file and a directory, or for two files."""
    files = {each.path: each for each in found if not each.path.endswith("/")}
    if len(files) < sum(not each.path.endswith("/") for each in found):
        raise DataError(f'Channel "{channel}": several objects would become the same file.')
    for each in found:
        for parent in _parents(each.path):
            if parent in files:
                one = f"s3://{each.bucket}/{files[parent].info.key}"
                other = f"s3://{each.bucket}/{each.info.key}"
                raise DataError(f'"{one}" would be both a file and a directory, because there is also "{other}".')
    return list(found)


def _parents(path: str) -> Iterator[str]:
    end = len(path)
    while (end := path.rfind("/", 0, end)) > 0:
        yield path[:end]


def download(placements: Iterable[Placement], objects: Objects, data: Path, cancelled: threading.Event) -> None:
    """Bring every object to its place below `data`, several at a time. Raises `DataError`, `CancelledStagingError`."""

    def bring(placement: Placement) -> None:
        if cancelled.is_set():
            raise CancelledStagingError
        _bring(placement, objects, data)

    with ThreadPoolExecutor(_WORKERS, thread_name_prefix="download") as pool:
        try:
            for _ in pool.map(bring, placements):
                pass
        except BaseException:
            cancelled.set()  # the others need not go on
            raise


def _bring(placement: Placement, objects: Objects, data: Path) -> None:
    uri = f"s3://{placement.bucket}/{placement.info.key}"
    target = data / placement.path
    try:
        if placement.path.endswith("/"):
            target.mkdir(parents=True, exist_ok=True)
            return
        target.parent.mkdir(parents=True, exist_ok=True)
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
