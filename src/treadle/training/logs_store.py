r"""The logs of training jobs: one text file per stream, `<root>/<job>/<host>-<epoch>.log`.

A line of the file is `<milliseconds><kind><text>`. The kind is a space for a line of the program; `!` for a line of the
service (a notice at the start of a log); `#` for what only this module reads: the attempt that the stream belongs to.
In the text `\` is `\\`, a line feed `\n`, a carriage return `\r`: no text can break a line or pretend to be another.

Lines are on the disk when `append` returns, and a line that is sent again is not stored again: the program's lines are
numbered from 0 in each stream. What a crash left half written is cut off when the file is next written to.
"""

from __future__ import annotations

import os
import shutil
import threading
from array import array
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

from treadle.errors import StoreError
from treadle.seams import LogBatch

__all__ = ["ServiceLogs"]

Line = tuple[int, str]

_PROGRAM, _SERVICE, _HIDDEN = b" ", b"!", b"#"
_KEPT_INDEXES = 64
_PIECE = 1 << 20


@dataclass(slots=True)
class _Written:
    """What a file holds: lines of the program, bytes, and whose attempt it is."""

    lines: int
    size: int
    attempt: int


class ServiceLogs:
    """Writes the logs of the jobs (one caller per stream at a time), and reads them for the Logs API."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._written: dict[Path, _Written] = {}
        self._indexes: OrderedDict[Path, _Index] = OrderedDict()
        self._lock = threading.Lock()

    # Writing

    def append(
        self, job: str, host: str, epoch: int, attempt: int, batch: LogBatch | None, notices: Sequence[Line] = ()
    ) -> int:
        """Store lines; how many of the program's lines the stream has now. `notices` begin a stream that is new.

        A batch that begins after the end of what is stored is not taken: the count tells the sender from where to send
        again. Raises `StoreError`.
        """
        try:
            path, written = self._stream(job, host, epoch, attempt)
            new = (
                []
                if written.size
                else [_line(0, _HIDDEN, str(attempt)), *(_line(at, _SERVICE, t) for at, t in notices)]
            )
            fresh = batch.lines[written.lines - batch.first :] if batch and batch.first <= written.lines else []
            new += [_line(at, _PROGRAM, text) for at, text in fresh]
            if new:
                self._write(path, written, b"".join(new))
                written.lines += len(fresh)
        except OSError as error:
            raise StoreError(
                f"The log of the job {job} cannot be written: {error.strerror or error}.",
                hint="Make room on the disk of TREADLE_HOME; the agent keeps its lines and sends them again.",
            ) from error
        return written.lines

    def remark(self, job: str, host: str, notices: Sequence[Line]) -> None:
        """Add lines of the service's own to the host's latest stream; a host that has none stays without.

        Raises `StoreError`.
        """
        streams = sorted((self._root / job).glob(f"{_literal(host)}-*.log"), key=lambda path: (len(path.name), path))
        if not streams:
            return
        path = streams[-1]
        try:
            written = self._written.get(path) or _examined(path, 0)
            self._write(path, written, b"".join(_line(at, _SERVICE, text) for at, text in notices))
        except OSError as error:
            raise StoreError(f"The log of the job {job} cannot be written: {error.strerror or error}.") from error

    def forget(self, job: str) -> None:
        """Let go of what is remembered for writing; the logs stay."""
        for path in [each for each in self._written if each.parent.name == job]:
            del self._written[path]

    def _stream(self, job: str, host: str, epoch: int, attempt: int) -> tuple[Path, _Written]:
        """Give the file of the stream. Two attempts that began in the same second have different streams."""
        while True:
            path = self._root / job / f"{host}-{epoch}.log"
            written = self._written.get(path)
            if written is None:
                written = self._written[path] = _examined(path, attempt)
            if written.attempt == attempt:
                return path, written
            epoch += 1

    def _write(self, path: Path, written: _Written, data: bytes) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(descriptor, written.size)
            rest = memoryview(data)
            position = written.size
            while rest:
                count = os.pwrite(descriptor, rest, position)
                rest, position = rest[count:], position + count
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        written.size = position

    def delete(self, job: str) -> None:
        """Remove the logs of a job, for good. Raises `StoreError`."""
        self.forget(job)
        directory = self._root / job
        with self._lock:
            for path in [each for each in self._indexes if each.parent == directory]:
                del self._indexes[path]
        try:
            if _plain(job) and directory.is_dir():
                shutil.rmtree(directory)
        except OSError as error:
            raise StoreError(f"The logs of the job {job} cannot be removed: {error}.") from error

    def jobs(self) -> list[str]:
        """Give the names of the jobs that have logs."""
        return sorted(each.name for each in self._root.iterdir()) if self._root.is_dir() else []

    # Reading: `api.logs.LogReader`

    def streams(self, prefix: str) -> list[tuple[str, int, int]]:
        """Give the streams whose name starts with `prefix`, with the times of their first and last lines."""
        job, slash, _ = prefix.partition("/")
        directories = [self._root / job] if slash else self._root.glob(f"{_literal(job)}*")
        found = []
        for directory in directories:
            for path in directory.glob("*.log") if _plain(directory.name) else ():
                name = f"{directory.name}/{path.stem}"
                if name.startswith(prefix):
                    lines = self._index(path)
                    found.append((name, lines[0][0] if lines else 0, lines[-1][0] if lines else 0))
        return sorted(found)

    def lines(self, stream: str) -> Sequence[Line] | None:
        """Give the lines of a stream, oldest first, or None when there is no such stream."""
        job, _, name = stream.partition("/")
        path = self._root / job / f"{name}.log"
        if not _plain(job) or not _plain(name) or not path.exists():
            return None
        return self._index(path)

    def _index(self, path: Path) -> _Index:
        with self._lock:
            index = self._indexes.pop(path, None) or _Index(path)
            self._indexes[path] = index
            while len(self._indexes) > _KEPT_INDEXES:
                self._indexes.popitem(last=False)
            return index.grown()


class _Index(Sequence[Line]):
    """The lines of a file as a sequence that reads what it is asked for. A copy does not grow with the file."""

    def __init__(self, path: Path, starts: array[int] | None = None, count: int = 0, scanned: int = 0) -> None:
        self._path = path
        # Where the lines begin, and behind the last one where it ends; shared by all copies, it only ever grows.
        self._starts = array("Q") if starts is None else starts
        self._count = count
        self._scanned = scanned

    def grown(self) -> _Index:
        """Take notice of what was added to the file; give a sequence of the lines that it has now."""
        if self._path.stat().st_size > self._scanned:
            with self._path.open("rb") as file:
                self._scan(file.fileno())
        return _Index(self._path, self._starts, self._count, self._scanned)

    def _scan(self, descriptor: int) -> None:
        position, rest = self._scanned, b""
        while piece := os.pread(descriptor, _PIECE, position + len(rest)):
            *whole, rest = (rest + piece).split(b"\n")
            for line in whole:
                if _kind(line) != _HIDDEN:
                    self._starts.extend((position, position + len(line)))
                    self._count += 1
                position += len(line) + 1
        self._scanned = position

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> Line: ...
    @overload
    def __getitem__(self, index: slice) -> list[Line]: ...
    def __getitem__(self, index: int | slice) -> Line | list[Line]:
        wanted = range(self._count)[index]
        with self._path.open("rb") as file:
            if isinstance(wanted, range):
                return [self._read(file.fileno(), each) for each in wanted]
            return self._read(file.fileno(), wanted)

    def __iter__(self) -> Iterator[Line]:
        with self._path.open("rb") as file:
            piece, at = b"", 0
            for number in range(self._count):
                start, end = self._starts[2 * number], self._starts[2 * number + 1]
                if end > at + len(piece):
                    piece, at = os.pread(file.fileno(), max(_PIECE, end - start), start), start
                yield _parsed(piece[start - at : end - at])

    def _read(self, descriptor: int, number: int) -> Line:
        start, end = self._starts[2 * number], self._starts[2 * number + 1]
        return _parsed(os.pread(descriptor, end - start, start))


def _examined(path: Path, attempt: int) -> _Written:
    """Look at a file before it is written to for the first time; it need not be there."""
    found = _Written(lines=0, size=0, attempt=attempt)
    if not path.exists():
        return found
    with path.open("rb") as file:
        for line in file:
            if not line.endswith(b"\n"):
                break  # half written by somebody who was killed
            kind = _kind(line)
            if kind == _HIDDEN and not found.size:
                found.attempt = int(line.partition(_HIDDEN)[2])
            found.lines += kind == _PROGRAM
            found.size += len(line)
    return found


def _head(attempt: int, notices: Sequence[Line]) -> list[bytes]:
    return [_line(0, _HIDDEN, str(attempt)), *(_line(at, _SERVICE, text) for at, text in notices)]


_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n", "\r": r"\r"})


def _line(at: int, kind: bytes, text: str) -> bytes:
    return b"%d%b%b\n" % (at, kind, text.translate(_ESCAPES).encode("utf-8", "backslashreplace"))


def _kind(line: bytes) -> bytes:
    digits = len(line) - len(line.lstrip(b"-0123456789"))
    return line[digits : digits + 1]


def _parsed(line: bytes) -> Line:
    kind = _kind(line)
    at, _, text = line.partition(kind)
    # Pairs of characters are undone from the left, so that `\\n` stays a backslash and an n.
    parts = text.decode("utf-8", "replace").split("\\\\")
    return int(at), "\\".join(each.replace(r"\n", "\n").replace(r"\r", "\r") for each in parts)


def _plain(name: str) -> bool:
    return bool(name) and "/" not in name and "\0" not in name and name not in {".", ".."}


def _literal(text: str) -> str:
    return "".join(f"[{each}]" if each in "*?[" else each for each in text)
