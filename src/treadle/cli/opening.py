"""From what a user typed to a plan and the parts that run it: the one place that knows every concrete class of half A.

`Setup` is what was decided on the command line; it is stored with a run, so `resume` opens exactly the same again.
Opening sends nothing but, for a document or a source that is a URL, the request that reads it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import msgspec

from treadle.arazzo.build import build
from treadle.arazzo.load import load
from treadle.arazzo.location import Document
from treadle.arazzo.model import Description, SourceDescription
from treadle.arazzo.plan import OpenedSource, Plan, PlanOptions, plan
from treadle.arazzo.registry import Registry
from treadle.arazzo.rules import check
from treadle.errors import DescriptionError, Diagnostic, UsageError
from treadle.home import Home
from treadle.http.redaction import redact_url
from treadle.seams import Authoriser, Json, Source
from treadle.sources.openapi import OpenApiSource
from treadle.sources.servers import LocalService, Target, described_server, region_of, target_for
from treadle.sources.spelled import SpelledOutSource

if TYPE_CHECKING:
    from treadle.arazzo.registry import Fetch

__all__ = ["Opened", "Setup", "check_document", "open_description", "open_plan", "read_document"]


class Setup(msgspec.Struct, frozen=True, kw_only=True):
    """What decides a run besides its inputs. Times in seconds; `document` is an absolute path or a URL."""

    document: str
    label: str = ""
    """What messages call the document: what the user typed."""
    workflow: str | None = None
    on: str | None = None
    servers: dict[str, str] = {}
    sources: dict[str, str] = {}
    strict: bool = False
    off: list[str] = []
    poll: float | None = None
    timeout: float = 31 * 24 * 3600.0
    request_timeout: float = 60.0
    expect: list[str] = []
    digest: str = ""


@dataclass(frozen=True, slots=True)
class Opened:
    """A description with its plan, where its requests go, and what was found on the way (no errors)."""

    setup: Setup
    document: Document
    description: Description
    plan: Plan
    targets: Mapping[str, Target]
    diagnostics: tuple[Diagnostic, ...] = ()
    local: LocalService | None = field(default=None)

    @property
    def on_aws(self) -> bool:
        """Whether requests go to AWS itself."""
        return any(target.name == "aws" or (target.must_sign and target.name == "described") for target in self._used())

    def _used(self) -> Iterable[Target]:
        steps = [step for workflow in self.plan.workflows.values() for step in workflow.steps]
        names = {step.operation.source for step in steps if step.operation is not None}
        return [target for name, target in self.targets.items() if name in names]

    def authoriser(self, home: Home) -> Authoriser:
        """Give what signs the requests: for the local service with its own credentials, for AWS with the user's."""
        from treadle.aws.sigv4 import Credentials  # signing is nothing that `check` and `plan` need
        from treadle.sources.security import (
            AwsChain,
            CredentialsProvider,
            SigV4Authoriser,
            StaticCredentials,
            grant_for,
        )

        own = StaticCredentials(Credentials(*home.credentials())) if self.local else None
        chain = AwsChain()
        # A server that can also be called unsigned is not worth the seconds that a search for instance metadata takes.
        quick = AwsChain(instance_metadata=False)

        def provider(target: Target) -> CredentialsProvider:
            if own and target.name == "local":
                return own
            return chain if target.must_sign else quick

        grants = (grant_for(target, provider(target)) for target in self._used())
        return SigV4Authoriser(grant for grant in grants if grant is not None)


def read_document(setup: Setup, registry: Registry) -> Document:
    """Read the Arazzo document. Raises `DescriptionError`."""
    return load(registry.read(setup.document), setup.document, label=setup.label or setup.document)


def open_description(setup: Setup, registry: Registry) -> tuple[Document, Description | None, list[Diagnostic]]:
    """Read, build and check a document; what is wrong with it is in the diagnostics. Raises `DescriptionError`."""
    document = read_document(setup, registry)
    description, found = build(document)
    if description is not None:
        found += check(description, document, strict=setup.strict)
    return document, description, found


def open_plan(
    setup: Setup,
    *,
    local: Callable[[], LocalService] | None = None,
    fetch: Fetch | None = None,
) -> Opened:
    """Open a description and plan a workflow of it. Raises `DescriptionError` with everything that is wrong.

    `local` gives the service of this machine; it is asked only when `--on local` needs it.
    """
    registry = Registry(overrides=setup.sources, fetch=fetch)
    document, description, found = open_description(setup, registry)
    registry = registry.with_document(document)
    if description is None or _errors(found):
        raise DescriptionError(found)
    if setup.digest and setup.digest != document.digest:
        raise UsageError(
            f"{setup.label or setup.document} is not the document that the run began with",
            hint="put the old text back in order to go on with the run, or start a new run",
        )
    service = local() if local is not None and setup.on == "local" else None
    opener = _Opener(setup, document, description, registry, service)
    sources = {each.name: opener.open(each) for each in description.source_descriptions}
    options = PlanOptions(strict=setup.strict, off=frozenset(setup.off), redact=redact_url)
    made, planned = plan(description, document, sources, workflow_id=setup.workflow, options=options)
    found += [each for each in planned if each not in found]
    if made is None:
        raise DescriptionError(found)
    complete = msgspec.structs.replace(setup, digest=document.digest, workflow=made.entry)
    return Opened(complete, document, description, made, opener.targets, tuple(found), service)


def check_document(
    setup: Setup,
    *,
    local: Callable[[], LocalService] | None = None,
    fetch: Fetch | None = None,
) -> list[Diagnostic]:
    """Give everything that is wrong with a document, every workflow of it planned. Raises `DescriptionError`."""
    registry = Registry(fetch=fetch)
    document, description, found = open_description(setup, registry)
    if description is None:
        return found
    service = local() if local is not None and setup.on == "local" else None
    opener = _Opener(setup, document, description, registry, service)
    sources = {each.name: opener.open(each) for each in description.source_descriptions}
    options = PlanOptions(strict=setup.strict, off=frozenset(setup.off), redact=redact_url)
    for workflow in description.workflows:
        _, planned = plan(description, document, sources, workflow_id=workflow.workflow_id, options=options)
        # Planning finds again, in its own words, what a rule has found; and shared workflows are planned several times.
        known = {(each.rule, each.place) for each in found}
        found += [each for each in planned if (each.rule, each.place) not in known]
    return found


def _errors(diagnostics: Iterable[Diagnostic]) -> list[Diagnostic]:
    return [each for each in diagnostics if each.severity == "error"]


def _profile_region(on: str | None) -> str | None:
    if on != "aws":
        return None
    from treadle.sources.security import AwsChain  # it imports botocore, which only AWS needs

    return AwsChain().region()


_NAMES_A_SERVER: Final = "name a server with --on or --server {name}=URL, or the description with --source {name}=PATH"


class _Opener:
    """Opens the source descriptions of one document, and decides where each one's requests go."""

    def __init__(
        self,
        setup: Setup,
        document: Document,
        description: Description,
        registry: Registry,
        local: LocalService | None,
    ) -> None:
        self.setup = setup
        self.document = document
        self.description = description
        self.registry = registry
        self.local = local
        self.targets: dict[str, Target] = {}
        self.region = region_of() or _profile_region(setup.on)
        unknown = {*setup.servers, *setup.sources} - {each.name for each in description.source_descriptions}
        if unknown:
            names = ", ".join(each.name for each in description.source_descriptions)
            raise UsageError(f"the document has no source {', '.join(sorted(unknown))}", hint=f"it has: {names}")

    def open(self, source: SourceDescription) -> OpenedSource:
        """Open one source description. What cannot be read matters only if a step needs it: the planner says."""
        try:
            described = self.registry.open(self.document, source)
        except DescriptionError as error:
            return self._unread(source, error)
        if not isinstance(described.value, dict) or not {"openapi", "swagger"} & described.value.keys():
            return OpenedSource(None, self._problem(source, "is no OpenAPI description"))
        try:
            # A region that the user's profile names counts as much as one in the environment.
            environment = {"AWS_REGION": self.region} if self.region else None
            server = described_server(described.value, described.uri, environment=environment)
            target = self._target(source, server)
            base = target.url if target else ""
            opened: Source = OpenApiSource(source.name, described.value, uri=described.uri, server=base or None)
        except DescriptionError as error:
            return OpenedSource(None, error.diagnostics[0])
        if target is not None:
            self.targets[source.name] = target
        return OpenedSource(opened, None, base)

    def _unread(self, source: SourceDescription, error: DescriptionError) -> OpenedSource:
        """Fall back to what the steps spell out, where a server is named for it (a decision, see the dialect list)."""
        reason = error.diagnostics[0].message if error.diagnostics else error.message
        problem = self._problem(source, f"cannot be read: {reason}")
        target = self._target(source, None)
        if target is None:
            return OpenedSource(None, problem)
        self.targets[source.name] = target
        return OpenedSource(SpelledOutSource(source.name, target.url), problem, target.url)

    def _problem(self, source: SourceDescription, what: str) -> Diagnostic:
        return Diagnostic(
            "source",
            f"the source {source.name!r} ({source.url}) {what}",
            self.document.place(f"{source.pointer}/url"),
            hint=_NAMES_A_SERVER.format(name=source.name),
        )

    def _target(self, source: SourceDescription, described: str | None) -> Target | None:
        return target_for(
            source.name,
            described=described,
            on=self.setup.on,
            servers=self.setup.servers,
            local=self.local,
            region=self.region,
            amz_targets=self._amz_targets(),
        )

    def _amz_targets(self) -> list[str]:
        """Give the X-Amz-Target values that the steps spell out."""
        found: list[str] = []
        for workflow in self.description.workflows:
            for step in workflow.steps:
                for parameter in step.parameters:
                    name: Any = getattr(parameter, "name", "")
                    value: Json = getattr(parameter, "value", None)
                    if name.lower() == "x-amz-target" and isinstance(value, str):
                        found.append(value)
        return found
