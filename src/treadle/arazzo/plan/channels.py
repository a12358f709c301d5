"""Steps that use a channel of an AsyncAPI description: which one, and what they send or wait for (1.1, §1.5).

`action` says what the workflow does, send or receive; what the description says an application does is the other side
of it, or the same, depending on whose description it is, and decides nothing here.
"""

from __future__ import annotations

from dataclasses import replace

from treadle.arazzo import model
from treadle.arazzo.expressions import Scope, compile_value
from treadle.arazzo.plan.documents import Part
from treadle.arazzo.plan.messages import PlannedChannel
from treadle.arazzo.plan.operations import path_source, source_name
from treadle.arazzo.slips import did_you_mean
from treadle.seams import ChannelOperation

__all__ = ["plan_channel", "uses_channel"]


def uses_channel(part: Part, step: model.Step) -> bool:
    """Tell whether a step uses a channel, and not an operation over HTTP."""
    if step.channel_path is not None:
        return True
    written = step.operation_id or ""
    name = source_name((step.operation_path or "").partition("#")[0]) or part.qualified(written)[0]
    described = part.description.source(name)
    if described is not None:
        opened = part.source(name)
        return bool((opened and opened.channels) or described.type == "asyncapi")
    asynchronous = [each.name for each in part.description.source_descriptions if each.type == "asyncapi"]
    if step.action is not None:
        return bool(asynchronous)
    return bool(written) and any(
        opened.channels.find(written) for each in asynchronous if (opened := part.source(each)) and opened.channels
    )


def _find_channel(part: Part, step: model.Step) -> ChannelOperation | None:
    """Find the channel of a step; what stands in the way is reported."""
    if step.channel_path is not None:
        return _by_path(part, step.channel_path, f"{step.pointer}/channelPath")
    if step.operation_path is not None:
        return _by_path(part, step.operation_path, f"{step.pointer}/operationPath")
    return _by_id(part, step, step.operation_id or "", f"{step.pointer}/operationId")


def _by_path(part: Part, written: str, pointer: str) -> ChannelOperation | None:
    named = path_source(part, written, pointer, "'{$sourceDescriptions.<name>.url}#/channels/orders'")
    if named is None:
        return None
    name, fragment = named
    opened = part.source(name)
    if opened is None or opened.channels is None:
        _not_asyncapi(part, name, pointer)
        return None
    found = opened.channels.at(fragment)
    if found is None:
        part.report("unknown-operation", f"the source {name!r} has no channel at {fragment!r}", pointer)
    return found


def _not_asyncapi(part: Part, name: str, pointer: str) -> None:
    opened = part.source(name)
    if opened is not None and opened.problem is not None:
        part.findings.add(replace(opened.problem, severity="error"))
    else:
        part.report("unknown-operation", f"the source {name!r} is no AsyncAPI description", pointer)


def _by_id(part: Part, step: model.Step, written: str, pointer: str) -> ChannelOperation | None:
    name, operation_id = part.qualified(written)
    sources = part.description.source_descriptions
    names = [name] if name else [each.name for each in sources if each.type in {"asyncapi", None}]
    opened = {each: found for each in names if (found := part.source(each)) is not None and found.channels is not None}
    matches = [
        (each, operation)
        for each, found in opened.items()
        if found.channels is not None
        for operation in found.channels.find(operation_id)
    ]
    if len(matches) == 1:
        if not name and len(names) > 1:
            hint = f"write $sourceDescriptions.{matches[0][0]}.{operation_id}"
            message = f"there are {len(names)} sources; {operation_id!r} was found in {matches[0][0]!r} only"
            part.lenient("unqualified-operation-id", message, pointer, hint=hint)
        return matches[0][1]
    if matches:
        message = f"the operationId {operation_id!r} is not unique: it is in {', '.join(each for each, _ in matches)}"
        part.report("ambiguous-operation", message, pointer)
        return None
    if not opened and names:
        _not_asyncapi(part, names[0], pointer)
        return None
    known = [each.operation_id for found in opened.values() if found.channels for each in found.channels.operations()]
    message = f"the step {step.step_id!r} needs the operation {operation_id!r}, which is not in {', '.join(names)}"
    part.report("unknown-operation", message, pointer, hint=did_you_mean(operation_id, known))
    return None


def plan_channel(part: Part, step: model.Step, scope: Scope) -> PlannedChannel | None:
    """Plan what a step does with its channel."""
    operation = _find_channel(part, step)
    if step.action is None:
        part.report(
            "step-target",
            f"the step {step.step_id!r} uses a channel and does not say whether it sends or receives",
            step.pointer,
            hint="add `action: send` or `action: receive`",
        )
    if operation is None or step.action is None:
        return None
    correlation = None
    if step.correlation_id is not None and step.action == "receive":
        correlation = compile_value(step.correlation_id, scope)
        part.taken(scope, f"{step.pointer}/correlationId")
        if not operation.correlations:
            part.report(
                "correlation-id",
                f"the description of the channel {operation.address!r} does not say where its messages have a "
                "correlation id",
                f"{step.pointer}/correlationId",
                hint="give the message a `correlationId` with its `location` in the AsyncAPI description",
            )
    return PlannedChannel(operation, step.action, correlation)
