"""The control plane's end of the agent wire (see `seams`): `v1/claim` and `v1/report`, as an ASGI application.

It stands below `/_treadle/agent`, and is reached with the token of the attempt only. What
cannot be stored now is answered with 503: the agent keeps it and sends it again.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Protocol, TypeAlias, TypeVar

import msgspec

from treadle.errors import StoreError
from treadle.seams import ClaimAnswer, Report, ReportAnswer
from treadle.training.api.asgi import Asgi, BodyRefusedError, GoneError, Receive, Scope, Send, read_body
from treadle.training.supervisor import AttemptOverError, WrongTokenError

__all__ = ["Claim", "Control", "Handler", "agents_app", "agents_handler"]

_T = TypeVar("_T")

# Agents send at most some hundred KB of lines at once; an event carries the names of all outputs.
_BODY_LIMIT: Final = 32 * 1024 * 1024
_BODY_SECONDS: Final = 60.0

_log: Final = logging.getLogger(__name__)


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """What an agent sends to get its host; `agent` is an id that it made up."""

    job: str
    attempt: int
    host: str
    agent: str


class Control(Protocol):
    """What answers agents; `supervisor.Supervisor`."""

    async def claim(self, token: str, job: str, attempt: int, host: str, agent: str) -> ClaimAnswer:
        """Give an agent its host. Raises `WrongTokenError`, `AttemptOverError`, `StoreError`."""
        ...

    async def report(self, token: str, report: Report) -> ReportAnswer:
        """Take a report. Raises `WrongTokenError`, `AttemptOverError`, `StoreError`."""
        ...


class _RefusedError(Exception):
    """The request is answered with a status and a sentence."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


Handler: TypeAlias = Callable[[str, str, bytes], Awaitable[tuple[int, bytes]]]
"""Path (whatever comes before `/v1/`), token, body → status, body."""


def agents_handler(control: Control) -> Handler:
    """Give what answers agents, without the HTTP."""

    async def claim(token: str, body: bytes) -> ClaimAnswer:
        asked = _read(body, Claim)
        return await control.claim(token, asked.job, asked.attempt, asked.host, asked.agent)

    async def report(token: str, body: bytes) -> ReportAnswer:
        return await control.report(token, _read(body, Report))

    calls: Mapping[str, Callable[[str, bytes], Awaitable[Any]]] = {"claim": claim, "report": report}

    async def handle(path: str, token: str, body: bytes) -> tuple[int, bytes]:
        call = calls.get(path.rpartition("/v1/")[2])
        if call is None:
            return 404, _message("There is nothing here.")
        try:
            return 200, msgspec.json.encode(await call(token, body))
        except _RefusedError as refused:
            return refused.status, _message(str(refused))
        except WrongTokenError:
            return 401, _message("The token is not that of the attempt.")
        except AttemptOverError as over:
            return 409, _message(str(over))
        except StoreError as error:
            # The agent keeps what it has and tries again.
            _log.error("an agent was sent away: %s %s", error.message, error.hint)
            return 503, _message(error.message)

    return handle


def agents_app(control: Control) -> Asgi:
    """Give the application."""
    handle = agents_handler(control)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            token = _token(scope)
            asked = await read_body(receive, limit=_BODY_LIMIT, seconds=_BODY_SECONDS)
            status, body = await handle(str(scope["path"]), token, asked)
        except (BodyRefusedError, _RefusedError) as refused:
            status, body = refused.status, _message(str(refused))
        except GoneError:
            return
        await _answer(send, status, body)

    return app


def _token(scope: Scope) -> str:
    if scope["method"] != "POST":
        raise _RefusedError(405, "Agents call with POST.")
    for name, value in scope["headers"]:
        if name == b"authorization" and value[:7].lower() == b"bearer ":
            return bytes(value[7:]).decode("utf-8", "surrogateescape")
    raise _RefusedError(401, "The token of the attempt is missing.")


def _read(body: bytes, kind: type[_T]) -> _T:
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.MsgspecError as error:
        raise _RefusedError(400, f"The body cannot be read: {error}.") from error


def _message(text: str) -> bytes:
    return msgspec.json.encode({"message": text})


async def _answer(send: Send, status: int, body: bytes) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    if status in {408, 413}:
        headers.append((b"connection", b"close"))  # the rest of the body is not read
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
