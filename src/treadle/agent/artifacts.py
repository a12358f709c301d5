"""What the program leaves behind becomes objects: `model.tar.gz`, `output.tar.gz`, or plain files (§1.7).

An archive is a stream: at no time does more of it exist than some pieces, in memory or on disk. The same directory
gives the same bytes, whoever packs it and in whatever order its files were written: members are sorted, nobody owns
them. Members are named relative to the directory. Of links only those that stay inside the directory are kept, as
links; nothing is followed out of it. What is neither file, directory nor link is left out, and said.
"""

from __future__ import annotations

import os
import posixpath
import stat
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from treadle.agent.files import open_regular
from treadle.errors import ObjectError
from treadle.seams import HostObjects, HostSpec, StagedOutput
from treadle.training.archives import packed

__all__ = ["ArtifactError", "archive", "upload"]

_PIECE = 1024 * 1024
_LONGEST_KEY = 1024

Say = Callable[[str], None]


class ArtifactError(Exception):
    """Outputs cannot be kept; the text is for the user, after `ClientError: Artifact upload failed:`."""


@dataclass(frozen=True, slots=True)
class _Where:
    """Where the outputs of the job go, and where they wait until then: one bucket, two prefixes."""

    bucket: str
    staged: str
    target: str

    def output(self, name: str, *, model: bool = False) -> StagedOutput:
        staged, target = f"{self.staged}/{name}", f"{self.target}/{name}"
        if (size := len(os.fsencode(target))) > _LONGEST_KEY:
            raise ArtifactError(f"{name[:100]}…: its key would have {size} bytes, and S3 takes {_LONGEST_KEY}.")
        return StagedOutput(bucket=self.bucket, staged=staged, target=target, model=model)


def upload(spec: HostSpec, ml: Path, objects: HostObjects, say: Say, *, model: bool) -> list[StagedOutput]:
    """Upload the outputs beside their places; `model` is False for a program that failed. Raises `ArtifactError`.

    The control plane moves them where they belong. `say` gets a line for whatever is left out.
    """
    where = _where(spec)
    config = spec.request["OutputDataConfig"]
    outputs: list[StagedOutput] = []
    try:
        if model and config.get("CompressionType") == "NONE":
            outputs += _plain_files(ml / "model", where, objects, say)
        elif model:
            whole = where.output("model.tar.gz", model=True)
            outputs.append(_archived(ml / "model", "/opt/ml/model", whole, objects, say))
        data = ml / "output/data"
        if _is_directory(data) and os.listdir(_listable(data)):  # noqa: PTH208  (an iterator would have to be closed)
            outputs.append(_archived(data, "/opt/ml/output/data", where.output("output.tar.gz"), objects, say))
    except ObjectError as error:
        raise ArtifactError(error.message) from error
    except OSError as error:
        raise ArtifactError(f"{error.strerror}: {error.filename or 'the volume'}") from error
    return outputs


def _where(spec: HostSpec) -> _Where:
    path = spec.request["OutputDataConfig"]["S3OutputPath"].rstrip("/")
    bucket, _, target = f"{path}/{spec.job}/output".removeprefix("s3://").partition("/")
    staging_bucket, _, staging = spec.staging.removeprefix("s3://").partition("/")
    if staging_bucket != bucket:
        raise ArtifactError(f'Outputs for bucket "{bucket}" cannot wait in bucket "{staging_bucket}".')
    return _Where(bucket, f"{staging.strip('/')}/{spec.host}", target)


def _archived(root: Path, seen_as: str, output: StagedOutput, objects: HostObjects, say: Say) -> StagedOutput:
    objects.write(output.bucket, output.staged, archive(root, say, seen_as=seen_as))
    return output


def _plain_files(root: Path, where: _Where, objects: HostObjects, say: Say) -> list[StagedOutput]:
    """CompressionType NONE: every file of the model an object of its own. The prefix is a [guess]."""
    outputs = []
    for entry in _entries(root, "/opt/ml/model", say):
        if entry.link:
            say(f"{entry.name}: a link cannot be an object; it is left out")
        elif entry.regular:
            output = where.output(f"model/{entry.name}", model=True)
            descriptor = _open(root / entry.name)
            objects.write(output.bucket, output.staged, _pieces(descriptor, os.fstat(descriptor).st_size))
            outputs.append(output)
    return outputs


# ---------------------------------------------------------------------------------------------------------------------
# The archive
# ---------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Entry:
    """A file, directory or link below a root; `link` is its target relative to the directory that it stands in."""

    name: str
    mode: int
    modified: int
    link: str = ""

    @property
    def regular(self) -> bool:
        return stat.S_ISREG(self.mode)


def archive(root: Path, say: Say, *, seen_as: str) -> Iterator[bytes]:
    """Give the bytes of a `.tar.gz` of the directory; `seen_as` is the path under which the program knew it."""
    return packed(_tar(root, say, seen_as))


def _tar(root: Path, say: Say, seen_as: str) -> Iterator[bytes]:
    for entry in _entries(root, seen_as, say):
        member = tarfile.TarInfo(entry.name)
        member.mtime = entry.modified
        member.mode = stat.S_IMODE(entry.mode)
        if entry.link:
            member.type, member.linkname = tarfile.SYMTYPE, entry.link
            yield _header(member)
        elif entry.regular:
            descriptor = _open(root / entry.name)
            member.size = os.fstat(descriptor).st_size
            yield _header(member)
            yield from _pieces(descriptor, member.size)
            yield bytes(-member.size % tarfile.BLOCKSIZE)
        else:
            member.type = tarfile.DIRTYPE
            yield _header(member)
    yield bytes(2 * tarfile.BLOCKSIZE)


def _header(member: tarfile.TarInfo) -> bytes:
    return member.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def _open(path: Path) -> int:
    """Open a file of the program's; one that it made unreadable for its owner is made readable."""
    try:
        descriptor = open_regular(path)
    except PermissionError:
        path.chmod(0o600)
        descriptor = open_regular(path)
    if descriptor is None:
        raise ArtifactError(f"{path.name} is no file any more.")
    return descriptor


def _pieces(descriptor: int, size: int) -> Iterator[bytes]:
    """Give exactly `size` bytes, with zeros for what has meanwhile been cut off. Closes the descriptor."""
    with os.fdopen(descriptor, "rb") as file:
        while size and (piece := file.read(min(size, _PIECE))):
            size -= len(piece)
            yield piece
    while size:
        piece = bytes(min(size, _PIECE))
        size -= len(piece)
        yield piece


def _entries(root: Path, seen_as: str, say: Say) -> Iterator[_Entry]:
    """Walk the directory, sorted, a directory before what is in it. A root that is no directory holds nothing."""
    if not _is_directory(root):
        say(f"{seen_as} is not a directory any more; nothing of it is kept")
        return
    ahead = [""]
    while ahead:
        name = ahead.pop()
        if name:
            entry = _entry(root, name, seen_as, say)
            if entry is None:
                continue
            yield entry
            if not stat.S_ISDIR(entry.mode):
                continue
        below = sorted((each.name for each in _listable(root / name).iterdir()), key=os.fsencode, reverse=True)
        ahead += [f"{name}/{each}" if name else each for each in below]


def _entry(root: Path, name: str, seen_as: str, say: Say) -> _Entry | None:
    status = os.lstat(root / name)
    modified = int(status.st_mtime)
    if stat.S_ISLNK(status.st_mode):
        link = _link_inside(root, name, seen_as)
        if link is None:
            say(f"{name}: a link that leads out of {seen_as}; it is left out")
            return None
        return _Entry(name, status.st_mode, modified, link)
    if stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode):
        return _Entry(name, status.st_mode, modified)
    say(f"{name}: neither a file nor a directory; it is left out")
    return None


def _link_inside(root: Path, name: str, seen_as: str) -> str | None:
    """Give the link's target relative to its own directory if it stays inside, else None. Nothing is followed."""
    target, directory = str((root / name).readlink()), posixpath.dirname(name)
    for known_as in (seen_as, str(root)):
        if target == known_as or target.startswith(known_as + "/"):
            target = posixpath.relpath(target.removeprefix(known_as).lstrip("/") or ".", directory or ".")
            break
    end = posixpath.normpath(posixpath.join(directory, target))
    return None if target.startswith("/") or end == ".." or end.startswith("../") else target


def _listable(directory: Path) -> Path:
    if not os.access(directory, os.R_OK | os.X_OK):
        directory.chmod(0o700)
    return directory


def _is_directory(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()
