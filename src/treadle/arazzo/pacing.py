"""When to try again: the pace of polls, `retryAfter`, `Retry-After`, and the backoff of passing faults.

Pure functions. Times are Unix seconds, waits are seconds, `jitter` is a random number in [0, 1) that comes in from
outside, so that a run can be replayed.
"""

from __future__ import annotations

import ipaddress
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Final, Literal, NamedTuple
from urllib.parse import urlsplit

from treadle.seams import Answer, Json

__all__ = [
    "Pause",
    "backoff",
    "is_loopback",
    "is_throttled",
    "patience",
    "pause",
    "poll_floor",
    "poll_wait",
    "retry_after",
]

POLL_SHARE: Final = 0.05
POLL_CEILING: Final = 30.0
FLOOR_LOOPBACK: Final = 0.2
FLOOR_ELSEWHERE: Final = 1.0
_JITTER: Final = 0.1

# A server that asks for more is not obeyed blindly: the run would look dead. An hour is what rate limits ask at most.
RETRY_AFTER_CAP: Final = 3600.0

BACKOFF_FIRST: Final = 0.2
BACKOFF_CEILING: Final = 30.0

# How long a passing fault may go on before it counts. A loop waits for something that lasts hours, so an outage of
# minutes must not end it; a first request that nothing answers is more likely a wrong address, and the user waits.
PATIENCE_IN_LOOP: Final = 3600.0
PATIENCE_THROTTLED: Final = 120.0
PATIENCE_ELSEWHERE: Final = 3.0


def poll_floor(url: str) -> float:
    """Give the shortest wait between two polls of this address."""
    return FLOOR_LOOPBACK if is_loopback(url) else FLOOR_ELSEWHERE


def poll_wait(in_loop: float, floor: float, jitter: float) -> float:
    """Give the wait before the next visit of a loop that has gone on for `in_loop` seconds.

    The end is noticed about 5 % late and never more than 33 s; requests grow with the logarithm of the time for ten
    minutes, then two a minute.

    >>> [poll_wait(t, 0.2, 0.0) for t in (0, 60, 3600)]
    [0.2, 3.0, 30.0]
    """
    return min(max(POLL_SHARE * in_loop, floor), POLL_CEILING) * (1 + _JITTER * jitter)


class Pause(NamedTuple):
    """When to come back, a Unix time, and why then."""

    until: float
    why: Literal["poll", "Retry-After"]


def pause(answer: Answer | None, now: float, *, since: float, url: str, poll: float | None, jitter: float) -> Pause:
    """Give the pause of a loop that was entered at `since` and asks `url`: `poll` seconds, else what is due.

    >>> pause(None, 100.0, since=40.0, url="http://127.0.0.1/", poll=None, jitter=0.0)
    Pause(until=103.0, why='poll')
    """
    if poll is not None:
        return Pause(now + poll, "poll")
    asked = retry_after(answer, now)
    if asked is not None:
        return Pause(now + asked, "Retry-After")
    floor = poll_floor(url) if url else FLOOR_LOOPBACK
    return Pause(now + poll_wait(now - since, floor, jitter), "poll")


def retry_after(answer: Answer | None, now: float) -> float | None:
    """Give the seconds that a `Retry-After` header asks for (both forms of RFC 9110 §10.2.3), capped, or None.

    >>> retry_after(Answer(503, (("Retry-After", "7"),)), now=0)
    7.0
    >>> retry_after(Answer(503, (("retry-after", "Thu, 01 Jan 1970 00:01:00 GMT"),)), now=50)
    10.0
    """
    value = answer.header("Retry-After") if answer else None
    if value is None:
        return None
    seconds = float(value) if value.strip().isascii() and value.strip().isdigit() else _until(value, now)
    return None if seconds is None else min(max(0.0, seconds), RETRY_AFTER_CAP)


def _until(value: str, now: float) -> float | None:
    try:
        return parsedate_to_datetime(value).timestamp() - now
    except (ValueError, OverflowError):
        return None


def backoff(tries: int, jitter: float) -> float:
    """Give the wait before try number `tries` + 1: 0.2 s doubled each time up to 30 s, with half of it jittered.

    >>> [backoff(n, 1.0) for n in (1, 2, 3, 20)]
    [0.2, 0.4, 0.8, 30.0]
    """
    full = min(BACKOFF_FIRST * 2.0 ** min(tries - 1, 30), BACKOFF_CEILING)
    return full * (0.5 + 0.5 * jitter)


def patience(*, in_loop: bool, throttled: bool) -> float:
    """Give how long a passing fault may last before the step counts as failed."""
    if in_loop:
        return PATIENCE_IN_LOOP
    return PATIENCE_THROTTLED if throttled else PATIENCE_ELSEWHERE


# The names by which AWS services say "slow down" with status 400; the list is botocore's.
_THROTTLING: Final = frozenset(
    {
        "BandwidthLimitExceeded",
        "EC2ThrottledException",
        "LimitExceededException",
        "PriorRequestNotComplete",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "SlowDown",
        "ThrottledException",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
        "TransactionInProgressException",
    }
)


def is_throttled(answer: Answer) -> bool:
    """Tell whether the server refused only for now: 429, 503, or an AWS throttling error."""
    return answer.status in {429, 503} or (answer.status == 400 and _error_code(answer.body) in _THROTTLING)


def _error_code(body: Json) -> str:
    code = body.get("__type", body.get("code", "")) if isinstance(body, dict) else ""
    return code.rpartition("#")[2].partition(":")[0] if isinstance(code, str) else ""


@lru_cache(maxsize=64)
def is_loopback(url: str) -> bool:
    """Tell whether an address is this very machine."""
    host = urlsplit(url).hostname or ""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
