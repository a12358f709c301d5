"""Documents by URI: which document a reference means, and how its bytes are had.

§1.2 of the specification tells identity from location. A document's identity is its `$self`, resolved against where it
was retrieved from, and it is the base of every relative reference in it; without `$self` both are the same. So a
registry answers first with the documents that it was given, by either of their URIs, and only then reads.

What may be read depends on who asks: local documents may refer to files and, through the `fetch` that the caller
provides, to the network; documents from the network may not refer to files.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, TypeAlias
from urllib.parse import unquote

from treadle.arazzo.load import MAX_SIZE, load
from treadle.arazzo.location import Document
from treadle.arazzo.model import SourceDescription, SourceType
from treadle.arazzo.slips import close_to
from treadle.errors import DescriptionError, Diagnostic, Place, TreadleError
from treadle.seams import Json

__all__ = ["Fetch", "Registry", "above", "base_uri", "beside", "kind_of", "may_refer", "path_of", "resolve", "to_uri"]

Fetch: TypeAlias = "Callable[[str], bytes]"
"""Reads an http: or https: URL. Raises `TreadleError` when it cannot; it has its own limits of size and time."""

RULE: Final = "source-unreadable"


@dataclass(frozen=True, slots=True)
class Registry:
    """An immutable set of documents, and the way to more of them.

    `overrides` maps names of source descriptions to the path or URL that is to be used instead of their `url`.
    """

    documents: Mapping[str, Document] = field(default_factory=dict)
    overrides: Mapping[str, str] = field(default_factory=dict)
    fetch: Fetch | None = None

    def with_document(self, document: Document) -> Registry:
        """Give a registry that has one more document: by where it was read from, and by its `$self`.

        A document from the network is not found by a `$self` on another host: anybody could claim to be anything.
        """
        retrieved, identity = to_uri(document.uri), base_uri(document)
        local = _scheme(retrieved) == "file"
        uris = {retrieved, identity} if local or _host(retrieved) == _host(identity) else {retrieved}
        return replace(self, documents={**self.documents, **dict.fromkeys(uris, document)})

    def resolve(self, base: str, reference: str) -> str:
        """Give the URI that a reference in a document means; `base` is a URI or a local path."""
        return resolve(base, reference)

    def locate(self, document: Document, source: SourceDescription, *, called: str = "") -> str:
        """Give the URI of a source description of a document: the override's, or its `url` against the base URI.

        `called` is the name of a source of another document than the entry, `refunds/api`; it goes before its own.
        What is not there is looked for from above (see `above`).
        """
        override = self._override(source, called)
        if override is not None:
            return to_uri(override)
        found = above(document, source)
        return found.as_uri() if found else resolve(base_uri(document), source.url).partition("#")[0]

    def open(self, document: Document, source: SourceDescription, *, called: str = "") -> Document:
        """Give the document that a source description names. Raises `DescriptionError` that points at its `url`."""
        uri = self.locate(document, source, called=called)
        if uri in self.documents:
            return self.documents[uri]
        override = self._override(source, called)
        place = document.place(f"{source.pointer}/url")
        data = self.read(uri, origin="" if override else document.uri, place=place)
        loaded = load(data, uri, label=override or _label(document, source, uri))
        # What was read may be a copy of a document that is known by its `$self`.
        return self.documents.get(base_uri(loaded), loaded)

    def _override(self, source: SourceDescription, called: str) -> str | None:
        return self.overrides.get(called, self.overrides.get(source.name))

    def read(self, uri: str, *, origin: str = "", place: Place | None = None) -> bytes:
        """Read the bytes of a URI or local path.

        `origin` is the document that refers to it ("" for the user), `place` where it does so. Raises
        `DescriptionError`.
        """
        try:
            return self._bytes(to_uri(uri), origin)
        except _Unreadable as problem:
            raise DescriptionError([Diagnostic(RULE, problem.message, place, hint=problem.hint)]) from problem.__cause__

    def _bytes(self, uri: str, origin: str) -> bytes:
        scheme = _scheme(uri)
        if scheme == "file":
            return _read_file(uri, origin)
        if scheme not in _REMOTE:
            raise _Unreadable(f"{uri} cannot be read: only files and http(s) URLs can")
        if self.fetch is None:
            raise _Unreadable(f"{uri} is not read: reading from the network is switched off")
        try:
            return self.fetch(uri)
        except TreadleError as problem:
            raise _Unreadable(f"{uri} cannot be read: {problem}", hint=problem.hint) from problem


def _host(uri: str) -> tuple[str, str]:
    return _scheme(uri), (_split(uri)[1] or "").lower()


class _Unreadable(Exception):  # noqa: N818  (never leaves this module)
    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message, self.hint = message, hint


_REMOTE = frozenset({"http", "https"})


# ---------------------------------------------------------------------------------------------------------------------
# Identity
# ---------------------------------------------------------------------------------------------------------------------


def base_uri(document: Document) -> str:
    """Give the base URI of a document, which is its identity: `$self`, else where it was retrieved from.

    A relative `$self` is resolved against the latter first. An encapsulating entity's URI (`Content-Location`) or an
    application's default is given as the document's `uri` by whoever makes it.
    """
    own = document.value.get("$self") if isinstance(document.value, dict) else None
    retrieved = to_uri(document.uri)
    return resolve(retrieved, own).partition("#")[0] if isinstance(own, str) and own else retrieved


def above(document: Document, source: SourceDescription) -> Path | None:
    """Give the file that a source is when its url counts from a directory above (dialect `source-root-relative`).

    That is what documents write that are checked from the root of their repository: the nearest directory counts, and
    none above that root. None where the url means a file, or names no directory.
    """
    written = unquote(source.url.partition("#")[0]).removeprefix("./")
    uri = resolve(base_uri(document), source.url).partition("#")[0]
    steps = written.split("/")
    counts = len(steps) > 1 and steps[0] != "" and ".." not in steps and ":" not in steps[0]
    if not counts or _scheme(uri) != "file" or _exists(path_of(uri)):
        return None
    for directory in path_of(base_uri(document)).parents:
        if _exists(directory / written):
            return directory / written
        if _exists(directory / ".git"):
            return None
    return None


def beside(document: Document, source: SourceDescription) -> Path | None:
    """Give the file that a source description would be, were it not for the document's `$self`; None without one."""
    uri = resolve(document.uri, source.url).partition("#")[0]
    if _scheme(uri) != "file" or uri == resolve(base_uri(document), source.url).partition("#")[0]:
        return None
    path = path_of(uri)
    return path if _exists(path) else None


def kind_of(value: Json) -> SourceType | None:
    """Tell what kind of description a value is, by the field that every such document begins with."""
    if not isinstance(value, dict):
        return None
    return next((kind for name, kind in _KINDS.items() if name in value), None)


_KINDS: Final[Mapping[str, SourceType]] = {
    "openapi": "openapi",
    "swagger": "openapi",
    "arazzo": "arazzo",
    "asyncapi": "asyncapi",
}


def to_uri(text: str) -> str:
    """Give a URI as it is, and a local path as a file: URI. A single letter before a colon is a Windows drive."""
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:", text):
        return text
    return Path(os.path.abspath(text)).as_uri()  # noqa: PTH100  (it also removes dot segments)


# RFC 3986, Appendix B
_PARTS = re.compile(r"(?:([^:/?#]+):)?(?://([^/?#]*))?([^?#]*)(?:\?([^#]*))?(?:#(.*))?", re.DOTALL)


def resolve(base: str, reference: str) -> str:
    """Resolve a URI reference (RFC 3986 §5.2); `base` is a URI or a local path.

    `urllib.parse.urljoin` does so for the schemes that it knows only.

    >>> resolve("https://api.example.com/workflows/buy.yaml", "../specs/pets.yaml")
    'https://api.example.com/specs/pets.yaml'
    """
    scheme, authority, path, query, fragment = _split(reference)
    if scheme is None:
        base_scheme, base_authority, base_path, base_query, _ = _split(to_uri(base))
        scheme = base_scheme
        if authority is None:
            authority = base_authority
            if path:
                path = path if path.startswith("/") else _merged(base_authority, base_path, path)
            else:
                path, query = base_path, base_query if query is None else query
    joined = f"{scheme}:" if scheme else ""
    joined += f"//{authority}" if authority is not None else ""
    joined += _without_dots(path)
    joined += f"?{query}" if query is not None else ""
    return joined + (f"#{fragment}" if fragment is not None else "")


def _split(uri: str) -> tuple[str | None, str | None, str, str | None, str | None]:
    found = _PARTS.fullmatch(uri)
    if found is None:  # every text matches
        raise ValueError(uri)
    scheme, authority, path, query, fragment = found.groups()
    return scheme, authority, path or "", query, fragment


def _scheme(uri: str) -> str:
    """Give the scheme of a URI, whatever follows it: `urlsplit` refuses hosts that nobody could call."""
    return (_split(uri)[0] or "").lower()


def _merged(authority: str | None, base_path: str, path: str) -> str:
    """§5.2.3: everything of the base path up to its last slash, then the path."""
    if authority is not None and not base_path:
        return "/" + path
    return base_path[: base_path.rfind("/") + 1] + path


def _without_dots(path: str) -> str:
    """§5.2.4: remove `.` and `..` segments."""
    if not path.startswith("/"):
        return path
    kept: list[str] = []
    segments = path.split("/")[1:]
    for segment in segments:
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
    if segments[-1] in {".", ".."}:
        kept.append("")
    return "/" + "/".join(kept)


# ---------------------------------------------------------------------------------------------------------------------
# Files
# ---------------------------------------------------------------------------------------------------------------------


def _label(document: Document, source: SourceDescription, uri: str) -> str:
    """Name a file as seen from where the user is, like the document that refers to it."""
    if _scheme(uri) != "file" or "://" in document.label or "://" in source.url:
        return uri
    return os.path.normpath(Path(document.label).parent / unquote(source.url.partition("#")[0]))


def _read_file(uri: str, origin: str) -> bytes:
    if origin and not may_refer(origin, uri):
        raise _Unreadable(f"a document from the network may not read the local file {uri}")
    path = path_of(uri)
    try:
        # Opening a pipe would wait for its other end; only a user may mean that.
        if origin and not stat.S_ISREG(path.stat().st_mode):
            raise _Unreadable(f"{path} is not a file")
        with path.open("rb") as file:
            # One byte more than allowed: `load` says that it is too much.
            return file.read(MAX_SIZE + 1)
    except FileNotFoundError:
        raise _Unreadable(f"there is no file {path}", hint=_near(path)) from None
    except OSError as error:
        raise _Unreadable(f"{path} cannot be read: {(error.strerror or str(error)).lower()}") from None
    except ValueError as error:  # a NUL in the name
        raise _Unreadable(f"{uri} is no name of a file: {error}") from None


def may_refer(origin: str, uri: str) -> bool:
    """Tell whether the document at `origin` may refer to a URI: one from the network may not refer to files."""
    return _scheme(uri) != "file" or _scheme(to_uri(origin)) == "file"


def path_of(uri: str) -> Path:
    """Give the path of a file: URI, percent-decoded; a file whose very name has a percent sign is found, too."""
    raw = _split(uri)[2]
    if os.name == "nt":
        raw = raw.lstrip("/")
    path = Path(unquote(raw))
    return Path(raw) if "%" in raw and not _exists(path) and _exists(Path(raw)) else path


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def _near(path: Path) -> str:
    """Guess which file was meant, among those that are there."""
    try:
        names = sorted(each.name for each in path.parent.iterdir() if each.is_file())
    except OSError:
        return f"there is no directory {path.parent} either"
    meant = close_to(path.name, names)
    return f"did you mean {meant}?" if meant else ""
