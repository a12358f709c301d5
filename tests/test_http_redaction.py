"""What is shown of requests carries no secrets, and stays readable."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from treadle.errors import TransportError, UsageError
from treadle.http import ScriptedTransport, redact_headers, redact_text, redact_url
from treadle.seams import Request, Response


@dataclass
class Case:
    description: str
    url: str
    want: str


URLS = [
    Case("nothing to hide", "https://h/p?a=1&NextToken=x#f", "https://h/p?a=1&NextToken=x#f"),
    Case("user information", "https://me:pw@h/p", "https://•••@h/p"),
    Case(
        "a presigned URL",
        "https://b.s3.amazonaws.com/k?X-Amz-Credential=AK%2F1&X-Amz-Date=2&X-Amz-Signature=ab&X-Amz-Security-Token=t",
        "https://b.s3.amazonaws.com/k?X-Amz-Credential=•••&X-Amz-Date=2&X-Amz-Signature=•••&X-Amz-Security-Token=•••",
    ),
    Case("an API key", "https://h/?api_key=k&access%5Ftoken=t&x=", "https://h/?api_key=•••&access%5Ftoken=•••&x="),
    Case("a known secret, encoded", "https://h/p%2Fss%20w/x?y=p%2Fss+w", "https://h/•••/x?y=•••"),
]


@pytest.mark.parametrize("case", URLS, ids=lambda case: case.description)
def test_redact_url(case: Case) -> None:
    """Credentials are masked by the names of query members, known secrets wherever they stand."""
    assert redact_url(case.url, ["p/ss w"]) == case.want


def test_redact_headers() -> None:
    """Headers that carry credentials are masked, the scheme kept; others lose only known secrets."""
    headers = (
        ("Authorization", "AWS4-HMAC-SHA256 Credential=•••"),
        ("authorization", "opaque"),
        ("X-Amz-Security-Token", "t"),
        ("X-Api-Key", "k"),
        ("Set-Cookie", "sid=1; HttpOnly"),
        ("X-Amz-Target", "SageMaker.ListModels"),
        ("X-Note", "my hunter22 note"),
    )

    assert redact_headers(headers, ["hunter22"]) == (
        ("Authorization", "AWS4-HMAC-SHA256 •••"),
        ("authorization", "•••"),
        ("X-Amz-Security-Token", "•••"),
        ("X-Api-Key", "•••"),
        ("Set-Cookie", "•••"),
        ("X-Amz-Target", "SageMaker.ListModels"),
        ("X-Note", "my ••• note"),
    )


def test_redact_text_leaves_very_short_secrets() -> None:
    """A secret of one letter would mask every word; the longest secret goes first."""
    assert redact_text("abc abcdef", ["a", "abcd", "abcdef", ""]) == "abc •••"


async def test_a_script_that_is_too_short() -> None:
    """A request beyond the script is its author's mistake and says which request it was."""
    transport = ScriptedTransport([Response(200), TransportError("reset", "gone", sent=True), lambda _: Response(201)])

    assert (await transport.send(Request("GET", "http://h/1"))).url == "http://h/1"
    with pytest.raises(TransportError, match="gone"):
        await transport.send(Request("GET", "http://h/2"))
    assert (await transport.send(Request("GET", "http://h/3"))).status == 201
    with pytest.raises(UsageError, match="no reply to request 4, GET http://h/4"):
        await transport.send(Request("GET", "http://h/4"))
    assert len(transport.requests) == 4
