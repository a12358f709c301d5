"""Credentials: for the right origin only, renewed when they end, and the step's own first."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from treadle.aws.sigv4 import Credentials, sign
from treadle.errors import UsageError
from treadle.seams import Json, Request
from treadle.sources.security import (
    AuthoriserChain,
    AwsChain,
    Grant,
    NoAuthoriser,
    SchemeAuthoriser,
    SigV4Authoriser,
    StaticCredentials,
    grant_for,
    resolved_secret,
)
from treadle.sources.servers import SigningScope, Target

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SCOPE = SigningScope("sagemaker", "us-east-1")
KEYS = Credentials("AKIDEXAMPLE", "secret")
REQUEST = Request("POST", "http://127.0.0.1:7777/", (("X-Amz-Target", "SageMaker.X"),), b"{}")


@dataclass
class Expiring:
    """A provider whose credentials end with each use."""

    asked: int = 0

    async def credentials(self) -> Credentials | None:
        self.asked += 1
        return Credentials(f"KEY{self.asked}", "secret", f"token{self.asked}")


@dataclass
class Nothing:
    asked: int = field(default=0)

    async def credentials(self) -> Credentials | None:
        self.asked += 1
        return None


def signer(*grants: Grant) -> SigV4Authoriser:
    return SigV4Authoriser(grants, clock=lambda: NOW)


async def test_signs_for_its_origin() -> None:
    """A request to a granted origin is signed for the grant's scope."""
    grant = grant_for(Target("local", "http://127.0.0.1:7777", SCOPE, must_sign=True), StaticCredentials(KEYS))
    assert grant is not None

    signed = await signer(grant).authorise(REQUEST)

    assert signed == sign(REQUEST, KEYS, service="sagemaker", region="us-east-1", now=NOW)
    assert "Credential=AKIDEXAMPLE/20260102/us-east-1/sagemaker/aws4_request" in (signed.header("authorization") or "")


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:7778/",
        "https://127.0.0.1:7777/",
        "http://localhost:7777/",
        "https://api.sagemaker.us-east-1.amazonaws.com/",
    ],
)
async def test_signs_for_no_other_origin(url: str) -> None:
    """An X-Amz-Target earns no signature, nor does a host that looks like AWS: only a grant does."""
    provider = Expiring()
    request = Request("POST", url, REQUEST.headers, b"{}")

    assert await signer(Grant("http://127.0.0.1:7777", SCOPE, provider)).authorise(request) is request
    assert provider.asked == 0


async def test_credentials_are_asked_for_at_each_request() -> None:
    """Temporary credentials that end in the middle of a poll are renewed: every request has its own."""
    authoriser = signer(Grant("http://127.0.0.1:7777", SCOPE, Expiring()))

    tokens = [(await authoriser.authorise(REQUEST)).header("x-amz-security-token") for _ in range(3)]

    assert tokens == ["token1", "token2", "token3"]


async def test_the_steps_own_authorization_wins() -> None:
    """A request that already says who sends it is left alone."""
    stated = Request("POST", REQUEST.url, (("authorization", "Bearer x"),))

    assert await signer(Grant("http://127.0.0.1:7777", SCOPE, Expiring())).authorise(stated) is stated


async def test_without_credentials() -> None:
    """Where a signature is needed their absence is an error that says what to do; elsewhere the request goes unsigned."""
    optional = Grant("http://127.0.0.1:7777", SCOPE, Nothing(), required=False)
    assert await signer(optional).authorise(REQUEST) is REQUEST

    with pytest.raises(UsageError, match=r"no AWS credentials to sign requests to 127\.0\.0\.1") as caught:
        await signer(Grant("http://127.0.0.1:7777", SCOPE, Nothing())).authorise(REQUEST)
    assert "AWS_ACCESS_KEY_ID" in caught.value.hint


def test_no_grant_where_nothing_is_signed() -> None:
    """A target without a scope gets no grant; one that need not be signed gets an optional one."""
    assert grant_for(Target("described", "https://pets.test"), StaticCredentials(KEYS)) is None
    named = grant_for(Target("named", "http://stub.test", SCOPE), StaticCredentials(KEYS))
    assert named is not None
    assert not named.required


# ---------------------------------------------------------------------------------------------------------------------
# botocore's chain
# ---------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def aws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a directory with the only AWS configuration there is: `config` and `credentials`, both empty."""
    for name in (
        "AWS_PROFILE",
        "AWS_DEFAULT_PROFILE",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("AWS_REGION", raising=False)
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    (tmp_path / "config").touch()
    (tmp_path / "credentials").touch()
    return tmp_path


async def test_chain_of_the_environment(aws: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment is first, as in every AWS tool."""
    assert aws.is_dir()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "A")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "S")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "T")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")

    assert await AwsChain().credentials() == Credentials("A", "S", "T")
    assert AwsChain().region() == "eu-west-1"


async def test_chain_without_anything(aws: Path) -> None:
    """Without any configuration there are no credentials, and that is no error yet."""
    assert aws.is_dir()
    chain = AwsChain(instance_metadata=False)

    assert [await chain.credentials(), await chain.credentials()] == [None, None]
    assert chain.region() is None


async def test_chain_of_a_profile(aws: Path) -> None:
    """A profile by name; a file that somebody writes anew is read again, so a login in the middle of a poll counts."""
    (aws / "config").write_text("[profile dev]\nregion = eu-north-1\n")
    write = "[dev]\naws_access_key_id = {0}\naws_secret_access_key = S\naws_session_token = {0}\n".format
    (aws / "credentials").write_text(write("ONE"))
    chain = AwsChain("dev")
    before = await chain.credentials()

    (aws / "credentials").write_text(write("SECOND"))

    assert before == Credentials("ONE", "S", "ONE")
    assert await chain.credentials() == Credentials("SECOND", "S", "SECOND")
    assert chain.region() == "eu-north-1"


async def test_chain_renews(aws: Path) -> None:
    """Credentials of a process that are about to end are fetched again, once for all who ask at the same moment."""
    counter, expiry = aws / "count", (datetime.now(UTC) + timedelta(minutes=1)).isoformat()
    script = aws / "issue.py"
    script.write_text(
        "import json, pathlib, sys\n"
        f"counter = pathlib.Path({str(counter)!r})\n"
        "number = len(counter.read_text()) if counter.exists() else 0\n"
        "counter.write_text('x' * (number + 1))\n"
        "later = '2099-01-01T00:00:00Z' if number else " + json.dumps(expiry) + "\n"
        "print(json.dumps({'Version': 1, 'AccessKeyId': f'KEY{number}', 'SecretAccessKey': 'S',"
        " 'SessionToken': 'T', 'Expiration': later}))\n"
    )
    (aws / "config").write_text(f"[profile p]\ncredential_process = {sys.executable} {script}\n")
    chain = AwsChain("p")

    keys = {(await chain.credentials() or KEYS).access_key_id}
    keys |= {(each or KEYS).access_key_id for each in await asyncio.gather(*(chain.credentials() for _ in range(5)))}

    assert (await chain.credentials() or KEYS).access_key_id == "KEY1"
    assert keys <= {"KEY0", "KEY1"}
    assert counter.read_text() == "xx"


@pytest.mark.parametrize(
    ("config", "profile", "message"),
    [
        pytest.param("", "nobody", r"profile \(nobody\) could not be found", id="no such profile"),
        pytest.param("[profile p]\ncredential_process = false\n", "p", "custom-process", id="a process that fails"),
        pytest.param("[profile p\n", "p", "pars", id="a file that is none"),
    ],
)
async def test_chain_that_is_broken(aws: Path, config: str, profile: str, message: str) -> None:
    """A configuration that is wrong is an error in the system's words, with what to do."""
    (aws / "config").write_text(config)

    with pytest.raises(UsageError, match=message) as caught:
        await AwsChain(profile).credentials()
    assert caught.value.hint


# ---------------------------------------------------------------------------------------------------------------------
# Security schemes
# ---------------------------------------------------------------------------------------------------------------------

SCHEMES: Mapping[str, Json] = {
    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    "query": {"type": "apiKey", "in": "query", "name": "api key"},
    "cookie": {"type": "apiKey", "in": "cookie", "name": "sid"},
    "basic": {"type": "http", "scheme": "Basic"},
    "bearer": {"type": "http", "scheme": "bearer"},
    "oauth": {"type": "oauth2", "flows": {}},
    "swagger": {"type": "basic"},
    "tls": {"type": "mutualTLS"},
}


@dataclass
class Case:
    description: str
    credentials: dict[str, str]
    want: Request
    url: str = "http://h.test/x"
    headers: tuple[tuple[str, str], ...] = ()


def get(url: str, *headers: tuple[str, str]) -> Request:
    return Request("GET", url, headers)


X = "http://h.test/x"
SCHEME_CASES = [
    Case("an API key in a header", {"key": "k"}, get(X, ("X-API-Key", "k"))),
    Case("an API key in the query", {"query": "a&b"}, get(f"{X}?api%20key=a%26b")),
    Case("an API key beside other members", {"query": "k"}, get(f"{X}?a=1&api%20key=k"), f"{X}?a=1"),
    Case("an API key in a cookie", {"cookie": "k;"}, get(X, ("Cookie", "a=1; sid=k%3B")), X, (("cookie", "a=1"),)),
    Case("basic", {"basic": "me:pässword"}, get(X, ("Authorization", "Basic bWU6cMOkc3N3b3Jk"))),
    Case("basic in Swagger's words", {"swagger": "me:pw"}, get(X, ("Authorization", "Basic bWU6cHc="))),
    Case("bearer", {"bearer": "t"}, get(X, ("Authorization", "Bearer t"))),
    Case("a token of OAuth 2", {"oauth": "t"}, get(X, ("Authorization", "Bearer t"))),
    Case("from the environment", {"bearer": "env:TOKEN"}, get(X, ("Authorization", "Bearer from-env"))),
    Case("two schemes", {"key": "k", "bearer": "t"}, get(X, ("X-API-Key", "k"), ("Authorization", "Bearer t"))),
    Case("the step's own header", {"key": "k"}, get(X, ("x-api-key", "mine")), X, (("x-api-key", "mine"),)),
    Case("the step's own query", {"query": "k"}, get(f"{X}?api%20key=mine"), f"{X}?api%20key=mine"),
    Case("the step's own cookie", {"cookie": "k"}, get(X, ("Cookie", "sid=mine")), X, (("Cookie", "sid=mine"),)),
    Case("another origin", {"key": "k", "query": "k"}, get("http://h.test:81/x"), "http://h.test:81/x"),
]


@pytest.mark.parametrize("case", SCHEME_CASES, ids=lambda case: case.description)
async def test_schemes(case: Case) -> None:
    """Each scheme has its place; another origin gets nothing; what the step says stays."""
    authoriser = SchemeAuthoriser("http://h.test", SCHEMES, case.credentials, environment={"TOKEN": "from-env"})

    assert await authoriser.authorise(Request("GET", case.url, case.headers)) == case.want


@pytest.mark.parametrize(
    ("credentials", "message"),
    [
        ({"nobody": "x"}, "no security scheme 'nobody'"),
        ({"tls": "x"}, r"of a kind \(mutualTLS\)"),
        ({"bearer": "env:UNSET"}, "UNSET is not set"),
        ({"bearer": "file:/does/not/exist"}, "cannot be read"),
        ({"bearer": "a\nb"}, "line break"),
    ],
)
async def test_schemes_that_cannot_be_used(credentials: dict[str, str], message: str) -> None:
    """A credential that cannot be used says which and why."""
    with pytest.raises(UsageError, match=message):
        await SchemeAuthoriser("http://h.test", SCHEMES, credentials, environment={}).authorise(get(X))


def test_secrets_can_be_masked(tmp_path: Path) -> None:
    """The secrets are known to whoever masks them, files without their line end."""
    (tmp_path / "token").write_text("from-file\n")
    credentials = {"key": "plain", "bearer": f"file:{tmp_path / 'token'}"}

    assert SchemeAuthoriser("http://h.test", SCHEMES, credentials).secrets() == ["plain", "from-file"]
    assert resolved_secret("http://not-a-reference") == "http://not-a-reference"


async def test_a_chain_of_authorisers() -> None:
    """Several authorisers each add their part; none adds nothing."""
    schemes = SchemeAuthoriser("http://127.0.0.1:7777", SCHEMES, {"key": "k"})
    chain = AuthoriserChain([NoAuthoriser(), schemes, signer(Grant("http://127.0.0.1:7777", SCOPE, Expiring()))])

    request = await chain.authorise(REQUEST)

    assert request.header("x-api-key") == "k"
    assert "x-api-key" in (request.header("authorization") or "")  # it was there when the request was signed
