"""How a host has ended, as members of `HostEvent`, and what is kept of its program then: checkpoints, model, output."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from treadle.agent import artifacts, failure
from treadle.agent.mirror import Mirror
from treadle.agent.orders import ENDS
from treadle.errors import ObjectError
from treadle.seams import HostObjects, HostSpec

__all__ = ["Cause", "Ended", "Trained", "failed", "kept", "platform_failed"]

Ended: TypeAlias = dict[str, Any]
Cause = Literal["exit", "stop", "interrupt", "", "volume", "data"]

_PLATFORM_ERROR = "InternalServerError: We encountered an internal error. Please try again."


def failed(reason: str) -> Ended:
    """Give the end of a host that has failed."""
    return {"outcome": "failed", "failure_reason": reason[: failure.LIMIT]}


def platform_failed(reason: str) -> Ended:
    """Give the end of a host that the platform has failed."""
    return failed(f"{_PLATFORM_ERROR} {reason}")


@dataclass(frozen=True, slots=True)
class Trained:
    """How the program ended: exit code, what made it end, seconds that it ran, and what the problem was if not its.

    MaxRuntimeInSeconds is the cause that has no name, as in `orders`.
    """

    exit_code: int
    cause: Cause
    seconds: float
    problem: str = ""

    def ended(self, ml: Path, tail: Iterable[str]) -> Ended:
        """Give how the host ends, if its outputs can be kept; `tail` are the last lines of the program."""
        if self.cause == "exit":
            outcome = "completed" if self.exit_code == 0 else "failed"
        else:
            outcome = ENDS.get(self.cause, "failed")
        reason = self._reason(ml, tail) if outcome == "failed" else ""
        how = {"outcome": outcome, "failure_reason": reason}
        return how | {"exit_code": self.exit_code, "trained_for": self.seconds}

    def _reason(self, ml: Path, tail: Iterable[str]) -> str:
        if self.cause == "data":
            return failure.client_error("Data download failed", self.problem)
        said = failure.failure_file(ml)
        if self.cause == "volume" or (self.problem and not said):
            return failure.algorithm_error(self.problem, self.exit_code)
        return failure.algorithm_error(said, self.exit_code, tail)


async def kept(
    how: Ended, spec: HostSpec, ml: Path, objects: HostObjects, mirrors: Sequence[Mirror], say: artifacts.Say
) -> Ended:
    """Keep what is to be kept of a program that has ended so, and give how the host ends then.

    `say` is called in threads.
    """
    for mirror in mirrors:
        try:
            await asyncio.to_thread(mirror.sync, last=True)
        except ObjectError as error:
            what = f"{mirror.what[0].upper()}{mirror.what[1:]} upload failed"
            return how | failed(failure.client_error(what, error.message))
    if how["outcome"] == "interrupted":
        return how
    try:
        model = how["outcome"] != "failed"
        outputs = await asyncio.to_thread(artifacts.upload, spec, ml, objects, say, model=model)
    except artifacts.ArtifactError as error:
        return how | failed(failure.client_error("Artifact upload failed", str(error)))
    return how | {"outputs": outputs}
