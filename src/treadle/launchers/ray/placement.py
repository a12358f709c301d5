"""How the hosts of an attempt are placed on the nodes of a cluster: decisions, without Ray."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

from treadle.seams import Capacity

__all__ = ["Strategy", "bundle", "strategy", "together"]

Strategy: TypeAlias = Literal["PACK", "STRICT_SPREAD", "STRICT_PACK", "SPREAD"]
"""Ray's words: as few nodes as possible, a node for each, one node for all, as many nodes as possible."""


def bundle(need: Capacity) -> dict[str, float]:
    """Give what a host takes of its node, in Ray's names.

    >>> bundle(Capacity(2, 8 << 30))
    {'CPU': 2, 'memory': 8589934592}
    """
    return {name: value for name, value in (("CPU", need.cpus), ("memory", need.memory), ("GPU", need.gpus)) if value}


def strategy(needs: Sequence[Capacity], nodes: Sequence[Capacity]) -> Strategy:
    """Choose how hosts are spread: each on a node of its own, like instances; where there are too few, all on one.

    On one node they get a private network; on several they have the nodes' addresses. Only where neither is possible do
    some share a node, and its ports.

    >>> two = [Capacity(2, 1 << 30)] * 2
    >>> [strategy(two, [Capacity(4, 8 << 30)] * 2), strategy(two, [Capacity(4, 8 << 30)])]
    ['STRICT_SPREAD', 'STRICT_PACK']
    """
    if len(needs) == 1:
        return "PACK"
    if _apart(needs, nodes):
        return "STRICT_SPREAD"
    return "STRICT_PACK" if any(_fits(together(needs), node) for node in nodes) else "SPREAD"


def together(each: Sequence[Capacity]) -> Capacity:
    """Add up.

    >>> together([Capacity(2, 8), Capacity(4, 16, 1)])
    Capacity(cpus=6, memory=24, gpus=1, machines=None, withheld='')
    """
    return Capacity(sum(its.cpus for its in each), sum(its.memory for its in each), sum(its.gpus for its in each))


def _apart(needs: Sequence[Capacity], nodes: Sequence[Capacity]) -> bool:
    """Tell whether each host can have a node of its own: the largest first, each on the smallest node that does."""
    size = lambda its: (its.gpus, its.cpus, its.memory)  # noqa: E731  (a key for both lines below)
    free = sorted(nodes, key=size)
    for need in sorted(needs, key=size, reverse=True):
        node = next((each for each in free if _fits(need, each)), None)
        if node is None:
            return False
        free.remove(node)
    return True


def _fits(need: Capacity, node: Capacity) -> bool:
    return need.cpus <= node.cpus and need.memory <= node.memory and need.gpus <= node.gpus
