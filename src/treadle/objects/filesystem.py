"""Objects as plain files that a person can look at: `<root>/<bucket>/<key>`.

Three rules hold:

* **Whole or absent.** A writer fills a temporary file, forces it to the disk, renames it into its place and forces the
  directory. What a killed writer leaves lies in `<root>/.treadle/tmp`, which no bucket can be called; the writer holds
  a lock on its file, so a file there without a holder is known to be dead and is swept by the next writer.
* **An object has one place of two.** `keys.spell_key` gives the path. Where a directory has the file's name, the file
  is displaced to `name%`. Whoever makes a directory where a file stands displaces that file first, in one rename. So a
  reader who looks at name, `name%` and name again has seen the object if it was there all the time; where a crash left
  both, the first one is the object. Everything that changes names holds the lock of its bucket, which the kernel lets
  go of when the holder dies; readers hold nothing.
* **Nothing outside the tree.** Every path is walked one name at a time from the bucket's open directory, and a symbolic
  link on the way is as good as nothing. What is no regular file, or has a name that `keys` would not give, is no
  object.

The etag is the MD5 of the content, as in S3 for objects that were put at once. It is computed while an object is
written and kept in an extended attribute together with the size and the time of the file that it was computed for, so
a file that a person changed by hand has a new one at the next `head`. Listings leave the etag empty where only reading
the whole file could tell it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import secrets
import stat
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from treadle.errors import ObjectError, ObjectNotFound
from treadle.objects import copying
from treadle.objects.keys import DISPLACED, MORE, displaced, segment_of, spell_key
from treadle.objects.uri import bucket_problem, check_bucket, check_key
from treadle.seams import ObjectInfo

__all__ = ["FilesystemObjects"]

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# O_NONBLOCK: a FIFO that somebody put there must not hold us up before we see that it is none of ours.
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CREATE: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_NOT_THERE: Final = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO}
_ETAG: Final = "user.treadle.etag"

Names = tuple[bytes, ...]


class FilesystemObjects:
    """Objects below `root`, which is made when the first bucket is. Threads and processes may share one root."""

    def __init__(self, root: Path) -> None:
        self.root: Final = root
        self._swept = False

    # -- reading ------------------------------------------------------------------------------------------------------

    def list(self, bucket: str, prefix: str = "", *, start_after: str = "") -> Iterator[ObjectInfo]:
        """Give the objects whose key starts with `prefix`, in UTF-8 binary order. Raises `ObjectNotFound` (bucket).

        Holds the names of one directory and of those above it in memory. Objects that come or go meanwhile are listed
        or not.
        """
        with self._bucket(bucket):
            pass  # the bucket is asked for now, not when the first object is
        return self._listed(bucket, _utf8(prefix), _utf8(start_after))

    def _listed(self, bucket: str, prefix: bytes, after: bytes) -> Iterator[ObjectInfo]:
        with self._bucket(bucket) as top, _translated(bucket):
            for key in _walk(top, prefix, after):
                with contextlib.suppress(FileNotFoundError), _file(top, key) as file:  # gone since it was seen
                    yield _info(key.decode(), file)

    def head(self, bucket: str, key: str) -> ObjectInfo:
        """Give one object's information. Raises `ObjectNotFound`."""
        with self._object(bucket, key) as file:
            info = _info(key, file)
            return info if info.etag else _with_etag(info, file)

    def read(self, bucket: str, key: str, *, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        """Give the object's bytes in pieces, those of the object that is there now. Raises `ObjectNotFound`."""
        with self._object(bucket, key) as file:
            return _Pieces(f"s3://{bucket}/{key}", os.dup(file), start, length)

    def download(self, bucket: str, key: str, to: Path) -> None:
        """Write the object to a new file in the place of what is at `to`; its directory is made.

        Blocks are shared where the file system can, else copied by the kernel.
        """
        with self._object(bucket, key) as source, _writing(f"s3://{bucket}/{key}", to):
            to.parent.mkdir(parents=True, exist_ok=True)
            to.unlink(missing_ok=True)  # never through a link that stands there
            target = os.open(to, _CREATE, 0o666)
            try:
                copying.copy(source, target)
            except BaseException:
                to.unlink()
                raise
            finally:
                os.close(target)

    def path(self, bucket: str, key: str) -> Path:
        """Give the file that an object is kept in, to look at. Raises `ObjectNotFound`."""
        *directories, name = spell_key(_utf8(key))
        with self._object(bucket, key) as file, self._bucket(bucket) as top, _directory(top, directories) as parent:
            wanted = os.fstat(file)
            for candidate in (name, displaced(name)):
                with contextlib.suppress(FileNotFoundError):
                    found = os.stat(candidate, dir_fd=parent, follow_symlinks=False)
                    if os.path.samestat(found, wanted):
                        return self.root / bucket / os.fsdecode(b"/".join((*directories, candidate)))
        raise _no_object(bucket, key)

    def plain_directory(self, bucket: str, prefix: str) -> Path | None:
        """Give the directory that shows the keys below `prefix` (which ends in "/") as they are.

        None when there is none, when a name in it is spelled with `%`, and when something in it is not an object: then
        a program that looked at the directory would not see what it would see on AWS.
        """
        names = spell_key(_utf8(prefix))[:-1]
        path = self.root / bucket / os.fsdecode(b"/".join(names))
        try:
            with self._bucket(bucket) as top:
                return path if _plain(top, names) else None
        except FileNotFoundError:
            return None

    def buckets(self) -> Sequence[str]:
        """Give the names of the buckets, sorted."""
        with _translated():
            try:
                with os.scandir(self.root) as entries:
                    found = [each.name for each in entries if each.is_dir(follow_symlinks=False)]
            except FileNotFoundError:
                return []
        return sorted(name for name in found if not bucket_problem(name))

    # -- writing ------------------------------------------------------------------------------------------------------

    def write(self, bucket: str, key: str, pieces: Iterable[bytes]) -> ObjectInfo:
        """Store an object, replacing one of the same key; visible only when it is whole and on the disk."""
        check_key(key)
        with _translated(bucket, key), self._temporary(bucket) as temporary:
            digest = hashlib.md5(usedforsecurity=False)
            for piece in pieces:
                digest.update(piece)
                copying.write_all(temporary.file, piece)
            return self._keep(bucket, key, temporary, digest.hexdigest())

    def upload(self, path: Path, bucket: str, key: str) -> ObjectInfo:
        """Store a file's content. The file stays. Where its blocks can be shared, the etag is not computed yet."""
        check_key(key)
        try:
            source = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise ObjectError(f"{path} cannot be read: {error.strerror}.") from error
        try:
            if not stat.S_ISREG(os.fstat(source).st_mode):
                raise ObjectError(f"{path} is no file.")
            with _translated(bucket, key), self._temporary(bucket) as temporary:
                if copying.clone(source, temporary.file):
                    return self._keep(bucket, key, temporary, "")
            return self.write(bucket, key, _Pieces(str(path), os.dup(source), 0, None))
        finally:
            os.close(source)

    def _keep(self, bucket: str, key: str, temporary: _Temporary, etag: str) -> ObjectInfo:
        if etag:
            _remember_etag(temporary.file, etag)
        os.fsync(temporary.file)
        info = _info(key, temporary.file, etag)
        *directories, name = spell_key(_utf8(key))
        with self._bucket(bucket) as top, contextlib.ExitStack() as after:
            with _locked(top, bucket):
                parent = after.enter_context(_directory(top, directories, make=True))
                _settle(temporary.path, None, parent, name)
            os.fsync(parent)
        return info

    def move(self, bucket: str, source: str, target: str) -> None:
        """Give an object another key of the same bucket, at once and whole. Raises `ObjectNotFound`."""
        check_key(target)
        *old_directories, old_name = spell_key(_utf8(source))
        *new_directories, new_name = spell_key(_utf8(target))
        with _translated(bucket, source), self._bucket(bucket) as top, _locked(top, bucket):
            with _file(top, _utf8(source)):
                if source == target:
                    return
            with _directory(top, new_directories, make=True) as new, _directory(top, old_directories) as old:
                # Only now: to make the directories may have displaced the object itself (`a` moves to `a/b`).
                _settle(_only_name(old, old_name), old, new, new_name)
                os.fsync(new)
                os.fsync(old)
            _prune(top, old_directories)

    def delete(self, bucket: str, key: str) -> None:
        """Remove an object; no error when there is none."""
        *directories, name = spell_key(_utf8(key))
        with _translated(bucket, key), self._bucket(bucket) as top, _locked(top, bucket):
            with contextlib.suppress(FileNotFoundError), _directory(top, directories) as parent:
                # A crash may have left both; the second one must not come to light.
                for each in (displaced(name), name):
                    if _is_file(parent, each):
                        os.unlink(each, dir_fd=parent)
                os.fsync(parent)
            _prune(top, directories)

    def create_bucket(self, bucket: str) -> None:
        """Make a bucket; no error when it is there."""
        check_bucket(bucket)
        with _translated(bucket):
            self.root.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileExistsError):
                (self.root / bucket).mkdir()
                _sync(self.root)
        with self._bucket(bucket):
            pass  # what has the name may be something else

    def delete_bucket(self, bucket: str) -> None:
        """Remove an empty bucket. Raises `ObjectNotFound`, and `ObjectError` while there is something in it."""
        with _translated(bucket), self._bucket(bucket) as top, _locked(top, bucket):
            try:
                (self.root / bucket).rmdir()
            except OSError as error:
                if error.errno in {errno.ENOTEMPTY, errno.EEXIST}:
                    raise ObjectError(f"The bucket {bucket!r} is not empty.") from error
                raise
            _sync(self.root)

    # -- temporary files ----------------------------------------------------------------------------------------------

    @property
    def _workshop(self) -> Path:
        return self.root / ".treadle" / "tmp"

    @contextlib.contextmanager
    def _temporary(self, bucket: str) -> Iterator[_Temporary]:
        with self._bucket(bucket):
            pass  # before the first byte is read
        self._workshop.mkdir(parents=True, exist_ok=True)
        if not self._swept:
            self._swept = True
            self.sweep()
        temporary = _new_temporary(self._workshop)
        try:
            yield temporary
        finally:
            with contextlib.suppress(FileNotFoundError):  # it has been renamed into its place
                temporary.path.unlink()
            os.close(temporary.file)

    def sweep(self) -> int:
        """Remove what killed writers left behind, and give how many files that were. Living writers are not touched."""
        swept = 0
        with _translated(), contextlib.suppress(FileNotFoundError):
            for path in list(self._workshop.iterdir()):
                with contextlib.suppress(FileNotFoundError):
                    swept += _remove_dead(path)
        return swept

    # -- the way to an object -----------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _bucket(self, bucket: str) -> Iterator[int]:
        check_bucket(bucket)
        try:
            top = os.open(self.root / bucket, _DIRECTORY)
        except OSError as error:
            if error.errno in _NOT_THERE:
                raise ObjectNotFound(f"There is no bucket {bucket!r}.") from error
            raise _object_error(error, bucket) from error
        try:
            yield top
        finally:
            os.close(top)

    @contextlib.contextmanager
    def _object(self, bucket: str, key: str) -> Iterator[int]:
        with _translated(bucket, key), self._bucket(bucket) as top, _file(top, _utf8(key)) as file:
            yield file


# ---------------------------------------------------------------------------------------------------------------------
# Names
# ---------------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _directory(top: int, names: Sequence[bytes], *, make: bool = False) -> Iterator[int]:
    """Open the directory that the names lead to. With `make` (and the bucket's lock) it is there afterwards."""
    here = os.dup(top)
    try:
        for name in names:
            there = _make_directory(here, name) if make else _enter(here, name)
            os.close(here)
            here = there
        yield here
    finally:
        os.close(here)


def _enter(here: int, name: bytes) -> int:
    try:
        return os.open(name, _DIRECTORY, dir_fd=here)
    except OSError as error:
        if error.errno in _NOT_THERE:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name) from error
        raise


def _make_directory(here: int, name: bytes) -> int:
    with contextlib.suppress(FileNotFoundError):
        return _enter(here, name)
    if _is_file(here, name):
        os.rename(name, displaced(name), src_dir_fd=here, dst_dir_fd=here)
    os.mkdir(name, dir_fd=here)
    os.fsync(here)
    return _enter(here, name)


@contextlib.contextmanager
def _file(top: int, key: bytes) -> Iterator[int]:
    """Open an object's file. Raises FileNotFoundError."""
    *directories, name = spell_key(key)
    with _directory(top, directories) as parent:
        file = _open_one(parent, (name, displaced(name), name))
    try:
        yield file
    finally:
        os.close(file)


def _open_one(parent: int, candidates: Iterable[bytes]) -> int:
    for candidate in candidates:
        try:
            file = os.open(candidate, _READ, dir_fd=parent)
        except OSError as error:
            if error.errno not in _NOT_THERE:
                raise
            continue
        if stat.S_ISREG(os.fstat(file).st_mode):
            return file
        os.close(file)
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))


def _only_name(parent: int, name: bytes) -> bytes:
    """Give the one of its two names that an object has; a second one that a crash left goes. Needs the lock."""
    if not _is_file(parent, name):
        return displaced(name)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(displaced(name), dir_fd=parent)
    return name


def _is_file(parent: int, name: bytes) -> bool:
    return _kind(parent, name) == stat.S_IFREG


def _kind(parent: int, name: bytes) -> int:
    try:
        return stat.S_IFMT(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return 0


def _settle(source: Path | bytes, source_parent: int | None, parent: int, name: bytes) -> None:
    """Rename a file into an object's place. Needs the bucket's lock."""
    # Trying, and looking at the error, would not do: for a directory above the file it is another one (ENOTEMPTY).
    if _kind(parent, name) == stat.S_IFDIR:
        os.rename(source, displaced(name), src_dir_fd=source_parent, dst_dir_fd=parent)
        return
    os.rename(source, name, src_dir_fd=source_parent, dst_dir_fd=parent)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(displaced(name), dir_fd=parent)


def _prune(top: int, names: Sequence[bytes]) -> None:
    """Remove directories that have become empty, from the inside out. Needs the bucket's lock."""
    for depth in range(len(names), 0, -1):
        try:
            with _directory(top, names[: depth - 1]) as parent:
                os.rmdir(names[depth - 1], dir_fd=parent)
                os.fsync(parent)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            if error.errno in {errno.ENOTEMPTY, errno.EEXIST}:
                return
            raise


# ---------------------------------------------------------------------------------------------------------------------
# Listings
# ---------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, order=True)
class _Entry:
    """A file, `key` its key; or a directory, `key` what the keys in it start with, its "/" included.

    Sorted by `key`, entries give their keys in order: a name without "/" stands before or after all of `s/…`.
    """

    key: bytes
    is_directory: bool


def _walk(top: int, prefix: bytes, after: bytes) -> Iterator[bytes]:
    """Give the keys that start with `prefix` and come after `after`, in order."""
    open_directories = [iter(_entries(top, prefix[: prefix.rfind(b"/") + 1]))]
    while open_directories:
        entry = next(open_directories[-1], None)
        if entry is None:
            open_directories.pop()
        elif entry.is_directory:
            if _may_hold(entry.key, prefix, after):
                open_directories.append(iter(_entries(top, entry.key)))
        elif entry.key.startswith(prefix) and entry.key > after:
            yield entry.key


def _may_hold(directory: bytes, prefix: bytes, after: bytes) -> bool:
    inside = directory.startswith(prefix) or prefix.startswith(directory)
    return inside and (directory > after or after.startswith(directory))


def _entries(top: int, key: bytes) -> list[_Entry]:
    """Give what is in the directory whose keys start with `key` ("" or ending in "/"), sorted."""
    names = spell_key(key)[:-1]
    try:
        # Two entries are equal where a crash left an object in both of its places.
        return sorted(set(_scan(top, names, (), key)))
    except FileNotFoundError:
        return []


def _scan(top: int, names: Names, begun: Names, key: bytes) -> Iterator[_Entry]:
    """Read one directory; `begun` are the names of the pieces of a long segment that lead to it."""
    with _directory(top, names) as here, os.scandir(here) as entries:
        found = [(os.fsencode(each.name), each.is_dir(follow_symlinks=False), each.is_file(follow_symlinks=False))
                 for each in entries]  # fmt: skip
    for name, is_directory, is_file in found:
        if is_directory and name.endswith(MORE):
            with contextlib.suppress(FileNotFoundError):
                yield from _scan(top, (*names, name), (*begun, name), key)
        elif is_directory or is_file:
            own = name if is_directory else name.removesuffix(DISPLACED)
            segment = segment_of((*begun, own))
            if segment is not None:
                yield _Entry(key + segment + (b"/" if is_directory else b""), is_directory)


def _plain(top: int, names: Names) -> bool:
    with _directory(top, names) as here, os.scandir(here) as entries:
        found = [(os.fsencode(each.name), each.is_dir(follow_symlinks=False), each.is_file(follow_symlinks=False))
                 for each in entries]  # fmt: skip
    return all(
        b"%" not in name
        and segment_of((name,)) is not None
        and (_plain(top, (*names, name)) if is_directory else is_file)
        for name, is_directory, is_file in found
    )


# ---------------------------------------------------------------------------------------------------------------------
# Files
# ---------------------------------------------------------------------------------------------------------------------


class _Pieces:
    """The bytes of an open file, which is closed at the end, or with this object.

    A generator would do, but for the file that a generator which nobody starts never closes.
    """

    def __init__(self, what: str, file: int, start: int, length: int | None) -> None:
        self._what = what
        self._file = file
        self._at = start
        self._end = None if length is None else start + length

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if self._file < 0:
            raise StopIteration
        wanted = copying.PIECE if self._end is None else min(copying.PIECE, self._end - self._at)
        try:
            piece = os.pread(self._file, wanted, self._at) if wanted > 0 else b""
        except OSError as error:
            raise ObjectError(f"{self._what} cannot be read: {error.strerror}.") from error
        if not piece:
            self.close()
            raise StopIteration
        self._at += len(piece)
        return piece

    def close(self) -> None:
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)

    def __del__(self) -> None:
        self.close()


@dataclass(frozen=True, slots=True)
class _Temporary:
    path: Path
    file: int


def _new_temporary(workshop: Path) -> _Temporary:
    while True:
        path = workshop / secrets.token_hex(16)
        file = os.open(path, _CREATE, 0o666)
        fcntl.flock(file, fcntl.LOCK_EX)
        if os.fstat(file).st_nlink:
            return _Temporary(path, file)
        os.close(file)  # a sweeper came between the two calls and took it for dead


def _remove_dead(path: Path) -> bool:
    file = os.open(path, _READ)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()
    except BlockingIOError:
        return False
    finally:
        os.close(file)
    return True


@contextlib.contextmanager
def _locked(top: int, bucket: str) -> Iterator[None]:
    fcntl.flock(top, fcntl.LOCK_EX)
    try:
        if not os.fstat(top).st_nlink:
            raise ObjectNotFound(f"There is no bucket {bucket!r}.")
        yield
    finally:
        fcntl.flock(top, fcntl.LOCK_UN)


def _sync(directory: Path) -> None:
    file = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def _info(key: str, file: int, etag: str = "") -> ObjectInfo:
    found = os.fstat(file)
    return ObjectInfo(key, found.st_size, found.st_mtime, etag or _known_etag(file, found))


def _with_etag(info: ObjectInfo, file: int) -> ObjectInfo:
    digest = hashlib.md5(usedforsecurity=False)
    at = 0
    while piece := os.pread(file, copying.PIECE, at):
        digest.update(piece)
        at += len(piece)
    etag = digest.hexdigest()
    # A file that changed a moment ago may change again within the resolution of its time stamp.
    if time.time() - info.modified_at > 1:
        _remember_etag(file, etag)
    return ObjectInfo(info.key, at, info.modified_at, etag)


if sys.platform == "linux":

    def _known_etag(file: int, found: os.stat_result) -> str:
        try:
            etag, _, of = os.getxattr(file, _ETAG).decode().partition(" ")
        except (OSError, UnicodeDecodeError):  # none, or a file system without attributes: it will be computed
            return ""
        return etag if of == _state(found) else ""

    def _remember_etag(file: int, etag: str) -> None:
        with contextlib.suppress(OSError):  # it only saves work
            os.setxattr(file, _ETAG, f"{etag} {_state(os.fstat(file))}".encode())

    def _state(found: os.stat_result) -> str:
        return f"{found.st_size} {found.st_mtime_ns}"

else:

    def _known_etag(file: int, found: os.stat_result) -> str:  # noqa: ARG001  (the signature is Linux's)
        return ""

    def _remember_etag(file: int, etag: str) -> None:
        pass


# ---------------------------------------------------------------------------------------------------------------------
# Errors
# ---------------------------------------------------------------------------------------------------------------------


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise ObjectError(f"{text!r} is no key for an object: it is not valid Unicode text.") from error


@contextlib.contextmanager
def _translated(bucket: str = "", key: str = "") -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        if not key:
            raise _object_error(error, bucket) from error
        raise _no_object(bucket, key) from error
    except OSError as error:
        raise _object_error(error, bucket, key) from error


@contextlib.contextmanager
def _writing(what: str, to: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ObjectError(f"{what} cannot be written to {to}: {error.strerror}.") from error


def _no_object(bucket: str, key: str) -> ObjectNotFound:
    return ObjectNotFound(f"There is no object s3://{bucket}/{key}.")


def _object_error(error: OSError, bucket: str, key: str = "") -> ObjectError:
    what = f"s3://{bucket}/{key}" if bucket else "The directory of the objects"
    return ObjectError(f"{what} cannot be read or written: {error.strerror or error}.")
