"""Exchanges kept in a file, and answered from it again.

A recording is JSON lines. The first says what was run; every further one is an exchange: the request as it went out,
and the response or the fault that came back. Nothing in it depends on when or where it was made, so the same exchanges
give the same bytes. Secrets are masked before a line is written: those that the caller names, credentials by the name
of their header, query member or body member, and every value that was once masked wherever it comes again, since a
token that was answered is sent from then on.

A replay answers the requests of a run in their order. A request that is not the recorded one is an error that says
what differs; what was masked, the signature of a request and the port of a loopback server count for nothing.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Final, get_args
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec

from treadle.errors import TransportError, TransportFault, TreadleError, UsageError
from treadle.http.redaction import redact_headers, redact_text, redact_url
from treadle.masking import MASK, SHORTEST
from treadle.seams import Headers, Json, Request, Response, Transport

__all__ = ["Header", "Recording", "RecordingTransport", "ReplayError", "ReplayTransport", "read_recording"]

FORMAT: Final = 1

# A signature is of its moment; the transport writes the others itself.
_UNRECORDED: Final = frozenset(
    {
        "x-amz-date",
        "x-amz-content-sha256",
        "x-amz-security-token",
        "host",
        "content-length",
        "user-agent",
        "accept-encoding",
    }
)
# What an answer has from its moment and its way, not from its server.
_PASSING: Final = frozenset({"date", "content-length", "connection", "keep-alive", "transfer-encoding"})
# Whether a request is signed depends on who sends it; what the document says of it is masked anyway.
_NOT_COMPARED: Final = frozenset({"authorization"})
_SECRET_MEMBER: Final = re.compile(
    r"(?i)^(.*[_-])?(access|refresh|id|auth|session|bearer)[_-]?token$|password|passwd|secret|private[_-]?key|api[_-]?key"
    r"|^token$|credential"
)


class ReplayError(TreadleError):
    """A run does not do what was recorded."""


class _Body(msgspec.Struct, frozen=True, omit_defaults=True):
    text: str | None = None
    base64: str | None = None

    @classmethod
    def of(cls, data: bytes) -> _Body:
        try:
            return cls(text=data.decode())
        except UnicodeDecodeError:
            return cls(base64=base64.b64encode(data).decode())

    @property
    def data(self) -> bytes:
        return base64.b64decode(self.base64) if self.base64 is not None else (self.text or "").encode()


class _Request(msgspec.Struct, frozen=True):
    method: str
    url: str
    headers: list[tuple[str, str]] = []
    body: _Body = _Body()


class _Response(msgspec.Struct, frozen=True):
    status: int
    url: str
    headers: list[tuple[str, str]] = []
    body: _Body = _Body()


class _Fault(msgspec.Struct, frozen=True):
    fault: str
    message: str
    sent: bool


class _Exchange(msgspec.Struct, frozen=True, omit_defaults=True):
    request: _Request
    response: _Response | None = None
    fault: _Fault | None = None


class Header(msgspec.Struct, frozen=True):
    """The first line: what was run, and where its requests went. `inputs` are masked like everything else."""

    document: str = ""
    digest: str = ""
    workflow: str = ""
    inputs: dict[str, Json] = {}
    on: str | None = None
    servers: dict[str, str] = {}
    treadle_recording: int = FORMAT


# ---------------------------------------------------------------------------------------------------------------------
# Secrets
# ---------------------------------------------------------------------------------------------------------------------


class _Masking:
    """Masks what is secret, and remembers every value that it masked, for the places where it comes again."""

    def __init__(self, secrets: Iterable[str]) -> None:
        self._known = {each for each in secrets if len(each) >= SHORTEST}

    def request(self, request: Request) -> _Request:
        body = self._body(request.body)
        return _Request(
            request.method,
            redact_url(request.url, self._known),
            [each for each in self._headers(request.headers) if each[0].lower() not in _UNRECORDED],
            body,
        )

    def response(self, response: Response) -> _Response:
        body = self._body(response.body)
        headers = [each for each in self._headers(response.headers) if each[0].lower() not in _PASSING]
        return _Response(response.status, redact_url(response.url, self._known), headers, body)

    def text(self, text: str) -> str:
        return redact_text(text, self._known)

    def value(self, value: Json) -> Json:
        """Mask a JSON value: its secret members, and every secret in its texts."""
        self._learn(value)
        return self._masked(value)

    def _headers(self, headers: Headers) -> list[tuple[str, str]]:
        return list(redact_headers(headers, self._known))

    def _body(self, data: bytes) -> _Body:
        try:
            value = msgspec.json.decode(data) if data else None
        except (msgspec.DecodeError, RecursionError):
            value = None
        if isinstance(value, (dict, list)):
            before = set(self._known)
            masked = self.value(value)
            # A body without secrets is kept to the byte: its spacing may be what a template wrote.
            if masked != value or self._known != before:
                return _Body(text=msgspec.json.encode(masked).decode())
        made = _Body.of(data)
        return made if made.text is None else _Body(text=self._plain(made.text))

    def _plain(self, text: str) -> str:
        if re.fullmatch(r"[\w.~%+\-\[\]]+=[^\s<>{}]*", text):
            # A form: its members are named like those of a query.
            return redact_url(f"?{text}", self._known)[1:]
        return redact_text(text, self._known)

    def _learn(self, value: Json) -> None:
        for name, each in _members(value):
            if isinstance(each, str) and len(each) >= SHORTEST and _SECRET_MEMBER.search(name):
                self._known.add(each)

    def _masked(self, value: Json) -> Json:
        if isinstance(value, str):
            return redact_text(value, self._known)
        if isinstance(value, dict):
            return {
                name: MASK if isinstance(each, str) and each and _SECRET_MEMBER.search(name) else self._masked(each)
                for name, each in value.items()
            }
        if isinstance(value, list):
            return [self._masked(each) for each in value]
        return value


def _members(value: Json) -> Iterator[tuple[str, Json]]:
    if isinstance(value, dict):
        for name, each in value.items():
            yield name, each
            yield from _members(each)
    elif isinstance(value, list):
        for each in value:
            yield from _members(each)


# ---------------------------------------------------------------------------------------------------------------------
# Recording
# ---------------------------------------------------------------------------------------------------------------------


class RecordingTransport:
    """Sends through another transport, and writes every exchange to a file as it happens.

    `header` says what is run; `secrets` are texts that must not be written. Raises `UsageError` where the file cannot
    be written.
    """

    def __init__(self, inner: Transport, path: Path, header: Header, *, secrets: Iterable[str] = ()) -> None:
        self._inner = inner
        self._masking = _Masking(secrets)
        try:
            self._file: IO[bytes] = path.open("wb")
        except OSError as error:
            raise UsageError(f"the recording {path} cannot be written: {_reason(error)}") from error
        self._write(msgspec.structs.replace(header, inputs=self._masking.value(header.inputs)))

    async def send(self, request: Request, *, timeout: float | None = None) -> Response:  # noqa: ASYNC109  (the seam's)
        """Send, and record what came back. Raises `TransportError` as the inner transport does."""
        asked = self._masking.request(request)
        try:
            response = await self._inner.send(request, timeout=timeout)
        except TransportError as error:
            self._write(_Exchange(asked, fault=_Fault(error.fault, self._masking.text(error.message), error.sent)))
            raise
        self._write(_Exchange(asked, response=self._masking.response(response)))
        return response

    async def close(self) -> None:
        """Close the file and the inner transport."""
        self._file.close()
        await self._inner.close()

    def _write(self, line: Header | _Exchange) -> None:
        self._file.write(msgspec.json.encode(line) + b"\n")
        self._file.flush()


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


# ---------------------------------------------------------------------------------------------------------------------
# Replaying
# ---------------------------------------------------------------------------------------------------------------------


class Recording(msgspec.Struct, frozen=True):
    """A recording that was read."""

    header: Header
    exchanges: Sequence[_Exchange]
    path: str = ""


def read_recording(path: Path) -> Recording:
    """Read a recording. Raises `UsageError` for what is none."""
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise UsageError(f"the recording {path} cannot be read: {_reason(error)}") from error
    number = 1
    try:
        header = msgspec.json.decode(lines[0] if lines else b"{}", type=dict[str, Any])
        if header.get("treadle_recording") != FORMAT:
            raise UsageError(f"{path} is no recording of treadle run --record")
        exchanges = []
        for line in lines[1:]:
            number += 1
            exchanges.append(msgspec.json.decode(line, type=_Exchange))
    except msgspec.MsgspecError as error:
        raise UsageError(f"{path} is no recording that can be read: line {number}: {error}") from error
    return Recording(msgspec.convert(header, Header), exchanges, str(path))


class ReplayTransport:
    """Answers from a recording. `secrets` are the texts that were masked when it was made.

    Raises `ReplayError` for a request that differs from the recorded one, or that comes after the last.
    """

    def __init__(self, recording: Recording, *, secrets: Iterable[str] = ()) -> None:
        self._recording = recording
        self._masking = _Masking(secrets)
        self._next = 0

    @property
    def left(self) -> int:
        """How many recorded exchanges nobody has asked for."""
        return len(self._recording.exchanges) - self._next

    async def send(self, request: Request, *, timeout: float | None = None) -> Response:  # noqa: ASYNC109  (the seam's)
        """Give the recorded answer. Raises the recorded `TransportError`, or `ReplayError`."""
        del timeout
        number = self._next + 1
        asked = self._masking.request(request)
        if self._next >= len(self._recording.exchanges):
            raise ReplayError(
                f"request {number}, {asked.method} {asked.url}, is not in the recording, which has {self._next}",
                hint="record again if the document is meant to send it",
            )
        exchange = self._recording.exchanges[self._next]
        differences = list(_differences(exchange.request, asked))
        if differences:
            raise ReplayError(
                f"request {number}, {asked.method} {asked.url}, is not the recorded one: {'; '.join(differences)}",
                hint="record again if the document is meant to send it so",
            )
        self._next += 1
        return self._answer(exchange, request)

    async def close(self) -> None:
        """Nothing is held."""

    def _answer(self, exchange: _Exchange, request: Request) -> Response:
        if exchange.fault is not None:
            fault: TransportFault = "reset"
            for each in get_args(TransportFault):
                fault = each if each == exchange.fault.fault else fault
            raise TransportError(fault, exchange.fault.message, sent=exchange.fault.sent, url=request.url)
        recorded = exchange.response
        if recorded is None:
            raise ReplayError(f"the recording has no answer to {exchange.request.method} {exchange.request.url}")
        return Response(recorded.status, tuple(recorded.headers), recorded.body.data, recorded.url)


def _differences(recorded: _Request, asked: _Request) -> Iterator[str]:
    """Say what differs, a clause each."""
    if recorded.method != asked.method:
        yield _clause("the method", recorded.method, asked.method)
    one, other = urlsplit(recorded.url), urlsplit(asked.url)
    if _place(recorded.url) != _place(asked.url):
        yield _clause("the server", _place(recorded.url), _place(asked.url))
    if unquote(one.path) != unquote(other.path):
        yield _clause("the path", one.path, other.path)
    yield from _unequal(_query(one.query), _query(other.query), "the query parameter")
    yield from _unequal(_headers(recorded), _headers(asked), "the header")
    yield from _bodies(recorded.body, asked.body)


_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


def _place(url: str) -> str:
    """Give scheme, host and port; a loopback server has another port every time."""
    parts = urlsplit(url)
    return "a loopback server" if parts.hostname in _LOOPBACK else f"{parts.scheme}://{parts.netloc}"


def _query(text: str) -> Mapping[str, Json]:
    found: dict[str, list[str]] = {}
    for name, value in parse_qsl(text, keep_blank_values=True):
        found.setdefault(name, []).append(value)
    return found


def _headers(request: _Request) -> Mapping[str, Json]:
    return {
        name.lower(): value
        for name, value in request.headers
        if name.lower() not in _NOT_COMPARED and MASK not in value
    }


def _unequal(recorded: Mapping[str, Json], asked: Mapping[str, Json], what: str) -> Iterator[str]:
    for name in sorted({*recorded, *asked}):
        before, now = recorded.get(name), asked.get(name)
        if before != now and not _masked_alike(before, now):
            yield _clause(f"{what} {name!r}", before, now)


def _bodies(recorded: _Body, asked: _Body) -> Iterator[str]:
    if recorded == asked:
        return
    try:
        before, now = msgspec.json.decode(recorded.data), msgspec.json.decode(asked.data)
    except msgspec.DecodeError:
        yield _clause("the body", recorded.text or recorded.base64, asked.text or asked.base64)
        return
    yield from _values(before, now, "")


def _values(recorded: Json, asked: Json, pointer: str) -> Iterator[str]:
    if isinstance(recorded, dict) and isinstance(asked, dict):
        for name in sorted({*recorded, *asked}):
            yield from _values(recorded.get(name), asked.get(name), f"{pointer}/{name}")
    elif isinstance(recorded, list) and isinstance(asked, list) and len(recorded) == len(asked):
        for index, (before, now) in enumerate(zip(recorded, asked, strict=True)):
            yield from _values(before, now, f"{pointer}/{index}")
    elif recorded != asked and not _masked_alike(recorded, asked):
        yield _clause(f"the body at {pointer or 'its root'}", recorded, asked)


def _masked_alike(recorded: Json, asked: Json) -> bool:
    """Tell whether a difference is only that one of the two was masked: nobody can know more."""
    before = recorded if isinstance(recorded, str) else "".join(recorded) if _texts(recorded) else ""
    now = asked if isinstance(asked, str) else "".join(asked) if _texts(asked) else ""
    return bool(before and now) and (MASK in before or MASK in now)


def _texts(value: Json) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


_LONGEST: Final = 100


def _clause(what: str, recorded: Json, asked: Json) -> str:
    return f"{what} was {_brief(recorded)} and is {_brief(asked)}"


def _brief(value: Json) -> str:
    if value is None:
        return "not there"
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return repr(text) if len(text) <= _LONGEST else repr(text[:_LONGEST] + "…")
