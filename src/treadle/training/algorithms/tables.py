"""Training data as tables: CSV with the label first and no header, libsvm, RecordIO-protobuf.

What is text is read in blocks of some megabytes, and numbers become 32-bit ones at once. Rows gather in one array that
grows in its place, so the memory needed is that of the numbers and one block. Every mistake is told with file and line.
"""

from __future__ import annotations

import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

import numpy as np

from treadle.training.algorithms.program import UserError, log
from treadle.training.algorithms.records import Vector, vectors

__all__ = ["Block", "Table", "csv_blocks", "read_csv", "read_libsvm", "read_records", "table_of"]

_BLOCK: Final = 8 << 20  # bytes of text that are parsed at once
_DELIMITERS: Final = ",;\t| "
_SNIPPET: Final = 50
_LARGEST_INDEX: Final = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Table:
    """Rows with labels. `features` is a dense array, or the three arrays of a compressed sparse row matrix."""

    labels: Any
    features: Any
    columns: int
    weights: Any = None
    groups: Any = None
    """Query ids of a ranking."""

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def sparse(self) -> bool:
        """Whether what is not written is zero, so that there may be more columns than were seen."""
        return isinstance(self.features, tuple)


def table_of(blocks: Iterable[Any], *, weights: bool = False) -> Table:
    """Make a table of blocks of rows whose first column is the label, and the second the weight if there are any."""
    rows = _stacked(blocks)
    begin = 2 if weights else 1
    if not len(rows):
        return Table(labels=np.empty(0, np.float32), features=np.empty((0, 0), np.float32), columns=0)
    return Table(
        labels=rows[:, 0],
        features=rows[:, begin:],
        columns=rows.shape[1] - begin,
        weights=rows[:, 1] if weights else None,
    )


def _stacked(blocks: Iterable[Any]) -> Any:
    """Put blocks one below the other. Large arrays grow by moving pages, not numbers: there is never a second one."""
    whole: Any = None
    for block in blocks:
        if whole is None:
            whole = np.array(block, np.float32, order="C")
            continue
        count = len(whole)
        whole.resize((count + len(block), block.shape[1]), refcheck=False)
        whole[count:] = block
    return np.empty((0, 0), np.float32) if whole is None else whole


def _lines(files: list[Path]) -> Iterator[tuple[Path, int, list[str]]]:
    """Give blocks of lines: the file, the number of the first line, the lines."""
    for path in files:
        number = 1
        try:
            with path.open(encoding="utf-8-sig") as file:
                while block := _block(file):
                    yield path, number, block
                    number += len(block)
        except UnicodeDecodeError as error:
            raise UserError(f"File '{path.name}' is not UTF-8 text (byte {error.start} of a block)") from error
        except OSError as error:
            raise UserError(f"File '{path.name}' cannot be read: {error.strerror}") from error


def _block(file: IO[str]) -> list[str]:
    return file.readlines(_BLOCK)


# ---------------------------------------------------------------------------------------------------------------------
# CSV
# ---------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Block:
    """Rows of 32-bit numbers, and the lines that they were read from."""

    rows: Any
    path: Path
    first: int
    lines: list[str]

    def place(self, row: int) -> str:
        """Give file and line of a row."""
        return f"{self.path.name}:{[at for at, line in enumerate(self.lines, self.first) if line.strip()][row]}"


def read_csv(files: list[Path], *, weights: bool = False) -> Table:
    """Read CSV: the first column is the label, an empty field is a missing value, no header. Raises `UserError`."""
    columns = {0: "label (first column)"} | ({1: "weight (second column)"} if weights else {})
    return table_of((_finite_columns(each, columns) for each in csv_blocks(files)), weights=weights)


def _finite_columns(block: Block, columns: dict[int, str]) -> Any:
    for column, what in columns.items():
        if column >= block.rows.shape[1]:
            raise UserError(f"{block.place(0)}: there is no {what}")
        bad = np.flatnonzero(~np.isfinite(block.rows[:, column]))
        if bad.size:
            raise UserError(f"{block.place(int(bad[0]))}: the {what} is missing or no finite number")
    return block.rows


def csv_blocks(files: list[Path], delimiter: str = "") -> Iterator[Block]:
    """Give the rows of CSV files, which have one width; without a delimiter it is found out. Raises `UserError`."""
    width = 0
    for path, first, lines in _lines(files):
        full = [line for line in lines if line.strip()]
        if not full:
            continue
        delimiter = delimiter or _delimiter(path, full[0])
        block = Block(_csv_rows(path, first, lines, full, delimiter), path, first, lines)
        width = width or block.rows.shape[1]
        if block.rows.shape[1] != width:
            raise UserError(f"{block.place(0)}: {block.rows.shape[1]} columns, but {width} before")
        yield block


def _delimiter(path: Path, line: str) -> str:
    text = line.strip()
    for delimiter in _DELIMITERS:
        if delimiter in text:
            log(f"Determined delimiter of CSV input is '{delimiter}'")
            return delimiter
    raise UserError(f"Could not determine delimiter on line {text[:_SNIPPET]} of file '{path.name}'")


def _csv_rows(path: Path, first: int, lines: list[str], full: list[str], delimiter: str) -> Any:
    try:
        return _loaded(full, delimiter)
    except ValueError:
        pass
    try:
        return _loaded([_filled(line, delimiter) for line in full], delimiter)
    except ValueError:
        # Ten times as slow, but it says which line is wrong.
        return _csv_by_line(path, first, lines, delimiter)


def _loaded(lines: list[str], delimiter: str) -> Any:
    return np.loadtxt(lines, delimiter=delimiter, dtype=np.float32, ndmin=2, comments=None)


def _filled(line: str, delimiter: str) -> str:
    return delimiter.join([field or "nan" for field in line.rstrip("\r\n").split(delimiter)])


def _csv_by_line(path: Path, first: int, lines: list[str], delimiter: str) -> Any:
    rows: list[list[float]] = []
    for number, line in enumerate(lines, first):
        if not line.strip():
            continue
        fields = line.rstrip("\r\n").split(delimiter)
        row = [_csv_field(path, number, column, field) for column, field in enumerate(fields, 1)]
        if rows and len(row) != len(rows[0]):
            raise UserError(f"{path.name}:{number}: {len(row)} columns, but {len(rows[0])} before")
        rows.append(row)
    return np.array(rows, np.float32)


def _csv_field(path: Path, number: int, column: int, field: str) -> float:
    text = field.strip().strip('"').strip()
    if not text:
        return float("nan")
    try:
        return float(text)
    except ValueError as error:
        header = " (the file must not have a header line)" if number == 1 else ""
        raise UserError(f"{path.name}:{number}: column {column} is no number: '{text[:_SNIPPET]}'{header}") from error


# ---------------------------------------------------------------------------------------------------------------------
# libsvm
# ---------------------------------------------------------------------------------------------------------------------


def read_libsvm(files: list[Path]) -> Table:
    """Read lines `<label>[:<weight>] [qid:<n>] <index>:<value> …`; indices stay as they are. Raises `UserError`."""
    rows = _Rows()
    for path, first, lines in _lines(files):
        for number, line in enumerate(lines, first):
            text = line.partition("#")[0].split()
            if text:
                try:
                    rows.add(text)
                except ValueError as error:
                    raise _no_libsvm(path, number, line, error) from error
    return rows.table(files)


def _no_libsvm(path: Path, number: int, line: str, error: ValueError) -> UserError:
    if number == 1:
        return UserError(
            f"First line '{line.strip()[:_SNIPPET]}...' of file '{path.name}' is not 'LIBSVM' format. "
            "Please ensure the file is in 'LIBSVM' format."
        )
    return UserError(f"{path.name}:{number}: no libsvm: {error}")


class _Rows:
    """Rows of a sparse matrix, as they gather."""

    def __init__(self) -> None:
        self._labels = array.array("f")
        self._weights = array.array("f")
        self._groups = array.array("q")
        self._indices = array.array("i")
        self._values = array.array("f")
        self._ends = array.array("q", [0])
        self._width = 0

    def add(self, words: list[str]) -> None:
        """Add the words of a line of libsvm. Raises ValueError."""
        label, colon, weight = words[0].partition(":")
        self._labels.append(_finite(label, "label"))
        if colon:
            self._weights.append(_finite(weight, "weight"))
        features = words[1:]
        if features and features[0].startswith("qid:"):
            self._groups.append(_whole(features.pop(0)[4:], "qid"))
        for word in features:
            index, colon, value = word.partition(":")
            if not colon:
                raise ValueError(f"'{word[:_SNIPPET]}' is not <index>:<value>")
            self._indices.append(_whole(index, "index"))
            self._values.append(_number(value, "value"))
        self._ends.append(len(self._indices))

    def add_vector(self, found: Vector, label: float) -> None:
        """Add a sparse vector. Raises ValueError."""
        if len(found.keys) and int(found.keys.max()) > _LARGEST_INDEX:
            raise ValueError(f"the key {int(found.keys.max())} is larger than {_LARGEST_INDEX}")
        self._labels.append(label)
        self._indices.frombytes(found.keys.astype(np.int32).tobytes())
        self._values.frombytes(found.values.astype(np.float32).tobytes())
        self._ends.append(len(self._indices))
        self._width = max(self._width, found.width or 0)

    def table(self, files: list[Path]) -> Table:
        """Give them as a table. Raises `UserError`."""
        count = len(self._labels)
        for what, some in (("weights", self._weights), ("query ids", self._groups)):
            if some and len(some) != count:
                names = ", ".join(path.name for path in files[:3])
                raise UserError(f"{len(some)} of {count} lines in {names} have {what}: either all have them, or none")
        indices = _view(self._indices, np.int32)
        return Table(
            labels=_view(self._labels, np.float32),
            features=(_view(self._values, np.float32), indices, _view(self._ends, np.int64)),
            columns=max(min(self._width, _LARGEST_INDEX), int(indices.max()) + 1 if len(indices) else 0),
            weights=_view(self._weights, np.float32) if self._weights else None,
            groups=_view(self._groups, np.int64) if self._groups else None,
        )


def _view(numbers: array.array[Any], dtype: Any) -> Any:
    return np.frombuffer(numbers, dtype) if numbers else np.empty(0, dtype)


def _number(text: str, what: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise ValueError(f"the {what} '{text[:_SNIPPET]}' is no number") from error


def _finite(text: str, what: str) -> float:
    value = _number(text, what)
    if not np.isfinite(value):
        raise ValueError(f"the {what} '{text[:_SNIPPET]}' is not finite")
    return value


def _whole(text: str, what: str) -> int:
    if not (text.isascii() and text.isdigit()) or int(text[:20]) > _LARGEST_INDEX:
        raise ValueError(f"the {what} '{text[:_SNIPPET]}' is no whole number from 0 to {_LARGEST_INDEX}")
    return int(text)


# ---------------------------------------------------------------------------------------------------------------------
# RecordIO-protobuf
# ---------------------------------------------------------------------------------------------------------------------


def read_records(files: list[Path]) -> Table:
    """Read labelled vectors, all dense or all sparse. Raises `UserError`."""
    found = vectors(files)
    first = next(found, None)
    if first is None:
        return table_of(())
    every = _chained(first, found)
    if first.keys is None:
        return table_of(_dense_blocks(every))
    rows = _Rows()
    for number, each in enumerate(every, 1):
        if each.keys is None:
            raise _other_kind(number, "dense", "sparse")
        try:
            rows.add_vector(each, _its_label(number, each))
        except ValueError as error:
            raise UserError(f"Record {number}: {error}") from error
    return rows.table(files)


def _chained(first: Vector, rest: Iterator[Vector]) -> Iterator[Vector]:
    yield first
    yield from rest


def _dense_blocks(every: Iterator[Vector]) -> Iterator[Any]:
    """Give blocks of rows, the label first."""
    block: list[Any] = []
    width = size = 0
    for number, each in enumerate(every, 1):
        if each.keys is not None:
            raise _other_kind(number, "sparse", "dense")
        width = width if number > 1 else len(each.values)
        if len(each.values) != width:
            raise UserError(f"Record {number}: {len(each.values)} values, but {width} before")
        block.append(np.concatenate(([_its_label(number, each)], each.values), dtype=np.float32, casting="same_kind"))
        size += width + 1
        if size * 4 > _BLOCK:
            yield np.stack(block)
            block, size = [], 0
    if block:
        yield np.stack(block)


def _its_label(number: int, found: Vector) -> float:
    if found.label is None:
        raise UserError(f"Record {number} has no label")
    if not np.isfinite(found.label):
        raise UserError(f"Record {number}: the label is not finite")
    return found.label


def _other_kind(number: int, kind: str, before: str) -> UserError:
    return UserError(f"Record {number} is {kind}, those before it are {before}: all must be of one kind")
