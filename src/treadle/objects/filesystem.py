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

The etag is the MD5 of the content, as in S3 for objects that were put at once, unless the writer says another one. It
is kept with the object's properties (see `properties`) for the state of the file that it was computed for, so a file
that a person put there or changed by hand has a new one at the next `head`: its MD5 again, or, where it is so large
that this would take longer than a client waits, one of size and time in the form that objects from parts have.
Listings leave the etag empty where nothing is known yet.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import stat
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, Self

from treadle.errors import BucketNotEmpty, BucketNotFound, ObjectError
from treadle.objects import copying, tree
from treadle.objects.browsing import grouped
from treadle.objects.faults import no_object, object_error, translated, writing
from treadle.objects.files import (
    CREATE,
    Pieces,
    Reader,
    Temporary,
    info_of,
    md5_of,
    new_temporary,
    remove_dead,
)
from treadle.objects.keys import displaced, spell_key
from treadle.objects.properties import Record, Sidecars, made_at, mark, remember, state_of
from treadle.objects.uri import bucket_problem, check_bucket, check_key
from treadle.seams import CommonPrefix, Deletion, ObjectCheck, ObjectInfo, ObjectProperties, ObjectReader

__all__ = ["FilesystemObjects"]

# Prefixes with an object below each.
_REMEMBERED: Final = 256

_NO_PROPERTIES: Final = ObjectProperties()


class FilesystemObjects:
    """Objects below `root`, which is made when the first bucket is. Threads and processes may share one root.

    Without `attributes` the properties of objects stand in files of their own (see `properties`), as they do on file
    systems that have no extended attributes.
    """

    def __init__(self, root: Path, *, attributes: bool = True) -> None:
        self.root: Final = root
        self._attributes = attributes
        self._swept = False
        self._found: dict[tuple[str, str], bytes] = {}

    # -- reading ------------------------------------------------------------------------------------------------------

    def list(self, bucket: str, prefix: str = "", *, start_after: str = "") -> Iterator[ObjectInfo]:
        """Give the objects whose key starts with `prefix`, in UTF-8 binary order. Raises `BucketNotFound`.

        Holds the names of one directory and of those above it in memory. Objects that come or go meanwhile are listed
        or not.
        """
        with self._bucket(bucket):
            pass  # the bucket is asked for now, not when the first object is
        return self._listed(bucket, _utf8(prefix), _utf8(start_after))

    def _listed(self, bucket: str, prefix: bytes, after: bytes) -> Iterator[ObjectInfo]:
        with self._bucket(bucket) as top, translated(bucket):
            beside = self._beside(bucket)
            for key, file in tree.open_files(top, tree.walk(top, prefix, after)):
                yield info_of(key, file, beside)

    def holds(self, bucket: str, prefix: str = "") -> bool:
        """Tell whether the key of some object starts with `prefix`; large directories are not read to their ends.

        Where there was an object the last time it is looked for first: jobs ask for the same data again and again.
        """
        if (last := self._found.get((bucket, prefix))) and _is_still_there(last):
            return True
        with self._bucket(bucket) as top, translated(bucket):
            key = tree.some(top, _utf8(prefix))
        if key is None:
            return False
        if len(self._found) >= _REMEMBERED:
            self._found.clear()
        self._found[bucket, prefix] = os.fsencode(self.root / bucket) + b"/" + b"/".join(spell_key(key))
        return True

    def browse(
        self, bucket: str, prefix: str = "", *, delimiter: str = "/", start_after: str = ""
    ) -> Iterator[ObjectInfo | CommonPrefix]:
        """List by a delimiter. With "/" only the directory that the prefix leads to is read, not all below it."""
        if delimiter != "/":
            return grouped(self.list(bucket, prefix, start_after=start_after), prefix, delimiter)
        with self._bucket(bucket):
            pass
        return self._browsed(bucket, _utf8(prefix), _utf8(start_after))

    def _browsed(self, bucket: str, prefix: bytes, after: bytes) -> Iterator[ObjectInfo | CommonPrefix]:
        with self._bucket(bucket) as top, translated(bucket):
            beside = self._beside(bucket)
            for key, is_beginning in tree.browse(top, prefix, after):
                if is_beginning:
                    yield CommonPrefix(key.decode())
                    continue
                with contextlib.suppress(FileNotFoundError), tree.open_file(top, key) as file:
                    yield info_of(key, file, beside)

    def head(self, bucket: str, key: str) -> ObjectInfo:
        """Give one object's information. Raises `ObjectNotFound`."""
        with self.open(bucket, key) as reader:
            return reader.info

    def open(self, bucket: str, key: str) -> ObjectReader:
        """Open the object that is there now. Raises `ObjectNotFound`."""
        with self._object(bucket, key) as file:
            return Reader(f"s3://{bucket}/{key}", _utf8(key), os.dup(file), self._beside(bucket))

    def read(self, bucket: str, key: str, *, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        """Give the object's bytes in pieces, those of the object that is there now. Raises `ObjectNotFound`."""
        with self._object(bucket, key) as file:
            return Pieces(f"s3://{bucket}/{key}", os.dup(file), start, length)

    def download(self, bucket: str, key: str, to: Path) -> None:
        """Write the object to a new file in the place of what is at `to`; its directory is made.

        Blocks are shared where the file system can, else copied by the kernel.
        """
        with self._object(bucket, key) as source, writing(f"s3://{bucket}/{key}", to):
            target = _created(to)
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
        with (
            self._object(bucket, key) as file,
            self._bucket(bucket) as top,
            tree.open_directory(top, directories) as parent,
        ):
            wanted = os.fstat(file)
            for candidate in (name, displaced(name)):
                with contextlib.suppress(FileNotFoundError):
                    found = os.stat(candidate, dir_fd=parent, follow_symlinks=False)
                    if os.path.samestat(found, wanted):
                        return self.root / bucket / os.fsdecode(b"/".join((*directories, candidate)))
        raise no_object(bucket, key)

    def plain_directory(self, bucket: str, prefix: str) -> Path | None:
        """Give the directory that shows the keys below `prefix` (which ends in "/") as they are.

        None when there is none, when a name in it is spelled with `%`, and when something in it is not an object: then
        a program that looked at the directory would not see what it would see on AWS.
        """
        names = spell_key(_utf8(prefix))[:-1]
        path = self.root / bucket / os.fsdecode(b"/".join(names))
        try:
            with self._bucket(bucket) as top:
                return path if tree.plain(top, names) else None
        except FileNotFoundError:
            return None

    def buckets(self) -> Sequence[str]:
        """Give the names of the buckets, sorted."""
        with translated():
            try:
                with os.scandir(self.root) as entries:
                    found = [each.name for each in entries if each.is_dir(follow_symlinks=False)]
            except FileNotFoundError:
                return []
        return sorted(name for name in found if not bucket_problem(name))

    def has_bucket(self, bucket: str) -> bool:
        """Tell whether there is a bucket of that name."""
        if bucket_problem(bucket):
            return False
        with translated(bucket):
            return tree.kind(None, f"{self.root}/{bucket}") == stat.S_IFDIR

    def bucket_made_at(self, bucket: str) -> float:
        """Tell when a bucket was made, in Unix seconds. Raises `BucketNotFound`."""
        with self._bucket(bucket) as top:
            return made_at(top)

    # -- writing ------------------------------------------------------------------------------------------------------

    def write(self, bucket: str, key: str, pieces: Iterable[bytes]) -> ObjectInfo:
        """Store an object, replacing one of the same key; visible only when it is whole and on the disk."""
        check_key(key)
        with self.stage(bucket) as stage:
            for piece in pieces:
                stage.write(piece)
            return stage.commit(key)

    def stage(self, bucket: str) -> _Stage:
        """Begin an object of this bucket. Raises `BucketNotFound`."""
        with self._bucket(bucket):
            pass  # before the first byte is read
        with translated(bucket):
            if not self._swept:
                self._swept = True
                self.sweep()
            return _Stage(self, bucket, new_temporary(self._workshop))

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
            with self.stage(bucket) as stage:
                if copying.clone(source, stage.temporary.file):
                    return self.keep(bucket, key, stage.temporary, None)
            return self.write(bucket, key, Pieces(str(path), os.dup(source), 0, None))
        finally:
            os.close(source)

    def keep(
        self, bucket: str, key: str, temporary: Temporary, record: Record | None, check: ObjectCheck | None = None
    ) -> ObjectInfo:
        """Give a temporary file the place of an object."""
        name_of_key = _utf8(key)
        *directories, name = spell_key(name_of_key)
        with translated(bucket, key), self._bucket(bucket) as top, contextlib.ExitStack() as after:
            is_attached = record is None or (self._attributes and remember(temporary.file, record))
            os.fsync(temporary.file)
            found = os.fstat(temporary.file)
            beside = Sidecars(self.root, bucket)
            with _locked(top, bucket):
                if check is not None:
                    check(self._present(bucket, key, top))
                if record is not None and not is_attached:
                    beside.add(name_of_key, record, _found(top, name_of_key))
                parent = after.enter_context(tree.open_directory(top, directories, make=True))
                tree.settle(temporary.path, None, parent, name)
                temporary.settled = True
                if is_attached:
                    beside.forget(name_of_key)
            os.fsync(parent)
        record = record or Record(of="")
        return ObjectInfo(key, found.st_size, found.st_mtime, record.etag, record.properties)

    def _present(self, bucket: str, key: str, top: int) -> ObjectInfo | None:
        """Give what a key has now. Needs the bucket's lock."""
        with (
            contextlib.suppress(FileNotFoundError),
            tree.open_file(top, _utf8(key)) as file,
            Reader(f"s3://{bucket}/{key}", _utf8(key), os.dup(file), self._beside(bucket)) as reader,
        ):
            return reader.info
        return None

    def move(self, bucket: str, source: str, target: str) -> None:
        """Give an object another key of the same bucket, at once and whole. Raises `ObjectNotFound`."""
        check_key(target)
        *old_directories, old_name = spell_key(_utf8(source))
        *new_directories, new_name = spell_key(_utf8(target))
        with translated(bucket, source), self._bucket(bucket) as top, _locked(top, bucket):
            found = _found(top, _utf8(source))
            if found is None:
                raise no_object(bucket, source)
            if source == target:
                return
            beside = Sidecars(self.root, bucket)
            record = beside.find(_utf8(source), found)
            if record is not None:
                beside.add(_utf8(target), record, _found(top, _utf8(target)))
            with (
                tree.open_directory(top, new_directories, make=True) as new,
                tree.open_directory(top, old_directories) as old,
            ):
                # Only now: to make the directories may have displaced the object itself (`a` moves to `a/b`).
                tree.settle(tree.only_name(old, old_name), old, new, new_name)
                os.fsync(new)
            tree.prune(top, {tuple(old_directories)})
            beside.forget(_utf8(source))

    def delete(self, bucket: str, key: str, *, check: ObjectCheck | None = None) -> None:
        """Remove an object; no error when there is none. What `check` raises is raised, and changes nothing."""
        with self.deleting(bucket) as delete:
            delete(key, check=check)

    @contextlib.contextmanager
    def deleting(self, bucket: str) -> Iterator[Deletion]:
        """Give what deletes objects of a bucket; each directory is forced to the disk once, at the end."""
        changed: set[tuple[bytes, ...]] = set()
        deleted: list[bytes] = []

        def delete(key: str, *, check: ObjectCheck | None = None) -> None:
            *directories, name = spell_key(_utf8(key))
            with translated(bucket, key):
                if check is not None:
                    check(self._present(bucket, key, top))
                with contextlib.suppress(FileNotFoundError), tree.open_directory(top, directories) as parent:
                    changed.add(tuple(directories))
                    # A crash may have left both; the second one must not come to light.
                    for each in (displaced(name), name):
                        if tree.is_file(parent, each):
                            os.unlink(each, dir_fd=parent)
                deleted.append(_utf8(key))

        with translated(bucket), self._bucket(bucket) as top, _locked(top, bucket):
            try:
                yield delete
            finally:
                tree.prune(top, changed)
                beside = Sidecars(self.root, bucket)
                for each in deleted:
                    beside.forget(each)

    def create_bucket(self, bucket: str) -> None:
        """Make a bucket; no error when it is there."""
        check_bucket(bucket)
        with translated(bucket):
            self.root.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileExistsError):
                (self.root / bucket).mkdir()
                with self._bucket(bucket) as top:
                    mark(top, time.time())
                _sync(self.root)
        with self._bucket(bucket):
            pass  # what has the name may be something else

    def delete_bucket(self, bucket: str) -> None:
        """Remove an empty bucket. Raises `BucketNotFound`, and `BucketNotEmpty` while there is something in it."""
        with translated(bucket), self._bucket(bucket) as top, _locked(top, bucket):
            if tree.some(top, b"") is None:
                tree.remove_empty(top)
            try:
                (self.root / bucket).rmdir()
            except OSError as error:
                if error.errno in {errno.ENOTEMPTY, errno.EEXIST}:
                    raise BucketNotEmpty(f"The bucket {bucket!r} is not empty.") from error
                raise
            _sync(self.root)
            Sidecars(self.root, bucket).forget_all()

    # -- temporary files ----------------------------------------------------------------------------------------------

    @property
    def _workshop(self) -> Path:
        return self.root / ".treadle/tmp"

    def sweep(self) -> int:
        """Remove what killed writers left behind, and give how many files that were. Living writers are not touched."""
        swept = 0
        with translated(), contextlib.suppress(FileNotFoundError):
            for path in list(self._workshop.iterdir()):
                with contextlib.suppress(FileNotFoundError):
                    swept += remove_dead(path)
        return swept

    # -- the way to an object -----------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _bucket(self, bucket: str) -> Iterator[int]:
        check_bucket(bucket)
        try:
            top = os.open(self.root / bucket, tree.DIRECTORY)
        except OSError as error:
            if error.errno in tree.NOT_THERE:
                raise BucketNotFound(f"There is no bucket {bucket!r}.") from error
            raise object_error(error, bucket) from error
        try:
            yield top
        finally:
            os.close(top)

    @contextlib.contextmanager
    def _object(self, bucket: str, key: str) -> Iterator[int]:
        with translated(bucket, key), self._bucket(bucket) as top, tree.open_file(top, _utf8(key)) as file:
            yield file

    def _beside(self, bucket: str) -> Sidecars | None:
        beside = Sidecars(self.root, bucket)
        return beside if beside.there() else None


def _is_still_there(path: bytes) -> bool:
    try:
        return tree.is_file(None, path)
    except OSError:
        return False  # whoever looks thoroughly says what is wrong


def _found(top: int, key: bytes) -> os.stat_result | None:
    with contextlib.suppress(FileNotFoundError), tree.open_file(top, key) as file:
        return os.fstat(file)
    return None


class _Stage:
    """An object in the making: a temporary file. Once bytes came in by the kernel, the digest is of the whole file."""

    def __init__(self, objects: FilesystemObjects, bucket: str, temporary: Temporary) -> None:
        self._objects = objects
        self._bucket = bucket
        self.temporary = temporary
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._seen_all = True

    def write(self, piece: bytes) -> None:
        if self._seen_all:
            self._md5.update(piece)
        with translated(self._bucket):
            copying.write_all(self.temporary.file, piece)

    def append(self, source: ObjectReader, start: int = 0, length: int | None = None) -> None:
        if not isinstance(source, Reader):
            for piece in source.read(start, length):
                self.write(piece)
            return
        self._seen_all = False
        with translated(self._bucket):
            copying.append(source.file, self.temporary.file, start, length)

    def digest(self) -> str:
        if not self._seen_all:
            with translated(self._bucket):
                self._md5 = md5_of(self.temporary.file)
            self._seen_all = True
        return self._md5.hexdigest()

    def commit(
        self, key: str, *, properties: ObjectProperties | None = None, etag: str = "", check: ObjectCheck | None = None
    ) -> ObjectInfo:
        check_key(key)
        record = Record(
            of=state_of(os.fstat(self.temporary.file)),
            etag=etag or self.digest(),
            properties=properties or _NO_PROPERTIES,
        )
        return self._objects.keep(self._bucket, key, self.temporary, record, check)

    def close(self) -> None:
        self.temporary.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@contextlib.contextmanager
def _locked(top: int, bucket: str) -> Iterator[None]:
    fcntl.flock(top, fcntl.LOCK_EX)
    try:
        if not os.fstat(top).st_nlink:
            raise BucketNotFound(f"There is no bucket {bucket!r}.")
        yield
    finally:
        fcntl.flock(top, fcntl.LOCK_UN)


def _created(path: Path) -> int:
    """Create a file in the place of what is there, never through a link. Its directory is made where it is missing."""
    try:
        return os.open(path, CREATE, 0o666)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        path.unlink()
    return os.open(path, CREATE, 0o666)


def _sync(directory: Path) -> None:
    file = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise ObjectError(f"{text!r} is no key for an object: it is not valid Unicode text.") from error
