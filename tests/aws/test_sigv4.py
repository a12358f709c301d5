"""Signing and verifying: agreement with botocore, and every way in which a signature is refused."""

from __future__ import annotations

import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth, SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotoCredentials
from hypothesis import given
from hypothesis import strategies as st

from treadle.aws.sigv4 import UNSIGNED_PAYLOAD, Credentials, Identity, claimed_scope, payload_hash, sign, verify
from treadle.errors import ServiceError
from treadle.seams import Headers, Request

KEY, SECRET = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
NOW = datetime(2026, 5, 6, 7, 8, 9, tzinfo=UTC)

segments = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
paths = st.lists(st.sampled_from([".", "..", "a", "b~c", "x y", "ü", "", "$d", "e%f"]) | segments, max_size=5).map(
    lambda parts: "/" + "/".join(quote(part, safe="~") for part in parts)
)
queries = st.lists(st.tuples(segments.filter(bool), segments), max_size=4).map(
    lambda pairs: "&".join(f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}" for name, value in pairs)
)
names = st.text(string.ascii_letters + string.digits + "-", min_size=1, max_size=10).map(lambda name: f"X-H-{name}")
values = st.text(
    string.printable.replace("\n", "").replace("\r", "").replace("\x0b", "").replace("\x0c", ""), max_size=12
)
headers = st.lists(st.tuples(names, values), max_size=4)


@dataclass(frozen=True)
class Sent:
    """A request as a server sees it."""

    method: str
    path: str
    query: str
    headers: Headers
    body: bytes = b""
    payload: str = ""

    def verify(
        self,
        now: datetime = NOW,
        secrets: Mapping[str, str] | None = None,
        region: str | None = None,
        service: str | None = None,
    ) -> Identity:
        return verify(
            self.method,
            self.path,
            self.query,
            self.headers,
            self.payload or payload_hash(self.body),
            secret_for=({KEY: SECRET} if secrets is None else secrets).get,
            now=now,
            region=region,
            service=service,
        )


def _sent(request: Request) -> Sent:
    """Give what a server gets when a client that sets Host sends a request."""
    parts = urlsplit(request.url)
    return Sent(
        request.method, parts.path or "/", parts.query, (("Host", parts.netloc), *request.headers), request.body
    )


def _signed(token: str | None = None, service: str = "sagemaker", url: str = "http://127.0.0.1:8080/") -> Sent:
    request = Request("POST", url, (("Content-Type", "application/x-amz-json-1.1"), ("X-Amz-Target", "S.Op")), b"{}")
    return _sent(sign(request, Credentials(KEY, SECRET, token), service=service, region="us-east-1", now=NOW))


def _changed(sent: Sent, **headers: str | None) -> Sent:
    """Replace headers (underscores for dashes), or with None take them away."""
    given = {name.replace("_", "-").lower(): value for name, value in headers.items()}
    kept = [(name, value) for name, value in sent.headers if name.lower() not in given]
    return replace(sent, headers=(*kept, *((name, value) for name, value in given.items() if value is not None)))


def _moment(timestamp: str) -> datetime:
    """Read the time that botocore signed with: it asks its own clock."""
    return datetime.strptime(timestamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)


@given(
    path=paths, query=queries, headers=headers, body=st.binary(max_size=20), token=st.sampled_from([None, "tok/en=="])
)
def test_sign_agrees_with_botocore(
    path: str, query: str, headers: list[tuple[str, str]], body: bytes, token: str | None
) -> None:
    """For any request the Authorization header is the one that botocore writes."""
    url = f"https://host.example.com:8443{path}{'?' if query else ''}{query}"
    theirs = AWSRequest("PUT", url, headers={}, data=body)
    for name, value in headers:
        theirs.headers[name] = value
    SigV4Auth(BotoCredentials(KEY, SECRET, token), "sagemaker", "eu-west-1").add_auth(theirs)
    request = Request("PUT", url, tuple(headers), body)
    now = _moment(theirs.headers["X-Amz-Date"])
    ours = sign(request, Credentials(KEY, SECRET, token), service="sagemaker", region="eu-west-1", now=now)
    assert ours.header("Authorization") == theirs.headers["Authorization"]


@given(path=paths, query=queries, body=st.binary(max_size=20))
def test_sign_agrees_with_botocore_for_s3(path: str, query: str, body: bytes) -> None:
    """S3's own rules: the path as it is, and a header with the hash of the body."""
    url = f"http://127.0.0.1:9000{path}{'?' if query else ''}{query}"
    theirs = AWSRequest("PUT", url, headers={}, data=body)
    S3SigV4Auth(BotoCredentials(KEY, SECRET), "s3", "us-east-1").add_auth(theirs)
    now = _moment(theirs.headers["X-Amz-Date"])
    ours = sign(Request("PUT", url, (), body), Credentials(KEY, SECRET), service="s3", region="us-east-1", now=now)
    assert ours.header("Authorization") == theirs.headers["Authorization"]
    assert ours.header("X-Amz-Content-SHA256") == payload_hash(body)


@given(path=paths, query=queries, headers=headers, body=st.binary(max_size=20), service=st.sampled_from(["s3", "logs"]))
def test_what_is_signed_verifies(
    path: str, query: str, headers: list[tuple[str, str]], body: bytes, service: str
) -> None:
    """Whatever `sign` writes `verify` takes, and not once the body is another."""
    url = f"http://localhost:8080{path}{'?' if query else ''}{query}"
    request = Request("POST", url, tuple(headers), body)
    sent = _sent(sign(request, Credentials(KEY, SECRET), service=service, region="us-east-1", now=NOW))
    assert sent.verify().access_key_id == KEY
    with pytest.raises(ServiceError, match="does not match"):
        replace(sent, body=body + b"!").verify()


@given(path=paths, query=queries)
def test_presigned_requests_of_botocore_verify(path: str, query: str) -> None:
    """A presigned URL is taken until it expires; S3's says nothing about the body."""
    for service, auth in (("s3", S3SigV4QueryAuth), ("sts", SigV4QueryAuth)):
        theirs = AWSRequest("GET", f"http://localhost:8080{path}{'?' if query else ''}{query}", headers={})
        auth(BotoCredentials(KEY, SECRET, "tok/en"), service, "us-east-1", expires=60).add_auth(theirs)
        parts = urlsplit(theirs.url)
        sent = Sent("GET", parts.path, parts.query, (("host", "localhost:8080"),))
        sent = replace(sent, payload=UNSIGNED_PAYLOAD if service == "s3" else "")
        now = _moment(parse_qs(parts.query)["X-Amz-Date"][0])
        identity = sent.verify(now + timedelta(seconds=59))
        assert (identity.presigned, identity.service, identity.session_token) == (True, service, "tok/en")
        with pytest.raises(ServiceError, match="expired"):
            sent.verify(now + timedelta(seconds=61))


def test_an_identity_says_who_and_for_what() -> None:
    """The scope, the time and the session token of the signature are told."""
    identity = _signed("token").verify(region="us-east-1", service="sagemaker")
    assert (identity.access_key_id, identity.region, identity.service) == (KEY, "us-east-1", "sagemaker")
    assert (identity.timestamp, identity.session_token, identity.presigned) == ("20260506T070809Z", "token", False)


def test_a_signed_request_can_be_signed_again() -> None:
    """The next try replaces date, token and signature instead of adding to them."""
    once = sign(Request("GET", "http://h/"), Credentials(KEY, SECRET, "a"), service="s", region="r", now=NOW)
    later = NOW + timedelta(hours=1)
    twice = sign(once, Credentials(KEY, SECRET, "b"), service="s", region="r", now=later)
    assert [name for name, _ in twice.headers] == ["X-Amz-Date", "X-Amz-Security-Token", "Authorization"]
    assert twice == sign(Request("GET", "http://h/"), Credentials(KEY, SECRET, "b"), service="s", region="r", now=later)


def test_headers_that_proxies_rewrite_are_not_signed() -> None:
    """A request survives another User-Agent and a Content-Length that the transport adds."""
    request = Request("POST", "http://h/", (("User-Agent", "a"), ("Content-Length", "0")))
    sent = _sent(sign(request, Credentials(KEY, SECRET), service="s", region="r", now=NOW))
    assert _changed(sent, user_agent="b", content_length="17").verify().access_key_id == KEY


def test_a_date_header_serves_where_there_is_no_amazon_date() -> None:
    """`Date` in the form of RFC 9110 counts when X-Amz-Date is absent (botocore signs such requests)."""
    theirs = AWSRequest("GET", "http://h/", headers={"Date": "x"})
    SigV4Auth(BotoCredentials(KEY, SECRET), "s", "r").add_auth(theirs)
    sent = Sent("GET", "/", "", (("Host", "h"), *theirs.headers.items()))
    now = parsedate_to_datetime(theirs.headers["Date"]).replace(tzinfo=UTC)
    assert sent.verify(now).timestamp == f"{now:%Y%m%dT%H%M%SZ}"


def test_credentials_do_not_show_their_secret() -> None:
    """The representation of credentials can be logged."""
    assert SECRET not in repr(Credentials(KEY, SECRET, "token"))


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://h:80/", "h"),
        ("https://h:443/", "h"),
        ("http://h:443/", "h:443"),
        ("http://user:pw@H.Example/", "h.example"),
        ("http://[::1]:8080/", "[::1]:8080"),
    ],
)
def test_the_host_is_the_one_that_clients_send(url: str, host: str) -> None:
    """Default ports and user information are left out, IPv6 addresses keep their brackets."""
    request = sign(Request("GET", url), Credentials(KEY, SECRET), service="s", region="r", now=NOW)
    assert Sent("GET", "/", "", (("host", host), *request.headers)).verify().access_key_id == KEY


AUTHORIZATION = f"AWS4-HMAC-SHA256 Credential={KEY}/20260506/us-east-1/s/aws4_request, SignedHeaders=host, Signature=0"
MISMATCH = "The request signature we calculated does not match the signature you provided."


@dataclass(frozen=True)
class Refusal:
    description: str
    code: str
    text: str
    change: Callable[[Sent], Sent] = field(default=lambda sent: sent)
    later: timedelta = timedelta()
    region: str | None = None
    service: str | None = None
    secrets: Mapping[str, str] | None = None


REFUSALS = [
    Refusal(
        "no signature",
        "MissingAuthenticationTokenException",
        "Missing Authentication Token",
        lambda sent: _changed(sent, authorization=None),
    ),
    Refusal(
        "another scheme",
        "IncompleteSignatureException",
        "must be 'AWS4-HMAC-SHA256', got 'Bearer'",
        lambda sent: _changed(sent, authorization="Bearer abc"),
    ),
    Refusal(
        "an algorithm alone",
        "IncompleteSignatureException",
        "Authorization header requires 'Credential' parameter. Authorization header requires 'Signature' parameter. "
        "Authorization header requires 'SignedHeaders' parameter.",
        lambda sent: _changed(sent, authorization="AWS4-HMAC-SHA256 x"),
    ),
    Refusal(
        "no date",
        "IncompleteSignatureException",
        "requires existence of either a 'X-Amz-Date' or a 'Date' header.",
        lambda sent: _changed(sent, x_amz_date=None),
    ),
    Refusal(
        "a date in another form",
        "IncompleteSignatureException",
        "Date must be in ISO-8601 'basic format'. Got '2026-05-06'.",
        lambda sent: _changed(sent, x_amz_date="2026-05-06"),
    ),
    Refusal(
        "a day that does not exist",
        "IncompleteSignatureException",
        "The date '20261340T000000Z' does not exist.",
        lambda sent: _changed(
            sent,
            x_amz_date="20261340T000000Z",
            authorization=AUTHORIZATION.replace("20260506", "20261340"),
        ),
    ),
    Refusal(
        "a short credential",
        "IncompleteSignatureException",
        "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got 'AKID/x'",
        lambda sent: _changed(sent, authorization="AWS4-HMAC-SHA256 Credential=AKID/x, SignedHeaders=h, Signature=1"),
    ),
    Refusal(
        "another terminator",
        "InvalidSignatureException",
        "valid terminator: 'aws4_request'",
        lambda sent: _changed(sent, authorization=AUTHORIZATION.replace("aws4_request", "aws5_request")),
    ),
    Refusal(
        "an unknown key",
        "UnrecognizedClientException",
        "The security token included in the request is invalid.",
        secrets={},
    ),
    Refusal("another secret", "InvalidSignatureException", MISMATCH, secrets={KEY: "another"}),
    Refusal(
        "a signature that is no hexadecimal number",
        "InvalidSignatureException",
        MISMATCH,
        lambda sent: _changed(sent, authorization=AUTHORIZATION.replace("/s/", "/sagemaker/") + "ü\udc80"),
    ),
    Refusal(
        "another header value",
        "InvalidSignatureException",
        MISMATCH,
        lambda sent: _changed(sent, x_amz_target="S.Other"),
    ),
    Refusal(
        "a header twice",
        "InvalidSignatureException",
        MISMATCH,
        lambda sent: replace(sent, headers=(*sent.headers, ("X-Amz-Target", "S.Op"))),
    ),
    Refusal("another path", "InvalidSignatureException", MISMATCH, lambda sent: replace(sent, path="/a")),
    Refusal("another query", "InvalidSignatureException", MISMATCH, lambda sent: replace(sent, query="a=b")),
    Refusal("another method", "InvalidSignatureException", MISMATCH, lambda sent: replace(sent, method="PUT")),
    Refusal(
        "a signed header is gone",
        "InvalidSignatureException",
        "The signed header 'x-amz-target' is not in the request.",
        lambda sent: _changed(sent, x_amz_target=None),
    ),
    Refusal(
        "the host is not signed",
        "InvalidSignatureException",
        "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.",
        lambda sent: _changed(sent, authorization=AUTHORIZATION.replace("=host", "=x-amz-date")),
    ),
    Refusal(
        "an old signature",
        "InvalidSignatureException",
        "Signature expired: 20260506T070809Z is now earlier than 20260506T070810Z (20260506T072310Z - 15 min.)",
        later=timedelta(minutes=15, seconds=1),
    ),
    Refusal(
        "a signature from the future",
        "InvalidSignatureException",
        "Signature not yet current: 20260506T070809Z is still later than 20260506T070808Z (20260506T070308Z + 5 min.)",
        later=-timedelta(minutes=5, seconds=1),
    ),
    Refusal(
        "a scope of another day",
        "InvalidSignatureException",
        "'20260505' != '20260506', from '20260506T070809Z'.",
        lambda sent: _changed(sent, authorization=AUTHORIZATION.replace("20260506", "20260505")),
    ),
    Refusal(
        "another region",
        "InvalidSignatureException",
        "Credential should be scoped to a valid region, not 'us-east-1'.",
        region="eu-west-1",
    ),
    Refusal(
        "another service",
        "InvalidSignatureException",
        "Credential should be scoped to correct service: 'logs'.",
        service="logs",
    ),
    Refusal(
        "a query with only an algorithm",
        "IncompleteSignatureException",
        "AWS query-string parameters must include 'X-Amz-Credential', 'X-Amz-Date', 'X-Amz-SignedHeaders', "
        "'X-Amz-Signature'.",
        lambda sent: replace(_changed(sent, authorization=None), query="X-Amz-Algorithm=AWS4-HMAC-SHA256"),
    ),
    Refusal(
        "a presigned request for a month",
        "IncompleteSignatureException",
        "X-Amz-Expires must be a number of seconds between 1 and 604800.",
        lambda sent: replace(
            _changed(sent, authorization=None),
            query="X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=a&X-Amz-Date=b&X-Amz-SignedHeaders=c"
            "&X-Amz-Signature=d&X-Amz-Expires=2592000",
        ),
    ),
]


@pytest.mark.parametrize("case", REFUSALS, ids=[case.description for case in REFUSALS])
def test_a_refused_signature_gets_the_code_and_text_of_aws(case: Refusal) -> None:
    """Every fault of a signature has AWS's code, its wording and status 403."""
    sent = case.change(_signed())
    with pytest.raises(ServiceError) as caught:
        sent.verify(NOW + case.later, case.secrets, case.region, case.service)
    assert (caught.value.code, caught.value.status) == (case.code, 403)
    assert case.text in caught.value.message
    caught.value.message.encode()  # can be sent


def test_a_mismatch_tells_what_should_have_been_signed() -> None:
    """The canonical request is in the message, so that a client's author finds the difference; the secret is not."""
    with pytest.raises(ServiceError) as caught:
        replace(_signed(), path="/other").verify()
    assert "The Canonical String for this request should have been\n'POST\n/other\n" in caught.value.message
    assert SECRET not in caught.value.message


@given(st.text(), st.text())
def test_no_authorization_is_too_strange(authorization: str, date: str) -> None:
    """Whatever stands in the headers, the answer is a refusal."""
    with pytest.raises(ServiceError):
        Sent("GET", "/", "", (("host", "h"), ("authorization", authorization), ("x-amz-date", date))).verify()


@given(st.text(), st.text(), st.text())
def test_no_presigned_query_is_too_strange(credential: str, date: str, rest: str) -> None:
    """Whatever stands in the query, the answer is a refusal."""
    query = (
        f"X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={credential}&X-Amz-Date={date}"
        f"&X-Amz-SignedHeaders=host&X-Amz-Signature={rest}"
    )
    with pytest.raises(ServiceError):
        Sent("GET", "/", query, (("host", "h"),)).verify()


def test_the_claimed_scope_is_for_routing() -> None:
    """What a signature claims can be read before it is believed; nothing readable is None."""
    sent = _signed(service="sts")
    scope = claimed_scope(sent.headers, "")
    assert scope is not None
    assert (scope.service, str(scope)) == ("sts", "20260506/us-east-1/sts/aws4_request")
    assert claimed_scope((), "") is None
