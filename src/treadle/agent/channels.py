"""Input channels: what is listed, and where each object goes below `/opt/ml/input/data` (§1.6). Nothing is written yet.

What the three modes make of a channel::

    File        every object becomes a file                          `Plan.files`
    File, of a file system          as it is: shown              `Plan.mounts`
    FastFile    the directory is shown, read-only, where it lies     `Plan.mounts`
                or copied, where it cannot be shown as it is         `Plan.files`, `Plan.copied`
    Pipe        the objects' bytes come through a FIFO, each epoch   `Plan.streams`

Keys are anybody's: they are never joined to a path before each of their segments has been looked at.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

from treadle.agent import streams
from treadle.agent.contract import Channel, channels, instance_groups
from treadle.agent.faults import DataError
from treadle.errors import ObjectError
from treadle.seams import HostObjects, HostSpec, Json, Mount, ObjectInfo

__all__ = ["DataError", "Placement", "Plan", "manifest", "place", "plan", "split_uri"]

_LONGEST_NAME = 255
_DATA = "/opt/ml/input/data"

# The beginning is AWS's; what follows it there has not been found (§1.6).
_PARTIAL = (
    "Failed to download data. For FastFile mode, partial S3 prefix is not supported. S3 prefix has to end with a full "
    "file or folder."
)


@runtime_checkable
class PlainObjects(Protocol):
    """Objects that lie as plain files on this machine; `objects.filesystem`."""

    def plain_directory(self, bucket: str, prefix: str) -> Path | None:
        """Give the directory that shows the keys below a prefix as they are, if there is one."""
        ...


@dataclass(frozen=True, slots=True)
class Placement:
    """An object and where it goes, relative to `/opt/ml/input/data`."""

    bucket: str
    info: ObjectInfo
    path: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What has to be done before the program starts.

    `manifests` are the files beside channels, by name, with their text. `copied` are the FastFile channels that are
    copied; they are read-only all the same where a sandbox can do that.
    """

    files: list[Placement] = field(default_factory=list)
    manifests: dict[str, str] = field(default_factory=dict)
    mounts: list[Mount] = field(default_factory=list)
    copied: list[str] = field(default_factory=list)
    streams: list[streams.Stream] = field(default_factory=list)

    @property
    def size(self) -> int:
        """The bytes that will be written to the volume."""
        return sum(each.info.size for each in self.files)


def split_uri(uri: str) -> tuple[str, str]:
    """Give bucket and key of an s3:// URI. Raises `DataError`."""
    if not uri.startswith("s3://") or not (rest := uri.removeprefix("s3://")).partition("/")[0]:
        raise DataError(f'"{uri}" is not an s3:// URI.')
    bucket, _, key = rest.partition("/")
    return bucket, key


def plan(spec: HostSpec, objects: HostObjects, *, mounts: bool = False) -> Plan:
    """List every channel and decide what becomes of it; `mounts` says that directories can be shown elsewhere.

    Raises `DataError`.
    """
    made = Plan()
    for channel in channels(spec.request):
        if channel.file_system:
            made.mounts.append(_file_system(channel, spec, mounts=mounts))
            continue
        if not channel.s3:
            raise DataError(f'Channel "{channel.name}" has neither an S3DataSource nor a FileSystemDataSource.')
        share = _share(channel, spec)
        if share is None:
            continue
        try:
            _MODES[channel.mode](made, _Wanted(channel, share, objects, mounts))
        except ObjectError as error:
            raise DataError(error.message) from error
    return made


def _file_system(channel: Channel, spec: HostSpec, *, mounts: bool) -> Mount:
    """Show a directory of a file system as the channel; it is looked up anew, for it may have changed."""
    source = channel.file_system
    root, path = spec.file_systems.get(source["FileSystemId"]), source["DirectoryPath"]
    if not mounts:
        raise DataError(f'Channel "{channel.name}": this sandbox cannot show a file system.')
    directory = (Path(root) / path.lstrip("/")).resolve() if root else Path()
    if root is None or not directory.is_dir() or not directory.is_relative_to(root):
        raise DataError(
            f'Channel "{channel.name}": there is no directory "{path}" in the file system {source["FileSystemId"]}.'
        )
    return Mount(directory, f"{_DATA}/{channel.name}", writable=source["FileSystemAccessMode"] == "rw")


def _share(channel: Channel, spec: HostSpec) -> streams.Share | None:
    """Give the host's part of the channel: all, every n-th object, or None for a host of another instance group."""
    groups = channel.s3.get("InstanceGroupNames")
    sharers = [
        host
        for each in instance_groups(spec)
        if not groups or each["instance_group_name"] in groups
        for host in each["hosts"]
    ]
    if spec.host not in sharers:
        return None
    if channel.distribution != "ShardedByS3Key":
        return streams.Share()
    return streams.Share(sharers.index(spec.host), len(sharers))


@dataclass(frozen=True, slots=True)
class _Wanted:
    channel: Channel
    share: streams.Share
    objects: HostObjects
    mounts: bool


def _file(made: Plan, wanted: _Wanted) -> None:
    channel = wanted.channel
    if channel.compression == "Gzip":
        raise DataError(f'Channel "{channel.name}": CompressionType Gzip is for Pipe mode only.')
    listing = _listed(channel, wanted.objects)
    found = _placed(channel, listing)
    made.files.extend(_without_clashes(channel.name, wanted.share.of(found)))
    if channel.data_type == "S3Prefix":  # what stands there for other types has not been seen
        made.manifests[f"{channel.name}-manifest"] = manifest(listing.prefix, found)


def _fast_file(made: Plan, wanted: _Wanted) -> None:
    """Show the directory as it lies if all of it is wanted and every name in it is a key's, else copy."""
    channel, objects = wanted.channel, wanted.objects
    if channel.data_type != "S3Prefix":
        raise DataError(f'Channel "{channel.name}": FastFile mode takes an S3Prefix, not {channel.data_type}.')
    bucket, key = split_uri(channel.s3["S3Uri"])
    folder = key if not key or key.endswith("/") else f"{key}/"
    if objects.holds(bucket, folder):
        if wanted.mounts and wanted.share.whole and isinstance(objects, PlainObjects):
            directory = objects.plain_directory(bucket, folder)
            if directory is not None:
                made.mounts.append(Mount(directory, f"{_DATA}/{channel.name}"))
                return
        listing = _Listing(bucket, folder, objects.list(bucket, folder))
    else:
        found = list(itertools.takewhile(lambda info: info.key == key, objects.list(bucket, key)))
        if not found and objects.holds(bucket, key):
            raise DataError(_PARTIAL)
        listing = _Listing(bucket, key, iter(found))
    made.files.extend(_without_clashes(channel.name, wanted.share.of(_placed(channel, listing))))
    made.copied.append(channel.name)


def _pipe(made: Plan, wanted: _Wanted) -> None:
    channel, objects = wanted.channel, wanted.objects
    source: streams.Source
    if channel.data_type == "AugmentedManifestFile":
        bucket, key = split_uri(channel.s3["S3Uri"])
        names = tuple(channel.s3.get("AttributeNames") or ())
        source = streams.AugmentedManifest(objects, bucket, key, names, wanted.share, channel.seed)
    else:
        listing = _listed(channel, objects)
        parts = [streams.ObjectPart(listing.bucket, info.key, info.size) for info in listing.infos]
        parts = [each for each in parts if not each.key.endswith("/")]
        source = streams.Listing(parts, wanted.share, channel.seed)
    if not source.count:
        raise _nothing(channel)
    gzip, records = channel.compression == "Gzip", channel.record_wrapper == "RecordIO"
    made.streams.append(streams.Stream(channel.name, source, objects, gzip=gzip, records=records))


_MODES = {"File": _file, "FastFile": _fast_file, "Pipe": _pipe}


def _nothing(channel: Channel) -> DataError:
    return DataError(f'No S3 objects found under S3 URL "{channel.s3["S3Uri"]}" given in input data source.')


# ---------------------------------------------------------------------------------------------------------------------
# Listing
# ---------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Listing:
    """Objects of a bucket, and the prefix that their places are relative to."""

    bucket: str
    prefix: str
    infos: Iterator[ObjectInfo]


def _listed(channel: Channel, objects: HostObjects) -> _Listing:
    bucket, key = split_uri(channel.s3["S3Uri"])
    if channel.data_type == "S3Prefix":
        return _Listing(bucket, key, objects.list(bucket, key))
    if channel.data_type != "ManifestFile":
        raise DataError(
            f'Channel "{channel.name}": S3DataType {channel.data_type} is not offered in {channel.mode} mode.'
        )
    prefix, suffixes = _manifest(channel.s3["S3Uri"], b"".join(objects.read(bucket, key)))
    bucket, prefix = split_uri(prefix)
    return _Listing(bucket, prefix, iter(_named(bucket, prefix, suffixes, objects)))


def _placed(channel: Channel, listing: _Listing) -> list[Placement]:
    places = ((info, place(channel.name, listing.prefix, info.key)) for info in listing.infos)
    found = [Placement(listing.bucket, info, path) for info, path in places if path is not None]
    if not found:
        raise _nothing(channel)
    return found


def manifest(prefix: str, found: Iterable[Placement]) -> str:
    r"""Give what AWS writes beside a channel: the prefix, then every object, also those of other hosts' shares (§1.1).

    >>> from treadle.seams import ObjectInfo
    >>> manifest("data/train", [Placement("bucket", ObjectInfo("data/train/0.csv", 4, 0.0), "train/0.csv")])
    'data/train\ns3://bucket/data/train/0.csv\n'
    """
    return "".join([f"{prefix}\n", *(f"s3://{each.bucket}/{each.info.key}\n" for each in found)])


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


def _named(bucket: str, prefix: str, suffixes: Sequence[str], objects: HostObjects) -> list[ObjectInfo]:
    """Look the manifest's objects up, in its order. By one listing: asking for each would compute each one's MD5."""
    wanted = dict.fromkeys(prefix + each for each in suffixes)
    found: dict[str, ObjectInfo] = {}
    for info in objects.list(bucket, prefix):
        if info.key in wanted:
            found[info.key] = info
            if len(found) == len(wanted):
                break
    for key in wanted:
        if key not in found:
            raise DataError(f"There is no object s3://{bucket}/{key}, which the manifest names.")
    return [found[key] for key in wanted]


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


def _parents(path: str) -> Iterable[str]:
    end = len(path)
    while (end := path.rfind("/", 0, end)) > 0:
        yield path[:end]
