"""AWS's vectors for Signature Version 4, each both signed and verified."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from treadle.aws.sigv4 import Credentials, payload_hash, sign, verify
from treadle.seams import Headers, Request

pytestmark = pytest.mark.suite

SUITE = Path(__file__).resolve().parents[3] / "shared" / "suites" / "sigv4"
SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
NOW = datetime(2015, 8, 30, 12, 36, tzinfo=UTC)

if not SUITE.is_dir():
    pytest.skip("the SigV4 vectors do not stand beside the checkout", allow_module_level=True)


@dataclass(frozen=True)
class Vector:
    method: str
    path: str
    query: str
    headers: Headers
    body: bytes
    authorization: str


def _read(folder: Path) -> Vector:
    head, _, body = (folder / f"{folder.name}.req").read_text("utf-8").partition("\n\n")
    first, *lines = head.rstrip("\n").split("\n")
    method, _, rest = first.partition(" ")
    path, _, query = rest.removesuffix(" HTTP/1.1").partition("?")
    headers: list[tuple[str, str]] = []
    for line in lines:
        if line.startswith(" "):
            name, value = headers.pop()
            headers.append((name, f"{value}\n{line}"))
        else:
            name, _, value = line.partition(":")
            headers.append((name, value))
    authorization = (folder / f"{folder.name}.authz").read_text("utf-8").strip()
    return Vector(method, path, query, tuple(headers), body.encode(), authorization)


VECTORS = sorted({each.parent for each in SUITE.rglob("*.authz")})


@pytest.mark.parametrize("folder", VECTORS, ids=[each.name for each in VECTORS])
def test_sign_writes_the_authorization_of_the_vector(folder: Path) -> None:
    """A vector's request, signed, carries the vector's signature over the vector's headers."""
    vector = _read(folder)
    # The session token of "after" is added once the request is signed, so it is not among its headers.
    token = dict(vector.headers).get("X-Amz-Security-Token")
    if folder.name == "get-vanilla-with-session-token":
        token = "6e86291e8372ff2a2260956d9b8aae1d763fbf315fa00fa31553b73ebf194267"
    url = f"https://example.amazonaws.com{vector.path}{'?' if vector.query else ''}{vector.query}"
    request = Request(vector.method, url, vector.headers, vector.body)
    credentials = Credentials("AKIDEXAMPLE", SECRET, token)
    signed = sign(request, credentials, service="service", region="us-east-1", now=NOW)
    assert signed.header("Authorization") == vector.authorization
    assert signed.header("X-Amz-Date") == "20150830T123600Z"
    assert signed.header("X-Amz-Security-Token") == token


@pytest.mark.parametrize("folder", VECTORS, ids=[each.name for each in VECTORS])
def test_verify_accepts_the_vector(folder: Path) -> None:
    """A vector's request with the vector's authorization is from the vector's access key."""
    vector = _read(folder)
    headers = (*vector.headers, ("Authorization", vector.authorization))
    if folder.name == "get-vanilla-with-session-token":
        headers += (("X-Amz-Security-Token", "6e86291e8372ff2a2260956d9b8aae1d763fbf315fa00fa31553b73ebf194267"),)
    identity = verify(
        vector.method,
        vector.path,
        vector.query,
        headers,
        payload_hash(vector.body),
        secret_for={"AKIDEXAMPLE": SECRET}.get,
        now=NOW,
        region="us-east-1",
        service="service",
    )
    assert identity.access_key_id == "AKIDEXAMPLE"
