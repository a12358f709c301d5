"""The registry: references resolved, documents found by identity and by location, and who may read what."""

from __future__ import annotations

import contextlib
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from treadle.arazzo.build import build
from treadle.arazzo.load import load
from treadle.arazzo.location import Document
from treadle.arazzo.model import SourceDescription
from treadle.arazzo.registry import Registry, base_uri, beside, kind_of, resolve, to_uri
from treadle.errors import DescriptionError, Diagnostic, TransportError
from treadle.seams import Json

# RFC 3986 §5.4, all of it
RFC_BASE = "http://a/b/c/d;p?q"
RFC_CASES = {
    "g:h": "g:h",
    "g": "http://a/b/c/g",
    "./g": "http://a/b/c/g",
    "g/": "http://a/b/c/g/",
    "/g": "http://a/g",
    "//g": "http://g",
    "?y": "http://a/b/c/d;p?y",
    "g?y": "http://a/b/c/g?y",
    "#s": "http://a/b/c/d;p?q#s",
    "g#s": "http://a/b/c/g#s",
    "g?y#s": "http://a/b/c/g?y#s",
    ";x": "http://a/b/c/;x",
    "g;x": "http://a/b/c/g;x",
    "g;x?y#s": "http://a/b/c/g;x?y#s",
    "": "http://a/b/c/d;p?q",
    ".": "http://a/b/c/",
    "./": "http://a/b/c/",
    "..": "http://a/b/",
    "../": "http://a/b/",
    "../g": "http://a/b/g",
    "../..": "http://a/",
    "../../": "http://a/",
    "../../g": "http://a/g",
    "../../../g": "http://a/g",
    "../../../../g": "http://a/g",
    "/./g": "http://a/g",
    "/../g": "http://a/g",
    "g.": "http://a/b/c/g.",
    ".g": "http://a/b/c/.g",
    "g..": "http://a/b/c/g..",
    "..g": "http://a/b/c/..g",
    "./../g": "http://a/b/g",
    "./g/.": "http://a/b/c/g/",
    "g/./h": "http://a/b/c/g/h",
    "g/../h": "http://a/b/c/h",
    "g;x=1/./y": "http://a/b/c/g;x=1/y",
    "g;x=1/../y": "http://a/b/c/y",
    "g?y/./x": "http://a/b/c/g?y/./x",
    "g?y/../x": "http://a/b/c/g?y/../x",
    "g#s/./x": "http://a/b/c/g#s/./x",
    "g#s/../x": "http://a/b/c/g#s/../x",
    "http:g": "http:g",
}


@pytest.mark.parametrize(("reference", "want"), RFC_CASES.items(), ids=lambda text: text or "empty")
def test_references_resolve_as_rfc_3986_says(reference: str, want: str) -> None:
    """Every normal and abnormal example of §5.4."""
    assert resolve(RFC_BASE, reference) == want


def test_any_scheme_is_a_base() -> None:
    """`urljoin` knows a list of schemes; identities may have any."""
    assert resolve("tag:example.com,2026:flows/buy", "sell") == "tag:example.com,2026:flows/sell"
    assert resolve("s3://bucket/flows/buy.yaml", "../specs/x.yaml") == "s3://bucket/specs/x.yaml"


@given(st.text(max_size=30), st.text(max_size=30))
def test_any_reference_resolves(base: str, reference: str) -> None:
    """No text makes it fail."""
    assert isinstance(resolve("http://h/" + base, reference), str)


HOSTS = st.sampled_from(
    ["http://[bad", "http://[", "//[x", "http://ex\u2100mple/", "http://a:b/", "file://[x/y", "ht!tp:x"]
)


@given(st.none() | HOSTS | st.text(max_size=30), HOSTS | st.text(max_size=30))
def test_any_self_and_url_lead_to_a_document_or_a_refusal(own: str | None, url: str) -> None:
    """Also hosts that no library takes."""
    here = document("file:///nowhere/main.yaml", own)
    registry = Registry().with_document(here)
    with contextlib.suppress(DescriptionError):
        registry.open(here, source(url))
    beside(here, source(url))


@dataclass
class Case:
    """An example of Appendix B: where the document is from, its `$self`, the source's url, and what it means."""

    id: str
    retrieved: str
    own: str | None
    url: str
    want: str


LOCAL = "file:///Users/dev/projects/workflows/purchase.arazzo.yaml"
APPENDIX_B = [
    Case("within-content", LOCAL, "https://api.example.com/workflows/purchase.arazzo.yaml", "../specs/petstore.yaml", "https://api.example.com/specs/petstore.yaml"),
    Case("retrieval-uri", LOCAL, None, "../specs/petstore.yaml", "file:///Users/dev/projects/specs/petstore.yaml"),
    Case("encapsulating-entity", "https://api.example.com/workflows/purchase.arazzo.json", None, "../specs/petstore.json", "https://api.example.com/specs/petstore.json"),
    Case("application-default", "https://workflows.example.com/a7b3c4d5", None, "specs/petstore.yaml", "https://workflows.example.com/specs/petstore.yaml"),
    Case("relative-self", "https://api.example.com/v2/api-description.yaml", "workflows/purchase.arazzo.yaml", "../specs/petstore.yaml", "https://api.example.com/v2/specs/petstore.yaml"),
]  # fmt: skip


def source(url: str, name: str = "petstore") -> SourceDescription:
    return SourceDescription(pointer="/sourceDescriptions/0", name=name, url=url)


def document(uri: str, own: str | None = None) -> Document:
    return Document(uri, {"arazzo": "1.1.0", **({"$self": own} if own is not None else {})})


@pytest.mark.parametrize("case", APPENDIX_B, ids=[case.id for case in APPENDIX_B])
def test_base_uris_are_as_appendix_b_computes_them(case: Case) -> None:
    """`$self` first, itself resolved; then where the document came from."""
    assert Registry().locate(document(case.retrieved, case.own), source(case.url)) == case.want


def test_a_document_is_found_by_its_identity() -> None:
    """§1.2: a reference means the document whose `$self` it is, wherever that was read from; nothing is fetched."""
    mirror = document("/somewhere/abc123.yaml", "https://workflows.example.com/canonical/purchase.yaml")
    registry = Registry().with_document(mirror)
    asking = document("https://workflows.example.com/other.yaml")
    assert registry.open(asking, source("canonical/purchase.yaml")) is mirror
    assert registry.open(asking, source("file:///somewhere/abc123.yaml#/workflows/0")) is mirror
    assert base_uri(mirror) == "https://workflows.example.com/canonical/purchase.yaml"


def test_a_registry_does_not_change() -> None:
    """Each is a value of its own."""
    empty = Registry()
    one = empty.with_document(document("/a.yaml"))
    assert (len(empty.documents), len(one.documents)) == (0, 1)


# ---------------------------------------------------------------------------------------------------------------------
# Reading
# ---------------------------------------------------------------------------------------------------------------------

FLOW = """\
arazzo: 1.1.0
info: {{title: t, version: v}}
sourceDescriptions:
- name: petstore
  url: {url}
workflows: [{{workflowId: w, steps: [{{stepId: s, operationId: o}}]}}]
"""


def opened(tmp_path: Path, url: str, registry: Registry | None = None) -> Json:
    """Open the only source of a document in `tmp_path/flows`."""
    flows = tmp_path / "flows"
    flows.mkdir(exist_ok=True)
    path = flows / "flow.yaml"
    path.write_text(FLOW.format(url=url))
    read = load(path.read_bytes(), str(path), label="flows/flow.yaml")
    description, _ = build(read)
    assert description is not None
    return (registry or Registry()).open(read, description.source_descriptions[0])


def refusal(tmp_path: Path, url: str, registry: Registry | None = None) -> Diagnostic:
    with pytest.raises(DescriptionError) as caught:
        opened(tmp_path, url, registry)
    (found,) = caught.value.diagnostics
    assert found.place is not None
    assert found.rule == "source-unreadable"
    assert (found.place.document, found.place.line, found.place.column) == ("flows/flow.yaml", 5, 8)
    return found


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("pets.yaml", "../specs/pets.yaml"),
        ("my pets ü.yaml", "../specs/my%20pets%20%C3%BC.yaml"),
        ("my pets ü.yaml", "../specs/my pets ü.yaml"),
        ("100%25.yaml", "../specs/100%25.yaml"),
        ("pets.yaml", "../specs/./nothing/../pets.yaml"),
        ("pets.yaml", "../specs/pets.yaml#/paths"),
    ],
)
def test_a_local_source_is_read(tmp_path: Path, name: str, url: str) -> None:
    """Relative to the document, percent-decoded; messages name it as seen from where the user is."""
    (tmp_path / "specs").mkdir()
    (tmp_path / "specs" / name).write_text("openapi: 3.1.0\n")
    found = opened(tmp_path, url)
    assert found.value == {"openapi": "3.1.0"}
    assert found.label.startswith("specs/")


def test_a_missing_file_points_at_the_url(tmp_path: Path) -> None:
    """And guesses which one was meant."""
    (tmp_path / "specs").mkdir()
    (tmp_path / "specs" / "pets.yaml").write_text("openapi: 3.1.0\n")
    found = refusal(tmp_path, "../specs/pet.yaml")
    assert str(tmp_path / "specs" / "pet.yaml") in found.message
    assert found.hint == "did you mean pets.yaml?"
    assert "no directory" in refusal(tmp_path, "../spec/pets.yaml").hint
    (tmp_path / "specs" / "pets.yaml").unlink()
    assert refusal(tmp_path, "../specs/pets.yaml").hint == ""


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    """A directory; a pipe, which would wait for ever; a name with a NUL."""
    (tmp_path / "specs").mkdir()
    assert "not a file" in refusal(tmp_path, "../specs").message
    if sys.platform != "win32":
        os.mkfifo(tmp_path / "specs" / "pipe")
        assert "not a file" in refusal(tmp_path, "../specs/pipe").message
    refusal(tmp_path, "'../specs/a%00b'")


def test_a_broken_source_says_where_in_the_source(tmp_path: Path) -> None:
    """The fault is in the other document."""
    (tmp_path / "pets.yaml").write_text("a: 1\na: 2\n")
    with pytest.raises(DescriptionError) as caught:
        opened(tmp_path, "../pets.yaml")
    (found,) = caught.value.diagnostics
    assert str(found.place) == "pets.yaml:2:1"


def test_an_override_takes_the_place_of_the_url(tmp_path: Path) -> None:
    """A path or URL that the user names."""
    other = tmp_path / "other.yaml"
    other.write_text("swagger: '2.0'\n")
    registry = Registry(overrides={"petstore": str(other)}, fetch=lambda url: f"openapi: {url}".encode())
    found = opened(tmp_path, "https://nowhere.example/pets.yaml", registry)
    assert (found.value, found.label) == ({"swagger": "2.0"}, str(other))
    registry = Registry(overrides={"petstore": "https://example.com/x"}, fetch=lambda url: f"openapi: {url}".encode())
    assert opened(tmp_path, "./missing.yaml", registry).value == {"openapi": "https://example.com/x"}


def test_the_network_is_read_only_through_fetch(tmp_path: Path) -> None:
    """Nothing is fetched where nobody allowed it; its errors are the source's."""

    def broken(url: str) -> bytes:
        raise TransportError("refused", f"no connection to {url}", sent=False)

    assert "switched off" in refusal(tmp_path, "https://example.com/a.yaml").message
    found = refusal(tmp_path, "https://example.com/a.yaml", Registry(fetch=broken))
    assert "no connection to https://example.com/a.yaml" in found.message
    assert "only files and http(s)" in refusal(tmp_path, "ftp://example.com/a.yaml").message


@pytest.mark.parametrize("url", ["file:///etc/passwd", "FILE:///etc/passwd"])
def test_a_document_from_the_network_reads_no_files(url: str) -> None:
    """Nor does one that only says that it is from there."""
    asked: list[str] = []

    def fetch(url: str) -> bytes:
        asked.append(url)
        return b"openapi: 3.1.0"

    registry = Registry(fetch=fetch)
    remote = document("https://example.com/flow.yaml")
    with pytest.raises(DescriptionError, match=r"may not read|cannot be read"):
        registry.open(remote, source(url))
    assert registry.open(remote, source("../../../etc/passwd")).uri == "https://example.com/etc/passwd"
    with pytest.raises(DescriptionError):
        registry.open(document("https://example.com/flow.yaml", "file:///etc/x"), source("passwd"))
    assert asked == ["https://example.com/etc/passwd"]


def test_a_user_reads_what_they_name(tmp_path: Path) -> None:
    """Without a place: they know where."""
    path = tmp_path / "flow.yaml"
    path.write_bytes(b"a: 1")
    assert Registry().read(str(path)) == b"a: 1"
    assert Registry().read(path.as_uri()) == b"a: 1"
    with pytest.raises(DescriptionError) as caught:
        Registry().read(str(tmp_path / "flaw.yaml"))
    (found,) = caught.value.diagnostics
    assert (found.place, found.hint) == (None, "did you mean flow.yaml?")


def test_paths_become_uris(tmp_path: Path) -> None:
    """And URIs stay what they are."""
    assert to_uri(str(tmp_path / "a b.yaml")) == (tmp_path / "a b.yaml").as_uri()
    assert to_uri("https://example.com/a") == "https://example.com/a"
    assert to_uri("flow.yaml").startswith("file:///")


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ({"openapi": "3.1.0"}, "openapi"),
        ({"swagger": "2.0"}, "openapi"),
        ({"arazzo": "1.0.1"}, "arazzo"),
        ({"asyncapi": "3.0.0"}, "asyncapi"),
        ({}, None),
        ([], None),
    ],
)
def test_the_kind_of_a_description_is_seen(value: Json, kind: str | None) -> None:
    """For sources that do not say their type."""
    assert kind_of(value) == kind
