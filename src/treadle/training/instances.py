"""Instance types: vCPU, memory and accelerators, as AWS lists them for SageMaker training.

A family gives memory and accelerators per size; most sizes follow one rule (`xlarge` has 4 vCPU, `Nxlarge` N times
that), the others stand in the table. A type that is not here, and `ml.local.cpu`, means the whole machine; its GPUs are
only for `ml.local.gpu`, and for new types of families that have some.

On one machine a job that asks for more than there is gets what there is. On a cluster each host must fit on a machine
of it, as it is, and all hosts of a job at the same time: a job that never could is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

from treadle.errors import ServiceError
from treadle.seams import Capacity, Json
from treadle.training.hosts import instance_types, selections

__all__ = ["AbsentError", "Instance", "Need", "Way", "accelerators", "instance", "need", "needs", "ways"]

_GIB: Final = 1 << 30
# A machine of a cluster offers less memory than it has (Ray: some 70 %): an instance of its size must fit all the same.
_OFFERED: Final = 0.6
# How many kinds of machines a refusal names.
_SIZES: Final = 3


class AbsentError(ServiceError):
    """A job needs what the machines do not have; `truth` says what, without the words that AWS has for it."""

    def __init__(self, message: str, truth: str) -> None:
        super().__init__("ResourceLimitExceeded", f"{message} {truth}")
        self.truth = truth


@dataclass(frozen=True, slots=True)
class Instance:
    """What an instance has; memory in GiB. `neurons` are AWS's own accelerators, which no other machine has."""

    cpus: int
    memory: float
    gpus: int = 0
    neurons: int = 0


# GiB per vCPU, for families whose sizes all follow the rule.
_MEMORY_PER_CPU: Final[Mapping[str, float]] = {
    **dict.fromkeys(("m4", "m5", "m6i", "m7i", "m8i", "m7i-flex", "m8i-flex"), 4.0),
    **dict.fromkeys(("c5", "c6i", "c7i", "c8i", "c7i-flex", "c8i-flex"), 2.0),
    **dict.fromkeys(("r5", "r5d", "r6i", "r7i", "r8i", "r8i-flex"), 8.0),
    "c4": 1.875,
    "c5n": 2.625,
}

_GPUS: Final[Mapping[str, int]] = {
    **dict.fromkeys(("xlarge", "2xlarge", "4xlarge", "8xlarge", "16xlarge"), 1),
    **dict.fromkeys(("12xlarge", "24xlarge"), 4),
    "48xlarge": 8,
}

# GiB per vCPU of the families with GPUs whose sizes follow the rule; how many GPUs a size has is in `_GPUS`.
_GPU_MEMORY_PER_CPU: Final[Mapping[str, float]] = {"g4dn": 4.0, "g5": 4.0, "g6": 4.0, "g6e": 8.0}

_OTHERS: Final[Mapping[str, Instance]] = {
    "c4.8xlarge": Instance(36, 60),
    "c5n.9xlarge": Instance(36, 96),
    "c5n.18xlarge": Instance(72, 192),
    "t3.medium": Instance(2, 4),
    "t3.large": Instance(2, 8),
    "t3.xlarge": Instance(4, 16),
    "t3.2xlarge": Instance(8, 32),
    "p2.xlarge": Instance(4, 61, 1),
    "p2.8xlarge": Instance(32, 488, 8),
    "p2.16xlarge": Instance(64, 732, 16),
    "p3.2xlarge": Instance(8, 61, 1),
    "p3.8xlarge": Instance(32, 244, 4),
    "p3.16xlarge": Instance(64, 488, 8),
    "p3dn.24xlarge": Instance(96, 768, 8),
    "p4d.24xlarge": Instance(96, 1152, 8),
    "p4de.24xlarge": Instance(96, 1152, 8),
    "p5.4xlarge": Instance(16, 256, 1),
    "p5.48xlarge": Instance(192, 2048, 8),
    "p5e.48xlarge": Instance(192, 2048, 8),
    "p5en.48xlarge": Instance(192, 2048, 8),
    "p6-b200.48xlarge": Instance(192, 2048, 8),
    "p6-b300.48xlarge": Instance(192, 4096, 8),
    "p6e-gb200.36xlarge": Instance(144, 960, 4),
    "g5.24xlarge": Instance(96, 384, 4),
    "g5.48xlarge": Instance(192, 768, 8),
    "g7.2xlarge": Instance(8, 32, 1),  # [guess] for g7: GPUs as in g7e; it only decides whether a machine has enough
    "g7.4xlarge": Instance(16, 64, 1),
    "g7.8xlarge": Instance(32, 128, 1),
    "g7.12xlarge": Instance(48, 192, 2),
    "g7.24xlarge": Instance(96, 384, 4),
    "g7.48xlarge": Instance(192, 768, 8),
    "g7e.2xlarge": Instance(8, 64, 1),
    "g7e.4xlarge": Instance(16, 128, 1),
    "g7e.8xlarge": Instance(32, 256, 1),
    "g7e.12xlarge": Instance(48, 512, 2),
    "g7e.24xlarge": Instance(96, 1024, 4),
    "g7e.48xlarge": Instance(192, 2048, 8),
    "trn1.2xlarge": Instance(8, 32, 0, 2),
    "trn1.32xlarge": Instance(128, 512, 0, 32),
    "trn1n.32xlarge": Instance(128, 512, 0, 32),
    "trn2.48xlarge": Instance(192, 2048, 0, 64),
}

_RULE: Final = re.compile(r"([0-9]*)xlarge")


def instance(name: str) -> Instance | None:
    """Give what an instance of that type has, or None for a type that is not known.

    >>> instance("ml.m5.xlarge")
    Instance(cpus=4, memory=16.0, gpus=0, neurons=0)
    """
    kind = name.removeprefix("ml.")
    if kind in _OTHERS:
        return _OTHERS[kind]
    family, _, size = kind.partition(".")
    cpus = _cpus(size)
    if cpus is None:
        return None
    if family in _MEMORY_PER_CPU:
        return Instance(cpus, cpus * _MEMORY_PER_CPU[family])
    if family in _GPU_MEMORY_PER_CPU and size in _GPUS:
        return Instance(cpus, cpus * _GPU_MEMORY_PER_CPU[family], _GPUS[size])
    return None


def _cpus(size: str) -> int | None:
    if size == "large":
        return 2
    match = _RULE.fullmatch(size)
    return 4 * int(match[1] or 1) if match else None


@dataclass(frozen=True, slots=True)
class Need:
    """What a job takes of a machine, and what its log says about that."""

    capacity: Capacity
    notices: tuple[str, ...] = ()


@lru_cache(maxsize=256)
def need(name: str, machine: Capacity) -> Need:
    """Say what an instance of that type takes of the machine.

    CPU and memory are capped to what there is, and a notice says so. GPUs asked for and absent are refused: a program
    for GPUs does not merely run slower without. Raises `AbsentError`.
    """
    if machine.machines is not None:
        return _need_on_one_of(name, machine.machines)
    whole = Capacity(machine.cpus, machine.memory)
    if name in {"ml.local.cpu", "ml.local.gpu"}:
        if name == "ml.local.gpu" and not machine.gpus:
            raise _refused(name, "at least one GPU", machine)
        return Need(machine if name == "ml.local.gpu" else whole)
    wanted = instance(name)
    if wanted is None:
        return _unknown(name, machine)
    if wanted.neurons:
        raise _absent(name, f"It needs {wanted.neurons} NeuronCores, and this machine has none.", 1)
    if wanted.gpus > machine.gpus:
        raise _refused(name, f"{wanted.gpus} GPU{'s' if wanted.gpus > 1 else ''}", machine)
    memory = int(wanted.memory * _GIB)
    given = Capacity(min(wanted.cpus, machine.cpus), min(memory, machine.memory), wanted.gpus)
    if given.cpus == wanted.cpus and given.memory == memory:
        return Need(given)
    notice = (
        f"{name} has {wanted.cpus} vCPU and {wanted.memory:g} GiB; this machine has {machine.cpus:g} CPUs and "
        f"{machine.memory / _GIB:.1f} GiB: the job runs with what there is."
    )
    return Need(given, (notice,))


# AWS's names of families (g5, p4d, trn1, inf2) whose new types have accelerators, too.
_ACCELERATED: Final = re.compile(r"ml\.(?:(?P<gpu>[gp])|trn|inf)\d")


def accelerators(name: str) -> Literal["GPUs", "NeuronCores", ""]:
    """Say what an instance type has beside CPUs; of one that is newer than the table, by its family.

    >>> [accelerators(each) for each in ("ml.g5.xlarge", "ml.p99.xlarge", "ml.trn1.2xlarge", "ml.m5.large")]
    ['GPUs', 'GPUs', 'NeuronCores', '']
    """
    if (known := instance(name)) is not None:
        return "GPUs" if known.gpus else "NeuronCores" if known.neurons else ""
    family = _ACCELERATED.match(name)
    if name == "ml.local.gpu" or (family and family["gpu"]):
        return "GPUs"
    return "NeuronCores" if family else ""


def _unknown(name: str, machine: Capacity) -> Need:
    """Say what a type that is newer than the table takes: the machine; its GPUs only if it is of a family with some."""
    has = accelerators(name)
    if has == "NeuronCores":
        raise _absent(name, "It needs NeuronCores, and there are none.", 1)
    if has and not machine.gpus:
        raise _refused(name, "at least one GPU", machine)
    whole = "the whole machine" + (", GPUs included" if has else "")
    said = f"Treadle does not know how large {name} is: the job gets {whole}."
    return Need(Capacity(machine.cpus, machine.memory, machine.gpus if has else 0), (said,))


def _need_on_one_of(name: str, machines: Sequence[Capacity]) -> Need:
    """Say what an instance takes of the machine of a cluster that it is on. Raises `AbsentError`."""
    if not machines:
        raise _refused_everywhere(name, "a machine", machines)
    wanted = instance(name)
    if wanted is None:
        has = accelerators(name)
        if has == "NeuronCores":
            raise _refused_everywhere(name, has, machines)
        if has and not any(each.gpus for each in machines):
            raise _refused_everywhere(name, "at least one GPU", machines)
        # Who needs no GPUs leaves them to others.
        whole = max(machines, key=lambda each: (each.gpus if has else not each.gpus, each.cpus, each.memory))
        said = f"Treadle does not know how large {name} is: each instance gets a whole machine of the cluster."
        given = whole if has else Capacity(whole.cpus, whole.memory)
        return Need(given, () if name.startswith("ml.local.") else (said,))
    if wanted.neurons:
        raise _refused_everywhere(name, f"{wanted.neurons} NeuronCores", machines)
    enough = [each for each in machines if each.cpus >= wanted.cpus and each.gpus >= wanted.gpus]
    memory = int(wanted.memory * _GIB)
    offered = max((each.memory for each in enough), default=0)
    if offered < memory * _OFFERED or not enough:
        gpus = f", {wanted.gpus} GPU{'s' if wanted.gpus > 1 else ''}" if wanted.gpus else ""
        raise _refused_everywhere(name, f"{wanted.cpus} vCPU, {wanted.memory:g} GiB{gpus} on one machine", machines)
    given = Capacity(wanted.cpus, min(memory, offered), wanted.gpus)
    if given.memory == memory:
        return Need(given)
    said = f"{name} has {wanted.memory:g} GiB; the cluster's machines offer {offered / _GIB:.1f} GiB, and it gets that."
    return Need(given, (said,))


def _all_at_once(wanted: Sequence[Capacity], machines: Sequence[Capacity]) -> bool:
    """Tell whether the machines, empty, hold all of it: the largest first, each on the first machine with room.

    Where all are alike that is exact; where they are not, there are rare cases in which another order would do better.
    """
    left = [[each.cpus, each.memory, each.gpus] for each in machines]
    for its in sorted(wanted, key=lambda its: (its.gpus, its.cpus, its.memory), reverse=True):
        takes = (its.cpus, its.memory, its.gpus)
        room = next((each for each in left if all(has >= need for has, need in zip(each, takes, strict=True))), None)
        if room is None:
            return False
        room[:] = [has - need for has, need in zip(room, takes, strict=True)]
    return True


@dataclass(frozen=True, slots=True)
class Way:
    """A way to place a job: its request with what is `selected` of its InstancePreferences, and what that takes."""

    request: Mapping[str, Json]
    need: Need
    selected: Mapping[str, Json]

    @property
    def notices(self) -> tuple[str, ...]:
        """What the log says of it."""
        name = self.selected.get("SelectedInstanceType")
        selection = (f"Of the InstancePreferences {name} was selected.",) if name else ()
        return (*selection, *self.need.notices)


def needs(types: Sequence[str], machine: Capacity) -> Need:
    """Say what instances of these types, one for each host of a job, take of the machine together.

    They share the machine's CPUs and memory where these are not enough for all, and a notice says so; GPUs are never
    shared. On a cluster nothing is. Raises `AbsentError`.
    """
    if len(types) == 1:
        return need(types[0], machine)
    each = [need(name, machine) for name in types]
    notices = dict.fromkeys(notice for its in each for notice in its.notices)
    cpus, memory = sum(its.capacity.cpus for its in each), sum(its.capacity.memory for its in each)
    gpus = sum(its.capacity.gpus for its in each)
    if machine.machines is not None:
        if not _all_at_once([its.capacity for its in each], machine.machines):
            names = " and ".join(dict.fromkeys(types))
            raise _refused_everywhere(names, f"{len(types)} instances at the same time", machine.machines, len(types))
        return Need(Capacity(cpus, memory, gpus), tuple(notices))
    if gpus > machine.gpus:
        names = " and ".join(dict.fromkeys(types))
        raise _refused(names, f"{gpus} GPUs for its {len(types)} instances", machine, len(types))
    if cpus > machine.cpus or memory > machine.memory:
        notices[
            f"The {len(types)} instances of the job share this machine's {machine.cpus:g} CPUs and "
            f"{machine.memory / _GIB:.1f} GiB."
        ] = None
    return Need(Capacity(min(cpus, machine.cpus), min(memory, machine.memory), gpus), tuple(notices))


def ways(request: Mapping[str, Json], machine: Capacity) -> list[Way]:
    """Give the ways to place a job, the preferred one first.

    Raises `AbsentError`, about the preferred one, if this machine has what none of them needs.
    """
    found, refusals = [], []
    for selected in selections(request):
        its = {**request, "ResourceConfig": {**request["ResourceConfig"], **selected}} if selected else request
        try:
            found.append(Way(its, needs(list(instance_types(its).values()), machine), selected))
        except AbsentError as error:
            refusals.append(error)
    if not found:
        raise refusals[0]
    return found


def _refused(name: str, what: str, machine: Capacity, count: int = 1) -> AbsentError:
    if machine.withheld:
        has = f"this service has {machine.gpus or 'none'} of this machine's: {machine.withheld}."
    elif not machine.gpus:
        has = "this machine has none that NVIDIA's driver shows."
    else:
        # What they can do about it, where one type has all that there is.
        has = f"this machine has {machine.gpus}" + (": ask for ml.local.gpu." if count == 1 else ".")
    return _absent(name, f"It needs {what}, and {has}", count)


def _refused_everywhere(name: str, what: str, machines: Sequence[Capacity], count: int = 1) -> AbsentError:
    sizes: dict[str, int] = {}
    for each in machines:
        gpus = f", {each.gpus} GPU{'s' if each.gpus > 1 else ''}" if each.gpus else ""
        size = f"{each.cpus:g} CPUs, {each.memory / _GIB:.1f} GiB{gpus}"
        sizes[size] = sizes.get(size, 0) + 1
    commonest = sorted(sizes.items(), key=lambda its: its[1], reverse=True)[:_SIZES]
    has = " and ".join(f"{number} x {size}" for size, number in commonest) or "none at this moment"
    return _absent(name, f"It needs {what}, and the cluster has {has}.", count)


def _absent(name: str, truth: str, count: int) -> AbsentError:
    # AWS's words for a quota of 0 (§2.4), then the truth.
    return AbsentError(
        f"The account-level service limit '{name} for training job usage' is 0 Instances, with current utilization of "
        f"0 Instances and a request delta of {count} Instances.",
        truth,
    )
