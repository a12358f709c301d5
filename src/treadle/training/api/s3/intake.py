"""A body on its way in: decoded, measured, verified and kept, in constant memory.

The event loop takes pieces from the network, a thread does everything that costs time: one batch of pieces is worked on
while the next one arrives. The last batch, the verdict and what follows from it are one step, so a small object costs
one change of threads.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, Protocol, TypeVar

from treadle.aws.checksums import Checksum, checksum, read_value, value
from treadle.training.api.s3.checks import BodyChecks
from treadle.training.api.s3.errors import refusal
from treadle.training.api.s3.gate import Admitted
from treadle.training.api.s3.request import S3Request

__all__ = ["ClientGoneError", "Incoming", "Intake", "Run", "Sink", "deliver"]

T = TypeVar("T")

_BATCH: Final = 1 << 20


class ClientGoneError(Exception):
    """The client has closed the connection; there is nobody to answer."""


class Sink(Protocol):
    """Where the data goes."""

    def write(self, piece: bytes) -> None:
        """Take data."""
        ...

    def digest(self) -> str:
        """Give the MD5 of the data, in hexadecimal digits."""
        ...


class Run(Protocol):
    """Runs a function in another thread."""

    def __call__(self, function: Callable[[], T], /) -> Awaitable[T]:
        """Give what the function gives, or raise what it raises."""
        ...


class Intake:
    """Takes the bytes of a body as they come, and holds what is in them against what the client says. One thread."""

    def __init__(self, request: S3Request, admitted: Admitted, checks: BodyChecks, limit: int) -> None:
        """Take a body of at most `limit` bytes. Raises `S3Error` where the head already says that it cannot be."""
        self._decoder = admitted.decoder
        self._checks = checks
        self._limit = limit
        self._expected = _length(request, encoded=self._decoder is not None)
        if self._expected > limit:
            raise refusal("EntityTooLarge", ProposedSize=str(self._expected), MaxSizeAllowed=str(limit))
        if checks.trailer and self._decoder is None:
            raise refusal("InvalidRequest", "x-amz-trailer needs a body in the encoding aws-chunked.")
        self._claimed_sha256 = admitted.sha256
        self._sha256 = hashlib.sha256() if admitted.sha256 is not None else None
        self._checksum: Checksum | None = checksum(checks.algorithm) if checks.algorithm else None
        self.size = 0

    def take(self, batch: Sequence[bytes], sink: Sink) -> None:
        """Take pieces in the order in which they came. Raises `S3Error`, `ServiceError`."""
        for raw in batch:
            for piece in self._decoder.feed(raw) if self._decoder else (raw,):
                self.size += len(piece)
                if self.size > self._expected:
                    raise refusal("IncompleteBody")
                if self._sha256 is not None:
                    self._sha256.update(piece)
                if self._checksum is not None:
                    self._checksum.update(piece)
                sink.write(piece)

    def verify(self, sink: Sink) -> tuple[tuple[str, str], ...]:
        """Give the checksums of a body that is whole and true. Raises `S3Error`."""
        if self._decoder is not None:
            self._decoder.finish()
        if self.size != self._expected:
            raise refusal("IncompleteBody", NumberBytesExpected=str(self._expected), NumberBytesReceived=str(self.size))
        if self._sha256 is not None and self._sha256.hexdigest() != self._claimed_sha256:
            raise refusal(
                "XAmzContentSHA256Mismatch",
                ClientComputedContentSHA256=self._claimed_sha256 or "",
                S3ComputedContentSHA256=self._sha256.hexdigest(),
            )
        if self._checks.md5 is not None and self._checks.md5.hex() != sink.digest():
            raise refusal(
                "BadDigest",
                ExpectedDigest=value(self._checks.md5),
                CalculatedDigest=value(bytes.fromhex(sink.digest())),
            )
        return self._verify_checksum()

    def _verify_checksum(self) -> tuple[tuple[str, str], ...]:
        if self._checksum is None:
            return ()
        algorithm, claimed = self._checks.algorithm, self._checks.value
        if self._checks.trailer and self._decoder is not None:
            text = self._decoder.trailers.get(self._checks.trailer)
            if text is None:
                raise refusal("MalformedTrailerError")
            claimed = read_value(algorithm, text)
            if claimed is None:
                raise refusal("InvalidRequest", f"Value for {self._checks.trailer} trailing header is invalid.")
        found = self._checksum.digest()
        if found != claimed:
            raise refusal("BadDigest", f"The {algorithm} you specified did not match the calculated checksum.")
        return ((algorithm, value(found)),)


def _length(request: S3Request, *, encoded: bool) -> int:
    if encoded:
        text = request.header("x-amz-decoded-content-length") or ""
        if not (text.isascii() and text.isdigit() and len(text) <= 18):
            raise refusal("MissingContentLength")
        return int(text)
    if request.length is None:
        if "transfer-encoding" in request.named or "content-length" in request.named:
            raise refusal("MissingContentLength")
        return 0
    return request.length


class Incoming:
    """The body as the network gives it.

    `untouched` and `finished` tell how much of it was asked for, `silent` whether the client stopped sending it.
    """

    def __init__(self, receive: Callable[[], Awaitable[Any]], seconds: float) -> None:
        self._receive = receive
        self._seconds = seconds
        self.untouched = True
        self.finished = False
        self.silent = False

    async def next(self) -> bytes:
        """Give what came next. Raises `S3Error` for a client that is silent too long, and `ClientGoneError`."""
        self.untouched = False
        try:
            async with asyncio.timeout(self._seconds):
                message = await self._receive()
        except TimeoutError:
            self.silent = True
            raise refusal("RequestTimeout") from None
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        self.finished = not message.get("more_body", False)
        body: bytes = message.get("body", b"")
        return body


async def deliver(
    incoming: Incoming, run: Run, take: Callable[[Sequence[bytes]], None], finish: Callable[[Sequence[bytes]], T]
) -> T:
    """Hand a body on by `take`, batch by batch, and what is left to `finish`; both run in other threads, in turn."""
    pending: asyncio.Future[Any] | None = None
    try:
        batch: list[bytes] = []
        size = 0
        while not incoming.finished:
            batch.append(await incoming.next())
            size += len(batch[-1])
            if size >= _BATCH and not incoming.finished:
                if pending is not None:
                    await asyncio.shield(pending)
                pending = asyncio.ensure_future(run(_taking(take, batch)))
                batch, size = [], 0
        if pending is not None:
            await asyncio.shield(pending)
        last = asyncio.ensure_future(run(lambda: finish(batch)))
        pending = last
        return await asyncio.shield(last)
    finally:
        # Whoever called closes what the thread works on: only when that has come to rest.
        if pending is not None and not pending.done():
            await asyncio.wait({pending})


def _taking(take: Callable[[Sequence[bytes]], None], batch: Sequence[bytes]) -> Callable[[], None]:
    return lambda: take(batch)
