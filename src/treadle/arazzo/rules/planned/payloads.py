"""The payloads of steps as far as they are written out: every object in them, with what the operation wants there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from treadle.arazzo.location import join
from treadle.arazzo.rules.planned.context import CheckedPlans, CheckedStep
from treadle.seams import MISSING, Json, Schema

__all__ = ["PayloadObject", "payload_objects"]

_DEEPEST: Final = 8


class PayloadObject(NamedTuple):
    """An object in the payload of a step."""

    step: CheckedStep
    schema: Schema
    members: Mapping[str, Json]
    pointer: str


def payload_objects(checked: CheckedPlans) -> Iterator[PayloadObject]:
    """Give every object that has a schema, what holds others before what is in it."""
    for step in checked.steps:
        operation, body = step.planned.operation, step.written.request_body
        if operation is not None and body is not None and body.payload is not MISSING:
            schema = operation.request_schema(body.content_type or "")
            yield from _objects(step, schema, body.payload, f"{body.pointer}/payload", 0)


def _objects(
    step: CheckedStep, schema: Schema | None, value: Json, pointer: str, depth: int
) -> Iterator[PayloadObject]:
    if schema is None or not isinstance(value, dict) or depth > _DEEPEST:
        return
    yield PayloadObject(step, schema, value, pointer)
    for name, member in value.items():
        yield from _objects(step, schema.below("properties", name), member, join(pointer, name), depth + 1)
