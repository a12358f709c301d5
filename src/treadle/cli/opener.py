"""Opens the source descriptions of documents, each when it is first asked for, and decides where requests go.

A document can name Arazzo documents, which name sources of their own: those are called by the way to them,
`refunds/api`. On the command line (`--source`, `--server`) such a source is meant by that name, or by its own, `api`,
which then holds for every source of that name: the documents of a description mostly share their APIs.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from treadle.arazzo.build import build
from treadle.arazzo.load import load
from treadle.arazzo.location import Document
from treadle.arazzo.model import Description, SourceDescription
from treadle.arazzo.plan import OpenedDescription, OpenedSource
from treadle.arazzo.registry import Registry, above, base_uri, beside, kind_of, path_of
from treadle.arazzo.rules import check
from treadle.cli.referenced import Referenced
from treadle.errors import DescriptionError, Diagnostic, UsageError
from treadle.seams import Json
from treadle.sources.openapi import OpenApiSource
from treadle.sources.servers import LocalService, Target, described_server, region_of, target_for
from treadle.sources.spelled import SpelledOutSource

if TYPE_CHECKING:
    from treadle.cli.opening import Setup

__all__ = ["Opener", "provided"]

_NAMES_A_SERVER: Final = "name a server with --on or --server {name}=URL, or the description with --source {name}=PATH"
_SUFFIXES: Final = frozenset({".yaml", ".yml", ".json"})


def provided(registry: Registry, places: list[str]) -> Registry:
    """Give a registry that also has the documents of these files, and of all files of these directories.

    Their `$self` is what references find them by (§1.2): so descriptions can be used where their addresses cannot be
    reached. Raises `DescriptionError`.
    """
    for place in places:
        path = Path(place)
        files = sorted(each for each in path.iterdir() if each.suffix in _SUFFIXES) if path.is_dir() else [path]
        for file in files:
            registry = registry.with_document(load(registry.read(str(file)), str(file), label=str(file)))
    return registry


class _Sources(Mapping[str, OpenedSource]):
    """The source descriptions of one document, each opened when it is first asked for."""

    def __init__(self, opener: Opener, document: Document, description: Description, name: str) -> None:
        self.opener = opener
        self.document = document
        self.description = description
        self.name = name
        self._opened: dict[str, OpenedSource] = {}

    def __getitem__(self, name: str) -> OpenedSource:
        if name not in self._opened:
            source = self.description.source(name)
            if source is None:
                raise KeyError(name)
            self._opened[name] = self.opener.open(self, source)
        return self._opened[name]

    def __iter__(self) -> Iterator[str]:
        return (each.name for each in self.description.source_descriptions)

    def __len__(self) -> int:
        return len(self.description.source_descriptions)

    @property
    def only(self) -> bool:
        """Whether there is but one source, in the document that the user named."""
        return not self.name and len(self) == 1

    def called(self, source: SourceDescription) -> str:
        """Give the name of a source among those of all documents."""
        return f"{self.name}/{source.name}" if self.name else source.name


class Opener:
    """Opens everything that one run needs; `targets` says where the requests of each source that was opened go."""

    def __init__(self, setup: Setup, registry: Registry, local: LocalService | None) -> None:
        self.setup = setup
        self.registry = registry
        self.local = local
        self.targets: dict[str, Target] = {}
        self.schemes: dict[str, Mapping[str, Json]] = {}
        """The security schemes of each source for which credentials are configured."""
        self.digests: dict[str, str] = {}
        """URI → digest of every other Arazzo document."""
        self._region = region_of() or _profile_region(setup.on)
        self._descriptions: dict[str, OpenedDescription] = {}
        self._names: set[str] = set()

    def entry(self, document: Document, description: Description) -> Mapping[str, OpenedSource]:
        """Give the sources of the document that the user named."""
        self.registry = self.registry.with_document(document)
        opened = self._description(document, description, "", ())
        if all(each.type in {"openapi", "asyncapi"} for each in description.source_descriptions):
            self.check_names()
        return opened.sources

    def check_names(self) -> None:
        """Raise `UsageError` where the command line names a source that no document has."""
        unknown = {*self.setup.servers, *self.setup.sources} - self._names - set(self.setup.configured)
        if unknown:
            names = ", ".join(sorted(self._names))
            raise UsageError(f"the document has no source {', '.join(sorted(unknown))}", hint=f"it has: {names}")

    def check_place(self) -> None:
        """Raise `UsageError` where it was said where requests go (`on`), and all would go elsewhere."""
        on, servers = self.setup.on, self.setup.servers
        stay = {called: target.url for called, target in self.targets.items() if target.name == "described"}
        if on is None or not stay or any(called not in {*stay, *servers} for called in self.targets):
            return
        name, url = next(iter(stay.items()))
        what = "is for APIs of AWS" if on in {"local", "aws"} else "does not say which of the sources is meant"
        raise UsageError(
            f"`--on {on}` {what}: requests to {name} would go to {url}",
            hint=f"name the server with --server {name}=URL",
        )

    def open(self, sources: _Sources, source: SourceDescription) -> OpenedSource:
        """Open one source description. What cannot be read matters only if a step needs it: the planner says."""
        opened = self._open(sources, source)
        named = {source.name, sources.called(source)} & self.setup.sources.keys()
        found = None if named else above(sources.document, source)
        return opened if found is None else replace(opened, above=_as_url(found, sources.document))

    def _open(self, sources: _Sources, source: SourceDescription) -> OpenedSource:
        called = sources.called(source)
        try:
            described = self.registry.open(sources.document, source, called=called)
        except DescriptionError as error:
            return self._unread(sources, source, error)
        self.registry = self.registry.with_document(described)
        kind = kind_of(described.value)
        if kind == "arazzo":
            return self._arazzo(sources, source, described)
        if kind == "asyncapi":
            return self._asyncapi(sources, source, described)
        if kind != "openapi":
            return OpenedSource(None, self._problem(sources, source, "is no OpenAPI, AsyncAPI or Arazzo description"))
        try:
            # A region that the user's profile names counts as much as one in the environment.
            environment = {"AWS_REGION": self._region} if self._region else None
            server = described_server(described.value, described.uri, environment=environment)
            target = self._target(sources, source, server)
            base = target.url if target else ""
            read = Referenced(self.registry)
            opened = OpenApiSource(called, described.value, uri=described.uri, server=base or None, read=read)
            if {called, source.name} & self.setup.credentials.keys():
                self.schemes[called] = opened.security_schemes()
        except DescriptionError as error:
            return OpenedSource(None, error.diagnostics[0])
        if target is not None:
            self.targets[called] = target
        return OpenedSource(opened, None, base)

    def _asyncapi(self, sources: _Sources, source: SourceDescription, document: Document) -> OpenedSource:
        from treadle.sources.asyncapi import AsyncApiSource  # only where there is one

        called = sources.called(source)
        named = self.setup.servers.get(called, self.setup.servers.get(source.name))
        try:
            channels = AsyncApiSource(called, document.value, uri=document.uri, server=named)
        except DescriptionError as error:
            return OpenedSource(None, error.diagnostics[0])
        return OpenedSource(None, channels=channels)

    # -- Arazzo -------------------------------------------------------------------------------------------------------

    def _arazzo(self, sources: _Sources, source: SourceDescription, document: Document) -> OpenedSource:
        known = self._descriptions.get(base_uri(document))
        if known is None:
            description, found = build(document)
            if description is None:
                return OpenedSource(None, found[0])
            self._same_as_before(document)
            found += check(description, document, strict=self.setup.strict, off=frozenset(self.setup.off))
            found += self._by_another_name(sources, source, document)
            known = self._description(document, description, sources.called(source), tuple(found))
        return OpenedSource(None, description=known)

    def _description(
        self, document: Document, description: Description, name: str, found: tuple[Diagnostic, ...]
    ) -> OpenedDescription:
        sources = _Sources(self, document, description, name)
        self._names |= {each.name for each in description.source_descriptions}
        self._names |= {sources.called(each) for each in description.source_descriptions}
        opened = OpenedDescription(description, document, sources, found)
        self._descriptions[base_uri(document)] = opened
        return opened

    def _same_as_before(self, document: Document) -> None:
        """Raise `UsageError` where a run goes on with another text than it began with."""
        uri = base_uri(document)
        before = self.setup.digests.get(uri)
        if before is not None and before != document.digest:
            raise UsageError(
                f"{document.label} is not the document that the run began with",
                hint="put the old text back in order to go on with the run, or start a new run",
            )
        self.digests[uri] = document.digest

    def _by_another_name(
        self, sources: _Sources, source: SourceDescription, document: Document
    ) -> Iterator[Diagnostic]:
        """§1.2: references must use the `$self` of a document that has one; its address may work, and may not."""
        written = source.url.partition("#")[0]
        if "://" in written and "$self" in document.value and written != base_uri(document):
            if source.name in self.setup.sources or sources.called(source) in self.setup.sources:
                return
            place = sources.document.place(f"{source.pointer}/url")
            message = f"the document at {written} calls itself {base_uri(document)}"
            hint = "refer to it by its `$self`: its address may change"
            yield Diagnostic("document-identity", message, place, "warning", hint)

    def others(self, *, network: bool) -> Iterator[OpenedDescription | Diagnostic]:
        """Give the Arazzo documents that the entry can reach, each once, or why one cannot be read.

        Those from the network only on demand: whoever refers to them can seldom mend them, and reading them takes time.
        """
        waiting = list(self._descriptions.values())[:1]
        met = {base_uri(each.document) for each in waiting}
        while waiting:
            opened = waiting.pop(0)
            for source in opened.description.source_descriptions:
                if source.type != "arazzo" or not (network or self._in_file(opened, source)):
                    continue
                found = opened.sources[source.name]
                if found.problem is not None:
                    yield replace(found.problem, severity="warning")
                if found.description is None or base_uri(found.description.document) in met:
                    continue
                met.add(base_uri(found.description.document))
                waiting.append(found.description)
                yield found.description

    def _in_file(self, opened: OpenedDescription, source: SourceDescription) -> bool:
        called = opened.sources.called(source) if isinstance(opened.sources, _Sources) else source.name
        return self.registry.locate(opened.document, source, called=called).startswith("file:")

    # -- requests -----------------------------------------------------------------------------------------------------

    def _unread(self, sources: _Sources, source: SourceDescription, error: DescriptionError) -> OpenedSource:
        """Fall back to what the steps spell out, where a server is named for it (a decision, see the dialect list)."""
        found = error.diagnostics[0]
        problem = self._problem(sources, source, f"cannot be read: {found.message}", found.hint)
        if source.type in {"arazzo", "asyncapi"}:
            return OpenedSource(None, problem)
        called = sources.called(source)
        target = self._target(sources, source, None)
        if target is None:
            return OpenedSource(None, problem)
        self.targets[called] = target
        if {called, source.name} & self.setup.credentials.keys():
            self.schemes[called] = {}
        return OpenedSource(SpelledOutSource(called, target.url), problem, target.url)

    def _problem(self, sources: _Sources, source: SourceDescription, what: str, meant: str = "") -> Diagnostic:
        called = sources.called(source)
        hint = _NAMES_A_SERVER if source.type != "arazzo" else "name the document with --source {name}=PATH"
        hint = hint.format(name=called)
        here = beside(sources.document, source)
        if here is not None:
            file = os.path.relpath(here)
            hint = f"`$self` puts it there; the file that lies beside the document is had with --source {called}={file}"
        elif meant:
            hint = f"{meant} Or {hint}" if meant.endswith("?") else f"{meant}; or {hint}"
        return Diagnostic(
            "source",
            f"the source {called!r} ({source.url}) {what}",
            sources.document.place(f"{source.pointer}/url"),
            hint=hint,
        )

    def _target(self, sources: _Sources, source: SourceDescription, described: str | None) -> Target | None:
        called = sources.called(source)
        servers, on = self.setup.servers, self.setup.on
        named = servers.get(called, servers.get(source.name))
        if named is None and on is not None and "://" in on and sources.only:
            named = on
        return target_for(
            called,
            described=described,
            on=self.setup.on,
            servers={} if named is None else {called: named},
            local=self.local,
            region=self._region,
            amz_targets=_amz_targets(sources.description),
        )


def _as_url(file: Path, document: Document) -> str:
    """Write a file as the document should: relative to it."""
    return quote(Path(os.path.relpath(file, path_of(base_uri(document)).parent)).as_posix())


def _amz_targets(description: Description) -> list[str]:
    """Give the X-Amz-Target values that the steps spell out."""
    found: list[str] = []
    for workflow in description.workflows:
        for step in workflow.steps:
            for parameter in step.parameters:
                name: Any = getattr(parameter, "name", "")
                value: Json = getattr(parameter, "value", None)
                if name.lower() == "x-amz-target" and isinstance(value, str):
                    found.append(value)
    return found


def _profile_region(on: str | None) -> str | None:
    if on != "aws":
        return None
    from treadle.sources.security import AwsChain  # it imports botocore, which only AWS needs

    return AwsChain().region()
