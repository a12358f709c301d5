"""THE list of leniency: the known ways in which real documents bend the text, each with its name.

Treadle runs such documents as their authors meant them and says so, once, under the name of the rule. A rule can be
switched off by its name, and `--strict` switches all of them off but for what can be written in no other way: then
what needed it is an error. Nothing else is lenient: what is not in this list is either allowed by the specification or
refused.

`written` shows what authors write, `meant` what they mean by it, `properly` how the specification says it. How common
these are was counted in two public collections with 806 documents.
"""

from __future__ import annotations

from typing import Final

import msgspec

from treadle.errors import Severity

__all__ = ["RULES", "Rule"]


class Rule(msgspec.Struct, frozen=True):
    """A way of writing that the specification does not have. `severity` is that of its diagnostic unless strict.

    What is `unavoidable` can be written in no other way: it is an error where it is switched off by its name alone.
    """

    name: str
    written: str
    meant: str
    properly: str
    severity: Severity = "warning"
    unavoidable: bool = False


_ALL = (
    # Criteria
    Rule(
        "jsonpath-comparison",
        'type: jsonpath, condition: $.Status == "InProgress"',
        "the comparison of what a JSONPath finds with a value; RFC 9535 has comparisons only in filters",
        "write a simple criterion: $response.body#/Status == 'InProgress'",
    ),
    Rule(
        "root-filter-on-object",
        "type: jsonpath, condition: $[?count(@.pets) > 0]",
        "a filter on the object itself, though RFC 9535 applies it to each of the object's members",
        "write $.pets[*], which passes when there is at least one",
    ),
    Rule(
        "double-quoted-string",
        'condition: $response.body#/name == "x"',
        "a string",
        "write it in single quotes: 'x'",
        "note",
    ),
    Rule(
        "bare-word",
        "condition: $response.body#/status == available",
        "a string",
        "write it in single quotes: 'available'",
    ),
    Rule(
        "foreign-constant",
        "condition: $response.body#/done == True, or != None, or != undefined, or < .5",
        "the constant: true, null, 0.5",
        "write true, false or null, and a zero before the point",
    ),
    Rule(
        "braced-operand",
        "condition: {$statusCode} == 200",
        "the expression",
        "write it without the braces: $statusCode",
    ),
    Rule(
        "forgotten-type",
        "condition: $.status == 'ok', or ^2 with a context, without a type",
        "a criterion of type jsonpath, or of type regex",
        "write the type, or a simple criterion: $response.body#/status == 'ok'",
    ),
    Rule(
        "simple-without-context",
        "type: simple without a context",
        "a simple condition, which needs no context",
        "leave out `type: simple`: it is the default",
    ),
    Rule(
        "implied-context",
        "type: jsonpath without a context",
        "a query of the response's body",
        "write context: $response.body",
    ),
    Rule(
        "split-condition",
        "context: $statusCode, condition: ==, value: 200",
        "the comparison of the context with the value",
        "write it as one condition: $statusCode == 200",
    ),
    Rule(
        "workflow-step-status",
        "$statusCode == 200 as a criterion of a step that calls a workflow",
        "the status of the last answer in the called workflow",
        "leave it out: such a step succeeds when its workflow does",
    ),
    Rule(
        "slashed-pattern",
        "type: regex, condition: /^2\\d\\d$/",
        "the pattern between the slashes, which are JavaScript's",
        "write ^2\\d\\d$",
    ),
    Rule(
        "xpath-default-namespace",
        "type: xpath, condition: /Envelope/Item on a body with a default namespace",
        "the elements of that name, whatever their namespace",
        "write /*:Envelope/*:Item",
    ),
    # Expressions
    Rule(
        "dotted-navigation",
        "$steps.list.outputs.items[0].id",
        "the member of the value",
        "write a JSON Pointer: $steps.list.outputs.items#/0/id",
        "note",
    ),
    Rule(
        "whole-object",
        "$inputs",
        "all of them as one object",
        "name them one by one: $inputs.name",
        "note",
    ),
    Rule(
        "implied-outputs",
        "$steps.list.items",
        "the output `items` of the step",
        "write $steps.list.outputs.items",
    ),
    Rule(
        "foreign-workflow-name",
        "$workflows.refund.outputs.id, where refund is a workflow of another document that is called here",
        "the output of that workflow",
        "declare it at the step that calls it: outputs: {id: $outputs.id}",
    ),
    Rule(
        "implied-step",
        "$outputs.token, in a step that calls no workflow",
        "the output of the only step that declares it",
        "write $steps.login.outputs.token",
    ),
    Rule(
        "plural-headers",
        "$response.headers.Location",
        "the header",
        "write $response.header.Location",
    ),
    Rule(
        "unbraced-interpolation",
        "Bearer $inputs.token",
        "the text with the value of the expression in its place",
        "write Bearer {$inputs.token}",
    ),
    Rule(
        "lone-braced-expression",
        "{$inputs.count} as the whole value",
        "the value itself with its type, not its text",
        "write it without the braces: $inputs.count",
        "note",
    ),
    Rule(
        "legacy-nested-outputs",
        "$steps.call.outputs.x, where the step calls a workflow and does not declare x",
        "the output of the called workflow",
        "declare it at the step: outputs: {x: $outputs.x}",
        "note",
    ),
    Rule(
        "undeclared-input",
        "$inputs.x, where the workflow's inputs do not have x",
        "an input that may be given all the same",
        "declare it in the `properties` of the workflow's inputs",
    ),
    Rule(
        "input-by-reference",
        "inputs: {$ref: '#/components/inputs/petId'}, where petId is a text",
        "an object with petId as its only input",
        "write inputs: {type: object, properties: {petId: {$ref: '#/components/inputs/petId'}}}",
    ),
    Rule(
        "body-parameter",
        "parameters: [{name: petName, in: body, value: Rex}]",
        "a field of the request body; the whole of it where a single one is none of the fields that are described",
        "write requestBody: {payload: {petName: Rex}}; only Arazzo 1.0.0 had `in: body`",
    ),
    Rule(
        "boolean-required",
        "inputs: {properties: {petId: {type: string, required: true}}}",
        "an input that is required, as drafts of JSON Schema before the fourth said it",
        "write the names beside `properties`: required: [petId]",
    ),
    Rule(
        "output-value",
        "outputs: {found: true, pet: {id: $response.body#/id}}",
        "that value, with what the expressions in it give",
        "give one expression; what reads it takes the parts: $steps.get.outputs.pet#/id",
    ),
    Rule(
        "xpath-output",
        "outputs: {id: //Customer/Id}",
        "what the XPath finds in the body of the answer",
        "write {context: $response.body, selector: //Customer/Id, type: xpath}",
    ),
    Rule(
        "undeclared-output",
        "$steps.find.outputs.id, where the step does not declare an output `id`",
        "the member `id` of the answer's body",
        "declare it at the step: outputs: {id: $response.body#/id}",
    ),
    Rule(
        "free-output-name",
        "outputs: {Search Results: $response.body}",
        "an output of that name",
        "write the name with letters, digits, '.', - and _ only: search-results",
    ),
    # Operations
    Rule(
        "unqualified-operation-id",
        "operationId: listPets, with several source descriptions",
        "the operation of the only source that has it",
        "write $sourceDescriptions.<name>.listPets",
    ),
    Rule(
        "unqualified-workflow-id",
        "workflowId: refund, which is a workflow of another document",
        "the workflow of the only Arazzo source that has it",
        "write $sourceDescriptions.<name>.refund",
    ),
    Rule(
        "spelled-out-workflow",
        "workflowId: $sourceDescriptions.shop.workflows.refund",
        "the workflow refund of that source, as another engine for Arazzo once wrote it",
        "write $sourceDescriptions.shop.refund",
    ),
    Rule(
        "untyped-target",
        "replacements: [{target: $.order.sku, value: A-1}]",
        "a JSONPath: a JSON Pointer never begins with $",
        "write target: /order/sku, or add targetSelectorType: jsonpath",
    ),
    Rule(
        "operation-path-unbraced",
        "operationPath: $sourceDescriptions.pets.url#/paths/~1pets/get",
        "the operation at that place in the source",
        "write {$sourceDescriptions.pets.url}#/paths/~1pets/get",
    ),
    Rule(
        "operation-id-case",
        "operationId: getpets, while the description has getPets",
        "the only operation that has this name but for capital letters",
        "write it as the description does: getPets",
    ),
    Rule(
        "loose-operation-path",
        "operationPath: GET /pets, or a pointer whose slashes are bare: ...#/paths/pets/get",
        "the only operation that can be meant",
        "write {$sourceDescriptions.pets.url}#/paths/~1pets/get",
    ),
    Rule(
        "path-key-fragment",
        "an OpenAPI path such as /#CreateTrainingJob or /{Bucket}?acl",
        "the path before the #, which only tells operations apart; what follows ? belongs to the query",
        "OpenAPI has no other way to say it: nothing to do",
        "note",
        unavoidable=True,
    ),
    Rule(
        "path-parameter",
        "name: pet_id, in: path (or petId, in: query) for the parameter petId of the path",
        "the path parameter, which nothing else fills",
        "write it as the description does: {name: petId, in: path}",
    ),
    Rule(
        "greedy-path-parameter",
        "an OpenAPI path such as /{Bucket}/{Key+}",
        "a parameter whose slashes stay as they are",
        "write {Key} and allowReserved: true",
        "note",
    ),
    Rule(
        "source-unreadable",
        "a source that cannot be read, while every step that uses it spells its request out",
        "the request as the step has it, to the server that was named",
        "give the source with --source NAME=PATH",
    ),
    Rule(
        "source-root-relative",
        "url: openapi/pets.yaml, counted from the root of a repository instead of from the document",
        "the file at that place below a directory above, the nearest, up to the root of the repository",
        "write the url relative to the document: ../openapi/pets.yaml",
    ),
    Rule(
        "retry-self-step",
        "type: retry, with the stepId of the step itself",
        "a plain retry, without running the step once more before it",
        "leave out the stepId",
    ),
    Rule(
        "null-array-element",
        "a list in a payload with an element that has no value",
        "the list without that element",
        "give the input a default",
        "note",
    ),
)

RULES: Final[dict[str, Rule]] = {rule.name: rule for rule in _ALL}
"""Every rule by its name."""
