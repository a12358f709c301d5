"""The spool: everything is given out until it is acknowledged, once, in order, and within its limits."""

from __future__ import annotations

import contextlib
import resource
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from treadle.agent.spool import Spool
from treadle.seams import HostEvent, HostEventKind


def event(spool: Spool, kind: HostEventKind = "training") -> HostEvent:
    return HostEvent(seq=spool.next_seq, kind=kind, at=1.0)


def texts(spool: Spool) -> list[str]:
    batch = spool.batch()
    return [text for _, text in batch.lines] if batch else []


def test_until_acknowledged(tmp_path: Path) -> None:
    """Lines and events are given again until the control plane says that it has them."""
    spool = Spool(tmp_path)
    spool.add_event(event(spool))
    spool.add_lines([(1, "a"), (2, "b"), (3, "c")])
    assert texts(spool) == texts(spool) == ["a", "b", "c"]
    spool.acknowledge(0, 2)
    batch = spool.batch()
    assert batch is not None
    assert (batch.first, batch.lines) == (2, [(3, "c")])
    assert [each.seq for each in spool.events()] == [1]
    spool.acknowledge(1, 3)
    assert (spool.batch(), spool.events(), spool.pending) == (None, [], False)
    spool.close()


def test_an_old_acknowledgement_changes_nothing(tmp_path: Path) -> None:
    """Answers may overtake each other; one from beyond what there is does no harm."""
    spool = Spool(tmp_path)
    spool.add_lines([(1, "a"), (2, "b")])
    spool.acknowledge(0, 1)
    spool.acknowledge(0, 0)
    assert texts(spool) == ["b"]
    spool.acknowledge(9, 9)
    assert not spool.pending
    spool.add_lines([(3, "c")])
    assert texts(spool) == ["c"]
    spool.close()


def test_lines_that_the_control_plane_has_lost(tmp_path: Path) -> None:
    """Who has lost lines gets the next ones under the number that it expects, and a line that says what is missing."""
    spool = Spool(tmp_path)
    spool.add_lines([(1, "a"), (2, "b"), (3, "c")])
    spool.acknowledge(0, 2)
    spool.go_on_from(0, 9)
    batch = spool.batch()
    assert batch is not None
    assert (batch.first, [text for _, text in batch.lines]) == (
        0,
        ["c", "… 2 lines that stood before are lost: the control plane has them no more"],
    )
    spool.acknowledge(0, 1)
    spool.go_on_from(1, 9)
    assert texts(spool) == [batch.lines[1][1]]
    spool.acknowledge(0, 2)
    assert not spool.pending
    spool.close()


def test_ended_comes_last(tmp_path: Path) -> None:
    """The end is told only when every line has been taken."""
    spool = Spool(tmp_path)
    spool.add_lines([(1, "a")])
    spool.add_event(event(spool, "ended"))
    assert spool.events() == []
    spool.acknowledge(0, 1)
    assert [each.kind for each in spool.events()] == ["ended"]
    spool.close()


def test_on_disk(tmp_path: Path) -> None:
    """Events and lines can be read from the files; segments that have been taken are removed."""
    spool = Spool(tmp_path, segment_size=20)
    spool.add_event(event(spool))
    for number in range(4):
        spool.add_lines([(number, "0123456789")])
    assert msgspec.json.decode((tmp_path / "events.jsonl").read_bytes(), type=HostEvent).seq == 1
    assert len(list(tmp_path.glob("log-*.jsonl"))) == 2
    spool.acknowledge(0, 3)
    assert [each.name for each in tmp_path.glob("log-*.jsonl")] == ["log-000000000002.jsonl"]
    spool.acknowledge(0, 4)
    assert spool.batch() is None
    spool.close()


def taken_over(spool: Spool, directory: Path) -> Spool:
    """Give what the next agent has when the one that had the spool is killed."""
    spool.close()
    return Spool(directory, segment_size=40)


def test_the_next_agent_goes_on(tmp_path: Path) -> None:
    """It tells again what it cannot know to be told, under the same numbers; what follows has the next ones."""
    spool = Spool(tmp_path, segment_size=40)
    spool.add_event(event(spool))
    for number in range(6):
        spool.add_lines([(number, f"line {number}")], [10 * number])
    spool.acknowledge(1, 3)
    spool = taken_over(spool, tmp_path)
    assert (spool.next_seq, spool.position) == (2, 50)
    spool.add_lines([(6, "of its own")])
    batch = spool.batch()
    assert batch is not None
    assert batch.first <= 3
    told: dict[int, str] = {}
    while (batch := spool.batch()) is not None:
        told |= {batch.first + at: text for at, (_, text) in enumerate(batch.lines)}
        spool.acknowledge(1, batch.first + len(batch.lines))
    assert list(told.items())[-4:] == [(3, "line 3"), (4, "line 4"), (5, "line 5"), (6, "of its own")]
    assert (spool.pending, taken_over(spool, tmp_path).position) == (False, 50)


def test_the_next_agent_counts_what_was_lost(tmp_path: Path) -> None:
    """Lines that the control plane has lost do not count between it and the next agent, either."""
    spool = Spool(tmp_path)
    spool.add_lines([(1, "a"), (2, "b")])
    spool.acknowledge(0, 2)
    spool.go_on_from(0, 3)
    spool = taken_over(spool, tmp_path)
    batch = spool.batch()
    assert batch is not None
    assert (batch.first, len(batch.lines)) == (-2, 3)
    spool.acknowledge(0, 0)
    batch = spool.batch()
    assert batch is not None
    assert (batch.first, batch.lines[0][1][:12]) == (0, "… 2 lines th")
    spool.close()


@pytest.mark.parametrize("torn", [b"[3,", b'[3,"c",', b"\0\0\0\0\0\n", b'[3,1]\n[4,"d",0]\n'])
def test_what_a_crash_has_torn(tmp_path: Path, torn: bytes) -> None:
    """Half a line is as if it had not been written, in the log and among the events."""
    spool = Spool(tmp_path)
    spool.add_event(event(spool))
    spool.add_lines([(1, "a"), (2, "b")], [2, 4])
    for each in ("events.jsonl", "log-000000000000.jsonl"):
        with (tmp_path / each).open("ab") as file:
            file.write(torn)
    spool = taken_over(spool, tmp_path)
    spool.add_lines([(3, "c")])
    told = texts(spool)
    spool.acknowledge(0, 2)
    assert (told + texts(spool), len(spool.events()), spool.position) == (["a", "b", "c"], 1, 4)
    spool.close()


def test_limit(tmp_path: Path) -> None:
    """Beyond the limit lines are counted, and the log says how many are missing, where they are missing."""
    spool = Spool(tmp_path, limit=100, segment_size=40)
    for number in range(100):
        spool.add_lines([(number, f"line {number}")])
    kept = sum(each.stat().st_size for each in tmp_path.glob("log-*.jsonl"))
    assert kept < 150
    told: list[str] = []
    after: list[tuple[int, str]] = [(200, "again")]
    for more in ([], after):
        spool.add_lines(more)
        while lines := texts(spool):
            told += lines
            spool.acknowledge(0, len(told))
    dropped = 100 - (len(told) - 2)
    assert told[-2:] == [
        f"… {dropped} lines dropped: the control plane did not take them as fast as they were written",
        "again",
    ]
    spool.close()


def test_limit_at_the_end(tmp_path: Path) -> None:
    """Lines dropped last are said when the log is closed."""
    spool = Spool(tmp_path, limit=10)
    spool.add_lines([(1, "one that is long enough"), (2, "two")])
    spool.add_lines([(3, "three")])
    spool.close_log(4)
    assert texts(spool)[-1].startswith("… 1 lines dropped") or texts(spool)[-1].startswith("… 2 lines dropped")
    spool.close()


@contextlib.contextmanager
def no_file_beyond(size: int) -> Iterator[None]:
    """Let no file of this process grow beyond a size: a disk that is full in the middle of a write."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_disk_without_room(tmp_path: Path) -> None:
    """Lines that cannot be kept are counted; half a line never stays; with room again the log says what is missing."""
    spool = Spool(tmp_path)
    with no_file_beyond(250):
        for number in range(20):
            spool.add_lines([(number, f"line {number} of many")])
    spool.add_lines([(20, "again")])
    told = texts(spool)
    kept = len(told) - 2
    assert 0 < kept < 20
    assert told[:kept] == [f"line {number} of many" for number in range(kept)]
    assert told[kept:] == [f"… {20 - kept} lines dropped: the host could not keep them (File too large)", "again"]
    spool.close()


def test_a_disk_without_room_at_the_end(tmp_path: Path) -> None:
    """What cannot even be said of the log must not hold up the end of the job."""
    spool = Spool(tmp_path)
    with no_file_beyond(60):
        for number in range(9):
            spool.add_lines([(number, "one of the lines that are too many")])
        spool.close_log(9)
    spool.add_event(event(spool, "ended"))
    told = texts(spool)
    spool.acknowledge(0, len(told))
    assert [each.kind for each in spool.events()] == ["ended"]
    spool.close()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)
@given(st.data())
def test_any_course(tmp_path: Path, data: st.DataObject) -> None:
    """However adding and taking interleave, the control plane ends with every line once and in order."""
    directory = tmp_path / str(len(list(tmp_path.iterdir())))
    spool = Spool(directory, segment_size=50)
    added = taken = 0
    for _ in range(data.draw(st.integers(1, 15))):
        count = data.draw(st.integers(0, 6))
        spool.add_lines([(number, str(number)) for number in range(added, added + count)])
        added += count
        if (batch := spool.batch()) is not None:
            assert batch.first <= taken
            assert [at for at, _ in batch.lines] == list(range(batch.first, batch.first + len(batch.lines)))
            taken = max(taken, batch.first + data.draw(st.integers(0, len(batch.lines))))
            spool.acknowledge(0, taken)
    while (batch := spool.batch()) is not None:
        taken = batch.first + len(batch.lines)
        spool.acknowledge(0, taken)
    assert taken == added
    assert not spool.pending
    spool.close()
