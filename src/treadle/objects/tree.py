"""The tree of names below a bucket: the way to an object's file, changes of names, and walks in the order of the keys.

Everything starts from the open directory of the bucket and goes one name at a time, never through a symbolic link. The
rules that callers keep stand in `filesystem`, the spelling in `keys`. What changes names needs the bucket's lock.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from treadle.objects.keys import DISPLACED, MORE, displaced, segment_of, spell_key

__all__ = [
    "DIRECTORY",
    "NOT_THERE",
    "READ",
    "Names",
    "browse",
    "is_file",
    "kind",
    "only_name",
    "open_directory",
    "open_file",
    "open_files",
    "plain",
    "prune",
    "remove_empty",
    "settle",
    "some",
    "walk",
]

Names: TypeAlias = tuple[bytes, ...]

DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# O_NONBLOCK: a FIFO that somebody put there must not hold us up before we see that it is none of ours.
READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
NOT_THERE: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO})


# ---------------------------------------------------------------------------------------------------------------------
# Names
# ---------------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def open_directory(top: int, names: Sequence[bytes], *, make: bool = False) -> Iterator[int]:
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
        return os.open(name, DIRECTORY, dir_fd=here)
    except OSError as error:
        if error.errno in NOT_THERE:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name) from error
        raise


def _make_directory(here: int, name: bytes) -> int:
    with contextlib.suppress(FileNotFoundError):
        return _enter(here, name)
    if is_file(here, name):
        os.rename(name, displaced(name), src_dir_fd=here, dst_dir_fd=here)
    os.mkdir(name, dir_fd=here)
    os.fsync(here)
    return _enter(here, name)


@contextlib.contextmanager
def open_file(top: int, key: bytes) -> Iterator[int]:
    """Open an object's file. Raises FileNotFoundError."""
    *directories, name = spell_key(key)
    with open_directory(top, directories) as parent:
        file = _open_one(parent, (name, displaced(name), name))
    try:
        yield file
    finally:
        os.close(file)


def open_files(top: int, keys: Iterable[bytes]) -> Iterator[tuple[bytes, int]]:
    """Open the objects' files one after the other, without those that are gone; each is open until the next is.

    Keys that follow each other are mostly in one directory, which is opened once for them.
    """
    parent, its_names = -1, None
    with contextlib.ExitStack() as directory:
        for key in keys:
            *names, name = spell_key(key)
            try:
                if names != its_names:
                    directory.close()
                    its_names = None
                    parent = directory.enter_context(open_directory(top, names))
                    its_names = names
                file = _open_one(parent, (name, displaced(name), name))
            except FileNotFoundError:
                continue
            try:
                yield key, file
            finally:
                os.close(file)


def _open_one(parent: int, candidates: Iterable[bytes]) -> int:
    for candidate in candidates:
        try:
            file = os.open(candidate, READ, dir_fd=parent)
        except OSError as error:
            if error.errno not in NOT_THERE:
                raise
            continue
        if stat.S_ISREG(os.fstat(file).st_mode):
            return file
        os.close(file)
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))


def only_name(parent: int, name: bytes) -> bytes:
    """Give the one of its two names that an object has; a second one that a crash left goes. Needs the lock."""
    if not is_file(parent, name):
        return displaced(name)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(displaced(name), dir_fd=parent)
    return name


def is_file(parent: int | None, name: str | bytes) -> bool:
    """Tell whether the name is that of a regular file."""
    return kind(parent, name) == stat.S_IFREG


def kind(parent: int | None, name: str | bytes) -> int:
    """Give the type of what is in a directory, or without one at a path; 0 for nothing. A link is not followed."""
    try:
        return stat.S_IFMT(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return 0


def settle(source: Path | bytes, source_parent: int | None, parent: int, name: bytes) -> None:
    """Rename a file into an object's place. Needs the bucket's lock."""
    # Trying, and looking at the error, would not do: for a directory above the file it is another one (ENOTEMPTY).
    if kind(parent, name) == stat.S_IFDIR:
        os.rename(source, displaced(name), src_dir_fd=source_parent, dst_dir_fd=parent)
        return
    os.rename(source, name, src_dir_fd=source_parent, dst_dir_fd=parent)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(displaced(name), dir_fd=parent)


def prune(top: int, changed: Iterable[tuple[bytes, ...]]) -> None:
    """Remove directories that have become empty, from the inside out; what stays is forced to the disk.

    Needs the bucket's lock.
    """
    left = set(changed)
    for names in sorted(left, key=len, reverse=True):
        for depth in range(len(names), 0, -1):
            try:
                with open_directory(top, names[: depth - 1]) as parent:
                    os.rmdir(names[depth - 1], dir_fd=parent)
                left.add(names[: depth - 1])
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                if error.errno in {errno.ENOTEMPTY, errno.EEXIST}:
                    break
                raise
    for names in left:
        with contextlib.suppress(FileNotFoundError), open_directory(top, names) as directory:
            os.fsync(directory)


def remove_empty(top: int) -> None:
    """Remove all directories that have nothing in them but such directories. Needs the bucket's lock."""
    for _, directories, _, here in os.fwalk(".", topdown=False, dir_fd=top):
        for name in directories:
            with contextlib.suppress(OSError):  # there is something in it, or it is a link
                os.rmdir(name, dir_fd=here)


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


def walk(top: int, prefix: bytes, after: bytes) -> Iterator[bytes]:
    """Give the keys that start with `prefix` and come after `after`, in order."""
    open_directories = [iter(_entries(top, prefix[: prefix.rfind(b"/") + 1], after))]
    while open_directories:
        entry = next(open_directories[-1], None)
        if entry is None:
            open_directories.pop()
        elif entry.is_directory:
            if _may_hold(entry.key, prefix, after):
                open_directories.append(iter(_entries(top, entry.key, after)))
        elif entry.key.startswith(prefix) and entry.key > after:
            yield entry.key


def some(top: int, prefix: bytes) -> bytes | None:
    """Give some key that starts with `prefix`. Reads directories only until there is one."""
    return _some(top, prefix[: prefix.rfind(b"/") + 1], prefix)


def _some(top: int, directory: bytes, prefix: bytes) -> bytes | None:
    with contextlib.suppress(FileNotFoundError), contextlib.closing(_scan(top, directory)) as entries:
        for entry in entries:
            if entry.is_directory:
                if _may_hold(entry.key, prefix, b"") and (found := _some(top, entry.key, prefix)) is not None:
                    return found
            elif entry.key.startswith(prefix):
                return entry.key
    return None


def browse(top: int, prefix: bytes, after: bytes) -> Iterator[tuple[bytes, bool]]:
    """Give the keys that start with `prefix` and have no "/" after it, and the beginnings, up to "/", of those that do.

    With each, whether it is a beginning. Directories are looked into only to see that there is something in them.
    """
    for entry in _entries(top, prefix[: prefix.rfind(b"/") + 1], after):
        if not entry.key.startswith(prefix):
            continue
        if not entry.is_directory:
            if entry.key > after:
                yield entry.key, False
        elif _may_hold(entry.key, prefix, after) and next(walk(top, entry.key, after), None) is not None:
            yield entry.key, True


def _may_hold(directory: bytes, prefix: bytes, after: bytes) -> bool:
    inside = directory.startswith(prefix) or prefix.startswith(directory)
    return inside and (directory > after or after.startswith(directory))


def _entries(top: int, key: bytes, after: bytes) -> Sequence[_Entry]:
    """Give what is in the directory whose keys start with `key` ("" or ending in "/"), sorted.

    What can neither come after `after` nor hold anything that does may be left out.
    """
    names = spell_key(key)[:-1]
    try:
        with open_directory(top, names) as here:
            entries = _RECENT.find(key, here)
            if entries is None:
                # Two entries are equal where a crash left an object in both of its places.
                entries = _RECENT.keep(key, here, lambda: sorted(set(_scan(top, key))))
    except FileNotFoundError:
        return ()
    if not after.startswith(key):
        return entries
    first = after[: after.find(b"/", len(key))] if b"/" in after[len(key) :] else after
    return entries[bisect_left(entries, first, key=lambda entry: entry.key) :]


class _Recent:
    """The sorted entries of the large directories that were read last: the next page of a listing begins there again.

    They hold for a directory that has not changed since, by its time of change. A time stamp that is younger than its
    own resolution proves nothing, so a directory that was changed a moment ago is read again.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[tuple[int, int, bytes], tuple[int, Sequence[_Entry]]] = {}

    def find(self, key: bytes, directory: int) -> Sequence[_Entry] | None:
        found = os.fstat(directory)
        with self._lock:
            changed, entries = self._known.get((found.st_dev, found.st_ino, key), (0, ()))
        return entries if entries and changed == found.st_mtime_ns else None

    def keep(self, key: bytes, directory: int, read: Callable[[], Sequence[_Entry]]) -> Sequence[_Entry]:
        before, now = os.fstat(directory), time.time()
        entries = read()
        is_settled = now - before.st_mtime > _SETTLED and os.fstat(directory).st_mtime_ns == before.st_mtime_ns
        # Of a long segment's pieces, which stand in directories of their own, the time says nothing.
        if len(entries) >= _LARGE and is_settled and not _has_pieces(directory):
            with self._lock:
                self._known[before.st_dev, before.st_ino, key] = (before.st_mtime_ns, entries)
                while len(self._known) > _REMEMBERED:
                    del self._known[next(iter(self._known))]
        return entries


_LARGE: Final = 2000
_REMEMBERED: Final = 4
_SETTLED: Final = 2.0
_RECENT: Final = _Recent()


def _has_pieces(directory: int) -> bool:
    return any(name.endswith(os.fsdecode(MORE)) for name in os.listdir(directory))


def _scan(top: int, key: bytes, begun: Names = ()) -> Generator[_Entry, None, None]:
    """Read the directory whose keys start with `key`; `begun` are the pieces of a long segment that lead below it."""
    with open_directory(top, (*spell_key(key)[:-1], *begun)) as here, os.scandir(here) as entries:
        for each in entries:
            name, is_directory = os.fsencode(each.name), each.is_dir(follow_symlinks=False)
            if is_directory and name.endswith(MORE):
                with contextlib.suppress(FileNotFoundError):
                    yield from _scan(top, key, (*begun, name))
            elif is_directory or each.is_file(follow_symlinks=False):
                own = name if is_directory else name.removesuffix(DISPLACED)
                segment = segment_of((*begun, own))
                if segment is not None:
                    yield _Entry(key + segment + (b"/" if is_directory else b""), is_directory)


def plain(top: int, names: Names) -> bool:
    """Tell whether everything below a directory is an object whose key is its path. Raises FileNotFoundError."""
    with open_directory(top, names) as here, os.scandir(here) as entries:
        found = [(os.fsencode(each.name), each.is_dir(follow_symlinks=False), each.is_file(follow_symlinks=False))
                 for each in entries]  # fmt: skip
    return all(
        b"%" not in name
        and segment_of((name,)) is not None
        and (plain(top, (*names, name)) if is_directory else is_file)
        for name, is_directory, is_file in found
    )
