"""The tape: what a program has written is on the disk, whoever is killed and whenever, and is found there once."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.agent.test_spool import no_file_beyond
from treadle.agent.tape import REST, Tape, left


@contextlib.contextmanager
def pipe() -> Iterator[tuple[int, int]]:
    out, into = os.pipe()
    os.set_blocking(out, False)
    try:
        yield out, into
    finally:
        os.close(out)
        os.close(into)


def found(directory: Path, position: int = 0) -> tuple[int, bytes]:
    first, _, pieces = left(directory, position)
    return first, b"".join(pieces)


def test_what_is_read_is_on_the_disk_already(tmp_path: Path) -> None:
    """The bytes come as they were written; nothing now is no end."""
    tape = Tape(tmp_path)
    with pipe() as (out, into):
        with pytest.raises(BlockingIOError):
            tape.read(out)
        os.write(into, b"one\ntw")
        assert tape.read(out) == b"one\ntw"
        assert found(tmp_path) == (0, b"one\ntw")
        assert found(tmp_path, 4) == (4, b"tw")
    tape.close()


def test_the_end_of_a_pipe(tmp_path: Path) -> None:
    """Is no byte."""
    tape = Tape(tmp_path)
    out, into = os.pipe()
    os.close(into)
    assert tape.read(out) == b""
    os.close(out)
    tape.close()


def test_only_the_last_of_it_is_kept(tmp_path: Path) -> None:
    """However much a program writes; what is kept is more than one piece."""
    tape = Tape(tmp_path, size=10)
    with pipe() as (out, into):
        for number in range(100):
            os.write(into, b"%03d " % number)
            tape.read(out)
    tape.close()
    first, data = found(tmp_path)
    assert 10 < len(data) <= 24
    assert (first, data[-8:]) == (400 - len(data), b"098 099 ")


def test_what_was_left_in_the_pipe_comes_last_and_once(tmp_path: Path) -> None:
    """To look again, as an agent does that comes after one that was killed while it looked, gives the same."""
    tape = Tape(tmp_path)
    with pipe() as (out, into):
        os.write(into, b"read")
        tape.read(out)
    tape.close()
    (tmp_path / REST).write_bytes(b" and not read")
    assert found(tmp_path) == found(tmp_path) == (0, b"read and not read")
    assert found(tmp_path, 9) == (9, b"not read")


def test_a_disk_without_room(tmp_path: Path) -> None:
    """The program is not held up: what cannot be kept is read all the same, and no file stays that has a hole."""
    tape = Tape(tmp_path, size=100)
    with pipe() as (out, into):
        os.write(into, b"kept")
        assert tape.read(out) == b"kept"
        with no_file_beyond(0):
            for _ in range(3):
                os.write(into, b"lost")
                assert tape.read(out) == b"lost"
        assert len(list(tmp_path.iterdir())) == 1
        os.write(into, b"again")
        assert tape.read(out) == b"again"
    tape.close()
    assert found(tmp_path) == (16, b"again")
    (tmp_path / REST).write_bytes(b"!")
    assert found(tmp_path, 16) == (16, b"again!")


def test_what_was_read_without_the_tape_is_not_found_twice(tmp_path: Path) -> None:
    """What is left in the pipe follows what has become lines, though the tape lacks some of that."""
    tape = Tape(tmp_path)
    with pipe() as (out, into):
        os.write(into, b"kept")
        tape.read(out)
    tape.close()
    (tmp_path / REST).write_bytes(b"rest")
    assert found(tmp_path, 10) == (10, b"rest")
    assert found(tmp_path, 14) == (14, b"")


def test_nothing_is_left(tmp_path: Path) -> None:
    """A program that has written nothing has left nothing."""
    assert found(tmp_path) == (0, b"")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)
@given(st.lists(st.binary(min_size=1, max_size=30), max_size=12), st.integers(0, 3))
def test_any_course(tmp_path: Path, written: list[bytes], unread: int) -> None:
    """What was read and what was not are all that was written, from where it is kept."""
    directory = tmp_path / str(len(list(tmp_path.iterdir())))
    directory.mkdir()
    tape = Tape(directory, size=40)
    whole = b"".join(written)
    with pipe() as (out, into):
        for number, piece in enumerate(written):
            os.write(into, piece)
            if number < len(written) - unread:
                assert tape.read(out) == piece
        with contextlib.suppress(BlockingIOError):
            (directory / REST).write_bytes(os.read(out, 1000))
    tape.close()
    first, data = found(directory)
    assert whole[first:] == data
    assert len(data) >= min(len(whole), 40)
