"""UpdateTrainingJob: what may be changed of a job in progress, and what its request then says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from treadle.errors import ServiceError
from treadle.seams import Json

__all__ = ["check", "members"]

# Merged member by member; what is not named stays.
_MERGED: Final = ("ProfilerConfig", "RemoteDebugConfig", "ResourceConfig")


def check(values: Mapping[str, Any]) -> None:
    """Refuse what is not built. Raises `ServiceError`."""
    if values.get("RemoteDebugConfig", {}).get("EnableRemoteDebug"):
        raise ServiceError(
            "ValidationException", "remoteDebugConfig.enableRemoteDebug is not supported by Treadle. Leave it out."
        )


def members(request: Mapping[str, Json], values: Mapping[str, Any]) -> dict[str, Json]:
    """Give the members of the job's request that change, with their new values."""
    changed: dict[str, Json] = {
        name: {**request.get(name, {}), **values[name]} for name in _MERGED if values.get(name) is not None
    }
    if "ProfilerConfig" in changed:
        added = {"ProfilingIntervalInMilliseconds": 500, "DisableProfiler": False}
        changed["ProfilerConfig"] = {**added, **changed["ProfilerConfig"]}
    if rules := values.get("ProfilerRuleConfigurations"):
        known = {each["RuleConfigurationName"]: each for each in request.get("ProfilerRuleConfigurations") or ()}
        known |= {each["RuleConfigurationName"]: each for each in rules}
        changed["ProfilerRuleConfigurations"] = list(known.values())
    return changed
