"""Recordings: what they hold, what they hide, and what a replay says of a run that does something else."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from treadle.errors import TransportError, UsageError
from treadle.http import RecordingTransport, ReplayTransport, ScriptedTransport, read_recording
from treadle.http.replay import Header, ReplayError
from treadle.masking import MASK
from treadle.seams import Request, Response

URL = "https://api.example.com/v1/pets?limit=2"
JSON = (("Content-Type", "application/json"),)
ASKED = Request("POST", URL, (*JSON, ("X-Trace", "a")), b'{"name": "Rex", "tags": ["a", "b"]}')
ANSWER = Response(201, (*JSON, ("Date", "Fri, 02 Jan 2026 03:04:05 GMT")), b'{"id": 1}', URL)


async def recorded(
    path: Path, *exchanges: tuple[Request, Response | TransportError], secrets: tuple[str, ...] = ()
) -> str:
    inner = ScriptedTransport([answer for _, answer in exchanges])
    transport = RecordingTransport(inner, path, Header(document="pets.yml", workflow="adopt"), secrets=secrets)
    for request, answer in exchanges:
        if isinstance(answer, TransportError):
            with pytest.raises(TransportError):
                await transport.send(request)
        else:
            assert await transport.send(request) == answer, "what is masked in the file is whole for the run"
    await transport.close()
    assert inner.closed
    return path.read_text()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run.jsonl"


async def test_an_exchange_comes_back_as_it_was(path: Path) -> None:
    """Status, headers and body of the answer survive the file; what an answer has from its moment does not."""
    await recorded(path, (ASKED, ANSWER))
    replay = ReplayTransport(read_recording(path))
    assert replay.left == 1
    response = await replay.send(ASKED)
    assert (response.status, response.header("content-type"), response.body) == (201, "application/json", b'{"id": 1}')
    assert response.header("date") is None
    assert replay.left == 0
    await replay.close()


async def test_the_same_exchanges_give_the_same_bytes(path: Path, tmp_path: Path) -> None:
    """Nothing in a recording depends on when it was made."""
    other = tmp_path / "again.jsonl"
    later = replace(ANSWER, headers=(*JSON, ("Date", "Sat, 03 Jan 2026 00:00:00 GMT")))
    assert await recorded(path, (ASKED, ANSWER)) == await recorded(other, (ASKED, later))


@given(st.binary(max_size=200))
async def test_any_body_survives(data: bytes) -> None:
    """Text stays readable; what is no text is base64."""
    import tempfile

    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "run.jsonl"
        answer = Response(200, (("Content-Type", "application/octet-stream"),), data, URL)
        await recorded(path, (ASKED, answer))
        assert (await ReplayTransport(read_recording(path)).send(ASKED)).body == data


async def test_a_fault_is_replayed_as_the_same_fault(path: Path) -> None:
    """A run that met a reset connection meets it again."""
    fault = TransportError("reset", "the connection broke", sent=True, url=URL)
    await recorded(path, (ASKED, fault), (ASKED, ANSWER))
    replay = ReplayTransport(read_recording(path))
    with pytest.raises(TransportError) as met:
        await replay.send(ASKED)
    assert (met.value.fault, met.value.message, met.value.sent) == ("reset", "the connection broke", True)
    assert (await replay.send(ASKED)).status == 201


@dataclass(frozen=True)
class Case:
    name: str
    request: Request
    response: Response = ANSWER
    secrets: tuple[str, ...] = ()


SECRET = "s3cr3t-value"
HIDDEN = [
    Case("authorization", replace(ASKED, headers=(("Authorization", f"Bearer {SECRET}"),))),
    Case("api key header", replace(ASKED, headers=(("X-Api-Key", SECRET),))),
    Case("query member", replace(ASKED, url=f"{URL}&access_token={SECRET}")),
    Case("named secret in the path", replace(ASKED, url=f"https://a.example/{SECRET}/x"), secrets=(SECRET,)),
    Case("named secret in the body", replace(ASKED, body=b'{"note": "it is s3cr3t-value"}'), secrets=(SECRET,)),
    Case("member of the request", replace(ASKED, body=b'{"deep": [{"client_secret": "s3cr3t-value"}]}')),
    Case("form", replace(ASKED, body=b"grant_type=password&password=s3cr3t-value")),
    Case("member of the answer", ASKED, replace(ANSWER, body=b'{"access_token": "s3cr3t-value"}')),
    Case("cookie of the answer", ASKED, replace(ANSWER, headers=(*JSON, ("Set-Cookie", f"sid={SECRET}")))),
    Case("text answer", ASKED, replace(ANSWER, body=b"<key>s3cr3t-value</key>"), secrets=(SECRET,)),
    Case("signature", replace(ASKED, headers=(("X-Amz-Security-Token", SECRET),))),
]


@pytest.mark.parametrize("case", HIDDEN, ids=lambda case: case.name)
async def test_secrets_are_not_written(case: Case, path: Path) -> None:
    """Neither what the caller names nor what its own name calls a credential is in the file; it replays all the same."""
    text = await recorded(path, (case.request, case.response), secrets=case.secrets)
    assert SECRET not in text
    response = await ReplayTransport(read_recording(path), secrets=case.secrets).send(case.request)
    assert response.status == 201


async def test_an_answered_token_is_masked_wherever_it_is_sent(path: Path) -> None:
    """A token that an answer gave is a secret from then on, also in a header that nobody would suspect."""
    login = replace(ANSWER, body=b'{"access_token": "s3cr3t-value"}')
    use = Request("GET", f"https://api.example.com/me/{SECRET}", (("X-Odd", f"is {SECRET}"),))
    text = await recorded(path, (ASKED, login), (use, ANSWER))
    assert SECRET not in text
    replay = ReplayTransport(read_recording(path))
    token = msgspec.json.decode((await replay.send(ASKED)).body)["access_token"]
    assert token == MASK
    again = Request("GET", f"https://api.example.com/me/{token}", (("X-Odd", f"is {token}"),))
    assert (await replay.send(again)).status == 201


DIFFERENT = [
    (replace(ASKED, method="PUT"), "the method was 'POST' and is 'PUT'"),
    (replace(ASKED, url=URL.replace("pets", "cats")), "the path was '/v1/pets' and is '/v1/cats'"),
    (
        replace(ASKED, url=URL.replace("limit=2", "limit=3")),
        "the query parameter 'limit' was '[\"2\"]' and is '[\"3\"]'",
    ),
    (replace(ASKED, url=URL.replace("?limit=2", "")), "the query parameter 'limit' was '[\"2\"]' and is not there"),
    (replace(ASKED, headers=(*JSON, ("X-Trace", "b"))), "the header 'x-trace' was 'a' and is 'b'"),
    (replace(ASKED, body=b'{"name": "Max", "tags": ["a", "b"]}'), "the body at /name was 'Rex' and is 'Max'"),
    (replace(ASKED, body=b'{"name": "Rex", "tags": ["a", "c"]}'), "the body at /tags/1 was 'b' and is 'c'"),
    (replace(ASKED, body=b'{"name": "Rex", "tags": ["a"]}'), 'the body at /tags was \'["a","b"]\' and is \'["a"]\''),
    (replace(ASKED, body=b""), 'the body was \'{"name"'),
    (replace(ASKED, url=URL.replace("api.", "www.")), "the server was 'https://api.example.com'"),
]


@pytest.mark.parametrize(("request_", "said"), DIFFERENT, ids=[said[:30] for _, said in DIFFERENT])
async def test_a_request_that_differs_is_told_with_what_differs(request_: Request, said: str, path: Path) -> None:
    """The error names the number of the request, the place, the recorded value and the new one."""
    await recorded(path, (ASKED, ANSWER))
    with pytest.raises(ReplayError) as met:
        await ReplayTransport(read_recording(path)).send(request_)
    assert said in met.value.message
    assert met.value.message.startswith("request 1, ")


SAME = [
    replace(ASKED, body=b'{"tags":["a","b"],"name":"Rex"}'),
    replace(ASKED, headers=(("x-trace", "a"), ("content-type", "application/json"))),
    replace(
        ASKED, headers=(*ASKED.headers, ("X-Amz-Date", "20260102T030405Z"), ("Authorization", "AWS4-HMAC-SHA256 …"))
    ),
]


@pytest.mark.parametrize("request_", SAME, ids=["spacing and order", "names of headers", "a signature"])
async def test_what_means_the_same_is_the_same(request_: Request, path: Path) -> None:
    """Spacing, the order of members, the case of header names and a signature make no other request."""
    await recorded(path, (ASKED, ANSWER))
    assert (await ReplayTransport(read_recording(path)).send(request_)).status == 201


async def test_a_loopback_server_may_have_another_port(path: Path) -> None:
    """A mock or an embedded service listens elsewhere every time."""
    await recorded(path, (Request("GET", "http://127.0.0.1:40001/x"), ANSWER))
    assert (await ReplayTransport(read_recording(path)).send(Request("GET", "http://localhost:5/x"))).status == 201


async def test_more_requests_than_recorded_are_told(path: Path) -> None:
    """A run that goes further than the recording is not answered with something made up."""
    await recorded(path, (ASKED, ANSWER))
    replay = ReplayTransport(read_recording(path))
    await replay.send(ASKED)
    with pytest.raises(ReplayError, match=r"request 2, POST .* is not in the recording, which has 1"):
        await replay.send(ASKED)


@pytest.mark.parametrize("text", ["", "{}", "not json", '{"treadle_recording":1}\n{"request":7}'])
def test_a_file_that_is_no_recording_is_refused(text: str, path: Path) -> None:
    """Whatever else the file is, the error names it."""
    path.write_text(text)
    with pytest.raises(UsageError, match=r"run\.jsonl"):
        read_recording(path)


def test_files_that_cannot_be_used_are_told(tmp_path: Path) -> None:
    """A directory that is not there, a file that is not there."""
    with pytest.raises(UsageError, match="cannot be read"):
        read_recording(tmp_path / "nothing.jsonl")
    with pytest.raises(UsageError, match="cannot be written"):
        RecordingTransport(ScriptedTransport([]), tmp_path / "no" / "run.jsonl", Header())
