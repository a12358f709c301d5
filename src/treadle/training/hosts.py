"""The hosts of a job: their names, their instance types, and the groups that they are in.

Which hosts a group of a heterogeneous cluster gets is AWS's secret (the guide's example is not in order); here the
groups have their hosts in order.

With InstancePreferences a job has no instance type until it is placed: then the one that was selected stands beside
them, and all of this holds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from treadle.seams import Json

__all__ = [
    "HOMOGENEOUS",
    "InstanceGroup",
    "host_names",
    "instance_groups",
    "instance_types",
    "loopback_addresses",
    "selections",
]

HOMOGENEOUS: Final = "homogeneousCluster"
"""What AWS calls the only group of a job that asks for none."""


@dataclass(frozen=True, slots=True)
class InstanceGroup:
    """A group of equal instances; `hosts` are sorted as strings, as resourceconfig.json has them."""

    name: str
    instance_type: str
    hosts: tuple[str, ...]


def host_names(request: Mapping[str, Json]) -> tuple[str, ...]:
    """Give `algo-1` …, sorted as strings, as resourceconfig.json has them."""
    resources = request["ResourceConfig"]
    groups = resources.get("InstanceGroups")
    count = sum(each["InstanceCount"] for each in groups) if groups else _alike(resources)[1]
    return tuple(sorted(f"algo-{number}" for number in range(1, count + 1)))


def selections(request: Mapping[str, Json]) -> list[dict[str, Json]]:
    """Give the members that select one of the InstancePreferences, the preferred one first; [{}] without a choice.

    >>> preferences = [{"InstanceType": "ml.p3.2xlarge"}, {"InstanceType": "ml.m5.large"}]
    >>> for each in selections({"ResourceConfig": {"InstancePreferences": preferences, "InstanceCount": 2}}):
    ...     print(each)
    {'SelectedInstanceType': 'ml.p3.2xlarge', 'SelectedInstanceCount': 2}
    {'SelectedInstanceType': 'ml.m5.large', 'SelectedInstanceCount': 2}
    """
    resources = request["ResourceConfig"]
    preferences = resources.get("InstancePreferences") or ()
    if not preferences or "SelectedInstanceType" in resources:
        return [{}]
    common = resources.get("InstanceCount", 1)
    return [
        {"SelectedInstanceType": each["InstanceType"], "SelectedInstanceCount": each.get("InstanceCount", common)}
        for each in preferences
    ]


def _alike(resources: Mapping[str, Json]) -> tuple[str, int]:
    """Give type and count of the instances of a job that has no groups."""
    return (
        resources.get("SelectedInstanceType") or resources.get("InstanceType", ""),
        resources.get("SelectedInstanceCount") or resources.get("InstanceCount", 1),
    )


def instance_groups(request: Mapping[str, Json], hosts: Sequence[str]) -> list[InstanceGroup]:
    """Give the groups of a request with their hosts."""
    resources = request.get("ResourceConfig", {})
    wanted = [(each["InstanceGroupName"], each["InstanceType"], each["InstanceCount"])
              for each in resources.get("InstanceGroups") or ()]  # fmt: skip
    if not wanted:
        wanted = [(HOMOGENEOUS, _alike(resources)[0], len(hosts))]
    ordered = iter(sorted(hosts, key=lambda host: (len(host), host)))
    return [
        InstanceGroup(name, kind, tuple(sorted(host for _, host in zip(range(count), ordered, strict=False))))
        for name, kind, count in wanted
    ]


def instance_types(request: Mapping[str, Json]) -> dict[str, str]:
    """Give every host's instance type."""
    if not request["ResourceConfig"].get("InstanceGroups"):
        return dict.fromkeys(host_names(request), _alike(request["ResourceConfig"])[0])
    groups = instance_groups(request, host_names(request))
    return {host: group.instance_type for group in groups for host in group.hosts}


def loopback_addresses(names: Sequence[str]) -> dict[str, str]:
    """Give the hosts addresses on the machine's own network, where they have none of their own.

    >>> loopback_addresses(["algo-1", "algo-10", "algo-2"])
    {'algo-1': '127.0.0.1', 'algo-2': '127.0.0.2', 'algo-10': '127.0.0.3'}
    """
    ordered = sorted(names, key=lambda each: (len(each), each))
    return {host: f"127.0.0.{number}" for number, host in enumerate(ordered, 1)}
