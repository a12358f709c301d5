r"""The body encoding `aws-chunked`: chunks that may be signed, and headers after them.

A body looks like this, with the parts in brackets only where the client says so in `X-Amz-Content-SHA256`::

    <size in hexadecimal>[;chunk-signature=<signature>]\r\n
    <that many bytes>\r\n                                        … any number of times
    0[;chunk-signature=<signature>]\r\n
    [x-amz-checksum-crc32:<value>\r\n                            … trailing headers
    [x-amz-trailer-signature:<signature>\r\n]]
    \r\n

Each signature is made of the one before it, the first of that of the request, so no chunk can be left out, added or
moved. Data is given out before its chunk is known to be true, so that a chunk need not fit into memory: whoever takes
it must not make use of it before the end (`finish`).

Sources: "Signature Calculations for the Authorization Header: Transferring Payload in Multiple Chunks (Chunked Upload)"
and "… Including Trailing Headers", Amazon S3 API Reference; codes and wording of refusals are those of S3.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, Literal

from treadle.errors import ServiceError

__all__ = ["ChunkSigner", "ChunkedDecoder"]

_EMPTY: Final = sha256(b"").hexdigest()
_HEAD: Final = re.compile(rb"([0-9A-Fa-f]{1,12})(?:;chunk-signature=([0-9a-f]{64}))?")
_TRAILER: Final = re.compile(rb"([A-Za-z0-9-]{1,100}):[ \t]*([\x20-\x7e]*?)[ \t]*")
_TRAILER_SIGNATURE: Final = "x-amz-trailer-signature"

# A chunk's head has at most 100 bytes, trailing headers some hundreds.
_LONGEST_LINE: Final = 1024
_MOST_TRAILERS: Final = 16


class ChunkSigner:
    """Gives the signatures of chunks, one after the other, as sender and receiver compute them.

    `seed` is the signature of the request, `timestamp` and `scope` (`20150830/us-east-1/s3/aws4_request`) are its own.
    """

    def __init__(self, key: bytes, timestamp: str, scope: str, seed: str) -> None:
        self._key = key
        self._rest = f"{timestamp}\n{scope}"
        self._previous = seed

    def chunk(self, digest: str) -> str:
        """Give the signature of the next chunk, whose data has this SHA-256."""
        return self._next(f"AWS4-HMAC-SHA256-PAYLOAD\n{self._rest}\n{self._previous}\n{_EMPTY}\n{digest}")

    def trailer(self, lines: bytes) -> str:
        """Give the signature of the trailing headers, each as name, colon, value and LF."""
        return self._next(f"AWS4-HMAC-SHA256-TRAILER\n{self._rest}\n{self._previous}\n{sha256(lines).hexdigest()}")

    def _next(self, string_to_sign: str) -> str:
        self._previous = hmac.digest(self._key, string_to_sign.encode(), "sha256").hex()
        return self._previous


@dataclass(slots=True)
class _Chunk:
    """The chunk that is being read: how many bytes are to come, its claimed signature, its hash where one is needed."""

    left: int
    last: bool
    signature: str


class ChunkedDecoder:
    """Reads such a body. With a `signer` every chunk must be signed, without one signatures are not looked at.

    With `trailers` headers may follow.
    """

    def __init__(self, signer: ChunkSigner | None, *, trailers: bool) -> None:
        self._signer = signer
        self._has_trailers = trailers
        self._state: Literal["head", "data", "data end", "trailer", "done"] = "head"
        self._line = bytearray()
        self._chunk = _Chunk(0, last=False, signature="")
        self._hash = sha256()
        self._trailers: dict[str, str] = {}

    @property
    def trailers(self) -> Mapping[str, str]:
        """The trailing headers, names in lower case; all of them only after `finish`."""
        return self._trailers

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Take what has come, and give the data in it. Raises `ServiceError`."""
        at = 0
        while at < len(data):
            if self._state == "data":
                piece = data[at : at + self._chunk.left]
                at += len(piece)
                self._chunk.left -= len(piece)
                if self._signer is not None:
                    self._hash.update(piece)
                yield piece
                if not self._chunk.left:
                    self._state = "data end"
                continue
            if self._state == "done":
                raise _incomplete("There are bytes after the last chunk.")
            end = data.find(b"\n", at, at + _LONGEST_LINE)
            self._line += data[at : end + 1 if end >= 0 else at + _LONGEST_LINE]
            at = end + 1 if end >= 0 else at + _LONGEST_LINE
            if len(self._line) > _LONGEST_LINE:
                raise _incomplete("A line between the chunks is too long.")
            if end >= 0:
                line = bytes(self._line)
                self._line.clear()
                if not line.endswith(b"\r\n"):
                    raise _incomplete("A line between the chunks does not end in CR LF.")
                self._take(line[:-2])

    def finish(self) -> None:
        """Say that there is no more. Raises `ServiceError` unless that was all, and all of it true."""
        if self._state != "done":
            raise _incomplete("The request body terminated unexpectedly")

    def _take(self, line: bytes) -> None:
        match self._state:
            case "head":
                self._begin(line)
            case "data end":
                if line:
                    raise _incomplete("A chunk is longer than it says.")
                self._check_chunk()
                self._state = "head"
            case "trailer":
                self._take_trailer(line)

    def _begin(self, line: bytes) -> None:
        found = _HEAD.fullmatch(line)
        if found is None or (found[2] is None and self._signer is not None):
            raise _incomplete("A chunk does not begin with its size and, where chunks are signed, its signature.")
        size = int(found[1], 16)
        self._chunk = _Chunk(size, last=not size, signature=(found[2] or b"").decode())
        if size:
            self._state = "data"
        else:
            self._check_chunk()
            self._state = "trailer"

    def _check_chunk(self) -> None:
        if self._signer is None:
            return
        _check(self._signer.chunk(self._hash.hexdigest()), self._chunk.signature)
        self._hash = sha256()

    def _take_trailer(self, line: bytes) -> None:
        if not line:
            self._check_trailers()
            self._state = "done"
            return
        found = _TRAILER.fullmatch(line)
        name = found[1].decode().lower() if found else ""
        if found is None or not self._has_trailers or name in self._trailers or len(self._trailers) == _MOST_TRAILERS:
            raise _malformed()
        self._trailers[name] = found[2].decode()

    def _check_trailers(self) -> None:
        claimed = self._trailers.pop(_TRAILER_SIGNATURE, "")
        if self._signer is None or not self._has_trailers:
            return
        lines = "".join(f"{name}:{value}\n" for name, value in sorted(self._trailers.items()))
        _check(self._signer.trailer(lines.encode()), claimed)


def _check(signature: str, claimed: str) -> None:
    if not hmac.compare_digest(signature, claimed):
        message = (
            "The request signature we calculated does not match the signature you provided. Check your key and signing "
            "method."
        )
        raise ServiceError("SignatureDoesNotMatch", message, status=403)


def _incomplete(message: str) -> ServiceError:
    return ServiceError("IncompleteBody", message)


def _malformed() -> ServiceError:
    message = "The request contained trailing data that was not well-formed or did not conform to our published schema."
    return ServiceError("MalformedTrailerError", message)
