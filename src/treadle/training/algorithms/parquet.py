"""Parquet: a label in the first column, numbers in the others. pyarrow reads it, and is only imported for it.

pyarrow is 55 MB to download and 170 MB on the disk, more than twice XGBoost and numpy together; so it is an extra of
its own (`treadle[parquet]`), and who asks for Parquet without it is told so.
"""

from __future__ import annotations

import io
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np

from treadle.training.algorithms.program import UserError
from treadle.training.algorithms.tables import Table, table_of

__all__ = ["read_parquet"]

_MAGIC: Final = b"PAR1"
_FOOTER: Final = 8  # the length of the metadata, and the magic number again
_ROWS: Final = 65_536


def read_parquet(files: list[Path], *, piped: bool = False) -> Table:
    """Read all files; in a pipe they follow each other without a break. Raises `UserError`."""
    try:
        import pyarrow as pa  # only here: it takes a quarter of a second, and need not be installed
        import pyarrow.parquet as pq
    except ImportError as error:
        raise UserError(
            "ContentType application/x-parquet needs pyarrow, which is not installed here: "
            f"{sys.executable} -m pip install 'treadle[parquet]'"
        ) from error
    try:
        return table_of(_blocks(pq, pa, _pieces(files) if piped else [path.open("rb") for path in files]))
    except (pa.ArrowException, OSError, ValueError) as error:
        raise UserError(f"Failed to load parquet data with exception:\n{error}") from error


def _blocks(pq: Any, pa: Any, files: Any) -> Iterator[Any]:
    width = 0
    for file in files:
        with file, pq.ParquetFile(file) as opened:
            for batch in opened.iter_batches(batch_size=_ROWS):
                width = width or batch.num_columns
                if batch.num_columns != width:
                    raise UserError(f"{batch.num_columns} columns in a Parquet file, but {width} in the one before")
                yield np.column_stack([_column(pa, batch, number) for number in range(width)])


def _column(pa: Any, batch: Any, number: int) -> Any:
    column, name = batch.column(number), batch.schema.names[number]
    kind = column.type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
        raise UserError(f"The column '{name}' of a Parquet file is {kind}; numbers are needed")
    numbers = column.cast(pa.float32(), safe=False).to_numpy(zero_copy_only=False)
    if not number and not np.isfinite(numbers).all():
        raise UserError(f"The label (first column, '{name}') of a Parquet file is missing or not finite")
    return numbers


def _pieces(files: list[Path]) -> Iterator[io.BytesIO]:
    """Take apart what came through a pipe. Where one file ends and the next begins there stands PAR1PAR1."""
    data = b"".join(path.read_bytes() for path in files)
    start = 0
    while start < len(data):
        end = _end(data, start)
        yield io.BytesIO(data[start:end])
        start = end


def _end(data: bytes, start: int) -> int:
    """Give where the file ends that begins at `start`: at a magic number behind a length that fits."""
    at = start
    while (at := data.find(_MAGIC, at + 1)) >= 0:
        end = at + len(_MAGIC)
        if end - start < len(_MAGIC) + _FOOTER or not (end == len(data) or data.startswith(_MAGIC, end)):
            continue
        (length,) = struct.unpack_from("<I", data, at - 4)
        if length <= end - start - _FOOTER - len(_MAGIC):
            return end
    return len(data)
