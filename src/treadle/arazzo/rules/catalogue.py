"""Every name that a finding can have: what is written, what is said about it, how to write it properly, the clause.

For `treadle check --list-rules` and `--explain`, for the names in `treadle.toml`, and for the metadata of SARIF. What a
rule's own file says (its severity, its clause) is taken from there; what the reader, the planner and the expressions
find has its line here. The dialect is `rules.dialect`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from treadle.arazzo import rules
from treadle.arazzo.rules import dialect, planned
from treadle.errors import Severity

__all__ = ["ENTRIES", "Entry"]


class Entry(NamedTuple):
    """A kind of finding. `fixable`: `treadle check --fix` can rewrite it, where there is one certain way."""

    name: str
    group: str
    severity: Severity
    written: str
    meant: str
    properly: str
    clause: str
    fixable: bool = False


DOCUMENT, STRUCTURE, REFERENCES, EXPRESSIONS, FLOW, OPERATIONS, SOURCES, DIALECT = (
    "The file",
    "Structure",
    "References",
    "Expressions and criteria",
    "Flow",
    "Operations",
    "Descriptions of the APIs",
    "Dialect: leniency that can be switched off",
)

_FIXABLE: Final = frozenset(
    {
        "bare-word",
        "body-parameter",
        "braced-operand",
        "dotted-navigation",
        "double-quoted-string",
        "foreign-constant",
        "forgotten-type",
        "implied-context",
        "implied-outputs",
        "implied-step",
        "jsonpath-comparison",
        "loose-operation-path",
        "operation-id-case",
        "operation-path-unbraced",
        "path-parameter",
        "plural-headers",
        "retry-self-step",
        "simple-without-context",
        "slashed-pattern",
        "spelled-out-workflow",
        "split-condition",
        "unbraced-interpolation",
        "unqualified-operation-id",
        "unqualified-workflow-id",
    }
)

# name, group, what is written, what is wrong or meant, how to write it properly. Severity and clause are in the file
# of the rule.
_OF_FILES: Final = (
    ("duplicate-id", STRUCTURE, "two steps with the stepId `get`", "an id names one thing",
     "give each an id of its own"),
    ("name-pattern", STRUCTURE, "stepId: get pet", "expressions cannot name it, since 1.1 not even with a dot in it",
     "letters, digits, - and _: get-pet"),
    ("step-target", STRUCTURE, "a step with operationId and workflowId", "a step calls exactly one thing",
     "make it two steps"),
    ("unknown-source", REFERENCES, "$sourceDescriptions.petStore.listPets, while the source is called petstore",
     "names are case-sensitive", "$sourceDescriptions.petstore.listPets"),
    ("unknown-workflow", REFERENCES, "workflowId: refnud", "there is no such workflow, here or where it is looked for",
     "the workflowId as it is declared; of another document $sourceDescriptions.<name>.<workflowId>"),
    ("unknown-step", REFERENCES, "type: goto, stepId: pol", "an action leads to a step of its own workflow",
     "the stepId as it is declared there"),
    ("unknown-component", REFERENCES, "reference: $components.parameters.page, which is not there",
     "a reference leads to a component of the same document", "declare it in `components`"),
    ("duplicate-parameter", STRUCTURE, "two parameters {name: id, in: path}", "a parameter is its name and place",
     "keep one of the two"),
    ("parameter-place", STRUCTURE, "{name: id, value: 1} for an operation",
     "a parameter of an operation says where it goes; one of a workflow does not", "{name: id, in: path, value: 1}"),
    ("duplicate-action", STRUCTURE, "two actions called `again` in one list",
     "an action is its name: that of a step replaces the one of its workflow", "give each a name of its own"),
    ("criterion-context", EXPRESSIONS, "type: regex without a context", "a pattern needs something to look at",
     "context: $response.body"),
    ("depends-on", REFERENCES, "dependsOn: [a], while a depends on this one",
     "what is waited for exists, is named once, and does not wait in turn", "take one of the two out"),
    ("endless-loop", FLOW, "onSuccess: [{name: again, type: goto, stepId: poll}] without criteria",
     "nothing ever leads out of this loop", "give the goto `criteria` that say for how long to go on"),
    ("endless-recursion", FLOW, "a workflow whose first step calls the workflow itself",
     "on every way through it, it is begun again before it ends", "end it first when a criterion holds"),
    ("unreachable-step", FLOW, "a step after one that always ends the workflow", "no run ever comes to it",
     "give the action before it `criteria`, or let an action lead to the step"),
    ("unreachable-action", FLOW, "an action after one without criteria",
     "the first action whose criteria hold is taken, and none means always", "put the one without criteria last"),
    ("number-range", STRUCTURE, "retryAfter: -1", "seconds and counts are not negative", "retryAfter: 1"),
    ("input-schema", STRUCTURE, "inputs: {petId: {type: string}}",
     "inputs are a JSON Schema, and nobody reads this one so",
     "inputs: {type: object, properties: {petId: {type: string}}}"),
    ("unused-input", FLOW, "an input that no expression names", "giving it changes nothing",
     "use it: $inputs.<name>; or take it out"),
    ("plain-secret", STRUCTURE, "a parameter Authorization with a real token in it",
     "documents are shared, and then the token is", "an input with `format: password`, or treadle.toml"),
    ("criterion-never-true", EXPRESSIONS, "$statusCode == 200 and $statusCode == 201 in one list of criteria",
     "all must hold, and they exclude each other; or the description of the answer excludes the value",
     "$statusCode == 200 || $statusCode == 201, or a value that the answer can have"),
    ("criterion-always-true", EXPRESSIONS, "$statusCode >= 100", "it holds whatever the answer is",
     "$statusCode < 300"),
    ("unhandled-value", FLOW, "a poll that goes on while the status is InProgress, where it can be Stopping as well",
     "the poll leaves on Stopping, too, though that is no end", "mention every value that the answer can have"),
    ("unknown-response-field", OPERATIONS, "$response.body#/staus", "no described answer has this field",
     "the name as the description has it: $response.body#/status"),
    ("missing-body", OPERATIONS, "a payload without a field that the operation requires", "the server will refuse it",
     "add the field"),
    ("unknown-payload-field", OPERATIONS, "a payload with the field `naem`", "the operation has no such field", "name"),
    ("no-value", EXPRESSIONS, "$response.body#/id in a parameter",
     "the request is made before there is an answer; so it is left out",
     "an output of the earlier step: $steps.<stepId>.outputs.id"),
    ("unfitting-value", OPERATIONS, "{name: status, in: query, value: opne}",
     "the operation takes other values, or another type", "one of those that the description lists: open"),
    ("needless-body", OPERATIONS, "a GET with a requestBody", "its meaning is not defined, and servers ignore it",
     "give the values as parameters"),
    ("needed-input", OPERATIONS, "an optional input in a path or inside a longer text",
     "the request cannot be built when it is left out", "the input in `required`, or with a `default`"),
    ("blind-retry", OPERATIONS, "a retry without criteria at a step that creates something",
     "what has taken effect, and failed afterwards, takes effect again",
     "criteria such as $statusCode == 429 || $statusCode == 503"),
    ("prefer-operation-id", OPERATIONS, "operationPath, for an operation that has an operationId",
     "an operationId outlives a change of the path", "operationId: <name>"),
)  # fmt: skip

# name, group, severity, what is written, what is wrong, how to write it properly, clause
_OTHERS: Final[tuple[tuple[str, str, Severity, str, str, str, str], ...]] = (
    ("syntax", DOCUMENT, "error", "text that is neither YAML nor JSON", "nothing can be read",
     "the hint says what to look at", "Format"),
    ("encoding", DOCUMENT, "error", "a file in Latin-1", "documents are UTF-8", "save it as UTF-8", "Format"),
    ("content", DOCUMENT, "error", "!!binary, a list as a key, a second document in the file",
     "a document has the types of JSON, and keys are texts", "plain values with texts as keys", "Format"),
    ("duplicate-key", DOCUMENT, "error", "a mapping with the same key twice", "readers take one or the other",
     "keep one of the two", "Format"),
    ("limits", DOCUMENT, "error", "aliases that stand for millions of values, 1,000 levels",
     "such a document is an attack, or a mistake", "write values out, in fewer levels", "Security Considerations"),
    ("version", STRUCTURE, "error", "arazzo: 1.0", "the version decides how the document is read", 'arazzo: "1.0.1"',
     "Arazzo Specification Object: arazzo"),
    ("wrong-type", STRUCTURE, "error", "steps: {…}", "a field has the type that the specification gives it",
     "steps: [{…}]", "Fixed Fields"),
    ("wrong-value", STRUCTURE, "error", "type: stop", "the field has a list of values", "type: end", "Fixed Fields"),
    ("missing-field", STRUCTURE, "error", "a step without a stepId", "the field is required", "add it", "Fixed Fields"),
    ("unknown-field", STRUCTURE, "error", "sucessCriteria: […]",
     "the field does not exist; it is a warning where no known name is close", "successCriteria, or x-… for your own",
     "Specification Extensions"),
    ("empty-field", STRUCTURE, "warning", "outputs:", "null is no value here", "leave the line out", "Fixed Fields"),
    ("newer-feature", STRUCTURE, "warning", "timeout in a document of version 1.0.1",
     "it came with 1.1; it is honoured all the same", 'arazzo: "1.1.0"', "Versions"),
    ("inputs", EXPRESSIONS, "error", "inputs: {type: objekt}", "inputs are a JSON Schema (2020-12)", "type: object",
     "Workflow Object: inputs"),
    ("source", REFERENCES, "error", "a source description that cannot be read", "a step needs it",
     "its url relative to the document, or --source NAME=PATH", "Source Description Object: url"),
    ("openapi-server", REFERENCES, "error", "a description without servers, or with a relative one, in a file",
     "requests of the step have nowhere to go", "--server NAME=URL, or a server in the description",
     "Source Description Object: url"),
    ("host", REFERENCES, "error", "a step that calls a host which is not among those that were listed",
     "where there is a list, nothing else is called", "--allow-host HOST, or hosts in treadle.toml",
     "Source Description Object: url"),
    ("document-identity", REFERENCES, "warning", "the address of a document that has a $self",
     "a document is referred to by its $self, for its address may change", "url: <its $self>",
     "Establishing the Base URI"),
    ("ambiguous-workflow", REFERENCES, "error", "workflowId: refund, which two sources have", "it names one workflow",
     "$sourceDescriptions.<name>.refund", "Step Object: workflowId"),
    ("ambiguous-operation", REFERENCES, "error", "operationId: list, which two sources have", "it names one operation",
     "$sourceDescriptions.<name>.list", "Step Object: operationId"),
    ("unknown-operation", REFERENCES, "error", "operationId: lsitPets", "no source has this operation", "listPets",
     "Step Object: operationId, operationPath"),
    ("operation-path", REFERENCES, "error", "operationPath: /pets", "it names no source and no place in it",
     "'{$sourceDescriptions.pets.url}#/paths/~1pets/get'", "Step Object: operationPath"),
    ("workflow-choice", REFERENCES, "error", "a run without the name of a workflow", "the document has several",
     "treadle run DOCUMENT WORKFLOW", "Workflow Object: workflowId"),
    ("bad-expression", EXPRESSIONS, "error", "$response.body.",
     "it is no runtime expression; a warning where it can be text",
     "$response.body#/name", "Runtime Expressions"),
    ("bad-condition", EXPRESSIONS, "error", "$statusCode = 200", "the condition can never be evaluated",
     "$statusCode == 200", "Criterion Object: condition"),
    ("bad-payload", EXPRESSIONS, "error", "a payload text that begins with { and is no JSON",
     "the body would not be either",
     "write the payload as an object", "Request Body Object: payload"),
    ("bad-selector", EXPRESSIONS, "error", "selector: $[", "the selector can never be evaluated",
     "selector: $.items[0]", "Selector Object"),
    ("unknown-version", EXPRESSIONS, "error", "type: {type: jsonpath, version: v2}", "there is no such version of it",
     "version: rfc9535", "Expression Type Object: version"),
    ("correlation-id", OPERATIONS, "error", "correlationId, where the message has no place for one",
     "no message can be told from another", "describe it in the AsyncAPI document", "Step Object: correlationId"),
    ("too-deep", EXPRESSIONS, "error", "a payload of 200 levels", "it is nested too deeply", "fewer levels",
     "Security Considerations"),
    ("unknown-output", EXPRESSIONS, "warning", "$steps.get.outputs.naem", "the step declares no such output",
     "declare it: outputs: {naem: …}", "Runtime Expressions"),
    ("forward-reference", FLOW, "error", "a step that uses outputs of a later step",
     "they are not there yet; a warning in 1.0", "put the other step before it, or dependsOn: [it] (1.1)",
     "Step Object: dependsOn"),
    ("step-order", FLOW, "error", "two steps that depend on each other", "no order satisfies that",
     "take one of the dependencies out", "Step Object: dependsOn"),
    ("asyncapi-step", OPERATIONS, "error", "channelPath, where no transport for channels is configured",
     "there is nobody to send the message to", "give a transport", "Step Object: channelPath"),
    ("parameter-location", STRUCTURE, "error", "in: channel", "a request has a path, a query, headers and cookies",
     "requestBody", "Parameter Object: in"),
    ("replacement-target", EXPRESSIONS, "error", "target: name", "it is no JSON Pointer (XPath, JSONPath)",
     "target: /name", "Payload Replacement Object: target"),
    ("missing-parameter", OPERATIONS, "warning", "an operation without a parameter that it requires",
     "the request is not what the API wants; an error in a path, where it cannot even be built", "add the parameter",
     "Step Object: parameters"),
    ("unknown-parameter", OPERATIONS, "warning", "{name: limt, in: query}",
     "the operation has no such parameter; it is sent all the same, but in a path it is an error", "limit",
     "Step Object: parameters"),
    ("unknown-media-type", OPERATIONS, "warning", "contentType: text/plain", "the operation does not take it",
     "one of those that the operation has", "Request Body Object: contentType"),
    ("unsendable-payload", OPERATIONS, "error", "contentType: text/plain, payload: {a: 1}",
     "the media type cannot carry an object or a list", "payload: 'a=1'", "Request Body Object: payload"),
)  # fmt: skip

# What is broken in the descriptions of the APIs, as far as a step needs it.
_OF_SOURCES: Final = (
    ("openapi-version", "openapi: 4.0.0", "it is no OpenAPI 3.0, 3.1, 3.2 or Swagger 2.0", "openapi: 3.1.0"),
    ("openapi-type", "paths: []", "a member has another type than OpenAPI gives it", "paths: {…}"),
    ("parameter-name", "a parameter without a name", "it cannot be sent", "give it a name"),
    ("parameter-in", "in: headers", "OpenAPI has no such place", "in: header"),
    ("parameter-style", "style: deepObject in a path", "OpenAPI has no such style there", "style: simple"),
    ("server-url", "url: example.com", "it is no URL that can be called", "url: https://example.com"),
    ("server-variable", "url: https://{region}.example.com, without a value for region", "the URL is not known",
     "variables: {region: {default: eu}}"),
    ("reference-anchor", "$ref: '#pet'", "only JSON Pointers are followed", "$ref: '#/components/schemas/pet'"),
    ("reference-cycle", "a $ref that leads back to itself", "it stands for nothing", "let it lead to a value"),
    ("reference-unknown", "$ref: '#/components/schemas/Pte'", "there is nothing at that place",
     "$ref: '#/components/schemas/Pet'"),
    ("reference-external", "$ref: './other.yaml#/Pet'", "the other document cannot be read",
     "$ref: a document that is there; or bundle them into one file"),
    ("asyncapi-version", "asyncapi: 1.2.0", "it is no AsyncAPI 2 or 3", "asyncapi: 3.0.0"),
    ("asyncapi-channel", "a channel without an address", "nothing can be sent there", "give it an address"),
)  # fmt: skip

_CLAUSE_OF_DIALECT: Final = {
    "xpath-output": "Step Object: outputs",
    "output-value": "Workflow Object, Step Object: outputs",
    "undeclared-output": "Step Object: outputs",
    "input-by-reference": "Workflow Object: inputs",
    "boolean-required": "Workflow Object: inputs",
    "body-parameter": "Parameter Object: in",
    "undeclared-input": "Workflow Object: inputs",
    "free-output-name": "Workflow Object, Step Object: outputs",
    "unqualified-operation-id": "Step Object: operationId",
    "unqualified-workflow-id": "Step Object: workflowId",
    "untyped-target": "Payload Replacement Object: target",
    "spelled-out-workflow": "Step Object: workflowId",
    "operation-path-unbraced": "Step Object: operationPath",
    "loose-operation-path": "Step Object: operationPath",
    "operation-id-case": "Step Object: operationId",
    "path-key-fragment": "OpenAPI, Paths Object",
    "greedy-path-parameter": "OpenAPI, Paths Object",
    "source-unreadable": "Source Description Object: url",
    "source-root-relative": "Source Description Object: url",
    "retry-self-step": "Failure Action Object: stepId",
    "null-array-element": "Request Body Object: payload",
    "path-parameter": "Parameter Object: name, in",
    "workflow-step-status": "Runtime Expressions",
}


def _entries() -> Iterator[Entry]:
    files = {rule.RULE: rule for rule in (*rules.ALL, *planned.ALL)}
    for name, group, severity, written, meant, properly, clause in _OTHERS:
        yield Entry(name, group, severity, written, meant, properly, clause)
    for name, written, meant, properly in _OF_SOURCES:
        yield Entry(name, SOURCES, "error", written, meant, properly, "OpenAPI and AsyncAPI")
    for name, group, written, meant, properly in _OF_FILES:
        rule = files[name]
        yield Entry(name, group, rule.SEVERITY, written, meant, properly, rule.CLAUSE)
    for each in dialect.RULES.values():
        clause = _CLAUSE_OF_DIALECT.get(each.name) or (
            "Criterion Object" if "condition" in each.written or "type:" in each.written else "Runtime Expressions"
        )
        fixable = each.name in _FIXABLE
        yield Entry(each.name, DIALECT, each.severity, each.written, each.meant, each.properly, clause, fixable)


def _sorted() -> dict[str, Entry]:
    order = (DOCUMENT, STRUCTURE, REFERENCES, EXPRESSIONS, FLOW, OPERATIONS, SOURCES, DIALECT)
    found = sorted(_entries(), key=lambda entry: (order.index(entry.group), entry.name))
    return {entry.name: entry for entry in found}


ENTRIES: Final = _sorted()
"""Every kind of finding by its name, in groups."""
