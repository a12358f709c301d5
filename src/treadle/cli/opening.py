"""From what a user typed to a plan and the parts that run it: the one place that knows every concrete class of half A.

`Setup` is what was decided on the command line; it is stored with a run, so `resume` opens exactly the same again.
Opening sends nothing but, for a document or a source that is a URL, the request that reads it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from treadle.arazzo.build import build
from treadle.arazzo.load import load
from treadle.arazzo.location import Document
from treadle.arazzo.model import Description
from treadle.arazzo.plan import Plan, PlanOptions, plan, reachable, set_aside
from treadle.arazzo.plan.indispensable import indispensable
from treadle.arazzo.registry import Registry
from treadle.arazzo.rules import Checked, check
from treadle.cli.opener import Opener, provided
from treadle.errors import CallError, DescriptionError, Diagnostic, UsageError
from treadle.home import Home
from treadle.http.hosts import allows, host_of
from treadle.http.redaction import redact_url
from treadle.seams import Authoriser
from treadle.settings import Level, weighed
from treadle.sources.servers import LocalService, Target

if TYPE_CHECKING:
    from treadle.arazzo.registry import Fetch
    from treadle.sources.security import SchemeAuthoriser

__all__ = [
    "Opened",
    "Setup",
    "open_description",
    "open_plan",
    "plan_options",
    "read_document",
    "registry_of",
    "told_once",
]


class Setup(msgspec.Struct, frozen=True, kw_only=True):
    """What decides a run besides its inputs. Times in seconds; `document` is an absolute path or a URL."""

    document: str
    label: str = ""
    """What messages call the document: what the user typed."""
    workflow: str | None = None
    on: str | None = None
    servers: dict[str, str] = {}
    sources: dict[str, str] = {}
    credentials: dict[str, dict[str, str]] = {}
    """Source → security scheme → where its secret is: `env:NAME`, `file:PATH`. Secrets themselves are not stored."""
    strict: bool = False
    off: list[str] = []
    rules: dict[str, Level] = {}
    """What the settings make of findings, by their rule: a severity, or `off`."""
    poll: float | None = None
    timeout: float = 31 * 24 * 3600.0
    request_timeout: float = 60.0
    expect: list[str] = []
    configured: list[str] = []
    """Sources that only `treadle.toml` names: it holds for several documents, so this one need not have them."""
    documents: list[str] = []
    """Files, or directories of files, that references may mean by their `$self`."""
    hosts: list[str] = []
    """The only hosts that steps may call; none listed: any."""
    digest: str = ""
    digests: dict[str, str] = {}
    """Those of the other Arazzo documents, by URI."""


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
    schemed: Sequence[SchemeAuthoriser] = ()
    """Add the credentials of the APIs' security schemes, as far as they are configured."""

    def _used(self) -> Iterable[Target]:
        steps = [step for workflow in self.plan.workflows.values() for step in workflow.steps]
        names = {step.operation.source for step in steps if step.operation is not None}
        return [target for name, target in self.targets.items() if name in names]

    def ready(self, inputs: Collection[str]) -> None:
        """Raise `DescriptionError` with every step that no request could be sent for, before the first one is.

        `inputs` are the names of those that the run has.
        """
        if found := [*self._without_server(), *self._beyond_hosts(), *self._without_input(inputs)]:
            raise DescriptionError(found)

    def _without_server(self) -> Iterable[Diagnostic]:
        found: dict[str, Diagnostic] = {}
        for workflow in self.plan.workflows.values():
            for step in workflow.steps:
                operation = step.operation
                if operation is None or operation.source in found:
                    continue
                try:
                    operation.ready()
                except CallError as error:
                    place = None if workflow.document else self.document.place(step.pointer)
                    message = f"the step {step.step_id!r} cannot be sent: {error.message}"
                    found[operation.source] = Diagnostic("openapi-server", message, place, hint=error.hint)
        return found.values()

    @property
    def hosts(self) -> Sequence[str] | None:
        """The hosts that may be called, None for any. The service of this machine always may."""
        own = [host_of(self.local.url)] if self.local else []
        return [*self.setup.hosts, *own] if self.setup.hosts else None

    def _beyond_hosts(self) -> Iterator[Diagnostic]:
        if self.hosts is None:
            return
        for workflow in self.plan.workflows.values():
            for step in workflow.steps:
                target = self.targets.get(step.operation.source) if step.operation else None
                if target is not None and not allows(self.hosts, target.url):
                    place = None if workflow.document else self.document.place(step.pointer)
                    message = f"the step {step.step_id!r} calls {host_of(target.url)}, which is not allowed"
                    yield Diagnostic("host", message, place, hint=f"allowed are: {', '.join(self.setup.hosts)}")

    def _without_input(self, inputs: Collection[str]) -> Iterator[Diagnostic]:
        """Find what the steps lack that the run comes to in any case: those up to the first that may go elsewhere."""
        for step in self.plan.workflows[self.plan.entry].steps:
            for name, pointer in indispensable(step, inputs):
                message = f"the step {step.step_id!r} cannot be sent without the input {name!r}, which was not given"
                hint = f"give it with -i {name}=…"
                yield Diagnostic("needed-input", message, self.document.place(pointer), hint=hint)
            if step.on_success:
                return

    def authoriser(self, home: Home) -> Authoriser:
        """Give what adds credentials: configured ones; signatures, for the local service with its own keys."""
        from treadle.aws.sigv4 import Credentials  # signing is nothing that `check` and `plan` need
        from treadle.sources.security import (
            AuthoriserChain,
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
        signer = SigV4Authoriser(grant for grant in grants if grant is not None)
        return AuthoriserChain((*self.schemed, signer)) if self.schemed else signer

    def secrets(self) -> list[str]:
        """Give the configured credentials, so that they can be masked. Raises `UsageError` where one is not there."""
        return [secret for each in self.schemed for secret in each.secrets()]


def read_document(setup: Setup, registry: Registry) -> Document:
    """Read the Arazzo document. Raises `DescriptionError`."""
    return load(registry.read(setup.document), setup.document, label=setup.label or setup.document)


def open_description(
    setup: Setup, registry: Registry, document: Document | None = None
) -> tuple[Document, Description | None, list[Diagnostic]]:
    """Read, build and check a document; what is wrong with it is in the diagnostics. Raises `DescriptionError`.

    What rules find is as the settings have it; what cannot be read as it is written stays an error, whatever they say.
    """
    document = read_document(setup, registry) if document is None else document
    description, found = build(document)
    if description is not None:
        found += weighed(check(description, document, strict=setup.strict, off=frozenset(setup.off)), setup.rules)
    return document, description, found


def open_plan(
    setup: Setup,
    *,
    local: Callable[[], LocalService] | None = None,
    fetch: Fetch | None = None,
    document: Document | None = None,
) -> Opened:
    """Open a description and plan a workflow of it. Raises `DescriptionError` with everything that is wrong.

    `local` gives the service of this machine; it is asked only when `--on local` needs it. `document` is what was read
    already of the one that the setup names.
    """
    registry = registry_of(setup, fetch)
    document, description, found = open_description(setup, registry, document)
    if description is None:
        raise DescriptionError(found)
    if setup.digest and setup.digest != document.digest:
        raise UsageError(
            f"{setup.label or setup.document} is not the document that the run began with",
            hint="put the old text back in order to go on with the run, or start a new run",
        )
    reached = reachable(description, setup.workflow)
    wrong = _errors(set_aside(found, {document.label: reached}))
    service = None
    if local is not None and setup.on == "local":
        # What has mistakes is planned to find the others, too: no service is started for that.
        service = LocalService("http://127.0.0.1") if wrong else local()
    opener = Opener(setup, registry, service)
    sources = opener.entry(document, description)
    made, planned = plan(description, document, sources, workflow_id=setup.workflow, options=plan_options(setup))
    if made is not None:  # another document's workflow may lead back here
        reached |= {each.pointer for each in made.workflows.values() if not each.document}
    found = told_once(set_aside(found, {document.label: reached}), planned)
    if made is None or _errors(found):
        raise DescriptionError(found)
    found = weighed(found, setup.rules)
    if "error" in setup.rules.values():
        found += _made_errors(setup, Checked(description, document, setup.strict, frozenset(setup.off)), made)
    if _errors(found):
        raise DescriptionError(found)
    opener.check_names()
    opener.check_place()
    complete = msgspec.structs.replace(setup, digest=document.digest, digests=opener.digests, workflow=made.entry)
    schemed = _schemed(setup, opener)
    return Opened(complete, document, description, made, opener.targets, tuple(found), service, schemed)


def _made_errors(setup: Setup, checked: Checked, made: Plan) -> list[Diagnostic]:
    """Give what only `check` looks for, as far as the settings make errors of it."""
    from treadle.arazzo.rules.planned import check_planned  # few runs need it

    return _errors(weighed(check_planned(checked, made.workflows), setup.rules))


def _schemed(setup: Setup, opener: Opener) -> Sequence[SchemeAuthoriser]:
    """Give what adds the configured credentials. Raises `UsageError` for a scheme that there is not."""
    if not setup.credentials:
        return ()
    from treadle.sources.security import SchemeAuthoriser  # only where there are credentials

    configured = {
        called: references
        for called in opener.schemes
        if (references := setup.credentials.get(called, setup.credentials.get(called.rpartition("/")[2])))
    }
    return [
        SchemeAuthoriser(opener.targets[called].url, opener.schemes[called], references)
        for called, references in configured.items()
        if called in opener.targets
    ]


def told_once(found: Iterable[Diagnostic], planned: Iterable[Diagnostic]) -> list[Diagnostic]:
    """Join what rules and planning found, everything once.

    Planning finds again, in its own words, what a rule has found; and what stands at a workflow is planned for each of
    its steps.
    """
    result = list(dict.fromkeys(found))
    known = {(each.rule, each.place) for each in result}
    result += dict.fromkeys(each for each in planned if (each.rule, each.place) not in known)
    return result


def registry_of(setup: Setup, fetch: Fetch | None) -> Registry:
    """Give the registry that reads what a setup names."""
    return provided(Registry(overrides=setup.sources, fetch=fetch), setup.documents)


def plan_options(setup: Setup) -> PlanOptions:
    """Give what a setup says about planning."""
    return PlanOptions(strict=setup.strict, off=frozenset(setup.off), redact=redact_url)


def _errors(diagnostics: Iterable[Diagnostic]) -> list[Diagnostic]:
    return [each for each in diagnostics if each.severity == "error"]
