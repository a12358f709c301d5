"""Limits that the model does not have: of StoppingCondition (§1.9), and of how many instances a job may ask for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from treadle.errors import ServiceError
from treadle.seams import Json
from treadle.training.instances import accelerators

__all__ = ["check", "longest_pending"]

_DAY: Final = 86_400
_LONGEST_RUN: Final = 28 * _DAY
# All instances of a job are processes of this machine, and the model allows two billions of them. AWS's own quotas are
# at most 20 until a user asks for more.
_MOST_INSTANCES: Final = 64


def check(request: Mapping[str, Json]) -> None:
    """Refuse limits that contradict each other or are beyond what the service allows. Raises `ServiceError`."""
    condition: Mapping[str, Any] = request.get("StoppingCondition") or {}
    run = condition.get("MaxRuntimeInSeconds", _DAY)
    if run > _LONGEST_RUN:
        raise _exceeded("Longest run time for a training job", "Seconds", _LONGEST_RUN, run)
    if (count := _instances(request.get("ResourceConfig") or {})) > _MOST_INSTANCES:
        types = " and ".join(dict.fromkeys(_types(request)))
        raise _exceeded(f"{types} for training job usage", "Instances", _MOST_INSTANCES, count)
    wait, spot = condition.get("MaxWaitTimeInSeconds"), request.get("EnableManagedSpotTraining", False)
    if wait is not None and not spot:
        raise _invalid(
            "Invalid MaxWaitTimeInSeconds. It is only supported when EnableManagedSpotTraining is set to true"
        )
    if spot and (wait is None or wait < run):
        # [guess]: from memory.
        raise _invalid(
            "Invalid MaxWaitTimeInSeconds. It must be present and be greater than or equal to MaxRuntimeInSeconds"
        )


def longest_pending(request: Mapping[str, Json]) -> int | None:
    """Give MaxPendingTimeInSeconds; None without, and where it has no effect: no instance type is an accelerated one.

    Source: the documentation of `StoppingCondition` in the service model.
    """
    longest: int | None = request["StoppingCondition"].get("MaxPendingTimeInSeconds")
    return longest if longest is not None and any(map(accelerators, _types(request))) else None


def _instances(resources: Mapping[str, Any]) -> int:
    """Give how many instances a job asks for: together in its groups, at most in its preferences."""
    counts: list[int] = [each.get("InstanceCount", 0) for each in resources.get("InstancePreferences") or ()]
    counts.append(sum(each["InstanceCount"] for each in resources.get("InstanceGroups") or ()))
    counts.append(resources.get("InstanceCount", 1))
    return max(counts)


def _types(request: Mapping[str, Json]) -> Iterator[str]:
    resources: Mapping[str, Any] = request.get("ResourceConfig") or {}
    several = (each for name in ("InstanceGroups", "InstancePreferences") for each in resources.get(name) or ())
    for each in (resources, *several):
        if each.get("InstanceType"):
            yield each["InstanceType"]


def _exceeded(what: str, unit: str, limit: int, wanted: int) -> ServiceError:
    return ServiceError(
        "ResourceLimitExceeded",
        f"The account-level service limit '{what}' is {limit} {unit}, with current utilization of 0 {unit} and a "
        f"request delta of {wanted} {unit}. Please contact AWS support to request an increase for this limit.",
    )


def _invalid(message: str) -> ServiceError:
    return ServiceError("ValidationException", message)
