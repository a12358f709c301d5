"""`treadle data`: files to and from the s3:// URIs of this machine. The training service need not run, and may."""

from __future__ import annotations

import itertools
import os
import secrets
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from treadle.cli.options import examples, json_option
from treadle.errors import ObjectError, ObjectNotFound, UsageError
from treadle.home import Home
from treadle.objects.filesystem import FilesystemObjects
from treadle.objects.uri import LONGEST_KEY, check_key, parse_s3_uri
from treadle.reporters.text import moment, plain, table
from treadle.seams import ObjectInfo

__all__ = ["data"]


if TYPE_CHECKING:
    _BucketAndKey = click.ParamType[tuple[str, str]]
else:  # click is generic only in its newest versions
    _BucketAndKey = click.ParamType


class _Uri(_BucketAndKey):
    """`s3://bucket/key`; gives both."""

    name = "uri"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        del param, ctx
        if isinstance(value, tuple):
            return value
        try:
            return parse_s3_uri(str(value))
        except ObjectError as error:
            raise UsageError(error.message, hint=error.hint) from error


_URI: Final = _Uri()


def _objects() -> FilesystemObjects:
    return FilesystemObjects(Home.find().s3)


@click.group(
    epilog=examples(
        "treadle data put train.csv s3://my-bucket/digits/train/",
        "treadle data ls s3://my-bucket/digits/",
        "treadle data get s3://my-bucket/output/my-job/output/model.tar.gz .",
        "treadle data rm s3://my-bucket/digits/ --recursive",
    )
)
def data() -> None:
    """Move files to and from the s3:// URIs of this machine.

    Objects are plain files below TREADLE_HOME/s3. For Amazon S3 use `aws s3`.
    """


# ---------------------------------------------------------------------------------------------------------------------
# put
# ---------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Upload:
    path: Path
    key: str


@data.command(
    "put",
    epilog=examples(
        "treadle data put train.csv s3://my-bucket/digits/train/        # …/train/train.csv",
        "treadle data put train.csv s3://my-bucket/digits/train/1.csv   # under another name",
        "treadle data put ./digits s3://my-bucket/digits                # all that is in the directory",
    ),
)
@click.argument("local", metavar="LOCAL...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.argument("uri", metavar="s3://BUCKET/PREFIX", type=_URI)
def put(local: tuple[Path, ...], uri: tuple[str, str]) -> None:
    """Store files and directories. The bucket is made when it is not there.

    A URI that ends in "/", and one for several files, is a prefix to which names are appended; else it is the object's
    whole name. Of a directory, all that is in it is stored below the prefix; of several, with their names before it.
    """
    bucket, key = uri
    uploads = [each for path in local for each in _uploads(path, key, alone=len(local) == 1)]
    _check(uploads)
    Home.find().prepare()
    objects = _objects()
    objects.create_bucket(bucket)
    total = 0
    for each in uploads:
        size = objects.upload(each.path, bucket, each.key).size
        total += size
        click.echo(f"{plain(str(each.path))} → {plain(f's3://{bucket}/{each.key}')} ({_size(size)})")
    if len(uploads) > 1:
        click.echo(f"{len(uploads)} files, {_size(total)}")


def _uploads(path: Path, key: str, *, alone: bool) -> Iterator[_Upload]:
    if path.is_dir():
        inside = _prefix(key) + ("" if alone else f"{path.absolute().resolve().name}/")
        found = list(_files(path))
        if not found:
            raise UsageError(f"There are no files in {path}.")
        yield from (_Upload(each, inside + each.relative_to(path).as_posix()) for each in found)
    elif path.is_file():
        whole = alone and key and not key.endswith("/")
        yield _Upload(path, key if whole else _prefix(key) + path.absolute().name)
    elif path.exists():
        raise UsageError(f"{path} is neither a file nor a directory.")
    else:
        raise UsageError(f"There is no file or directory {path}.")


def _prefix(key: str) -> str:
    return key if not key or key.endswith("/") else key + "/"


def _files(directory: Path) -> Iterator[Path]:
    """Give the files of a directory, links to files included; links to directories could lead in circles."""

    def unreadable(error: OSError) -> None:
        raise UsageError(f"{error.filename} cannot be read: {error.strerror}.")

    for place, directories, names in os.walk(directory, onerror=unreadable):
        directories.sort()
        yield from (Path(place, name) for name in sorted(names) if Path(place, name).is_file())


def _check(uploads: Sequence[_Upload]) -> None:
    """See that every key can be one and is meant for one file only, before anything is stored."""
    seen: dict[str, Path] = {}
    for each in uploads:
        try:
            check_key(each.key)
        except ObjectError as error:
            raise UsageError(f"{each.path} cannot be stored. {error.message}") from error
        if seen.setdefault(each.key, each.path) is not each.path:
            raise UsageError(f"{seen[each.key]} and {each.path} would both be stored as {each.key}.")


# ---------------------------------------------------------------------------------------------------------------------
# get
# ---------------------------------------------------------------------------------------------------------------------


@data.command(
    "get",
    epilog=examples(
        "treadle data get s3://my-bucket/output/my-job/output/model.tar.gz .",
        "treadle data get s3://my-bucket/digits/ ./digits   # all below the prefix",
        "treadle data get s3://my-bucket/notes.txt -        # to standard output",
    ),
)
@click.argument("uri", metavar="s3://BUCKET/KEY", type=_URI)
@click.argument("local", metavar="LOCAL")
def get(uri: tuple[str, str], local: str) -> None:
    """Fetch an object, or all objects below a prefix. Files that are there are replaced."""
    bucket, key = uri
    objects = _objects()
    if local == "-":
        _show(objects, bucket, key)
        return
    target = Path(local)
    if _is_object(objects, bucket, key):
        into = target.is_dir() or local.endswith("/")
        _fetch(objects, bucket, key, _below(target, key.rpartition("/")[2], key) if into else target)
        return
    prefix = _prefix(key)
    found = [each.key for each in objects.list(bucket, prefix)]
    if not found:
        raise _nothing(bucket, key)
    # All of them are looked at before the first is fetched.
    targets = [_below(target, each.removeprefix(prefix), each) for each in found]
    for each, path in zip(found, targets, strict=True):
        if each.endswith("/"):
            path.mkdir(parents=True, exist_ok=True)  # the mark with which some tools make an empty directory
        else:
            _fetch(objects, bucket, each, path)


def _show(objects: FilesystemObjects, bucket: str, key: str) -> None:
    if not key:
        raise UsageError("Only one object can go to standard output.")
    for piece in objects.read(bucket, key):
        sys.stdout.buffer.write(piece)
    sys.stdout.buffer.flush()


def _is_object(objects: FilesystemObjects, bucket: str, key: str) -> bool:
    try:
        return bool(key) and not key.endswith("/") and bool(objects.path(bucket, key))
    except ObjectNotFound:
        return False


def _below(target: Path, rest: str, key: str) -> Path:
    """Give the file for a key. A key is any text; it must not lead out of the directory that the user named."""
    parts = rest.removesuffix("/").split("/") if rest else []
    if any(part in {"", ".", ".."} or "\0" in part for part in parts):
        raise ObjectError(
            f"The object {key!r} cannot become a file below {target}: a part of its name is no file's name.",
            hint="Fetch it alone, and say what the file is to be called.",
        )
    return target.joinpath(*parts)


def _fetch(objects: FilesystemObjects, bucket: str, key: str, target: Path) -> None:
    """Put the file in its place when it is whole: what was there stays until then."""
    if target.is_dir():
        raise ObjectError(f"{target} is a directory; s3://{bucket}/{key} cannot replace it.")
    temporary = target.with_name(f".treadle-{secrets.token_hex(8)}")
    try:
        objects.download(bucket, key, temporary)
        size = temporary.stat().st_size
        temporary.replace(target)
    except OSError as error:
        raise ObjectError(f"{target} cannot be written: {error.strerror}.") from error
    finally:
        _forget(temporary)
    click.echo(f"{plain(f's3://{bucket}/{key}')} → {plain(str(target))} ({_size(size)})")


def _forget(temporary: Path) -> None:
    try:
        temporary.unlink(missing_ok=True)
    except OSError as error:
        if temporary.parent.is_dir():  # else there was never anything
            click.echo(f"warning: {temporary} cannot be removed: {error.strerror}", err=True)


def _nothing(bucket: str, key: str) -> ObjectNotFound:
    return ObjectNotFound(
        f"There is nothing at s3://{bucket}/{key}." if key else f"The bucket s3://{bucket} is empty.",
        hint=f"`treadle data ls s3://{bucket}` shows what there is.",
    )


# ---------------------------------------------------------------------------------------------------------------------
# ls
# ---------------------------------------------------------------------------------------------------------------------

_LAST: Final = "\U0010ffff" * (LONGEST_KEY // 4)  # behind every key that starts with what stands before it


@data.command("ls", epilog=examples("treadle data ls", "treadle data ls s3://my-bucket/digits/ --recursive"))
@click.argument("uri", metavar="[s3://BUCKET/PREFIX]", type=_URI, required=False)
@click.option("-r", "--recursive", is_flag=True, help="All objects below, not only one level.")
@json_option
def ls(uri: tuple[str, str] | None, recursive: bool, as_json: bool) -> None:
    """List buckets, or what is in one."""
    objects = _objects()
    if uri is None:
        _list_buckets(objects.buckets(), as_json=as_json)
        return
    bucket, key = uri
    found = list(_below_prefix(objects, bucket, key, recursive=recursive))
    if not found and key:
        raise _nothing(bucket, key)
    if as_json:
        _print_json([{"Key": each, "Size": info and info.size, "LastModified": info and info.modified_at}
                     for each, info in found])  # fmt: skip
    elif not found:
        click.echo(f"The bucket s3://{bucket} is empty.", err=True)
    else:
        for line in table(("SIZE", "MODIFIED", "NAME"), [_row(*each) for each in found]):
            click.echo(line)


def _list_buckets(buckets: Sequence[str], *, as_json: bool) -> None:
    if as_json:
        _print_json(buckets)
    elif not buckets:
        click.echo("No buckets. `treadle data put FILE s3://my-bucket/` makes one.", err=True)
    else:
        for each in buckets:
            click.echo(f"s3://{each}")


def _below_prefix(
    objects: FilesystemObjects, bucket: str, key: str, *, recursive: bool
) -> Iterator[tuple[str, ObjectInfo | None]]:
    """Give keys with their objects, and prefixes (ending in "/") with None."""
    if _is_object(objects, bucket, key):
        yield key, objects.head(bucket, key)
    prefix = _prefix(key)
    if recursive:
        yield from ((each.key, each) for each in objects.list(bucket, prefix))
        return
    listing = objects.list(bucket, prefix)
    while (each := next(listing, None)) is not None:
        name, slash, rest = each.key.removeprefix(prefix).partition("/")
        if slash and (name or rest):
            yield f"{prefix}{name}/", None
            listing = objects.list(bucket, prefix, start_after=f"{prefix}{name}/{_LAST}")
        else:
            yield each.key, each


def _row(key: str, info: ObjectInfo | None) -> tuple[str, str, str]:
    return (_size(info.size), moment(info.modified_at), plain(key)) if info else ("-", "-", plain(key))


# ---------------------------------------------------------------------------------------------------------------------
# rm
# ---------------------------------------------------------------------------------------------------------------------


@data.command("rm", epilog=examples("treadle data rm s3://my-bucket/old.csv", "treadle data rm s3://my-bucket/ -r"))
@click.argument("uri", metavar="s3://BUCKET/KEY", type=_URI)
@click.option("-r", "--recursive", is_flag=True, help="All that is below; of a bucket, the bucket too.")
def rm(uri: tuple[str, str], recursive: bool) -> None:
    """Remove an object, or an empty bucket."""
    bucket, key = uri
    objects = _objects()
    if recursive:
        _remove_all(objects, bucket, key)
    elif not key:
        _remove_bucket(objects, bucket)
    elif key.endswith("/") or not _is_object(objects, bucket, key):
        raise _not_alone(objects, bucket, key)
    else:
        objects.delete(bucket, key)
        click.echo(f"removed {plain(f's3://{bucket}/{key}')}")


def _remove_bucket(objects: FilesystemObjects, bucket: str) -> None:
    if objects.holds(bucket):
        raise UsageError(f"The bucket s3://{bucket} is not empty.", hint="--recursive removes it with all in it.")
    objects.delete_bucket(bucket)
    click.echo(f"removed s3://{bucket}")


# Nobody else changes the bucket while so many are removed.
_AT_ONCE: Final = 1000


def _remove_all(objects: FilesystemObjects, bucket: str, key: str) -> None:
    removed = 0
    if _is_object(objects, bucket, key):
        objects.delete(bucket, key)
        removed += 1
    found = objects.list(bucket, _prefix(key))
    while some := list(itertools.islice(found, _AT_ONCE)):
        with objects.deleting(bucket) as delete:
            for each in some:
                delete(each.key)
        removed += len(some)
    if not removed and key:
        raise _nothing(bucket, key)
    click.echo(f"removed {removed} {'object' if removed == 1 else 'objects'} of {plain(f's3://{bucket}/{key}')}")
    if not key:
        objects.delete_bucket(bucket)
        click.echo(f"removed s3://{bucket}")


def _not_alone(objects: FilesystemObjects, bucket: str, key: str) -> Exception:
    if not objects.holds(bucket, _prefix(key)):
        return _nothing(bucket, key)
    return UsageError(
        f"s3://{bucket}/{key} is no object but a prefix.", hint="--recursive removes all that is below it."
    )


# ---------------------------------------------------------------------------------------------------------------------


def _size(count: int) -> str:
    """Give a number of bytes in the largest unit that leaves a whole part."""
    if count < 1024:
        return f"{count} B"
    value, units = float(count), iter(("KiB", "MiB", "GiB", "TiB"))
    unit = ""
    while value >= 1023.95 and (bigger := next(units, "")):
        value, unit = value / 1024, bigger
    return f"{value:.1f} {unit or 'KiB'}"


def _print_json(value: Any) -> None:
    import json  # only --json needs it

    click.echo(json.dumps(value, indent=2, ensure_ascii=False))
