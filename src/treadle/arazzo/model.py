"""The Arazzo description as frozen values, named and ordered as in the specification (1.0.0, 1.0.1, 1.1.0).

Field names are the specification's in snake case; where that is a Python keyword or no identifier there is an
underscore (`in_`) or a word (`self_uri` for `$self`). What a document leaves out is None, `()` or an empty mapping;
only where null is a value of its own (`value`, `payload`) is it `MISSING`. Every object knows the JSON Pointer of the
place where it stands, so that later findings can point there; `x-…` members are kept in `extensions`.

Values stay as the document has them: expressions are strings, payloads plain JSON. A Selector Object is made into a
`Selector` where it stands alone (outputs, parameter and replacement values); inside a payload it stays a plain object,
which `selector_in` recognises.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Final, Literal, TypeAlias, cast

import msgspec

from treadle.seams import MISSING, Json, Missing

__all__ = [
    "DEFAULT_VERSIONS",
    "Components",
    "Criterion",
    "CriterionKind",
    "Description",
    "ExpressionType",
    "FailureAction",
    "Info",
    "OutputValue",
    "Parameter",
    "ParameterLocation",
    "PayloadReplacement",
    "RequestBody",
    "ReusableObject",
    "Selector",
    "SelectorKind",
    "SourceDescription",
    "SourceType",
    "Step",
    "SuccessAction",
    "Workflow",
    "selector_in",
]

CriterionKind = Literal["simple", "regex", "jsonpath", "xpath"]
SelectorKind = Literal["jsonpath", "xpath", "jsonpointer"]
SourceType = Literal["openapi", "arazzo", "asyncapi"]
ParameterLocation = Literal["path", "query", "querystring", "header", "cookie", "body", "channel"]
"""`querystring` since 1.1; `body` in 1.0.0 only; `channel` only in the schema of 1.1."""

DEFAULT_VERSIONS: Final[Mapping[str, str]] = {"jsonpath": "rfc9535", "xpath": "xpath-31", "jsonpointer": "rfc6901"}
"""§1.10: what is meant when a type is given without its version."""


class _Object(msgspec.Struct, frozen=True, kw_only=True):
    pointer: str
    extensions: Mapping[str, Json] = {}


class Info(_Object, frozen=True, kw_only=True):
    """Info Object: about the description itself."""

    title: str = ""
    summary: str | None = None
    description: str | None = None
    version: str = ""


class SourceDescription(_Object, frozen=True, kw_only=True):
    """Source Description Object: an API description or another Arazzo description. `url` may be relative."""

    name: str
    url: str
    type: SourceType | None = None


class ExpressionType(_Object, frozen=True, kw_only=True):
    """Expression Type Object: an expression language with its version."""

    type: SelectorKind
    version: str


class Selector(_Object, frozen=True, kw_only=True):
    """Selector Object (1.1): what `selector` finds in the value of `context`."""

    context: str
    selector: str
    type: SelectorKind | ExpressionType

    @property
    def kind(self) -> SelectorKind:
        """The language of the selector."""
        return self.type.type if isinstance(self.type, ExpressionType) else self.type

    @property
    def version(self) -> str:
        """The version of that language, the default one where none is given."""
        return self.type.version if isinstance(self.type, ExpressionType) else DEFAULT_VERSIONS[self.type]


OutputValue: TypeAlias = "Json | Selector"
"""An expression or a Selector Object; any other value is kept for the dialect rule `output-value`."""


class Parameter(_Object, frozen=True, kw_only=True):
    """Parameter Object. `in_` is absent where the step calls a workflow: then `name` is the name of an input."""

    name: str
    in_: ParameterLocation | None = None
    value: Json | Selector = None


class ReusableObject(_Object, frozen=True, kw_only=True):
    """Reusable Object: an expression such as `$components.parameters.page`; `value` (parameters only) overrides."""

    reference: str
    value: Json | Selector | Missing = MISSING


class Criterion(_Object, frozen=True, kw_only=True):
    """Criterion Object: an assertion. No `type` means simple.

    `split`: the document has the condition in three members (the dialect rule `split-condition`).
    """

    context: str | None = None
    condition: str
    type: CriterionKind | ExpressionType | None = None
    split: bool = False

    @property
    def kind(self) -> str:
        """The language of the condition: a `CriterionKind`, or what a faulty Expression Type Object names."""
        return self.type.type if isinstance(self.type, ExpressionType) else self.type or "simple"

    @property
    def version(self) -> str:
        """The version of that language, the default one where none is given; "" for simple and regex."""
        return self.type.version if isinstance(self.type, ExpressionType) else DEFAULT_VERSIONS.get(self.kind, "")


class SuccessAction(_Object, frozen=True, kw_only=True):
    """Success Action Object: what to do when the step succeeded and all `criteria` hold."""

    name: str
    type: Literal["end", "goto"]
    workflow_id: str | None = None
    step_id: str | None = None
    parameters: tuple[Parameter | ReusableObject, ...] = ()
    criteria: tuple[Criterion, ...] = ()


class FailureAction(_Object, frozen=True, kw_only=True):
    """Failure Action Object: what to do when the step failed and all `criteria` hold. `retry_after` in seconds."""

    name: str
    type: Literal["end", "retry", "goto"]
    workflow_id: str | None = None
    step_id: str | None = None
    retry_after: float | None = None
    retry_limit: int | None = None
    parameters: tuple[Parameter | ReusableObject, ...] = ()
    criteria: tuple[Criterion, ...] = ()


class PayloadReplacement(_Object, frozen=True, kw_only=True):
    """Payload Replacement Object: a place in the payload and the value to put there."""

    target: str
    target_selector_type: SelectorKind | ExpressionType | None = None
    value: Json | Selector = None


class RequestBody(_Object, frozen=True, kw_only=True):
    """Request Body Object. `payload` is MISSING where the document gives none: null is a payload."""

    content_type: str | None = None
    payload: Json | Missing = MISSING
    replacements: tuple[PayloadReplacement, ...] = ()


class Step(_Object, frozen=True, kw_only=True):
    """Step Object: one call of an operation, a channel or a workflow. `timeout` in milliseconds (1.1)."""

    description: str | None = None
    step_id: str
    operation_id: str | None = None
    operation_path: str | None = None
    channel_path: str | None = None
    workflow_id: str | None = None
    parameters: tuple[Parameter | ReusableObject, ...] = ()
    request_body: RequestBody | None = None
    success_criteria: tuple[Criterion, ...] = ()
    on_success: tuple[SuccessAction | ReusableObject, ...] = ()
    on_failure: tuple[FailureAction | ReusableObject, ...] = ()
    outputs: Mapping[str, OutputValue] = {}
    timeout: int | None = None
    correlation_id: Json = None
    action: Literal["send", "receive"] | None = None
    depends_on: tuple[str, ...] = ()


class Workflow(_Object, frozen=True, kw_only=True, dict=True):
    """Workflow Object. `inputs` is a JSON Schema (2020-12) as the document has it; None where there is none."""

    workflow_id: str
    summary: str | None = None
    description: str | None = None
    inputs: Json = None
    depends_on: tuple[str, ...] = ()
    steps: tuple[Step, ...] = ()
    success_actions: tuple[SuccessAction | ReusableObject, ...] = ()
    failure_actions: tuple[FailureAction | ReusableObject, ...] = ()
    outputs: Mapping[str, OutputValue] = {}
    parameters: tuple[Parameter | ReusableObject, ...] = ()

    def step(self, step_id: str) -> Step | None:
        """Give a step by its id, which is case-sensitive, or None."""
        return self._by_id.get(step_id)

    @cached_property
    def _by_id(self) -> Mapping[str, Step]:
        return {step.step_id: step for step in reversed(self.steps)}  # of two, the first


class Components(_Object, frozen=True, kw_only=True):
    """Components Object: what the objects of this document, and of no other, may refer to."""

    inputs: Mapping[str, Json] = {}
    parameters: Mapping[str, Parameter] = {}
    success_actions: Mapping[str, SuccessAction] = {}
    failure_actions: Mapping[str, FailureAction] = {}


class Description(_Object, frozen=True, kw_only=True, dict=True):
    """Arazzo Specification Object: the whole document. `components` is empty where the document has none."""

    arazzo: str
    self_uri: str | None = None
    info: Info
    source_descriptions: tuple[SourceDescription, ...] = ()
    workflows: tuple[Workflow, ...] = ()
    components: Components = msgspec.field(default_factory=lambda: Components(pointer="/components"))

    @property
    def version(self) -> tuple[int, int]:
        """Major and minor of the specification version; §1.1: the patch is of no consequence."""
        major, minor, *_ = self.arazzo.split(".")
        return int(major), int(minor)

    def workflow(self, workflow_id: str) -> Workflow | None:
        """Give a workflow by its id, which is case-sensitive, or None."""
        return self._by_id.get(workflow_id)

    @cached_property
    def _by_id(self) -> Mapping[str, Workflow]:
        return {workflow.workflow_id: workflow for workflow in reversed(self.workflows)}  # of two, the first

    def source(self, name: str) -> SourceDescription | None:
        """Give a source description by its name, which is case-sensitive, or None."""
        return next((source for source in self.source_descriptions if source.name == name), None)


def selector_in(value: Json, pointer: str) -> Selector | None:
    """Read a plain object as a Selector Object, or give None.

    It is one when it has `context` (an expression), `selector` and a `type` that names a selector language, and
    nothing else but extensions: so an ordinary payload with a member called "selector" is left alone.
    """
    if not isinstance(value, dict) or {key for key in value if not key.startswith("x-")} != _SELECTOR_MEMBERS:
        return None
    kind = _selector_type(value["type"], f"{pointer}/type")
    context, selector = value["context"], value["selector"]
    if kind is None or not isinstance(context, str) or not isinstance(selector, str) or not context.startswith("$"):
        return None
    extensions = {key: member for key, member in value.items() if key.startswith("x-")}
    return Selector(pointer=pointer, extensions=extensions, context=context, selector=selector, type=kind)


_SELECTOR_MEMBERS = {"context", "selector", "type"}


def _selector_type(value: Json, pointer: str) -> SelectorKind | ExpressionType | None:
    if isinstance(value, str):
        return cast("SelectorKind", value) if value in DEFAULT_VERSIONS else None
    if isinstance(value, dict) and isinstance(value.get("type"), str) and isinstance(value.get("version"), str):
        kind = _selector_type(value["type"], pointer)
        return ExpressionType(pointer=pointer, type=kind, version=value["version"]) if isinstance(kind, str) else None
    return None
