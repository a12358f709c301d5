"""Rows in batches, for algorithms that never hold all of them: CSV and RecordIO-protobuf, in File and Pipe mode.

These are the formats of AWS's own algorithms, and what is refused is refused in their words where these are known.
Memory holds one batch, and some megabytes of text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np

from treadle.training.algorithms.inputs import Input, content_type
from treadle.training.algorithms.program import Directories, UserError
from treadle.training.algorithms.records import Vector, vectors
from treadle.training.algorithms.tables import Block, csv_blocks

__all__ = ["batches", "inputs"]

_CSV: Final = "text/csv"
_RECORDS: Final = "application/x-recordio-protobuf"
_BLOCK: Final = 8 << 20  # bytes of numbers that are gathered before they become a part of a batch


def inputs(
    channels: Mapping[str, Mapping[str, str]], directories: Directories, known: tuple[str, ...]
) -> dict[str, Input]:
    """Give the channels by name; the first of the `known` ones must be there. Raises `UserError`."""
    if known[0] not in channels:
        raise _no_configuration(f"{known[0]!r} is a required property")
    if unknown := sorted(set(channels) - set(known)):
        raise _no_configuration(f"Additional properties are not allowed ({unknown[0]!r} was unexpected)")
    return {name: Input.of(name, channel, directories, _kind(channel)) for name, channel in channels.items()}


def _no_configuration(why: str) -> UserError:
    return UserError(
        "Unable to initialize the algorithm. Failed to validate input data configuration. (caused by ValidationError)"
        f"\n\nCaused by: {why}"
    )


def _kind(channel: Mapping[str, str]) -> str:
    kind, parameters = content_type(channel.get("ContentType") or _RECORDS)
    if kind not in {_CSV, _RECORDS}:
        version = parameters.get("version", "1.0")
        raise UserError(f"No iterator has been registered for ContentType ({kind!r}, {version!r})")
    return kind


def batches(channel: Input, size: int, width: int) -> Iterator[Any]:
    """Give the next epoch of a channel: arrays of `size` rows of `width` 32-bit numbers, the last one may be shorter.

    Labels are left out: the first columns of CSV, of which there are `label_size` (1 if the content type does not say).
    Raises `UserError`.
    """
    left: list[Any] = []
    count = 0
    for rows in _blocks(channel, width):
        _check(channel, rows)
        left.append(rows)
        count += len(rows)
        if count >= size:
            whole = np.concatenate(left)
            full = count - count % size
            yield from (whole[at : at + size] for at in range(0, full, size))
            left, count = [whole[full:]], count - full
    if count:
        yield np.concatenate(left)


def _check(channel: Input, rows: Any) -> None:
    for wrong, what in ((np.isnan, "missing (NaN)"), (np.isinf, "infinite floating point")):
        if wrong(rows).any():
            raise UserError(
                f"Unable to read data channel '{channel.name}'. Found {what} values. Please remove any {what} values "
                "in the input data."
            )


def _blocks(channel: Input, width: int) -> Iterator[Any]:
    try:
        if channel.format == _CSV:
            labels = _label_size(channel)
            for block in csv_blocks(channel.epoch(), ","):
                yield _features(block, labels, width)
        else:
            yield from _dense(vectors(channel.epoch()), width)
    except UserError as error:
        raise UserError(
            f"Unable to read data channel '{channel.name}'. Requested content-type is '{channel.format}'. Please "
            f"verify the data matches the requested content-type.\n\nCaused by: {error}"
        ) from error


def _label_size(channel: Input) -> int:
    text = channel.parameters.get("label_size", "1")
    if not (text.isascii() and text.isdigit()):
        raise UserError(f"label_size must be a whole number, not '{text}'")
    return int(text[:9])


def _features(block: Block, labels: int, width: int) -> Any:
    features = block.rows[:, labels:]
    if features.shape[1] != width:
        raise UserError(
            f"{block.place(0)}: {features.shape[1]} features ({block.rows.shape[1]} columns, label_size is {labels}), "
            f"but feature_dim is {width}"
        )
    return features


def _dense(found: Iterator[Vector], width: int) -> Iterator[Any]:
    most = max(1, _BLOCK // (4 * width))
    rows: list[Any] = []
    for number, each in enumerate(found, 1):
        rows.append(_row(number, each, width))
        if len(rows) == most:
            yield np.stack(rows)
            rows = []
    if rows:
        yield np.stack(rows)


def _row(number: int, found: Vector, width: int) -> Any:
    """Give a vector with the zeros of a sparse one."""
    has = len(found.values) if found.keys is None else found.width or 0
    if found.keys is None or has:
        if has != width:
            raise UserError(f"Record {number}: {has} features, but feature_dim is {width}")
    elif len(found.keys) and int(found.keys.max()) >= width:
        raise UserError(f"Record {number}: the key {int(found.keys.max())}, but feature_dim is {width}")
    if found.keys is None:
        return found.values.astype(np.float32)
    row = np.zeros(width, np.float32)
    row[found.keys.astype(np.int64)] = found.values
    return row
