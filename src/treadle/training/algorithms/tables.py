"""Training data from text files: CSV with the label first and no header, and libsvm.

Files are read in blocks of some megabytes into 32-bit numbers, so the memory needed is about twice that of the numbers.
Every mistake is told with file and line.
"""

from __future__ import annotations

import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

import numpy as np

from treadle.training.algorithms.toolkit import UserError, log

__all__ = ["Table", "data_files", "read_csv", "read_libsvm"]

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


def data_files(directory: Path) -> list[Path]:
    """Give the data files of a channel; as in AWS's container, names that start with "." or "_" are none."""
    return sorted(path for path in directory.rglob("*") if path.is_file() and path.name[0] not in "._")


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


def read_csv(files: list[Path]) -> Table:
    """Read CSV: the first column is the label, an empty field is a missing value, no header. Raises `UserError`."""
    delimiter = ""
    blocks: list[Any] = []
    for path, first, lines in _lines(files):
        if not delimiter:
            delimiter = _delimiter(path, next((line for line in lines if line.strip()), ""))
        block = _csv_block(path, first, lines, delimiter)
        if not len(block):
            continue
        if blocks and block.shape[1] != blocks[0].shape[1]:
            raise UserError(f"{path.name}:{first}: {block.shape[1]} columns, but {blocks[0].shape[1]} before")
        blocks.append(block)
    if not blocks:
        return Table(labels=np.empty(0, np.float32), features=np.empty((0, 0), np.float32), columns=0)
    rows = np.concatenate(blocks) if len(blocks) > 1 else blocks[0]
    return Table(labels=rows[:, 0], features=rows[:, 1:], columns=rows.shape[1] - 1)


def _delimiter(path: Path, line: str) -> str:
    text = line.strip()
    for delimiter in _DELIMITERS:
        if delimiter in text:
            log(f"Determined delimiter of CSV input is '{delimiter}'")
            return delimiter
    raise UserError(f"Could not determine delimiter on line {text[:_SNIPPET]} of file '{path.name}'")


def _csv_block(path: Path, first: int, lines: list[str], delimiter: str) -> Any:
    try:
        # Fast, but it says neither which line is wrong nor what an empty field is.
        full = [line for line in lines if line.strip()]
        block = (
            np.loadtxt(full, delimiter=delimiter, dtype=np.float32, ndmin=2, comments=None)
            if full
            else np.empty((0, 0))
        )
    except ValueError:
        block = _csv_block_by_line(path, first, lines, delimiter)
    if len(block) and not np.isfinite(block[:, 0]).all():
        row = int(np.flatnonzero(~np.isfinite(block[:, 0]))[0])
        number = [at for at, line in enumerate(lines, first) if line.strip()][row]
        raise UserError(f"{path.name}:{number}: the label (first column) is missing or no finite number")
    return block


def _csv_block_by_line(path: Path, first: int, lines: list[str], delimiter: str) -> Any:
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
    def __init__(self) -> None:
        self._labels = array.array("f")
        self._weights = array.array("f")
        self._groups = array.array("q")
        self._indices = array.array("i")
        self._values = array.array("f")
        self._ends = array.array("q", [0])

    def add(self, words: list[str]) -> None:
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

    def table(self, files: list[Path]) -> Table:
        count = len(self._labels)
        for what, some in (("weights", self._weights), ("query ids", self._groups)):
            if some and len(some) != count:
                names = ", ".join(path.name for path in files[:3])
                raise UserError(f"{len(some)} of {count} lines in {names} have {what}: either all have them, or none")
        indices = np.frombuffer(self._indices, np.int32) if self._indices else np.empty(0, np.int32)
        return Table(
            labels=np.array(self._labels, np.float32),
            features=(np.array(self._values, np.float32), indices, np.array(self._ends, np.int64)),
            columns=int(indices.max()) + 1 if len(indices) else 0,
            weights=np.array(self._weights, np.float32) if self._weights else None,
            groups=np.array(self._groups, np.int64) if self._groups else None,
        )


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
