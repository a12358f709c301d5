"""The Logs API: groups, streams, pages by position, and filters over streams."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from treadle.errors import ServiceError
from treadle.training.api.logs import LOG_GROUP, Line, logs_api
from treadle.training.api.operations import Caller, Values

CALLER = Caller("AKIAEXAMPLE", "000000000000", "us-east-1", "arn:aws:iam::000000000000:root")
ONE, TWO, OTHER = "job/algo-1-1", "job/algo-2-1", "other/algo-1-9"


@dataclass
class Logs:
    """Logs in memory."""

    kept: dict[str, list[Line]] = field(default_factory=dict)

    def streams(self, prefix: str) -> Sequence[tuple[str, int, int]]:
        times = {name: [at for at, _ in lines] for name, lines in self.kept.items() if name.startswith(prefix)}
        return [(name, *((times[name][0], times[name][-1]) if times[name] else (0, 0))) for name in sorted(times)]

    def lines(self, stream: str) -> Sequence[Line] | None:
        return self.kept.get(stream)


LOGS = Logs(
    {
        ONE: [(1000 + 10 * number, f"line {number}") for number in range(10)],
        TWO: [(1005, "second begins"), (1105, "second ends")],
        OTHER: [(5000, "another job")],
        "waiting/algo-1-1": [],
    }
)


async def _call(operation: str, logs: Logs = LOGS, **values: Any) -> Values:
    """Call an operation as the application does: input checked, output in the shape of the model."""
    api = logs_api(logs)
    model = api.model.operation(operation)
    output = await api.operations[operation](model.input.accept(values), CALLER)
    assert model.output is not None
    assert output is not None
    written = model.output.write(output)
    assert written == output
    return written


def _texts(page: Values) -> list[str]:
    return [event["message"] for event in page["events"]]


async def _events(logs: Logs = LOGS, **values: Any) -> Values:
    return await _call("GetLogEvents", logs, **{"logGroupName": LOG_GROUP, "logStreamName": ONE} | values)


async def _refusal(operation: str, **values: Any) -> str:
    with pytest.raises(ServiceError) as caught:
        await _call(operation, **values)
    return f"{caught.value.code}: {caught.value.message}"


async def test_there_is_one_group() -> None:
    """The group of training jobs is found by its prefix or a part of its name, and no other is."""
    found = (await _call("DescribeLogGroups", logGroupNamePrefix="/aws/sage"))["logGroups"]
    assert [(group["logGroupName"], group["creationTime"]) for group in found] == [(LOG_GROUP, 1000)]
    assert found[0]["arn"] == f"arn:aws:logs:us-east-1:000000000000:log-group:{LOG_GROUP}:*"
    assert (await _call("DescribeLogGroups", logGroupNamePattern="trainingjobs"))["logGroups"] == found
    arn = f"arn:aws:logs:us-east-1:000000000000:log-group:{LOG_GROUP}"
    assert (await _call("DescribeLogGroups", logGroupIdentifiers=["x", arn]))["logGroups"] == found
    for other in (
        {"logGroupNamePrefix": "/aws/lambda"},
        {"logGroupIdentifiers": ["/aws/lambda/x"]},
        {"logGroupClass": "INFREQUENT_ACCESS"},
    ):
        assert await _call("DescribeLogGroups", **other) == {"logGroups": []}


async def test_streams_of_a_job_in_the_order_of_their_names() -> None:
    """The call of the SageMaker SDK finds the streams of one job; one without lines has no times."""
    found = await _call(
        "DescribeLogStreams", logGroupName=LOG_GROUP, logStreamNamePrefix="job/", orderBy="LogStreamName"
    )
    streams = found["logStreams"]
    assert [stream["logStreamName"] for stream in streams] == [ONE, TWO]
    assert (streams[0]["firstEventTimestamp"], streams[0]["lastEventTimestamp"]) == (1000, 1090)
    (waiting,) = (await _call("DescribeLogStreams", logGroupName=LOG_GROUP, logStreamNamePrefix="w"))["logStreams"]
    assert "firstEventTimestamp" not in waiting


@pytest.mark.parametrize(
    ("options", "want"),
    [
        ({}, [ONE, TWO, OTHER, "waiting/algo-1-1"]),
        ({"descending": True}, ["waiting/algo-1-1", OTHER, TWO, ONE]),
        ({"orderBy": "LastEventTime", "descending": True}, [OTHER, TWO, ONE, "waiting/algo-1-1"]),
    ],
)
async def test_streams_come_in_pages(options: dict[str, Any], want: list[str]) -> None:
    """Every stream comes once, in order, and the last page has no token."""
    names: list[str] = []
    token: dict[str, Any] = {}
    while True:
        page = await _call("DescribeLogStreams", logGroupName=LOG_GROUP, limit=1, **options, **token)
        names += [stream["logStreamName"] for stream in page["logStreams"]]
        if "nextToken" not in page:
            break
        token = {"nextToken": page["nextToken"]}
    assert names == want


@pytest.mark.parametrize(
    ("operation", "values", "want"),
    [
        (
            "DescribeLogStreams",
            {"logGroupName": "/aws/lambda/x"},
            "ResourceNotFoundException: The specified log group does not exist.",
        ),
        (
            "GetLogEvents",
            {"logGroupName": LOG_GROUP, "logStreamName": "nope"},
            "ResourceNotFoundException: The specified log stream does not exist.",
        ),
        (
            "FilterLogEvents",
            {"logGroupName": LOG_GROUP, "logStreamNames": ["nope"]},
            "ResourceNotFoundException: The specified log stream does not exist.",
        ),
        (
            "DescribeLogStreams",
            {"logGroupName": LOG_GROUP, "logStreamNamePrefix": "a", "orderBy": "LastEventTime"},
            "InvalidParameterException: Cannot order by LastEventTime with a logStreamNamePrefix.",
        ),
        ("DescribeLogStreams", {}, "InvalidParameterException: Exactly one of logGroupName and logGroupIdentifier"),
        (
            "GetLogEvents",
            {"logGroupName": LOG_GROUP, "logStreamName": ONE, "nextToken": "f/x"},
            "InvalidParameterException: The specified nextToken is invalid.",
        ),
        (
            "FilterLogEvents",
            {"logGroupName": LOG_GROUP, "nextToken": "ü!"},
            "InvalidParameterException: The specified nextToken is invalid.",
        ),
        (
            "FilterLogEvents",
            {"logGroupName": LOG_GROUP, "filterPattern": '{ $.level = "ERROR" }'},
            "InvalidParameterException: Invalid filter pattern",
        ),
        (
            "FilterLogEvents",
            {"logGroupName": LOG_GROUP, "filterPattern": "%(%"},
            "InvalidParameterException: Invalid filter pattern: '(' is no regular expression",
        ),
    ],
)
async def test_a_wrong_question_is_refused(operation: str, values: Values, want: str) -> None:
    """Each fault has the code that clients of CloudWatch Logs look for."""
    assert (await _refusal(operation, **values)).startswith(want)


async def test_a_group_can_be_named_by_its_arn() -> None:
    """`logGroupIdentifier` takes the name or the ARN."""
    arn = f"arn:aws:logs:us-east-1:000000000000:log-group:{LOG_GROUP}"
    for identifier in (LOG_GROUP, arn):
        assert len((await _call("DescribeLogStreams", logGroupIdentifier=identifier))["logStreams"]) == 4


async def test_the_end_of_a_stream_gives_its_own_token_again() -> None:
    """A reader that gets the token it sent is at the end; later lines come with the same token."""
    logs = Logs({ONE: [(1, "a"), (2, "b")]})
    first = await _events(logs, startFromHead=True)
    assert _texts(first) == ["a", "b"]
    again = await _events(logs, startFromHead=True, nextToken=first["nextForwardToken"])
    assert (again["events"], again["nextForwardToken"]) == ([], first["nextForwardToken"])
    logs.kept[ONE].append((3, "c"))
    later = await _events(logs, startFromHead=True, nextToken=first["nextForwardToken"])
    assert _texts(later) == ["c"]


async def test_without_start_from_head_the_latest_lines_come_first() -> None:
    """Pages go backwards, each in the order of time, until the token stays the same."""
    page = await _events(limit=4)
    assert _texts(page) == ["line 6", "line 7", "line 8", "line 9"]
    page = await _events(limit=4, nextToken=page["nextBackwardToken"])
    assert _texts(page) == ["line 2", "line 3", "line 4", "line 5"]
    forward = await _events(limit=4, nextToken=page["nextForwardToken"])
    assert _texts(forward) == ["line 6", "line 7", "line 8", "line 9"]
    page = await _events(limit=4, nextToken=page["nextBackwardToken"])
    assert _texts(page) == ["line 0", "line 1"]
    last = await _events(limit=4, nextToken=page["nextBackwardToken"])
    assert (last["events"], last["nextBackwardToken"]) == ([], page["nextBackwardToken"])


async def test_a_window_of_time_includes_its_start_and_not_its_end() -> None:
    """`startTime` counts in, `endTime` out; events carry their times."""
    page = await _events(startTime=1020, endTime=1040, startFromHead=True)
    assert page["events"] == [
        {"timestamp": 1020, "message": "line 2", "ingestionTime": 1020},
        {"timestamp": 1030, "message": "line 3", "ingestionTime": 1030},
    ]


async def test_a_page_has_at_most_a_megabyte() -> None:
    """Long lines make short pages, and a line that is longer than a page still comes."""
    logs = Logs({ONE: [(1, "x" * 600_000), (2, "y" * 600_000), (3, "z" * 2_000_000), (4, "end")]})
    token: dict[str, str] = {}
    pages = []
    for _ in range(4):
        page = await _events(logs, startFromHead=True, **token)
        pages.append([text[:1] for text in _texts(page)])
        token = {"nextToken": page["nextForwardToken"]}
    assert pages == [["x"], ["y"], ["z"], ["e"]]


@given(
    lines=st.lists(st.tuples(st.integers(1, 20), st.sampled_from("abc")), max_size=12),
    limit=st.integers(1, 4),
    start=st.integers(0, 20),
    head=st.booleans(),
)
async def test_pages_together_are_the_whole_stream(lines: list[Line], limit: int, start: int, head: bool) -> None:
    """In either direction, with any limit and any clock, each wanted line comes exactly once."""
    logs = Logs({ONE: lines})
    pages: list[list[str]] = []
    token: dict[str, str] = {}
    while True:
        page = await _events(logs, startFromHead=head, limit=limit, startTime=start, **token)
        pages.append(_texts(page))
        following = page["nextForwardToken" if head else "nextBackwardToken"]
        if token.get("nextToken") == following:
            break
        token = {"nextToken": following}
    ordered = pages if head else pages[::-1]
    assert [text for texts in ordered for text in texts] == [text for at, text in lines if at >= start]


async def test_events_of_all_streams_come_in_the_order_of_time() -> None:
    """FilterLogEvents merges the streams of a job; identifiers are stable and different."""
    first = await _call("FilterLogEvents", logGroupName=LOG_GROUP, logStreamNamePrefix="job/")
    assert _texts(first)[:3] == ["line 0", "second begins", "line 1"]
    assert _texts(first)[-1] == "second ends"
    ids = [event["eventId"] for event in first["events"]]
    assert len(set(ids)) == 12
    assert {len(each) for each in ids} == {56}
    assert first == await _call("FilterLogEvents", logGroupName=LOG_GROUP, logStreamNames=[TWO, ONE])


@given(
    one=st.lists(st.tuples(st.integers(1, 9), st.sampled_from("ab")), max_size=6),
    two=st.lists(st.tuples(st.integers(1, 9), st.sampled_from("ab")), max_size=6),
    limit=st.integers(1, 5),
)
async def test_filtered_pages_together_are_everything(one: list[Line], two: list[Line], limit: int) -> None:
    """With any limit each matching line of each stream comes exactly once, and the last page has no token."""
    logs = Logs({ONE: one, TWO: two})
    seen: list[tuple[str, str]] = []
    token: dict[str, str] = {}
    while True:
        page = await _call("FilterLogEvents", logs, logGroupName=LOG_GROUP, filterPattern="a", limit=limit, **token)
        seen += [(event["logStreamName"], event["message"]) for event in page["events"]]
        if "nextToken" not in page:
            break
        token = {"nextToken": page["nextToken"]}
    assert sorted(seen) == sorted([(ONE, t) for _, t in one if t == "a"] + [(TWO, t) for _, t in two if t == "a"])


@pytest.mark.parametrize(
    ("pattern", "want"),
    [
        ("", ["INFO ok", "ERROR disk full", "ERROR timeout", 'say "hi"']),
        ("  ", ["INFO ok", "ERROR disk full", "ERROR timeout", 'say "hi"']),
        ("ERROR", ["ERROR disk full", "ERROR timeout"]),
        ("error", []),
        ("ERROR full", ["ERROR disk full"]),
        ('"disk full"', ["ERROR disk full"]),
        ("ERROR -timeout", ["ERROR disk full"]),
        ("?timeout ?ok", ["INFO ok", "ERROR timeout"]),
        ("%^ERROR t%", ["ERROR timeout"]),
        (r'"say \"hi\""', ['say "hi"']),
    ],
)
async def test_filter_patterns(pattern: str, want: list[str]) -> None:
    """Terms, phrases, exclusions, alternatives and expressions choose lines."""
    texts = ["INFO ok", "ERROR disk full", "ERROR timeout", 'say "hi"']
    logs = Logs({ONE: [(number, text) for number, text in enumerate(texts, 1)]})
    assert _texts(await _call("FilterLogEvents", logs, logGroupName=LOG_GROUP, filterPattern=pattern)) == want
