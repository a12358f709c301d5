"""aws-chunked bodies: AWS's published examples, any division, and every way to be wrong."""

from __future__ import annotations

import zlib
from base64 import b64encode
from collections.abc import Callable
from hashlib import sha256
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from treadle.aws.chunked import ChunkedDecoder, ChunkSigner
from treadle.aws.sigv4 import Scope, signing_key
from treadle.errors import ServiceError

# The example of the Amazon S3 API Reference: 66,560 bytes "a" in chunks of 64 KiB and 1 KiB.
SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
SCOPE = Scope("AKIAIOSFODNN7EXAMPLE", "20130524", "us-east-1", "s3")
TIMESTAMP = "20130524T000000Z"
SEED = "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9"
SIGNATURES = [
    "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
    "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
    "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9",
]
TRAILER_SEED = "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e"
TRAILER_SIGNATURES = [
    "b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2",
    "1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7",
    "2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992",
]
TRAILER_SIGNATURE = "d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435"
DATA = b"a" * 66_560


def signer(seed: str) -> ChunkSigner:
    return ChunkSigner(signing_key(SECRET, SCOPE), TIMESTAMP, str(SCOPE), seed)


def encoded(pieces: list[bytes], signing: ChunkSigner | None, trailers: dict[str, str] | None = None) -> bytes:
    body = bytearray()
    for piece in [*pieces, b""]:
        mark = f";chunk-signature={signing.chunk(sha256(piece).hexdigest())}" if signing else ""
        body += f"{len(piece):x}{mark}\r\n".encode() + piece + (b"\r\n" if piece else b"")
    for name, value in (trailers or {}).items():
        body += f"{name}:{value}\r\n".encode()
    if signing and trailers:
        lines = "".join(f"{name}:{value}\n" for name, value in trailers.items()).encode()
        body += f"x-amz-trailer-signature:{signing.trailer(lines)}\r\n".encode()
    return bytes(body + b"\r\n")


def decoded(decoder: ChunkedDecoder, *pieces: bytes) -> bytes:
    found = b"".join([bytes(each) for piece in pieces for each in decoder.feed(piece)])
    decoder.finish()
    return found


def test_the_published_example() -> None:
    """The signatures of the chunks are those of the reference, and a body that carries them is read."""
    pieces = [DATA[:65_536], DATA[65_536:]]
    body = encoded(pieces, signer(SEED))
    assert [body.count(each.encode()) for each in SIGNATURES] == [1, 1, 1]
    assert len(body) == 66_824
    assert decoded(ChunkedDecoder(signer(SEED), trailers=False), body) == DATA


def test_the_published_example_with_trailing_headers() -> None:
    """So are those of the example with a checksum behind the data."""
    body = encoded([DATA[:65_536], DATA[65_536:]], signer(TRAILER_SEED), {"x-amz-checksum-crc32c": "sOO8/Q=="})
    assert [body.count(each.encode()) for each in [*TRAILER_SIGNATURES, TRAILER_SIGNATURE]] == [1, 1, 1, 1]
    decoder = ChunkedDecoder(signer(TRAILER_SEED), trailers=True)
    assert decoded(decoder, body) == DATA
    assert decoder.trailers == {"x-amz-checksum-crc32c": "sOO8/Q=="}


@given(
    pieces=st.lists(st.binary(min_size=1, max_size=300), max_size=5),
    cuts=st.lists(st.integers(0, 2000), max_size=10),
    is_signed=st.booleans(),
    has_trailer=st.booleans(),
)
def test_any_body_in_any_pieces(pieces: list[bytes], cuts: list[int], *, is_signed: bool, has_trailer: bool) -> None:
    """However the data is cut into chunks and the body into pieces, the data comes out."""
    crc = b64encode(zlib.crc32(b"".join(pieces)).to_bytes(4, "big")).decode()
    trailers = {"x-amz-checksum-crc32": crc} if has_trailer else {}
    body = encoded(pieces, signer(SEED) if is_signed else None, trailers)
    at = [0, *sorted(min(cut, len(body)) for cut in cuts), len(body)]
    decoder = ChunkedDecoder(signer(SEED) if is_signed else None, trailers=has_trailer)
    found = decoded(decoder, *[body[one:other] for one, other in pairwise(at)])
    assert (found, decoder.trailers) == (b"".join(pieces), trailers)


def _swapped(body: bytes) -> bytes:
    first, second, end = body.index(b"5;"), body.index(b"6;"), body.index(b"0;")
    return body[second:end] + body[first:second] + body[end:]


WRONG: list[tuple[str, Callable[[bytes], bytes], str]] = [
    ("data changed", lambda body: body.replace(b"second", b"sECOND"), "SignatureDoesNotMatch"),
    ("signature changed", lambda body: body.replace(b"signature=", b"signature=0", 1)[:-1], "IncompleteBody"),
    ("chunk left out", lambda body: body[body.index(b"6;") :], "SignatureDoesNotMatch"),
    ("chunks swapped", _swapped, "SignatureDoesNotMatch"),
    ("cut before the end", lambda body: body[: body.index(b"0;")], "IncompleteBody"),
    ("cut in the end", lambda body: body[:-1], "IncompleteBody"),
    ("more after the end", lambda body: body + b"x", "IncompleteBody"),
    ("no signature", lambda body: b"1\r\nx\r\n" + body, "IncompleteBody"),
    ("no size", lambda _body: b"\r\n", "IncompleteBody"),
    ("a negative size", lambda _body: b"-1;chunk-signature=" + b"0" * 64 + b"\r\n", "IncompleteBody"),
    ("a longer chunk", lambda body: body.replace(b"first", b"first!"), "IncompleteBody"),
    ("LF alone", lambda body: body.replace(b"\r\n", b"\n"), "IncompleteBody"),
    ("a long line", lambda _body: b"1" * 5000, "IncompleteBody"),
    ("trailer changed", lambda body: body.replace(b":AAAAAA==", b":AAAAAQ=="), "SignatureDoesNotMatch"),
    ("trailer without signature", lambda body: body[: body.index(b"x-amz-trailer")] + b"\r\n", "SignatureDoesNotMatch"),
    ("trailer that is none", lambda body: body.replace(b"crc32:", b"crc32 "), "MalformedTrailerError"),
    ("trailer twice", lambda body: body.replace(b"x-amz-tr", b"x-amz-checksum-crc32:0\r\nx-amz-tr"), "MalformedTrailerError"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "code"), [case[1:] for case in WRONG], ids=[case[0] for case in WRONG])
def test_a_body_that_is_not_as_signed_is_refused(change: Callable[[bytes], bytes], code: str) -> None:
    """Nothing can be changed, added, left out or moved."""
    body = encoded([b"first", b"second"], signer(SEED), {"x-amz-checksum-crc32": "AAAAAA=="})
    assert decoded(ChunkedDecoder(signer(SEED), trailers=True), body) == b"firstsecond"
    with pytest.raises(ServiceError) as caught:
        decoded(ChunkedDecoder(signer(SEED), trailers=True), change(body))
    assert caught.value.code == code


def test_trailing_headers_must_have_been_announced() -> None:
    """A body that is said to have none must have none."""
    body = encoded([b"x"], None, {"x-amz-checksum-crc32": "AAAAAA=="})
    with pytest.raises(ServiceError) as caught:
        decoded(ChunkedDecoder(None, trailers=False), body)
    assert caught.value.code == "MalformedTrailerError"
