"""Whole documents: the mistakes that people really make, each found where it is; and unusual ones with none.

What a line of the tables says of a finding is its line and column, severity and rule. Of the unusual documents none has
an error; what is said of them besides stands there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from textwrap import dedent

import pytest

from treadle.arazzo.rules import dialect
from treadle.cli.checking import check_document
from treadle.cli.fix import fixed_text
from treadle.cli.opening import Setup
from treadle.errors import DescriptionError, Diagnostic

SHOP = """\
openapi: 3.0.3
info: {title: Shop, version: "1"}
servers: [{url: "https://shop.example/v1"}]
paths:
  /orders:
    get:
      operationId: listOrders
      parameters:
        - {name: status, in: query, schema: {type: string, enum: [open, paid, shipped]}}
        - {name: limit, in: query, schema: {type: integer}}
        - {name: X-Tenant, in: header, required: true, schema: {type: string}}
      responses:
        "200":
          description: ok
          content:
            application/json:
              schema: {type: array, items: {$ref: '#/components/schemas/Order'}}
    post:
      operationId: createOrder
      requestBody:
        required: true
        content:
          application/json:
            schema:
              type: object
              required: [item, quantity]
              additionalProperties: false
              properties:
                item: {type: string}
                quantity: {type: integer, minimum: 1}
                note: {type: string}
      responses:
        "201":
          description: created
          headers: {Location: {schema: {type: string}}}
          content:
            application/json:
              schema: {$ref: '#/components/schemas/Order'}
        "400": {description: bad}
  /orders/{orderId}:
    parameters:
      - {name: orderId, in: path, required: true, schema: {type: string}}
    get:
      operationId: getOrder
      responses:
        "200":
          description: ok
          content:
            application/json:
              schema: {$ref: '#/components/schemas/Order'}
        "404": {description: no}
    delete:
      operationId: deleteOrder
      responses:
        "204": {description: gone}
  /orders/{orderId}/pay:
    parameters:
      - {name: orderId, in: path, required: true, schema: {type: string}}
    post:
      operationId: payOrder
      requestBody:
        content:
          application/x-www-form-urlencoded:
            schema: {type: object, properties: {amount: {type: number}}}
      responses:
        "202":
          description: accepted
components:
  schemas:
    Order:
      type: object
      required: [id, status]
      properties:
        id: {type: string}
        status: {type: string, enum: [open, paid, shipped, cancelled]}
        total: {type: number}
        lines: {type: array, items: {type: object, properties: {sku: {type: string}}}}
"""

HEAD = """\
arazzo: {version}
info: {{title: T, version: "1"}}
sourceDescriptions:
- {{name: shop, url: shop.yaml, type: openapi}}
workflows:
"""


@dataclass
class Case:
    """The workflows of a document, and what is found; `words` are some of what is said. `{` begins a whole document."""

    id: str
    text: str
    want: list[str] = field(default_factory=list)
    words: str = ""
    version: str = "1.0.1"


def written(case: Case) -> str:
    """Give the whole document of a case."""
    text = dedent(case.text)
    return text if text.startswith(("arazzo:", "{")) else HEAD.format(version=case.version) + text


def found(folder: Path, case: Case, *, strict: bool = False) -> list[Diagnostic]:
    (folder / "shop.yaml").write_text(SHOP)
    (folder / "main.yaml").write_text(written(case))
    setup = Setup(document=str(folder / "main.yaml"), label="main.yaml", strict=strict)
    try:
        return list(check_document(setup).diagnostics)
    except DescriptionError as error:
        return list(error.diagnostics)


FAULTY = [
    Case(
        "input-root",
        """\
        - workflowId: w
          inputs: {type: object, properties: {item: {type: string}}}
          steps:
          - stepId: create
            operationId: createOrder
            requestBody:
              payload: {item: $input.item, quantity: 1}
            successCriteria:
            - condition: $statusCode == 201
        """,
        ["7:39 note unused-input", "12:23 error bad-expression"],
        "did you mean $inputs.item?",
    ),
    Case(
        "dashes",
        """\
        - workflowId: w
          steps:
          - stepId: create
            operationId: createOrder
            requestBody:
              payload: {item: a, quantity: 1}
            successCriteria:
              condition: $statusCode == 201
            onFailure:
              name: again
              type: retry
        """,
        ["13:7 error wrong-type", "15:7 error wrong-type"],
        "put `- ` before `condition`",
    ),
    Case(
        "misspelt-expressions",
        """\
        - workflowId: w
          steps:
          - stepId: create
            operationId: createOrder
            requestBody:
              payload: {item: a, quantity: 1}
            successCriteria:
            - condition: $respone.body#/id == 'a'
            - condition: $statuscode == 201
            - condition: $StatusCode == 201
            - condition: $response.statusCode == 201
            - context: $respone.body
              type: jsonpath
              condition: $.id
            outputs:
              id: $respone.body#/id
              id2: $response.Body#/id
              id3: response.body#/id
              id4: $step.create.outputs.x
        """,
        ["13:18 error bad-condition", "14:18 error bad-condition", "15:18 error bad-condition", "16:18 error bad-condition", "17:16 error bad-expression", "21:11 error bad-expression", "22:12 error bad-expression", "23:12 error bad-expression", "24:12 error bad-expression"],
        "did you mean $statusCode?",
    ),
    Case(
        "misspelt-fields",
        """\
        - workflowId: w
          step:
          - stepId: x
            operationId: listOrders
        - workflowID: v
          steps:
          - stepId: create
            operationID: createOrder
            requestbody:
              payload: {item: a, quantity: 1}
            succesCriteria:
            - condition: $statusCode == 201
            onsuccess:
            - name: go
              type: goto
              stepid: create
            output: {id: $response.body#/id}
        """,
        ["7:3 error unknown-field", "8:5 warning missing-parameter", "10:3 error unknown-field", "13:5 error unknown-field", "14:5 error unknown-field", "16:5 error unknown-field", "18:5 error unknown-field", "19:7 error endless-loop", "21:7 error unknown-field", "22:5 error unknown-field"],
        "did you mean `successCriteria`?",
    ),
    Case(
        "indentation",
        """\
        - workflowId: w
          steps:
          - stepId: create
            operationId: createOrder
            requestBody:
            payload: {item: a, quantity: 1}
            successCriteria:
            - condition: $statusCode == 201
            - context: $response.body
            - condition: $.id
              type: jsonpath
          outputs:
            id: $steps.create.outputs.id
        """,
        ["8:5 warning missing-body", "10:5 warning empty-field", "11:5 error unknown-field", "14:7 error missing-field", "15:18 warning implied-context", "18:9 warning undeclared-output"],
        "is there a dash too many?",
    ),
    Case(
        "steps-by-name",
        """\
        - workflowId: w
          steps:
            create:
              operationId: createOrder
              parameters:
                X-Tenant: a
            get:
              operationId: getOrder
        """,
        ["8:5 error wrong-type"],
        "`- stepId: create`",
    ),
    Case(
        "outputs-as-list",
        """\
        - workflowId: w
          steps:
          - stepId: create
            operationId: createOrder
            parameters:
              name: X-Tenant
              in: header
              value: a
            outputs:
            - id: $response.body#/id
            - name: status
              value: $response.body#/status
          outputs: [$steps.create.outputs.id]
        """,
        ["8:5 warning missing-body", "11:7 error wrong-type", "15:5 error wrong-type", "18:12 error wrong-type"],
    ),
    Case(
        "expressions-of-others",
        """\
        - workflowId: w
          inputs: {type: object, properties: {tenant: {type: string}, id: {type: string}}}
          steps:
          - stepId: list
            operationId: listOrders
            parameters:
            - {name: X-Tenant, in: header, value: $input.tenant}
            - {name: status, in: query, value: 'x-{$input.tenant}'}
            - {name: limit, in: query, value: inputs.limit}
          - stepId: get
            operationId: getOrder
            parameters:
            - {name: orderId, in: path, value: $step.list.outputs.id}
          - stepId: get2
            operationId: getOrder
            parameters:
            - {name: orderId, in: path, value: $output.id}
          - stepId: get3
            operationId: getOrder
            parameters:
            - {name: orderId, in: path, value: $steps.list.output.id}
          - stepId: get4
            operationId: getOrder
            parameters:
            - {name: orderId, in: path, value: "{{ inputs.id }}"}
          - stepId: get5
            operationId: getOrder
            parameters:
            - {name: orderId, in: path, value: "${inputs.id}"}
          - stepId: get6
            operationId: getOrder
            parameters:
            - {name: orderId, in: path, value: "{inputs.id}"}
          - stepId: get7
            operationId: getOrder
            parameters:
            - {name: orderId, in: path, value: "$steps.get.outputs.id "}
        """,
        ["7:39 note unused-input", "7:63 note unused-input", "12:43 error bad-expression", "13:40 error bad-expression", "13:40 warning unfitting-value", "14:39 warning unfitting-value", "18:40 error bad-expression", "22:40 error bad-expression", "26:40 error bad-expression", "30:40 warning bad-expression", "34:40 warning bad-expression", "38:40 warning bad-expression", "42:40 warning undeclared-output", "42:40 warning unbraced-interpolation"],
    ),
    Case(
        "poll-leaves-on-unhandled",
        """\
        - workflowId: w
          steps:
          - stepId: poll
            operationId: getOrder
            parameters: [{name: orderId, in: path, value: a}]
            successCriteria: [{condition: $statusCode == 200}]
            onSuccess:
            - {name: again, type: goto, stepId: poll, criteria: [{condition: $response.body#/status == 'open'}]}
            - {name: done, type: end, criteria: [{condition: $response.body#/status == 'shipped'}]}
        """,
        ["12:5 note unhandled-value"],
        "`paid` or `cancelled`",
    ),
    Case(
        "never-true-enum",
        """\
        - workflowId: w
          steps:
          - stepId: s
            operationId: getOrder
            parameters: [{name: orderId, in: path, value: a}]
            successCriteria: [{condition: $response.body#/status == 'delivered'}]
        """,
        ["11:35 warning criterion-never-true"],
    ),
    Case(
        "never-true-type",
        """\
        - workflowId: w
          steps:
          - stepId: s
            operationId: getOrder
            parameters: [{name: orderId, in: path, value: a}]
            successCriteria: [{condition: $response.body#/total == 'much'}, {condition: $response.body#/id > 5}]
        """,
        ["11:35 warning criterion-never-true"],
    ),
    Case(
        "never-true-status",
        """\
        - workflowId: w
          steps:
          - stepId: s
            operationId: deleteOrder
            parameters: [{name: orderId, in: path, value: a}]
            successCriteria: [{condition: $statusCode == 200 && $statusCode == 204}]
        """,
        ["11:35 warning criterion-never-true"],
    ),
    Case(
        "body-of-204",
        """\
        - workflowId: w
          steps:
          - stepId: s
            operationId: deleteOrder
            parameters: [{name: orderId, in: path, value: a}]
            successCriteria: [{condition: $statusCode == 204}]
            outputs: {id: $response.body#/id}
        """,
        ["12:19 warning unknown-response-field"],
        "204 has none",
    ),
    Case(
        "output-no-schema",
        """\
        - workflowId: w
          steps:
          - stepId: s
            operationId: getOrder
            parameters: [{name: orderId, in: path, value: a}]
            outputs: {state: $response.body#/state, sku: $response.body#/lines/0/sku, first: $response.body#/lines/sku, h: $response.header.X-Nothing}
          outputs: {state: $steps.s.outputs.stat}
        """,
        ["11:22 warning unknown-response-field", "11:86 warning unknown-response-field", "12:20 warning unknown-output"],
    ),
    Case(
        "array-as-object",
        """\
        - workflowId: w
          steps:
          - stepId: s
            operationId: listOrders
            parameters: [{name: X-Tenant, in: header, value: a}]
            successCriteria: [{condition: $response.body#/orders/0/id != null}]
            outputs: {id: $response.body#/id}
        """,
        ["11:35 warning unknown-response-field", "12:19 warning unknown-response-field"],
    ),
    Case(
        "unknown-param",
        """\
        - workflowId: w
          steps:
          - stepId: s
            operationId: listOrders
            parameters: [{name: X-Tenant, in: header, value: a}, {name: limt, in: query, value: 5}, {name: limit, in: header, value: 5}, {name: orderId, in: path, value: 1}]
        """,
        ["10:58 warning unknown-parameter", "10:93 warning unknown-parameter", "10:130 error unknown-parameter"],
    ),
    Case(
        "param-enum",
        """\
        - workflowId: w
          steps:
          - stepId: s
            operationId: listOrders
            parameters: [{name: X-Tenant, in: header, value: a}, {name: status, in: query, value: opne}, {name: limit, in: query, value: many}]
        """,
        ["10:91 warning unfitting-value", "10:130 warning unfitting-value"],
    ),
    Case(
        "missing-required",
        """\
        - workflowId: w
          steps:
          - stepId: s
            operationId: listOrders
          - stepId: t
            operationId: getOrder
        """,
        ["8:5 warning missing-parameter", "10:5 error missing-parameter"],
    ),
    Case(
        "media-type",
        """\
        - workflowId: w
          steps:
          - stepId: s
            operationId: createOrder
            requestBody: {contentType: text/xml, payload: <a/>}
          - stepId: t
            operationId: payOrder
            parameters: [{name: orderId, in: path, value: a}]
            requestBody: {contentType: application/json, payload: {amount: 5}}
        """,
        ["10:32 warning unknown-media-type", "14:32 warning unknown-media-type"],
    ),
    Case(
        "body-fields",
        """\
        - workflowId: w
          steps:
          - stepId: s
            operationId: createOrder
            requestBody: {payload: {itme: a, quantity: many, colour: red}}
        """,
        ["10:29 warning unknown-payload-field", "10:48 warning unfitting-value", "10:54 warning unknown-payload-field"],
    ),
    Case(
        "body-required-missing",
        """\
        - workflowId: w
          steps:
          - stepId: s
            operationId: createOrder
            requestBody: {payload: {item: a}}
        """,
        ["10:19 warning missing-body"],
    ),
    Case(
        "body-missing",
        """\
        - workflowId: w
          steps:
          - stepId: s
            operationId: createOrder
        """,
        ["8:5 warning missing-body"],
    ),
    Case(
        "body-on-get",
        """\
        - workflowId: w
          steps:
          - stepId: s
            operationId: getOrder
            parameters: [{name: orderId, in: path, value: a}]
            requestBody: {payload: {a: 1}}
        """,
        ["11:5 warning needless-body"],
    ),
    Case(
        "undeclared-input",
        """\
        - workflowId: w
          inputs: {type: object, properties: {orderId: {type: string}}}
          steps:
          - stepId: s
            operationId: getOrder
            parameters: [{name: orderId, in: path, value: $inputs.orderID}]
        """,
        ["7:39 note unused-input", "11:51 warning undeclared-input"],
    ),
    Case(
        "inputs-no-properties",
        """\
        - workflowId: w
          inputs: {orderId: {type: string}, note: {type: string}}
          steps:
          - stepId: s
            operationId: getOrder
            parameters: [{name: orderId, in: path, value: $inputs.orderId}]
        """,
        ["7:11 warning input-schema", "11:51 warning undeclared-input"],
        "under `properties`",
    ),
    Case(
        "inputs-required-true",
        """\
        - workflowId: w
          inputs: {type: object, properties: {orderId: {type: string, required: true}}}
          steps:
          - stepId: s
            operationId: getOrder
            parameters: [{name: orderId, in: path, value: $inputs.orderId}]
        """,
        ["7:63 warning boolean-required"],
    ),
    Case(
        "inputs-type-wrong",
        """\
        - workflowId: w
          inputs: {type: object, properties: {orderId: {type: sting}}, required: orderId}
          steps:
          - stepId: s
            operationId: getOrder
            parameters: [{name: orderId, in: path, value: $inputs.orderId}]
        """,
        ["7:49 error inputs", "11:18 warning needed-input"],
    ),
    Case(
        "inputs-required-unknown",
        """\
        - workflowId: w
          inputs: {type: object, properties: {orderId: {type: string}}, required: [orderID]}
          steps:
          - stepId: s
            operationId: getOrder
            parameters: [{name: orderId, in: path, value: $inputs.orderId}]
        """,
        ["7:76 warning input-schema", "11:18 warning needed-input"],
    ),
    Case(
        "default-wrong-type",
        """\
        - workflowId: w
          inputs: {type: object, properties: {n: {type: integer, default: five}, s: {type: string, enum: [a, b], default: c}}}
          steps:
          - stepId: s
            operationId: getOrder
            parameters: [{name: orderId, in: path, value: '{$inputs.n}{$inputs.s}'}]
        """,
        ["7:67 warning input-schema", "7:115 warning input-schema"],
    ),
    Case(
        "forward",
        """\
        - workflowId: w
          steps:
          - stepId: a
            operationId: getOrder
            parameters: [{name: orderId, in: path, value: $steps.b.outputs.id}]
          - stepId: b
            operationId: createOrder
            requestBody: {payload: {item: a, quantity: 1}}
            outputs: {id: $response.body#/id}
        """,
        ["8:5 warning forward-reference"],
    ),
    Case(
        "self-reference",
        """\
        - workflowId: w
          steps:
          - stepId: a
            operationId: getOrder
            parameters: [{name: orderId, in: path, value: $steps.a.outputs.id}]
            outputs: {id: $response.body#/id}
        """,
        ["8:5 warning forward-reference"],
    ),
    Case(
        "response-in-parameter",
        """\
        - workflowId: w
          steps:
          - stepId: a
            operationId: createOrder
            requestBody: {payload: {item: a, quantity: 1}}
          - stepId: b
            operationId: getOrder
            parameters: [{name: orderId, in: path, value: $response.body#/id}]
        """,
        ["13:51 warning no-value"],
        "before there is an answer",
    ),
    Case(
        "unknown-step-in-output",
        """\
        - workflowId: w
          steps:
          - stepId: createIt
            operationId: createOrder
            requestBody: {payload: {item: a, quantity: 1}}
            outputs: {id: $response.body#/id}
          outputs: {id: $steps.createit.outputs.id, id2: $steps.nothing.outputs.id}
        """,
        ["12:17 error unknown-step", "12:50 error unknown-step"],
    ),
    Case(
        "goto-nowhere",
        """\
        - workflowId: w
          steps:
          - stepId: a
            operationId: createOrder
            requestBody: {payload: {item: a, quantity: 1}}
            onSuccess: [{name: x, type: goto, stepId: bb}, {name: y, type: goto}, {name: z, type: goto, stepId: b, workflowId: w}]
            onFailure: [{name: x, type: goto, workflowId: other}, {name: y, type: retyr}, {name: z, type: retry, retryAfter: 5s, retryLimit: -1}]
          - stepId: b
            operationId: deleteOrder
            parameters: [{name: orderId, in: path, value: a}]
        """,
        ["11:47 error unknown-step", "11:52 error unknown-step", "11:52 warning unreachable-action", "11:75 error unknown-step", "12:51 error unknown-workflow", "12:59 warning unreachable-action", "12:75 error wrong-value", "12:118 error wrong-type", "12:134 error number-range", "13:13 warning unreachable-step"],
    ),
    Case(
        "unreachable",
        """\
        - workflowId: w
          steps:
          - stepId: a
            operationId: createOrder
            requestBody: {payload: {item: a, quantity: 1}}
            onSuccess: [{name: x, type: end}]
          - stepId: b
            operationId: deleteOrder
            parameters: [{name: orderId, in: path, value: a}]
        """,
        ["12:13 warning unreachable-step"],
    ),
    Case(
        "loop-of-two",
        """\
        - workflowId: w
          steps:
          - stepId: a
            operationId: getOrder
            parameters: [{name: orderId, in: path, value: a}]
          - stepId: b
            operationId: getOrder
            parameters: [{name: orderId, in: path, value: a}]
            onSuccess: [{name: x, type: goto, stepId: a}]
        """,
        ["14:17 error endless-loop"],
    ),
    Case(
        "duplicate-ids",
        """\
        - workflowId: w
          steps:
          - {stepId: a, operationId: deleteOrder, parameters: [{name: orderId, in: path, value: a}, {name: orderId, in: path, value: b}]}
          - {stepId: a, operationId: deleteOrder, parameters: [{name: orderId, in: path, value: a}]}
        - workflowId: w
          steps:
          - {stepId: a, operationId: deleteOrder, parameters: [{name: orderId, in: path, value: a}]}
        """,
        ["8:93 error duplicate-parameter", "9:14 error duplicate-id", "10:15 error duplicate-id"],
    ),
    Case(
        "two-targets",
        """\
        - workflowId: w
          steps:
          - {stepId: a, operationId: deleteOrder, workflowId: w, parameters: [{name: orderId, in: path, value: a}]}
        """,
        ["6:15 error endless-recursion", "8:43 error step-target", "8:71 warning unknown-parameter"],
    ),
    Case(
        "op-typos",
        """\
        - workflowId: w
          steps:
          - {stepId: a, operationId: getorder, parameters: [{name: orderId, in: path, value: a}]}
          - {stepId: b, operationId: shop.deleteOrdr, parameters: [{name: orderId, in: path, value: a}]}
          - {stepId: c, operationId: $sourceDescriptions.shp.deleteOrder, parameters: [{name: orderId, in: path, value: a}]}
          - {stepId: d, operationPath: '{$sourceDescriptions.shop.url}#/paths/~1orders/put'}
          - {stepId: e, operationPath: 'GET /orders'}
          - {stepId: f, operationPath: '{$sourceDescriptions.shop.url}#/paths/orders/get'}
          - {stepId: g, operationPath: '/orders'}
        """,
        ["8:30 warning operation-id-case", "9:30 error unknown-operation", "10:30 error unknown-source", "11:32 error unknown-operation", "12:5 warning missing-parameter", "12:32 warning loose-operation-path", "12:32 note prefer-operation-id", "13:5 warning missing-parameter", "13:32 warning loose-operation-path", "13:32 note prefer-operation-id", "14:32 error operation-path"],
        "write one of {$sourceDescriptions.shop.url}#/paths/~1orders/get, {$sourceDescriptions.shop.url}#/paths/~1orders/post",
    ),
    Case(
        "conditions",
        """\
        - workflowId: w
          steps:
          - stepId: s
            operationId: getOrder
            parameters: [{name: orderId, in: path, value: a}]
            successCriteria:
            - condition: $statusCode = 200
            - condition: $statusCode == 200 and $response.body#/id != null
            - condition: $statusCode in [200, 201]
            - condition: $statusCode == 200,201
            - condition: $response.body.id
            - condition: response.status == 200
            - condition: status == 200
            - condition: $response.body#/id is not null
            - condition: ($statusCode == 200
            - condition: $response.body#/id == 'a
            - condition: $statusCode >= 200 < 300
            - condition: $statusCode ~= 2..
            - condition: 200
            - condition: "true"
            - condition: $response.body contains 'x'
            - condition: $.status == 'open'
            - {context: $response.body, condition: '$.lines[', type: jsonpath}
            - {context: $response.body, condition: 'status', type: jsonpath}
            - {context: $response.body, condition: '(?<=a)b', type: regex}
            - {context: $response.body, condition: '//a[', type: xpath}
            - {context: $response.body, condition: '$.a', type: jsonPath}
            - {context: $response.body, condition: '$.a', type: JSONPATH}
            - {context: $response.body, condition: '^a', type: {type: regex, version: '1'}}
        """,
        ["12:18 error bad-condition", "13:18 error bad-condition", "14:18 error bad-condition", "15:18 error bad-condition", "16:18 note dotted-navigation", "17:18 error bad-condition", "18:18 error bad-condition", "19:18 error bad-condition", "20:18 error bad-condition", "21:18 error bad-condition", "22:18 error bad-condition", "23:18 error bad-condition", "24:18 error wrong-type", "25:18 note criterion-always-true", "26:18 error bad-condition", "27:18 warning forgotten-type", "27:18 warning implied-context", "27:18 warning jsonpath-comparison", "28:44 error bad-condition", "29:44 error bad-condition", "30:44 error bad-condition", "31:44 error bad-condition", "32:44 note unknown-response-field", "32:57 error wrong-value", "33:44 note unknown-response-field", "33:57 error wrong-value", "34:44 warning forgotten-type", "34:63 error wrong-value"],
        "compare with each",
    ),
    Case(
        "components",
        """\
        - workflowId: w
          parameters: [{reference: $components.parameters.tenat}, {reference: '#/components/parameters/tenant'}, {$ref: '#/components/parameters/tenant'}]
          steps:
          - stepId: s
            operationId: getOrder
            parameters: [{reference: $components.failureActions.x}]
            onFailure: [{reference: $components.successActions.x}]
        """,
        ["7:28 error unknown-component", "7:71 error unknown-component", "7:106 error unknown-component", "7:107 error unknown-field", "9:5 error missing-parameter", "11:30 error unknown-component", "12:29 error unknown-component"],
        "write `reference: $components.parameters.tenant`",
    ),
    Case(
        "outputs-name",
        """\
        - workflowId: w
          steps:
          - stepId: s
            operationId: getOrder
            parameters: [{name: orderId, in: path, value: a}]
            outputs: {"the id": $response.body#/id, lit: hello, num: 5, bad: '$response.body.', ok: '{$response.body#/id}', pointer: $response.body/id, dollar: $.id, jp: $response.body.$.id}
        """,
        ["11:15 warning free-output-name", "11:50 warning bad-expression", "11:62 warning output-value", "11:70 error bad-expression", "11:126 error bad-expression", "11:153 error bad-expression", "11:163 error bad-expression"],
    ),
    Case(
        "retry-without",
        """\
        - workflowId: w
          steps:
          - stepId: s
            operationId: createOrder
            requestBody: {payload: {item: a, quantity: 1}}
            onFailure: [{name: again, type: retry, retryAfter: 1000, retryLimit: 3}]
            onSuccess: [{name: again, type: retry}]
        """,
        ["11:56 note number-range", "12:37 error wrong-value"],
    ),
    Case(
        "version-features",
        """\
        - workflowId: w
          steps:
          - stepId: s
            operationId: createOrder
            timeout: 30s
            requestBody: {payload: {item: a, quantity: 1}}
            dependsOn: t
        """,
        ["10:5 warning newer-feature", "10:14 error wrong-type", "12:5 warning newer-feature", "12:16 error wrong-type", "12:16 error depends-on"],
    ),
    Case(
        "secret",
        """\
        - workflowId: w
          steps:
          - stepId: s
            operationId: getOrder
            parameters: [{name: orderId, in: path, value: a}, {name: Authorization, in: header, value: Bearer ghp_aZ3kQ9aZ3kQ9aZ3kQ9aZ3kQ9aZ3kQ9aZ3kQ9}]
        """,
        ["10:96 warning plain-secret"],
    ),
    Case(
        "workflow-call",
        """\
        - workflowId: w
          steps:
          - stepId: s
            workflowId: sub
            parameters: [{name: a, value: 1}, {name: nme, value: x, in: query}]
            inputs: {name: y}
            outputs: {x: $response.body#/id, y: $outputs.nothing}
        - workflowId: sub
          inputs: {type: object, required: [name], properties: {name: {type: string}}}
          steps: [{stepId: t, operationId: getOrder, parameters: [{name: orderId, in: path, value: $inputs.name}]}]
        """,
        ["8:5 error missing-parameter", "10:18 warning unknown-parameter", "10:39 warning unknown-parameter", "11:5 warning unknown-field", "12:18 warning no-value", "12:41 warning unknown-output"],
        "needs the input 'name'",
    ),
    Case(
        "depends",
        """\
        - workflowId: w
          dependsOn: [v, nothing, w]
          steps: [{stepId: t, operationId: deleteOrder, parameters: [{name: orderId, in: path, value: a}]}]
        - workflowId: v
          dependsOn: [w]
          steps: [{stepId: t, operationId: deleteOrder, parameters: [{name: orderId, in: path, value: a}]}]
        """,
        ["7:3 error depends-on", "7:18 error unknown-workflow", "10:3 error depends-on"],
    ),
    Case(
        "param-in",
        """\
        - workflowId: w
          steps:
          - stepId: t
            operationId: getOrder
            parameters: [{name: orderId, in: Path, value: a}, {name: x, in: body, value: 1}, {name: y, value: 2}, {in: query, value: 1}, {name: z, in: query}]
        """,
        ["10:38 error wrong-value", "10:55 warning body-parameter", "10:86 error parameter-place", "10:107 error missing-field", "10:130 error missing-field", "10:130 warning unknown-parameter"],
    ),
    Case(
        "payload-template",
        """\
        - workflowId: w
          inputs: {type: object, properties: {item: {type: string}}}
          steps:
          - stepId: s
            operationId: createOrder
            requestBody:
              contentType: application/json
              payload: |
                {"item": "{$inputs.item}", "quantity": 1,}
          - stepId: t
            operationId: createOrder
            requestBody:
              payload: {item: $inputs.item, quantity: 1}
              replacements: [{target: item, value: x}, {target: /itm, value: $input.item}, {target: $.item, value: y}]
        """,
        ["13:16 error bad-payload", "19:31 error replacement-target", "19:70 error bad-expression", "19:93 warning untyped-target"],
    ),
    Case(
        "yaml-norway",
        """\
        - workflowId: 12
          steps:
          - stepId: on
            operationId: getOrder
            parameters: [{name: orderId, in: path, value: 012}]
            timeout: "30"
            successCriteria: [{condition: true}, {condition: 200}]
        """,
        ["6:15 error wrong-type", "11:5 warning newer-feature", "11:14 error wrong-type", "12:35 error wrong-type", "12:54 error wrong-type"],
    ),
]  # fmt: skip


@pytest.mark.parametrize("case", FAULTY, ids=[case.id for case in FAULTY])
def test_mistakes_are_found_where_they_are(case: Case, tmp_path: Path) -> None:
    """Each once, with its place; the most telling words are there."""
    every = [each for each in found(tmp_path, case) if each.rule != "blind-retry"]
    told = [f"{each.place.line}:{each.place.column} {each.severity} {each.rule}" for each in every if each.place]
    assert told == case.want
    assert case.words in "\n".join(each.render() for each in every)


UNUSUAL = [
    Case(
        "minimal",
        """\
        - workflowId: w
          steps: [{stepId: s, operationId: listOrders, parameters: [{name: X-Tenant, in: header, value: a}]}]
        """,
    ),
    Case(
        "poll-one-guard",
        """\
        - workflowId: w
          steps:
          - stepId: s
            operationId: getOrder
            parameters: [{name: orderId, in: path, value: a}]
            onSuccess: [{name: again, type: goto, stepId: s, criteria: [{condition: $response.body#/status == 'open' || $response.body#/status == 'paid'}]}]
          outputs: {s: $steps.s.outputs}
        """,
        ["12:16 note whole-object"],
    ),
    Case(
        "pagination",
        """\
        - workflowId: w
          inputs: {type: object, properties: {cursor: {type: integer, default: 0}}}
          steps:
          - stepId: list
            operationId: listOrders
            parameters: [{name: X-Tenant, in: header, value: a}, {name: limit, in: query, value: $steps.list.outputs.next}]
            outputs: {next: $response.header.X-Next}
            onSuccess: [{name: more, type: goto, stepId: list, criteria: [{condition: $response.header.X-Next != null}]}]
          outputs: {start: $inputs.cursor}
        """,
    ),
    Case(
        "loop-back-forward-use",
        """\
        - workflowId: w
          steps:
          - stepId: check
            operationId: getOrder
            parameters: [{name: orderId, in: path, value: a}, {name: X-Trace, in: header, value: $steps.make.outputs.id}]
            onSuccess: [{name: done, type: end, criteria: [{condition: $response.body#/status == 'paid'}]}]
          - stepId: make
            operationId: createOrder
            requestBody: {payload: {item: a, quantity: 1}}
            outputs: {id: $response.body#/id}
            onSuccess: [{name: back, type: goto, stepId: check}]
        """,
    ),
    Case(
        "on-failure-goto-forward",
        """\
        - workflowId: w
          steps:
          - stepId: s
            operationId: getOrder
            parameters: [{name: orderId, in: path, value: a}]
            onSuccess: [{name: found, type: end}]
            onFailure: [{name: missing, type: goto, stepId: make, criteria: [{condition: $statusCode == 404}]}]
          - stepId: make
            operationId: createOrder
            requestBody: {payload: {item: a, quantity: 1}}
        """,
    ),
    Case(
        "retry-helper-step",
        """\
        - workflowId: w
          steps:
          - stepId: s
            operationId: getOrder
            parameters: [{name: orderId, in: path, value: a}]
            onFailure: [{name: again, type: retry, stepId: help, retryLimit: 2, retryAfter: 0.5, criteria: [{condition: $statusCode == 404}]}]
            onSuccess: [{name: done, type: end}]
          - stepId: help
            operationId: createOrder
            requestBody: {payload: {item: a, quantity: 1}}
        """,
    ),
    Case(
        "regex-status",
        """\
        - workflowId: w
          steps:
          - stepId: s
            operationId: getOrder
            parameters: [{name: orderId, in: path, value: a}]
            successCriteria:
            - {context: $statusCode, condition: '^2\\d\\d$', type: regex}
            - {context: $response.body#/status, condition: 'open|paid', type: regex}
        """,
    ),
    Case(
        "jsonpath-filter",
        """\
        - workflowId: w
          steps:
          - stepId: s
            operationId: listOrders
            parameters: [{name: X-Tenant, in: header, value: a}]
            successCriteria:
            - {context: $response.body, condition: "$[?@.status == 'open']", type: jsonpath}
            - {context: $response.body, condition: '$[0].id', type: {type: jsonpath, version: draft-goessner-dispatch-jsonpath-00}}
        """,
    ),
    Case(
        "xpath-types",
        """\
        - workflowId: w
          steps:
          - stepId: s
            operationId: getOrder
            parameters: [{name: orderId, in: path, value: a}]
            successCriteria:
            - {context: $response.body, condition: 'count(//order) > 0', type: xpath}
            - {context: $response.body, condition: '//order', type: {type: xpath, version: xpath-10}}
        """,
    ),
    Case(
        "conditions",
        """\
        - workflowId: w
          inputs: {type: object, properties: {want: {type: string}, max: {type: integer}, "x-api-key": {type: string}, "a.b": {type: string}}}
          steps:
          - stepId: s
            operationId: getOrder
            parameters: [{name: orderId, in: path, value: a}]
            successCriteria:
            - condition: $statusCode==200
            - condition: $statusCode >= 200 && $statusCode < 300
            - condition: ($statusCode == 200 || $statusCode == 201) && !($response.body#/status == 'cancelled')
            - condition: $response.body#/status == $inputs.want
            - condition: $response.body#/total <= $inputs.max
            - condition: $response.header.content-type != null
            - condition: $response.body#/id != null
            - condition: "$response.body#/id != 'it''s'"
            - condition: $response.body#/lines/0/sku
            - condition: $inputs.x-api-key != null
            - condition: $inputs.a.b == null || $inputs.a.b == 'x'
            - condition: $method == 'GET'
            - condition: $response.body#/total > -1.5e3
            - condition: $url != ''
        """,
    ),
    Case(
        "components",
        """\
        - workflowId: w
          inputs: {$ref: '#/components/inputs/common'}
          parameters: [{reference: $components.parameters.tenant}, {reference: $components.parameters.id, value: $inputs.id}]
          successActions: [{reference: $components.successActions.stop}]
          failureActions: [{reference: $components.failureActions.again}]
          steps:
          - stepId: s
            operationId: getOrder
        components:
          inputs: {common: {type: object, properties: {id: {type: string, default: a}, unused: {type: string}}}}
          parameters:
            tenant: {name: X-Tenant, in: header, value: a}
            id: {name: orderId, in: path, value: x}
          successActions: {stop: {name: stop, type: end, criteria: [{condition: $statusCode == 200}]}}
          failureActions: {again: {name: again, type: retry, retryAfter: 1, retryLimit: 3, criteria: [{condition: $statusCode == 503}]}}
        """,
    ),
    Case(
        "called-workflow",
        """\
        - workflowId: main
          steps:
          - stepId: call
            workflowId: sub
            parameters: [{name: item, value: a}]
            outputs: {id: $outputs.id}
          - stepId: get
            operationId: getOrder
            parameters: [{name: orderId, in: path, value: $steps.call.outputs.id}]
          outputs: {id: $steps.call.outputs.id, status: $workflows.sub.outputs.id}
        - workflowId: sub
          inputs: {type: object, required: [item], properties: {item: {type: string}, n: {type: integer, default: 1}}}
          steps:
          - stepId: make
            operationId: createOrder
            requestBody: {payload: {item: $inputs.item, quantity: $inputs.n}}
            outputs: {id: $response.body#/id}
          outputs: {id: $steps.make.outputs.id}
        """,
    ),
    Case(
        "depends-on",
        """\
        - workflowId: a
          dependsOn: [b]
          steps: [{stepId: s, operationId: getOrder, parameters: [{name: orderId, in: path, value: $workflows.b.outputs.id}]}]
        - workflowId: b
          steps: [{stepId: s, operationId: createOrder, requestBody: {payload: {item: a, quantity: 1}}, outputs: {id: $response.body#/id}}]
          outputs: {id: $steps.s.outputs.id}
        """,
    ),
    Case(
        "payload-template",
        """\
        - workflowId: w
          inputs: {type: object, required: [item, n], properties: {item: {type: string}, n: {type: integer}}}
          steps:
          - stepId: s
            operationId: createOrder
            requestBody:
              contentType: application/json
              payload: |
                {"item": "{$inputs.item}", "quantity": {$inputs.n}}
          - stepId: t
            operationId: createOrder
            requestBody: {contentType: application/json; charset=utf-8, payload: {item: 'x-{$inputs.item}', quantity: $inputs.n}}
        """,
        ["13:16 note lone-braced-expression"],
    ),
    Case(
        "replacements",
        """\
        - workflowId: w
          inputs: {type: object, required: [item], properties: {item: {type: string}}}
          steps:
          - stepId: s
            operationId: createOrder
            requestBody:
              payload: {item: x, quantity: 1}
              replacements: [{target: /item, value: $inputs.item}, {target: /quantity, value: 5}]
        """,
    ),
    Case(
        "form",
        """\
        - workflowId: w
          steps:
          - stepId: s
            operationId: payOrder
            parameters: [{name: orderId, in: path, value: a}]
            requestBody: {contentType: application/x-www-form-urlencoded, payload: {amount: "12.50"}}
            successCriteria: [{condition: $statusCode == 202}]
        """,
    ),
    Case(
        "operation-path",
        """\
        - workflowId: w
          steps:
          - {stepId: s, operationPath: '{$sourceDescriptions.shop.url}#/paths/~1orders~1{orderId}~1pay/post', parameters: [{name: orderId, in: path, value: a}]}
        """,
        ["8:32 note prefer-operation-id"],
    ),
    Case(
        "qualified",
        """\
        - workflowId: w
          steps:
          - {stepId: s, operationId: $sourceDescriptions.shop.getOrder, parameters: [{name: orderId, in: path, value: a}]}
        """,
    ),
    Case(
        "request-reads",
        """\
        - workflowId: w
          steps:
          - stepId: s
            operationId: getOrder
            parameters: [{name: orderId, in: path, value: a}, {name: X-Trace, in: header, value: t}]
            outputs: {asked: $request.path.orderId, trace: $request.header.x-trace, m: $method, u: $url, all: $response.body, status: $statusCode}
        """,
    ),
    Case(
        "literals",
        """\
        - workflowId: w
          steps:
          - stepId: s
            operationId: createOrder
            requestBody: {payload: {item: 'cost $5 {b} ${x} $.a $1', quantity: 1, note: '{"query": "mutation($input: X!) { a(input: $input) { id } }"}'}}
        """,
    ),
    Case(
        "extensions",
        """\
        - workflowId: w
          x-owner: me
          steps:
          - {stepId: s, operationId: getOrder, parameters: [{name: orderId, in: path, value: a}], x-note: {deep: [1]}, onSuccess: [{name: a, type: end, x-a: 1}]}
        x-root: true
        """,
    ),
    Case(
        "unicode",
        """\
        - workflowId: w
          summary: Größe ✓
          steps:
          - stepId: s
            description: "日本語 🚂"
            operationId: createOrder
            requestBody: {payload: {item: "naïve – ✓", quantity: 1}}
        """,
    ),
    Case(
        "json-flow",
        """\
        {"arazzo": "1.0.1", "info": {"title": "T", "version": "1"}, "sourceDescriptions": [{"name": "shop", "url": "shop.yaml", "type": "openapi"}], "workflows": [{"workflowId": "w", "steps": [{"stepId": "s", "operationId": "deleteOrder", "parameters": [{"name": "orderId", "in": "path", "value": 7}], "successCriteria": [{"condition": "$statusCode == 204"}]}]}]}
        """,
    ),
    Case(
        "anchors",
        """\
        - workflowId: w
          steps:
          - stepId: a
            operationId: getOrder
            parameters: &p [{name: orderId, in: path, value: a}]
            successCriteria: &ok [{condition: $statusCode == 200}]
          - {stepId: b, operationId: getOrder, parameters: *p, successCriteria: *ok}
        """,
    ),
    Case(
        "yaml-folded",
        """\
        - workflowId: w
          description: >-
            folded
            text: with colon
          steps:
          - stepId: s
            operationId: getOrder
            parameters: [{name: orderId, in: path, value: a}]
            successCriteria:
            - condition: >-
                $statusCode == 200 &&
                $response.body#/id != null
        """,
    ),
    Case(
        "type-omitted-source",
        """\
        arazzo: 1.0.0
        info: {title: T, version: 1.0.0, summary: s, description: d}
        sourceDescriptions:
        - name: shop
          url: shop.yaml
        workflows:
        - workflowId: w
          steps: [{stepId: s, operationId: deleteOrder, parameters: [{name: orderId, in: path, value: x}]}]
        """,
    ),
    Case(
        "two-sources-qualified",
        """\
        arazzo: 1.0.1
        info: {title: T, version: 1.0.0}
        sourceDescriptions:
        - {name: a, url: shop.yaml, type: openapi}
        - {name: b, url: shop.yaml, type: openapi}
        workflows:
        - workflowId: w
          steps:
          - {stepId: s, operationId: $sourceDescriptions.a.deleteOrder, parameters: [{name: orderId, in: path, value: x}]}
          - {stepId: t, operationId: $sourceDescriptions.b.deleteOrder, parameters: [{name: orderId, in: path, value: x}]}
        """,
    ),
    Case(
        "unneeded-source-missing",
        """\
        arazzo: 1.0.1
        info: {title: T, version: 1.0.0}
        sourceDescriptions:
        - {name: a, url: shop.yaml, type: openapi}
        - {name: b, url: ../nowhere.yaml, type: openapi}
        workflows:
        - workflowId: w
          steps:
          - {stepId: s, operationId: $sourceDescriptions.a.deleteOrder, parameters: [{name: orderId, in: path, value: x}]}
        """,
    ),
    Case(
        "source-field",
        """\
        - workflowId: w
          steps: [{stepId: s, operationId: getOrder, parameters: [{name: orderId, in: path, value: a}]}]
          outputs: {url: $sourceDescriptions.shop.url}
        """,
    ),
    Case(
        "schema-rich-inputs",
        """\
        - workflowId: w
          inputs:
            type: object
            required: [id]
            additionalProperties: false
            properties:
              id: {type: string, pattern: '^[a-z0-9-]{1,20}$', minLength: 1}
              tags: {type: array, items: {type: string}, default: []}
              when: {type: [string, "null"], format: date-time, default: null}
              kind: {enum: [a, b], default: a}
              deep: {type: object, properties: {n: {type: number, minimum: 0, default: 1.5}}}
              token: {type: string, format: password}
              either: {oneOf: [{type: string}, {type: integer}]}
          steps:
          - stepId: s
            operationId: createOrder
            requestBody: {payload: {item: $inputs.id, quantity: 1, note: '{$inputs.kind}'}}
          outputs: {t: $inputs.tags, w: $inputs.when, d: $inputs.deep, e: $inputs.either, k: $inputs.token}
        """,
        ["22:66 note lone-braced-expression"],
    ),
    Case(
        "boolean-schema",
        """\
        - workflowId: w
          inputs: true
          steps: [{stepId: s, operationId: getOrder, parameters: [{name: orderId, in: path, value: a}]}]
        """,
    ),
    Case(
        "11-selector",
        """\
        - workflowId: w
          steps:
          - stepId: s
            operationId: listOrders
            parameters: [{name: X-Tenant, in: header, value: a}]
            outputs:
              first: {context: $response.body, selector: '$[0].id', type: jsonpath}
              p: {context: $response.body, selector: /0/id, type: jsonpointer}
        """,
        version="1.1.0",
    ),
    Case(
        "11-depends",
        """\
        - workflowId: w
          steps:
          - {stepId: b, dependsOn: [a], operationId: getOrder, parameters: [{name: orderId, in: path, value: $steps.a.outputs.id}], timeout: 5000}
          - {stepId: a, operationId: createOrder, requestBody: {payload: {item: a, quantity: 1}}, outputs: {id: $response.body#/id}}
        """,
        version="1.1.0",
    ),
    Case(
        "11-querystring",
        """\
        - workflowId: w
          steps:
          - {stepId: s, operationId: listOrders, parameters: [{name: X-Tenant, in: header, value: a}, {name: q, in: querystring, value: 'status=open&limit=5'}]}
        """,
        version="1.1.0",
    ),
    Case(
        "11-action-parameters",
        """\
        - workflowId: w
          steps:
          - stepId: s
            operationId: getOrder
            parameters: [{name: orderId, in: path, value: a}]
            onSuccess: [{name: go, type: goto, workflowId: v, parameters: [{name: id, value: $response.body#/id}]}]
        - workflowId: v
          inputs: {type: object, required: [id], properties: {id: {type: string}}}
          steps: [{stepId: s, operationId: getOrder, parameters: [{name: orderId, in: path, value: $inputs.id}]}]
        """,
        version="1.1.0",
    ),
    Case(
        "11-pointer-on-inputs",
        """\
        - workflowId: w
          inputs: {type: object, required: [order], properties: {order: {type: object, properties: {id: {type: string}}}}}
          steps: [{stepId: s, operationId: getOrder, parameters: [{name: orderId, in: path, value: $inputs.order#/id}]}]
        """,
        version="1.1.0",
    ),
    Case(
        "end-only-on-failure",
        """\
        - workflowId: w
          steps:
          - stepId: s
            operationId: getOrder
            parameters: [{name: orderId, in: path, value: a}]
            onFailure:
            - {name: gone, type: end, criteria: [{condition: $statusCode == 404}]}
            - {name: slow, type: retry, retryAfter: 2, retryLimit: 5, criteria: [{condition: $statusCode == 429}]}
            - {name: otherwise, type: end}
        """,
    ),
    Case(
        "override-by-name",
        """\
        - workflowId: w
          failureActions: [{name: again, type: retry, criteria: [{condition: $statusCode == 503}]}]
          steps:
          - {stepId: s, operationId: getOrder, parameters: [{name: orderId, in: path, value: a}], onFailure: [{name: again, type: end}]}
          - {stepId: t, operationId: getOrder, parameters: [{name: orderId, in: path, value: a}]}
        """,
    ),
    Case(
        "status-undocumented",
        """\
        - workflowId: w
          steps:
          - {stepId: s, operationId: getOrder, parameters: [{name: orderId, in: path, value: a}], successCriteria: [{condition: $statusCode == 206}]}
        """,
    ),
    Case(
        "404-is-success",
        """\
        - workflowId: w
          steps:
          - {stepId: s, operationId: getOrder, parameters: [{name: orderId, in: path, value: a}], successCriteria: [{condition: $statusCode == 404}]}
        """,
    ),
    Case(
        "odd-names",
        """\
        - workflowId: Step_1-a
          steps:
          - {stepId: "1", operationId: getOrder, parameters: [{name: orderId, in: path, value: a}], outputs: {a.b-c_d: $response.body#/id}}
          - {stepId: next, operationId: getOrder, parameters: [{name: orderId, in: path, value: $steps.1.outputs.a.b-c_d}]}
        """,
    ),
    Case(
        "nested-goto-chain",
        """\
        - workflowId: w
          steps:
          - {stepId: a, operationId: getOrder, parameters: [{name: orderId, in: path, value: a}], onSuccess: [{name: c, type: goto, stepId: c, criteria: [{condition: $response.body#/status == 'open'}]}]}
          - {stepId: b, operationId: getOrder, parameters: [{name: orderId, in: path, value: a}], onSuccess: [{name: stop, type: end}]}
          - {stepId: c, operationId: getOrder, parameters: [{name: orderId, in: path, value: a}], onSuccess: [{name: b, type: goto, stepId: b}]}
        """,
    ),
    Case(
        "escaped-pointer",
        """\
        - workflowId: w
          steps:
          - {stepId: s, operationId: getOrder, parameters: [{name: orderId, in: path, value: a}], outputs: {x: '$response.body#/lines/0/sku', y: '$response.body#/total'}}
        """,
    ),
    Case(
        "cookie-param",
        """\
        - workflowId: w
          steps:
          - {stepId: s, operationId: getOrder, parameters: [{name: orderId, in: path, value: 'a/b?c'}, {name: session, in: cookie, value: x}]}
        """,
        ["8:96 warning unknown-parameter"],
    ),
    Case(
        "bearer",
        """\
        - workflowId: w
          inputs: {type: object, required: [token], properties: {token: {type: string, format: password}}}
          steps:
          - {stepId: s, operationId: getOrder, parameters: [{name: orderId, in: path, value: a}, {name: Authorization, in: header, value: 'Bearer {$inputs.token}'}]}
        """,
    ),
]  # fmt: skip


@pytest.mark.parametrize("case", UNUSUAL, ids=[case.id for case in UNUSUAL])
def test_there_is_no_false_alarm(case: Case, tmp_path: Path) -> None:
    """Nothing but what stands in the table; and every workflow of the document can be planned."""
    every = found(tmp_path, case)
    told = [f"{each.place.line}:{each.place.column} {each.severity} {each.rule}" for each in every if each.place]
    assert told == case.want
    assert not [each for each in every if each.severity == "error"]


@pytest.mark.parametrize("case", UNUSUAL, ids=[case.id for case in UNUSUAL])
def test_what_is_right_is_right_by_the_letter(case: Case, tmp_path: Path) -> None:
    """`--strict` refuses only what the dialect is for."""
    errors = {each.rule for each in found(tmp_path, case, strict=True) if each.severity == "error"}
    assert errors == {
        line.split()[-1]
        for line in case.want
        if line.split()[-1] in dialect.RULES and line.split()[-1] != "lone-braced-expression"
    }


@pytest.mark.parametrize("case", FAULTY, ids=[case.id for case in FAULTY])
def test_what_is_put_right_is_right(case: Case, tmp_path: Path) -> None:
    """`check --fix` of any of them: fewer errors or the same ones, and what it has put right stays as it is."""
    before = sum(each.severity == "error" for each in found(tmp_path, case))
    setup = Setup(document=str(tmp_path / "main.yaml"), label="main.yaml")
    fixed = fixed_text(setup)
    if fixed is None:
        return
    (tmp_path / "main.yaml").write_text(fixed[1])
    assert fixed_text(setup) is None
    assert sum(each.severity == "error" for each in check_document(setup).diagnostics) <= before
