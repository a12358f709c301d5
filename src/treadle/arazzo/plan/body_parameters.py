"""Parameters that are `in: body`: Arazzo 1.0.0 had that place without a word on what it means, 1.0.1 took it out again.

Authors give the fields of the body with them, one by one. A single one that is none of the fields that the operation
describes is the body itself, as in Swagger 2.0.
"""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from treadle.arazzo import model
from treadle.arazzo.plan.documents import Part, as_written
from treadle.errors import Repair
from treadle.seams import MISSING

__all__ = ["with_body_parameters"]


def with_body_parameters(
    part: Part,
    step: model.Step,
    parameters: tuple[model.Parameter, ...],
    fields: Collection[str],
) -> tuple[model.RequestBody | None, tuple[model.Parameter, ...]]:
    """Give the request body of a step with its body parameters in it, and the parameters that are left.

    `fields` are the names of those that the operation describes, none where it says nothing.
    """
    inside = [each for each in parameters if each.in_ == "body"]
    body = step.request_body or model.RequestBody(pointer=step.pointer)
    written = {} if body.payload is MISSING else body.payload
    if not inside or not isinstance(written, dict):
        return step.request_body, parameters
    values = {each.name: as_written(each.value) for each in inside}
    whole = len(values) == 1 and not written and values.keys().isdisjoint(fields or values.keys() - {"body"})
    taken = "the request body" if whole else "a field of the request body"
    hint = f"write requestBody: {{payload: {'…' if whole else '{' + ', '.join(f'{name}: …' for name in values) + '}'}}}"
    repair = Repair("moved", "payload" if whole else "fields")
    for each in inside:
        message = f"the parameter {each.name!r} is taken as {taken}"
        part.lenient("body-parameter", message, each.pointer, hint=hint, repair=repair)
    payload = values[inside[0].name] if whole else {**values, **written}
    return msgspec.structs.replace(body, payload=payload), tuple(each for each in parameters if each.in_ != "body")
