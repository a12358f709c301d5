"""Descriptions of APIs that are spread over several documents: in files, on the network, and what they may not do."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from treadle.arazzo.registry import Registry
from treadle.cli.referenced import Referenced
from treadle.errors import DescriptionError, TreadleError

Said = Callable[..., tuple[int, str, str]]

ARAZZO = """\
arazzo: 1.0.1
info: {title: Apart, version: 1.0.0}
sourceDescriptions:
- {name: api, url: ./api.yaml, type: openapi}
workflows:
- workflowId: main
  steps:
  - stepId: s
    operationId: getX
    parameters:
    - {name: limit, in: query, value: 3}
    successCriteria:
    - condition: $statusCode == 200
    outputs: {id: '$response.body#/id'}
  outputs: {id: $steps.s.outputs.id}
"""

PARTS = {
    "api.yaml": """\
openapi: 3.1.0
info: {title: t, version: '1'}
servers: [{url: SERVER}]
paths:
  /x: {$ref: paths/x.yaml}
components: {schemas: {Id: {type: string, const: from-the-mock}}}
""",
    "paths/x.yaml": """\
get:
  operationId: getX
  parameters:
  - $ref: ../params.yaml#/limit
  responses:
    '200':
      description: ok
      content: {application/json: {schema: {$ref: ../schemas/x.json}}}
""",
    "params.yaml": "limit: {name: limit, in: query, required: true, schema: {type: integer}}\n",
    "schemas/x.json": '{"type": "object", "required": ["id"], "properties": {"id": {"$ref": "../api.yaml#/components/schemas/Id"}}}',
}


@dataclass
class Host:
    """What answers `/x`, and every name of `parts`; `asked` is what was asked for."""

    url: str
    parts: dict[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def host() -> Iterator[Host]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            made.asked.append(self.path)
            text = '{"id": "from-the-server"}' if self.path.startswith("/x") else made.parts.get(self.path[1:])
            data = (text or "").encode()
            self.send_response(200 if text else 404)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made = Host(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield made
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def folder(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a working directory with a document and its description in four files, which `host` has as well."""
    host.parts = {name: text.replace("SERVER", host.url) for name, text in PARTS.items()}
    for name, text in {**host.parts, "w.arazzo.yaml": ARAZZO}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("more", [[], ["--source", "api=HOST/api.yaml"]], ids=["files", "network"])
def test_a_description_in_several_documents(said: Said, host: Host, more: list[str]) -> None:
    """It serves a check, a run and the mock as one in a single file does, each of its documents read once."""
    more = [each.replace("HOST", host.url) for each in more]

    assert said("check", "w.arazzo.yaml", *more)[:2] == (0, "w.arazzo.yaml: good\n")
    assert sorted(host.asked) == (sorted(f"/{name}" for name in PARTS) if more else [])

    host.asked.clear()
    code, out, err = said("run", "w.arazzo.yaml", "--json", *more)
    assert code == 0, err
    assert "from-the-server" in out
    assert host.asked[-1] == "/x?limit=3"

    code, out, err = said("run", "w.arazzo.yaml", "--on", "mock", "--json", *more)
    assert code == 0, err
    assert "from-the-mock" in out


@pytest.mark.usefixtures("folder")
def test_a_description_that_is_found_by_its_self(said: Said, folder: Path) -> None:
    """Its references mean what lies beside the file that was given, those beside a reference as well."""
    name = "https://a.test/api.yaml"
    beside = "/x: {$ref: paths/x.yaml, parameters: [{$ref: 'params.yaml#/limit'}]}"
    described = PARTS["api.yaml"].replace("/x: {$ref: paths/x.yaml}", beside)
    (folder / "api.yaml").rename(folder / "given.yaml")
    (folder / "given.yaml").write_text(f"$self: {name}\n" + described.replace("SERVER", "http://127.0.0.1:9"))
    (folder / "paths/x.yaml").write_text("get: {operationId: getX, responses: {}}\n")
    (folder / "w.arazzo.yaml").write_text(ARAZZO.replace("./api.yaml", name))
    (folder / "treadle.toml").write_text('documents = ["given.yaml"]\n')

    code, out, err = said("check", "w.arazzo.yaml")
    assert (code, out) == (0, "w.arazzo.yaml: good\n"), err


def test_what_the_other_documents_lack(said: Said, folder: Path) -> None:
    """It is told at the operation that needs it, with the document and the reason; nothing hides it."""
    (folder / "params.yaml").write_text("limit: {name: [\n")
    code, _, err = said("check", "w.arazzo.yaml")
    assert code == 0
    assert "'../params.yaml#/limit' leads into another document, which cannot be read: this is not YAML" in err
    assert "params.yaml:1:16) (at /get/parameters/0) [reference-external]" in err

    (folder / "paths/x.yaml").rename(folder / "paths/y.yaml")
    code, _, err = said("check", "w.arazzo.yaml")
    assert code == 2
    assert (
        "'getX', which is not in api; the reference 'paths/x.yaml' leads into another document, which cannot be" in err
    )
    assert "did you mean y.yaml?" in err


def test_a_description_of_the_network_reads_no_files(said: Said, folder: Path, host: Host) -> None:
    """Neither by an absolute path nor where the same file is known already."""
    host.parts["api.yaml"] = host.parts["api.yaml"].replace("paths/x.yaml", (folder / "paths/x.yaml").as_uri())
    code, _, err = said("check", "w.arazzo.yaml", "--source", f"api={host.url}/api.yaml")
    assert code == 2
    assert "a document from the network may not read the local file" in err

    read = Referenced(Registry())
    uri = (folder / "params.yaml").as_uri()
    assert read(uri, (folder / "api.yaml").as_uri())[0] == uri
    with pytest.raises(DescriptionError) as caught:
        read(uri, "http://a.test/api.yaml")
    assert "may not read the local file" in caught.value.diagnostics[0].message
    assert read(uri, (folder / "api.yaml").as_uri())[0] == uri


def test_documents_are_read_once_and_boundedly_many() -> None:
    """Those that are not there as well: a description with many references must not wait for each."""
    asked: list[str] = []

    def fetch(url: str) -> bytes:
        asked.append(url)
        if "lost" in url:
            raise TreadleError("it is gone")
        return b"a: 1\n"

    read = Referenced(Registry(fetch=fetch))
    for _ in range(3):
        assert read("b.yaml", "http://a.test/api.yaml") == ("http://a.test/b.yaml", {"a": 1})
        with pytest.raises(DescriptionError):
            read("lost.yaml", "http://a.test/api.yaml")
    assert asked == ["http://a.test/b.yaml", "http://a.test/lost.yaml"]

    for number in range(4998):
        read(f"{number}.yaml", "http://a.test/api.yaml")
    with pytest.raises(DescriptionError) as caught:
        read("one-more.yaml", "http://a.test/api.yaml")
    assert "is not read" in caught.value.diagnostics[0].message
    assert len(asked) == 5000
    assert read("b.yaml", "http://a.test/api.yaml")[1] == {"a": 1}
