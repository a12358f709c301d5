"""What `treadle.toml` gives a run: credentials by security scheme, servers, targets, the pace of polls."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from treadle.cli.configured import settings_for
from treadle.cli.given import setup_of
from treadle.cli.options import Where

Said = Callable[..., tuple[int, str, str]]
SECRET = "s3cr3t-0123456789"

API = {
    "openapi": "3.1.0",
    "info": {"title": "t", "version": "1"},
    "servers": [{"url": "http://127.0.0.1:1"}],
    "components": {"securitySchemes": {"key": {"type": "apiKey", "in": "header", "name": "X-Key"}}},
    "paths": {
        "/x": {
            "get": {
                "operationId": "get",
                "responses": {"200": {"description": "ok", "content": {"application/json": {}}}},
            }
        }
    },
}
DOCUMENT = """\
arazzo: 1.0.1
info: {title: Good, version: 1.0.0}
sourceDescriptions:
- {name: api, url: ./api.json, type: openapi}
workflows:
- workflowId: main
  steps:
  - stepId: one
    operationId: get
    outputs: {echo: $response.body#/key}
  outputs: {echo: $steps.one.outputs.echo}
"""


@pytest.fixture
def server() -> Iterator[tuple[str, list[str | None]]]:
    """A server that tells the key that it was called with; gives its URL and the keys."""
    keys: list[str | None] = []

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            keys.append(self.headers["X-Key"])
            body = json.dumps({"key": self.headers["X-Key"]}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    made = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.daemon_threads = True
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{made.server_address[1]}", keys
    made.shutdown()
    made.server_close()
    thread.join()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a working directory with a document and its API."""
    (tmp_path / "main.yaml").write_text(DOCUMENT)
    (tmp_path / "api.json").write_text(json.dumps(API))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_credentials_are_sent_to_their_server_and_masked(
    said: Said, folder: Path, server: tuple[str, list[str | None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the security scheme; wherever the secret comes back it is hidden."""
    url, keys = server
    (folder / "treadle.toml").write_text(f'[servers]\napi = "{url}"\n[credentials.api]\nkey = "env:MY_KEY"\n')
    monkeypatch.setenv("MY_KEY", SECRET)
    code, out, err = said("run", "main.yaml", "--json")
    assert (code, keys) == (0, [SECRET])
    assert SECRET not in out + err


def test_a_credential_that_is_not_there_is_told_before_anything_is_sent(
    said: Said, folder: Path, server: tuple[str, list[str | None]]
) -> None:
    """The variable is named."""
    url, keys = server
    (folder / "treadle.toml").write_text(f'[servers]\napi = "{url}"\n[credentials.api]\nkey = "env:NOT_THERE"\n')
    code, _, err = said("run", "main.yaml")
    assert (code, keys) == (2, [])
    assert "NOT_THERE" in err


def test_an_unknown_scheme_is_a_mistake(said: Said, folder: Path) -> None:
    """The description's own are named."""
    (folder / "treadle.toml").write_text('[credentials.api]\nkye = "env:HOME"\n')
    code, _, err = said("run", "main.yaml")
    assert code == 2
    assert "no security scheme 'kye'" in err
    assert "it has: key" in err


def test_a_target_is_a_name_for_servers(said: Said, folder: Path, server: tuple[str, list[str | None]]) -> None:
    """`--on NAME` means what the file says."""
    url, keys = server
    (folder / "treadle.toml").write_text(f'[targets.test]\nservers = {{ api = "{url}" }}\n')
    assert said("run", "main.yaml", "--on", "test")[0] == 0
    assert keys == [None]


ALWAYS = "successCriteria: [{condition: $statusCode >= 100}]"
BRACED = "successCriteria: [{condition: '{$statusCode} == 200'}]"
TWICE = "onSuccess: [{name: same, type: end}, {name: same, type: end}]"


@pytest.mark.parametrize(
    ("step", "rules", "code", "requests", "said_of_it"),
    [
        pytest.param(BRACED, "", 0, 1, "warning: ", id="as it is"),
        pytest.param(BRACED, 'braced-operand = "off"', 0, 1, "", id="off"),
        pytest.param(BRACED, 'braced-operand = "note"', 0, 1, "", id="a note"),
        pytest.param(BRACED, 'braced-operand = "error"', 2, 0, "[braced-operand]", id="an error"),
        pytest.param(ALWAYS, "", 0, 1, "", id="what only check looks for"),
        pytest.param(ALWAYS, 'criterion-always-true = "error"', 2, 0, "[criterion-always-true]", id="and as an error"),
        pytest.param(ALWAYS, 'bare-word = "error"', 0, 1, "", id="another rule"),
        pytest.param(TWICE, "", 2, 0, "[duplicate-action]", id="an error as it is"),
        pytest.param(TWICE, 'duplicate-action = "off"', 0, 1, "[unreachable-action]", id="an error that is off"),
        pytest.param("successCriteria: {}", 'wrong-type = "off"', 2, 0, "[wrong-type]", id="cannot be read"),
        pytest.param("operationId: gone", 'unknown-operation = "off"', 2, 0, "[unknown-operation]", id="cannot be run"),
    ],
)
def test_what_findings_are_holds_for_a_run(
    said: Said,
    folder: Path,
    server: tuple[str, list[str | None]],
    step: str,
    rules: str,
    code: int,
    requests: int,
    said_of_it: str,
) -> None:
    """As `check` has it, but that nothing runs without a plan, nor what cannot be read."""
    url, keys = server
    document = DOCUMENT.replace("operationId: get", step if "operationId" in step else f"operationId: get\n    {step}")
    (folder / "main.yaml").write_text(document)
    (folder / "treadle.toml").write_text(f'[servers]\napi = "{url}"\n[rules]\n{rules}\n')
    ended, _, err = said("run", "main.yaml")
    assert (ended, len(keys)) == (code, requests), err
    assert said_of_it in err
    assert bool(said_of_it) == any(word in err for word in ("warning: ", "error: ")), err


def test_the_command_line_outranks_the_file(folder: Path) -> None:
    """Server by server, source by source."""
    (folder / "treadle.toml").write_text(
        'on = "http://a.test"\npoll = 3\n[servers]\napi = "http://b.test"\nfar = "http://c.test"\n'
        '[sources]\napi = "other.json"\n[credentials.api]\nkey = "env:A"\n'
        '[targets.t]\nurl = "http://d.test"\ncredentials.api.key = "env:B"\n'
    )
    settings = settings_for("main.yaml")
    plain = setup_of("main.yaml", None, settings=settings)
    assert (plain.on, plain.poll) == ("http://a.test", 3)
    assert plain.servers == {"api": "http://b.test", "far": "http://c.test"}
    assert plain.sources == {"api": str(folder / "other.json")}
    assert plain.credentials == {"api": {"key": "env:A"}}
    assert plain.configured == ["api", "far"]
    named = setup_of("main.yaml", None, Where(on="t", servers=[("api", "http://e.test")]), settings=settings)
    assert (named.on, named.servers["api"]) == ("http://d.test", "http://e.test")
    assert named.credentials == {"api": {"key": "env:B"}}
    assert named.configured == ["far"]
