"""The CloudWatch Logs operations that read the logs of training jobs.

There is one log group, and a stream per host of a job. A page of a stream is named by positions in it, so a token is
good for as long as the stream is: the token that a reader gets at the end of a stream is the one that it came with, and
gives what was added since.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import heapq
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final, Protocol, TypeAlias

import msgspec

from treadle.aws.shapes import load_service
from treadle.errors import ServiceError
from treadle.training.api.operations import Api, Caller, Handler, Values

__all__ = ["LOG_GROUP", "LogReader", "logs_api"]

LOG_GROUP: Final = "/aws/sagemaker/TrainingJobs"

Line: TypeAlias = tuple[int, str]
"""When, in Unix milliseconds, and the text without its line end."""

# The limits of a page: events, and bytes with what AWS counts for each event beside its text.
_MOST_EVENTS: Final = 10_000
_MOST_BYTES: Final = 1_048_576
_EVENT_OVERHEAD: Final = 26
_STREAMS_PER_PAGE: Final = 50
_INVALID: Final = "InvalidParameterException"


class LogReader(Protocol):
    """Where the logs come from. Called in threads: it may read files."""

    def streams(self, prefix: str) -> Sequence[tuple[str, int, int]]:
        """Give the streams whose name starts with `prefix`, sorted by name.

        Each with the times of its first and its last line in Unix milliseconds; 0 and 0 when it has none.
        """
        ...

    def lines(self, stream: str) -> Sequence[Line] | None:
        """Give the lines of a stream, oldest first, or None when there is no such stream."""
        ...


def logs_api(reader: LogReader) -> Api:
    """Give the Logs API over a reader."""
    model = load_service("logs")

    # The work reads files and goes through many lines: not on the loop.
    def handler(work: Callable[[LogReader, Values, Caller], Values]) -> Handler:
        async def handle(values: Values, caller: Caller) -> Values:
            return await asyncio.to_thread(work, reader, values, caller)

        return handle

    return Api(
        name="logs",
        target_prefix=model.target_prefix,
        model=model,
        operations={
            "DescribeLogGroups": handler(_describe_log_groups),
            "DescribeLogStreams": handler(_describe_log_streams),
            "FilterLogEvents": handler(_filter_log_events),
            "GetLogEvents": handler(_get_log_events),
        },
        invalid=_INVALID,
    )


# ---------------------------------------------------------------------------------------------------------------------
# Groups and streams
# ---------------------------------------------------------------------------------------------------------------------


def _describe_log_groups(reader: LogReader, values: Values, caller: Caller) -> Values:
    prefix, pattern = values.get("logGroupNamePrefix", ""), values.get("logGroupNamePattern", "")
    if prefix and pattern:
        raise _invalid("LogGroup name prefix and LogGroup name pattern are mutually exclusive parameters.")
    named = [_group(each) for each in values.get("logGroupIdentifiers") or (LOG_GROUP,)]
    standard = values.get("logGroupClass", "STANDARD") == "STANDARD"
    if not (LOG_GROUP.startswith(prefix) and pattern.lower() in LOG_GROUP.lower() and LOG_GROUP in named and standard):
        return {"logGroups": []}
    arn = _arn(caller)
    first = [first for _, first, _ in reader.streams("") if first]
    group = {
        "logGroupName": LOG_GROUP,
        "creationTime": min(first, default=0),
        "metricFilterCount": 0,
        "arn": f"{arn}:*",
        "logGroupArn": arn,
        "storedBytes": 0,
        "logGroupClass": "STANDARD",
    }
    return {"logGroups": [group]}


def _describe_log_streams(reader: LogReader, values: Values, caller: Caller) -> Values:
    _check_group(values)
    prefix = values.get("logStreamNamePrefix", "")
    by_time = values.get("orderBy", "LogStreamName") == "LastEventTime"
    if by_time and prefix:
        raise _invalid("Cannot order by LastEventTime with a logStreamNamePrefix.")
    descending = values.get("descending", False)
    streams = {(last if by_time else 0, name): (name, first, last) for name, first, last in reader.streams(prefix)}
    keys = sorted(streams, reverse=descending)
    if token := values.get("nextToken"):
        after = _read_token(token, tuple[int, str])
        keys = [key for key in keys if (key < after if descending else key > after)]
    limit = values.get("limit", _STREAMS_PER_PAGE)
    answer: Values = {"logStreams": [_stream(*streams[key], caller) for key in keys[:limit]]}
    if len(keys) > limit:
        answer["nextToken"] = _token(keys[limit - 1])
    return answer


def _stream(name: str, first: int, last: int, caller: Caller) -> Values:
    stream: Values = {"logStreamName": name, "arn": f"{_arn(caller)}:log-stream:{name}", "storedBytes": 0}
    if last:
        stream |= {"firstEventTimestamp": first, "lastEventTimestamp": last, "lastIngestionTime": last}
    return stream | {"creationTime": first}


def _arn(caller: Caller) -> str:
    return f"arn:aws:logs:{caller.region}:{caller.account}:log-group:{LOG_GROUP}"


def _check_group(values: Values) -> None:
    name, identifier = values.get("logGroupName"), values.get("logGroupIdentifier")
    if (name is None) == (identifier is None):
        raise _invalid("Exactly one of logGroupName and logGroupIdentifier must be specified.")
    if identifier is not None:
        name = _group(identifier)
    if name != LOG_GROUP:
        raise ServiceError("ResourceNotFoundException", "The specified log group does not exist.")


def _group(identifier: str) -> str:
    """Give the name of a group: of an identifier that is it, or the ARN that ends in it."""
    return identifier.removesuffix(":*").rpartition(":log-group:")[2]


def _lines(reader: LogReader, stream: str) -> Sequence[Line]:
    lines = reader.lines(stream)
    if lines is None:
        raise ServiceError("ResourceNotFoundException", "The specified log stream does not exist.")
    return lines


# ---------------------------------------------------------------------------------------------------------------------
# GetLogEvents: one stream, by position
# ---------------------------------------------------------------------------------------------------------------------

_POSITION: Final = re.compile(r"([fb])/([0-9]{1,56})/s")


def _get_log_events(reader: LogReader, values: Values, _caller: Caller) -> Values:
    _check_group(values)
    lines = _lines(reader, values["logStreamName"])
    wanted = _window(values)
    limit = values.get("limit", _MOST_EVENTS)
    forward, position = values.get("startFromHead", False), None
    if token := values.get("nextToken"):
        found = _POSITION.fullmatch(token)
        if found is None:
            raise _invalid("The specified nextToken is invalid.")
        forward, position = found[1] == "f", min(int(found[2]), len(lines))
    if forward:
        start = position or 0
        page, end = _page(lines, range(start, len(lines)), wanted, limit)
        end += 1
    else:
        end = len(lines) if position is None else position
        page, start = _page(lines, range(end - 1, -1, -1), wanted, limit)
        page.reverse()
    return {
        "events": [{"timestamp": at, "message": text, "ingestionTime": at} for at, text in page],
        "nextForwardToken": f"f/{end:056d}/s",
        "nextBackwardToken": f"b/{start:056d}/s",
    }


def _page(lines: Sequence[Line], positions: range, wanted: Callable[[int], bool], limit: int) -> tuple[list[Line], int]:
    """Take wanted lines until the page is full; also give the last position that the page accounts for."""
    page: list[Line] = []
    size = 0
    reached = positions.start - positions.step
    for position in positions:
        at, text = lines[position]
        if wanted(at):
            size += _size(text)
            if page and (len(page) >= limit or size > _MOST_BYTES):
                break
            page.append((at, text))
        reached = position
    return page, reached


def _size(text: str) -> int:
    return len(text.encode("utf-8", "replace")) + _EVENT_OVERHEAD


def _window(values: Values) -> Callable[[int], bool]:
    """Give the test of a time: from `startTime` on, and before `endTime`."""
    start, end = values.get("startTime", 0), values.get("endTime")
    return lambda at: at >= start and (end is None or at < end)


# ---------------------------------------------------------------------------------------------------------------------
# FilterLogEvents: many streams, by time
# ---------------------------------------------------------------------------------------------------------------------

# Time, stream and position: the order of events over all streams, and what the next page comes after.
_Key: TypeAlias = tuple[int, str, int]


def _filter_log_events(reader: LogReader, values: Values, _caller: Caller) -> Values:
    _check_group(values)
    names, prefix = values.get("logStreamNames"), values.get("logStreamNamePrefix")
    if names is not None and prefix is not None:
        raise _invalid("logStreamNames and logStreamNamePrefix cannot be specified together.")
    chosen = names if names is not None else [name for name, _, _ in reader.streams(prefix or "")]
    matches = _filter(values.get("filterPattern", ""))
    after = _read_token(values["nextToken"], tuple[int, str, int]) if "nextToken" in values else None
    wanted = _window(values)
    limit = values.get("limit", _MOST_EVENTS)
    events: list[Values] = []
    size = 0
    more = False
    last: _Key | None = None
    for key, at, text in heapq.merge(*[_keyed(name, _lines(reader, name)) for name in sorted(set(chosen))]):
        if (after is not None and key <= after) or not wanted(at) or not matches(text):
            continue
        size += _size(text)
        more = bool(events) and (len(events) >= limit or size > _MOST_BYTES)
        if more:
            break
        last = key
        events.append(
            {"logStreamName": key[1], "timestamp": at, "message": text, "ingestionTime": at, "eventId": _event_id(key)}
        )
    answer: Values = {"events": events, "searchedLogStreams": []}
    if more:
        answer["nextToken"] = _token(last)
    return answer


def _keyed(stream: str, lines: Sequence[Line]) -> Iterator[tuple[_Key, int, str]]:
    """Give the lines with their keys; a clock that was set back does not put a line before its predecessor."""
    latest = 0
    for position, (at, text) in enumerate(lines):
        latest = max(latest, at)
        yield (latest, stream, position), at, text


def _event_id(key: _Key) -> str:
    """Give 56 digits, as AWS does: the same for the same line every time, and in the order of the lines."""
    at, stream, position = key
    which = int.from_bytes(sha256(stream.encode()).digest()[:8], "big")
    return f"{at:020d}{which:020d}{position:016d}"


@dataclass(frozen=True, slots=True)
class _Terms:
    """An unstructured filter pattern: all of `wanted`, none of `refused`, and one of `optional` if there are any."""

    wanted: tuple[Callable[[str], bool], ...]
    refused: tuple[Callable[[str], bool], ...]
    optional: tuple[Callable[[str], bool], ...]

    def __call__(self, text: str) -> bool:
        return (
            all(term(text) for term in self.wanted)
            and not any(term(text) for term in self.refused)
            and (not self.optional or any(term(text) for term in self.optional))
        )


_TERM: Final = re.compile(r'\s*([-?]?)(?:"((?:[^"\\]|\\.)*)"|%([^%]+)%|([^\s"%]+))(?:\s+|$)')


def _filter(pattern: str) -> Callable[[str], bool]:
    """Compile a filter pattern of terms ("Filter pattern syntax", CloudWatch Logs User Guide).

    Patterns over JSON members and over columns are refused: nothing here logs in such a form.
    """
    kinds: dict[str, list[Callable[[str], bool]]] = {"": [], "-": [], "?": []}
    position = 0
    while position < len(pattern.rstrip()):
        found = _TERM.match(pattern, position)
        if found is None or pattern.lstrip()[:1] in {"{", "["}:
            raise _invalid("Invalid filter pattern: terms, quoted phrases, -term, ?term and %expression% can be used.")
        sign, phrase, expression, word = found.groups()
        kinds[sign].append(_expression(expression) if expression else _word(phrase if word is None else word))
        position = found.end()
    return _Terms(tuple(kinds[""]), tuple(kinds["-"]), tuple(kinds["?"]))


def _word(word: str) -> Callable[[str], bool]:
    plain = re.sub(r"\\(.)", r"\1", word)
    return lambda text: plain in text


def _expression(expression: str) -> Callable[[str], bool]:
    # Only this needs it.
    import re2

    options = re2.Options()
    options.log_errors = False
    try:
        compiled = re2.compile(expression, options)
    except re2.error as error:
        raise _invalid(f"Invalid filter pattern: {expression!r} is no regular expression: {error}") from None
    return lambda text: compiled.search(text) is not None


# ---------------------------------------------------------------------------------------------------------------------
# Tokens
# ---------------------------------------------------------------------------------------------------------------------


def _token(key: Any) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(key)).decode("ascii")


def _read_token(token: str, kind: Any) -> Any:
    try:
        return msgspec.json.decode(base64.b64decode(token, altchars=b"-_", validate=True), type=kind)
    except (binascii.Error, ValueError, msgspec.DecodeError):
        raise _invalid("The specified nextToken is invalid.") from None


def _invalid(message: str) -> ServiceError:
    return ServiceError(_INVALID, message)
