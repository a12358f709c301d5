"""The hosts of a job: their names, their instance types, and the groups that they are in.

Which hosts a group of a heterogeneous cluster gets is AWS's secret (the guide's example is not in order); here the
groups have their hosts in order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from treadle.seams import Json

__all__ = ["HOMOGENEOUS", "InstanceGroup", "host_names", "instance_groups", "instance_types", "loopback_addresses"]

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
    count = sum(each["InstanceCount"] for each in groups) if groups else resources.get("InstanceCount", 1)
    return tuple(sorted(f"algo-{number}" for number in range(1, count + 1)))


def instance_groups(request: Mapping[str, Json], hosts: Sequence[str]) -> list[InstanceGroup]:
    """Give the groups of a request with their hosts."""
    resources = request.get("ResourceConfig", {})
    wanted = [(each["InstanceGroupName"], each["InstanceType"], each["InstanceCount"])
              for each in resources.get("InstanceGroups") or ()]  # fmt: skip
    if not wanted:
        wanted = [(HOMOGENEOUS, resources.get("InstanceType", ""), len(hosts))]
    ordered = iter(sorted(hosts, key=lambda host: (len(host), host)))
    return [
        InstanceGroup(name, kind, tuple(sorted(host for _, host in zip(range(count), ordered, strict=False))))
        for name, kind, count in wanted
    ]


def instance_types(request: Mapping[str, Json]) -> dict[str, str]:
    """Give every host's instance type."""
    groups = instance_groups(request, host_names(request))
    return {host: group.instance_type for group in groups for host in group.hosts}


def loopback_addresses(names: Sequence[str]) -> dict[str, str]:
    """Give the hosts addresses on the machine's own network, where they have none of their own.

    >>> loopback_addresses(["algo-1", "algo-10", "algo-2"])
    {'algo-1': '127.0.0.1', 'algo-2': '127.0.0.2', 'algo-10': '127.0.0.3'}
    """
    ordered = sorted(names, key=lambda each: (len(each), each))
    return {host: f"127.0.0.{number}" for number, host in enumerate(ordered, 1)}
