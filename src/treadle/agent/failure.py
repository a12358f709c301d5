"""`FailureReason` in AWS's form (§1.12), and what AWS leaves out: the end of the program's output."""

from __future__ import annotations

import signal
from collections.abc import Iterable, Sequence
from pathlib import Path

from treadle.agent.files import read_start

__all__ = ["LIMIT", "algorithm_error", "client_error", "failure_file", "killed_by"]

LIMIT = 1024
"""Characters of a `FailureReason`."""

_FAILURE_FILE = "output/failure"
_CUSTOMER, _CUSTOMER_ERROR = 2, "Customer Error: "
"""By exit code and file AWS's own algorithms say that the user's data or hyperparameters are wrong."""
_WIDEST_CHARACTER = 4
_TRACEBACK = "Traceback (most recent call last):"


def failure_file(ml: Path) -> str:
    """Give the first 1024 characters of `/opt/ml/output/failure`, "" when there is no such regular file."""
    data = read_start(ml / _FAILURE_FILE, LIMIT * _WIDEST_CHARACTER)
    return data.decode("utf-8", "replace").replace("\0", "\N{REPLACEMENT CHARACTER}")[:LIMIT].strip()


def algorithm_error(said: str, exit_code: int, tail: Iterable[str] = ()) -> str:
    """Say why the program failed: by its failure file if it wrote one, else by its exit code and its last lines.

    >>> algorithm_error("no label column", 1)
    'AlgorithmError: no label column, exit code: 1'
    >>> print(algorithm_error("", 137, ["epoch 3"]))
    AlgorithmError: , exit code: 137
    killed by signal 9 (SIGKILL)
    epoch 3
    >>> algorithm_error("Customer Error: no value for 'k'", 2)
    "ClientError: no value for 'k', exit code: 2"
    """
    ending = f", exit code: {exit_code}"
    if exit_code == _CUSTOMER and said.startswith(_CUSTOMER_ERROR):
        said = said.removeprefix(_CUSTOMER_ERROR)
        return f"ClientError: {said[: LIMIT - len('ClientError: ') - len(ending)]}{ending}"
    room = LIMIT - len("AlgorithmError: ") - len(ending)
    head = f"AlgorithmError: {said[:room]}{ending}"
    if said:
        return head
    if how := killed_by(exit_code):
        head += f"\n{how}"
    return head + _last_lines(tail, LIMIT - len(head))


def client_error(what: str, why: str) -> str:
    """Say that data or outputs could not be moved: `what` is "Data download failed" or "Artifact upload failed"."""
    return f"ClientError: {what}:{why}"[:LIMIT]


def killed_by(exit_code: int) -> str:
    """Name the signal that an exit code of 128 + n stands for, "" when it stands for none."""
    try:
        number = signal.Signals(exit_code - 128)
    except ValueError:
        return ""
    return f"killed by signal {number.value} ({number.name})"


def _end_of_traceback(lines: Sequence[str]) -> int:
    """Give where the last traceback's exception has been told; the number of lines if there is no traceback."""
    # At the end of a line: before it may stand half a line of what was printed.
    start = max((at for at, line in enumerate(lines) if line.endswith(_TRACEBACK)), default=len(lines))
    told = (at for at in range(start + 1, len(lines)) if not lines[at].startswith(" "))
    return next(told, len(lines) - 1) + 1


def _last_lines(tail: Iterable[str], room: int) -> str:
    """As many of the last lines as fit, each after a line end; of a last line that is too long, its end.

    Of a Python program they end with its traceback where that would not be seen at all: what it had printed before, and
    not flushed, comes after it.
    """
    lines = [line for line in tail if line.strip()]
    end = _end_of_traceback(lines)
    if sum(len(line) + 1 for line in lines[end:]) >= room:
        lines = lines[:end]
    text = "".join(f"\n{line}" for line in lines)
    if len(text) <= room:
        return text
    _, whole, rest = text[-room:].partition("\n")
    return whole + rest if whole else f"\n{text[-(room - 1) :]}"
