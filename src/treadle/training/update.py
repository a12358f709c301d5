"""UpdateTrainingJob: what may be changed of a job in progress, and what its request then says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from treadle.seams import Json

__all__ = ["members"]

# Merged member by member; what is not named stays.
_MERGED: Final = ("ProfilerConfig", "RemoteDebugConfig", "ResourceConfig")


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
