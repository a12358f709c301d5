"""StoppingCondition, as far as the model cannot say what is wrong with it (§1.9)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from treadle.errors import ServiceError
from treadle.seams import Json
from treadle.training.instances import instance

__all__ = ["check"]

_DAY: Final = 86_400
_LONGEST_RUN: Final = 28 * _DAY


def check(request: Mapping[str, Json]) -> None:
    """Refuse limits that contradict each other or are beyond what the service allows. Raises `ServiceError`."""
    condition: Mapping[str, Any] = request.get("StoppingCondition") or {}
    run = condition.get("MaxRuntimeInSeconds", _DAY)
    if run > _LONGEST_RUN:
        raise ServiceError(
            "ResourceLimitExceeded",
            f"The account-level service limit 'Longest run time for a training job' is {_LONGEST_RUN} Seconds, with "
            f"current utilization of 0 Seconds and a request delta of {run} Seconds. Please contact AWS support to "
            "request an increase for this limit.",
        )
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
    if "MaxPendingTimeInSeconds" in condition and not all(map(_is_accelerated, _types(request))):
        # [guess]: the documentation says so, without AWS's text.
        raise _invalid("Invalid MaxPendingTimeInSeconds. It is only supported for accelerated instance types")


def _types(request: Mapping[str, Json]) -> Iterator[str]:
    resources: Mapping[str, Any] = request.get("ResourceConfig") or {}
    several = (each for name in ("InstanceGroups", "InstancePreferences") for each in resources.get(name) or ())
    for each in (resources, *several):
        if each.get("InstanceType"):
            yield each["InstanceType"]


def _is_accelerated(name: str) -> bool:
    its = instance(name)
    return name == "ml.local.gpu" or (its is not None and bool(its.gpus or its.neurons))


def _invalid(message: str) -> ServiceError:
    return ServiceError("ValidationException", message)
