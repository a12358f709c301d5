"""The agents' calls over ASGI: who is let in, and how faults are answered."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

import msgspec
import pytest

from treadle.errors import StoreError
from treadle.seams import ClaimAnswer, Report, ReportAnswer
from treadle.training.api import agents
from treadle.training.api.agents import agents_app
from treadle.training.supervisor import AttemptOverError, WrongTokenError


class Plane:
    """Takes reports with the token `right`; what it answers depends on the job's name."""

    async def claim(self, token: str, job: str, attempt: int, host: str, agent: str) -> ClaimAnswer:
        raise AssertionError((token, job, attempt, host, agent))

    async def report(self, token: str, report: Report) -> ReportAnswer:
        if token != "right":
            raise WrongTokenError
        if report.job == "over":
            raise AttemptOverError("The attempt is over.")
        if report.job == "full":
            raise StoreError("The disk is full.")
        return ReportAnswer(events_to=7)


REPORT = {"job": "j", "attempt": 1, "host": "algo-1", "agent": "a"}


async def call(
    body: bytes = msgspec.json.encode(REPORT),
    *,
    path: str = "/v1/report",
    token: str | None = "Bearer right",  # noqa: S107  (nobody's)
    method: str = "POST",
    pieces: int = 1,
    gone: bool = False,
) -> tuple[int, Any] | None:
    sent: list[MutableMapping[str, Any]] = []
    size = max(1, -(-len(body) // pieces))
    parts = [body[at : at + size] for at in range(0, len(body), size)] or [b""]
    messages: list[dict[str, Any]] = [
        {"type": "http.request", "body": part, "more_body": number < len(parts)} for number, part in enumerate(parts, 1)
    ]
    if gone:
        messages[-1] = {"type": "http.disconnect"}

    async def receive() -> dict[str, Any]:
        return messages.pop(0)

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    headers = [] if token is None else [(b"authorization", token.encode())]
    root = "/_treadle/agent"
    scope = {"type": "http", "method": method, "path": root + path, "root_path": root, "headers": headers}
    await agents_app(Plane())(scope, receive, send)
    return (sent[0]["status"], msgspec.json.decode(sent[1]["body"])) if sent else None


def report(**changes: Any) -> bytes:
    return msgspec.json.encode({**REPORT, **changes})


async def test_a_report_is_answered() -> None:
    """The body may come in pieces; members that are not known are of a newer agent."""
    wanted = (200, {"events_to": 7, "log_to": 0, "commands": []})
    assert await call() == wanted
    assert await call(pieces=5) == wanted
    assert await call(report(later="member")) == wanted
    assert await call(token="bearer right") == wanted


@pytest.mark.parametrize(
    ("how", "status"),
    [
        pytest.param({"token": None}, 401, id="no token"),
        pytest.param({"token": "Basic right"}, 401, id="another scheme"),
        pytest.param({"token": "Bearer wrong"}, 401, id="wrong token"),
        pytest.param({"token": "Bearer r\u00fc"}, 401, id="not ASCII"),
        pytest.param({"body": report(job="over")}, 409, id="over"),
        pytest.param({"body": report(job="full")}, 503, id="store"),
        pytest.param({"body": b"{"}, 400, id="no JSON"),
        pytest.param({"body": b""}, 400, id="empty"),
        pytest.param({"body": report(attempt="1")}, 400, id="wrong type"),
        pytest.param({"path": "/v1/other"}, 404, id="unknown call"),
        pytest.param({"path": "/"}, 404, id="root"),
        pytest.param({"method": "GET"}, 405, id="GET"),
    ],
)
async def test_refusals(how: dict[str, Any], status: int) -> None:
    """Each has its status, and a sentence."""
    answer = await call(**how)
    assert answer is not None
    assert answer[0] == status
    assert answer[1]["message"].endswith(".")


async def test_a_body_that_is_too_large() -> None:
    """It is refused while it comes."""
    answer = await call(b" " * (agents._BODY_LIMIT + 1), pieces=3)
    assert answer is not None
    assert answer[0] == 413


async def test_an_agent_that_hangs_up() -> None:
    """Nobody is answered."""
    assert await call(gone=True) is None
