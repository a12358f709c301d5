"""The logs of jobs: complete, in order, each line once, whatever is sent twice and whoever is killed."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from treadle.errors import StoreError
from treadle.seams import LogBatch
from treadle.training.logs_store import ServiceLogs, _line, _parsed

STREAM = "j/algo-1-100"


def batch(first: int, *texts: str) -> LogBatch:
    return LogBatch(first=first, lines=[(1000 + first + n, text) for n, text in enumerate(texts)])


def texts(logs: ServiceLogs, stream: str = STREAM) -> list[str]:
    return [text for _, text in logs.lines(stream) or ()]


@pytest.fixture
def logs(tmp_path: Path) -> ServiceLogs:
    return ServiceLogs(tmp_path / "logs")


def test_lines_come_back_with_their_times(logs: ServiceLogs) -> None:
    """What was appended is read, by index, slice and iteration."""
    assert logs.append("j", "algo-1", 100, 1, batch(0, "a", "b")) == 2
    assert logs.append("j", "algo-1", 100, 1, batch(2, "c")) == 3
    found = logs.lines(STREAM)
    assert found is not None
    assert list(found) == [(1000, "a"), (1001, "b"), (1002, "c")]
    assert (found[1], found[-1], found[1:], len(found)) == ((1001, "b"), (1002, "c"), [(1001, "b"), (1002, "c")], 3)
    assert logs.streams("") == [(STREAM, 1000, 1002)]


def test_a_sequence_does_not_change_while_the_log_grows(logs: ServiceLogs) -> None:
    """A reader pages through what it was given."""
    logs.append("j", "algo-1", 100, 1, batch(0, "a"))
    before = logs.lines(STREAM)
    logs.append("j", "algo-1", 100, 1, batch(1, "b"))
    assert before is not None
    assert list(before) == [(1000, "a")]
    assert texts(logs) == ["a", "b"]


@pytest.mark.parametrize(
    ("sent", "count", "stored"),
    [
        pytest.param(batch(0, "a", "b"), 2, ["a", "b"], id="again"),
        pytest.param(batch(1, "b", "c"), 3, ["a", "b", "c"], id="overlaps"),
        pytest.param(batch(3, "d"), 2, ["a", "b"], id="a gap is not taken"),
        pytest.param(batch(0, "a"), 2, ["a", "b"], id="older"),
        pytest.param(None, 2, ["a", "b"], id="nothing"),
    ],
)
def test_lines_are_stored_once(tmp_path: Path, sent: LogBatch, count: int, stored: list[str]) -> None:
    """By their number, also after the service was started again."""
    ServiceLogs(tmp_path).append("j", "algo-1", 100, 1, batch(0, "a", "b"))
    for logs in (ServiceLogs(tmp_path), ServiceLogs(tmp_path)):
        assert logs.append("j", "algo-1", 100, 1, sent) == count
        assert texts(logs) == stored


def test_notices_begin_a_stream_and_are_not_counted(logs: ServiceLogs) -> None:
    """The service says something first; the program's lines keep their numbers."""
    assert logs.append("j", "algo-1", 100, 1, None, [(5, "capped")]) == 0
    assert logs.append("j", "algo-1", 100, 1, batch(0, "a"), [(5, "capped")]) == 1
    assert texts(logs) == ["capped", "a"]


def test_attempts_of_the_same_second_have_their_own_streams(tmp_path: Path) -> None:
    """No line of a later attempt is taken for one of the first, after a restart neither."""
    ServiceLogs(tmp_path).append("j", "algo-1", 100, 1, batch(0, "one"))
    assert ServiceLogs(tmp_path).append("j", "algo-1", 100, 2, batch(0, "two")) == 1
    logs = ServiceLogs(tmp_path)
    assert logs.append("j", "algo-1", 100, 2, batch(0, "two", "more")) == 2
    assert texts(logs) == ["one"]
    assert texts(logs, "j/algo-1-101") == ["two", "more"]


def test_half_a_line_is_cut_off(tmp_path: Path) -> None:
    """What a killed writer left is not shown, and what follows does not stick to it."""
    ServiceLogs(tmp_path).append("j", "algo-1", 100, 1, batch(0, "a"))
    path = tmp_path / "j" / "algo-1-100.log"
    with path.open("ab") as file:
        file.write(b"1001 ha")
    logs = ServiceLogs(tmp_path)
    assert texts(logs) == ["a"]
    assert logs.append("j", "algo-1", 100, 1, batch(1, "b")) == 2
    assert texts(logs) == ["a", "b"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_no_text_breaks_a_line(text: str) -> None:
    """Any text comes back as it was, and its line has no line end inside."""
    raw = _line(12, b" ", text)
    assert raw.count(b"\n") == 1
    assert _parsed(raw.removesuffix(b"\n")) == (12, text)


def test_a_lone_surrogate_does_not_stop_a_log(logs: ServiceLogs) -> None:
    """It is written as an escape."""
    assert logs.append("j", "algo-1", 100, 1, batch(0, "a\ud800")) == 1


def test_a_prefix_chooses_streams(logs: ServiceLogs) -> None:
    """As `<job>/` and as any beginning of a name; names with wildcards mean themselves."""
    for job, host in (("j", "algo-1"), ("j", "algo-2"), ("jj", "algo-1"), ("k", "algo-1")):
        logs.append(job, host, 100, 1, batch(0, "a"))
    assert [name for name, _, _ in logs.streams("j/")] == ["j/algo-1-100", "j/algo-2-100"]
    assert [name for name, _, _ in logs.streams("j")] == ["j/algo-1-100", "j/algo-2-100", "jj/algo-1-100"]
    assert [name for name, _, _ in logs.streams("j/algo-2")] == ["j/algo-2-100"]
    assert logs.streams("*") == []
    assert logs.streams("../") == []


@pytest.mark.parametrize("stream", ["x/y", "j", "", "j/", "../j/algo-1-100", "j/../j/algo-1-100", "\0/a"])
def test_a_stream_that_is_not_there_is_none(logs: ServiceLogs, stream: str) -> None:
    """No name leads out of the logs."""
    logs.append("j", "algo-1", 100, 1, batch(0, "a"))
    assert logs.lines(stream) is None


def test_an_empty_stream_has_no_times(logs: ServiceLogs) -> None:
    """It is there as soon as the agent has reported, with nothing in it."""
    logs.append("j", "algo-1", 100, 1, None)
    assert logs.streams("") == [(STREAM, 0, 0)]


def test_a_log_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    """It names the job and what to do."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="The log of the job j cannot be written"):
        ServiceLogs(tmp_path / "file").append("j", "algo-1", 100, 1, batch(0, "a"))


def test_forgetting_changes_nothing_on_the_disk(logs: ServiceLogs) -> None:
    """The next write looks at the file again."""
    logs.append("j", "algo-1", 100, 1, batch(0, "a"))
    logs.forget("j")
    assert logs.append("j", "algo-1", 100, 1, batch(0, "a", "b")) == 2
