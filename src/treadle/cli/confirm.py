"""Before anything is created on AWS: what, where, how big, how long; and whether that is meant.

It looks at the requests of the plan, not at names of workflows, so it also speaks up when a description itself leads to
AWS and nobody wrote `--on aws`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import click

from treadle.arazzo.plan import Plan
from treadle.cli.preview import Preview, previews
from treadle.errors import UsageError
from treadle.reporters.text import duration, plain
from treadle.seams import Json, Request
from treadle.sources.servers import Target, aws_scope

__all__ = ["account", "confirm", "effects_on_aws", "told"]

# Members that say what something costs, wherever they stand in a request.
_TYPE: Final = "InstanceType"
_COUNT: Final = "InstanceCount"
_LONGEST: Final = "MaxRuntimeInSeconds"


def effects_on_aws(plan: Plan, inputs: Mapping[str, Json], targets: Mapping[str, Target]) -> list[Preview]:
    """Give the requests of a plan that go to AWS and may change something; `targets` by source, as in `Opened`.

    A request that cannot be shown yet counts by the server of its source.
    """
    every = (_placed(each, targets) for key in plan.workflows for each in previews(plan, key, inputs))
    return [each for each in every if each.changes and aws_scope(each.url) is not None]


def _placed(preview: Preview, targets: Mapping[str, Target]) -> Preview:
    operation = preview.step.operation
    target = targets.get(operation.source) if operation is not None and preview.problem else None
    return preview if target is None else replace(preview, url=target.url + preview.url)


async def account() -> str:
    """Give the account that the user's AWS credentials belong to. Raises `UsageError`, `TransportError`."""
    import datetime as dt

    from treadle.aws.sigv4 import sign
    from treadle.http.client import HttpTransport
    from treadle.sources.security import AwsChain
    from treadle.sources.servers import DEFAULT_REGION, region_of

    chain = AwsChain()
    credentials = await chain.credentials()
    if credentials is None:
        raise UsageError(
            "There are no AWS credentials. Nothing was sent.",
            hint="Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE.",
        )
    region = region_of() or chain.region() or DEFAULT_REGION
    suffix = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    request = Request(
        "POST",
        f"https://sts.{region}.{suffix}/",
        (("Content-Type", "application/x-www-form-urlencoded; charset=utf-8"), ("Accept", "application/json")),
        b"Action=GetCallerIdentity&Version=2011-06-15",
    )
    transport = HttpTransport(timeout=30)
    try:
        signed = sign(request, credentials, service="sts", region=region, now=dt.datetime.now(dt.UTC))
        response = await transport.send(signed)
    finally:
        await transport.close()
    found = re.search(rb"\b\d{12}\b", response.body)
    if response.status != 200 or found is None:
        raise UsageError(
            f"AWS does not accept the credentials: GetCallerIdentity was answered {response.status}.",
            hint="aws sts get-caller-identity says more.",
        )
    return found[0].decode()


async def confirm(effects: Sequence[Preview], account: Callable[[], Awaitable[str]], *, yes: bool) -> None:
    """Tell what will be created and ask. Raises `UsageError` where nobody can be asked, `click.Abort` for no."""
    if not effects:
        return
    asking = sys.stdin.isatty()
    known = await account() if yes or asking else ""
    for line in told(effects, known):
        click.echo(line, err=True)
    if yes:
        return
    if not asking:
        raise UsageError(
            "This run changes something on AWS, and there is no terminal to ask on. Nothing was sent.",
            hint="--yes says that it is meant.",
        )
    if not click.confirm("Go on?", default=False, err=True):
        raise UsageError("Nothing was sent.")


def told(effects: Sequence[Preview], account: str) -> Iterator[str]:
    """Give the lines that say what a run changes on AWS."""
    regions = sorted({scope.region for each in effects if (scope := aws_scope(each.url))})
    whose = f"account {account}, " if account else ""
    yield f"On AWS, {whose}{', '.join(regions)}, this run sends:"
    for each in effects:
        size = _size(each.body) or (": what it takes is not known yet" if each.problem else "")
        yield f"  {each.operation}  (step {each.step.step_id}){size}"


def _size(body: Any) -> str:
    kinds, counts, longest = (_found(body, name) for name in (_TYPE, _COUNT, _LONGEST))
    parts = [f"{plain(str(kind))} × {counts[n] if n < len(counts) else 1}" for n, kind in enumerate(kinds)]
    parts += [f"at most {_time(each)}" for each in longest]
    return ": " + ", ".join(parts) if parts else ""


def _time(seconds: Any) -> str:
    return duration(seconds) if isinstance(seconds, int | float) else plain(str(seconds))


def _found(value: Any, name: str) -> list[Any]:
    if isinstance(value, dict):
        own = [value[name]] if name in value else []
        return own + [each for member in value.values() for each in _found(member, name)]
    if isinstance(value, list):
        return [each for member in value for each in _found(member, name)]
    return []
