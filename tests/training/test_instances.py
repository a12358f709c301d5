"""Instance types, and what becomes of them on a smaller machine."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import botocore
import pytest

from treadle.errors import ServiceError
from treadle.seams import Capacity
from treadle.training.instances import Instance, Need, instance, need, needs

GIB = 1 << 30
LAPTOP = Capacity(2, 8 * GIB)
BIG = Capacity(64, 512 * GIB, 1)


@pytest.mark.parametrize(
    ("name", "has"),
    [
        ("ml.m5.large", Instance(2, 8)),
        ("ml.m5.xlarge", Instance(4, 16)),
        ("ml.m4.10xlarge", Instance(40, 160)),
        ("ml.m5.24xlarge", Instance(96, 384)),
        ("ml.c4.xlarge", Instance(4, 7.5)),
        ("ml.c4.8xlarge", Instance(36, 60)),
        ("ml.c5.9xlarge", Instance(36, 72)),
        ("ml.c5n.xlarge", Instance(4, 10.5)),
        ("ml.r5.4xlarge", Instance(16, 128)),
        ("ml.t3.medium", Instance(2, 4)),
        ("ml.g4dn.12xlarge", Instance(48, 192, 4)),
        ("ml.g5.48xlarge", Instance(192, 768, 8)),
        ("ml.g6e.xlarge", Instance(4, 32, 1)),
        ("ml.p3.2xlarge", Instance(8, 61, 1)),
        ("ml.trn1.2xlarge", Instance(8, 32, 0, 2)),
    ],
)
def test_sizes(name: str, has: Instance) -> None:
    """As AWS lists them."""
    assert instance(name) == has


def test_every_type_of_the_service_model_is_known() -> None:
    """The model names them; a new family shows here first."""
    model = Path(botocore.__file__).parent / "data/sagemaker/2017-07-24/service-2.json.gz"
    names = json.loads(gzip.decompress(model.read_bytes()))["shapes"]["TrainingInstanceType"]["enum"]
    assert [each for each in names if instance(each) is None] == []


@pytest.mark.parametrize("name", ["ml.z9.xlarge", "ml.m5.huge", "ml.m5", "m5", "", "ml.g4dn.large"])
def test_other_names_are_not_known(name: str) -> None:
    """Nothing is made up."""
    assert instance(name) is None


def test_an_instance_that_fits_takes_its_size() -> None:
    """No notice is needed."""
    assert need("ml.m5.xlarge", BIG).capacity == Capacity(4, 16 * GIB)
    assert need("ml.m5.xlarge", BIG).notices == ()


def test_cpu_and_memory_are_capped_with_a_notice() -> None:
    """The job runs with what there is, and its log says so."""
    capped = need("ml.m5.xlarge", LAPTOP)
    assert capped.capacity == LAPTOP
    assert capped.notices == (
        "ml.m5.xlarge has 4 vCPU and 16 GiB; this machine has 2 CPUs and 8.0 GiB: the job runs with what there is.",
    )


WORKSTATION = Capacity(8, 64 * GIB, 1)
LESSENED = Capacity(64, 512 * GIB, 1, withheld="CUDA_VISIBLE_DEVICES is '1'")
NONE_LEFT = Capacity(64, 512 * GIB, withheld="CUDA_VISIBLE_DEVICES is ''")


@pytest.mark.parametrize(
    ("name", "machine", "truth"),
    [
        ("ml.p3.2xlarge", LAPTOP, "It needs 1 GPU, and this machine has none that NVIDIA's driver shows."),
        ("ml.local.gpu", LAPTOP, "It needs at least one GPU, and this machine has none that NVIDIA's driver shows."),
        ("ml.p99.48xlarge", LAPTOP, "It needs at least one GPU, and this machine has none that NVIDIA's driver shows."),
        ("ml.trn99.48xlarge", WORKSTATION, "It needs NeuronCores, and there are none."),
        ("ml.trn1.2xlarge", WORKSTATION, "It needs 2 NeuronCores, and this machine has none."),
        ("ml.p4d.24xlarge", WORKSTATION, "It needs 8 GPUs, and this machine has 1: ask for ml.local.gpu."),
        (
            "ml.p4d.24xlarge",
            LESSENED,
            "It needs 8 GPUs, and this service has 1 of this machine's: CUDA_VISIBLE_DEVICES is '1'.",
        ),
        (
            "ml.local.gpu",
            NONE_LEFT,
            "It needs at least one GPU, and this service has none of this machine's: CUDA_VISIBLE_DEVICES is ''.",
        ),
    ],
)
def test_accelerators_that_are_absent_are_refused(name: str, machine: Capacity, truth: str) -> None:
    """With AWS's code and words for a quota, the reason, and what could be asked for instead."""
    with pytest.raises(ServiceError, match=f"service limit '{name} for training job usage' is 0") as caught:
        need(name, machine)
    assert caught.value.code == "ResourceLimitExceeded"
    assert caught.value.message.endswith(f" 1 Instances. {truth}")


def test_gpus_that_are_there_are_taken() -> None:
    """One GPU is one GPU."""
    assert need("ml.p3.2xlarge", BIG).capacity.gpus == 1
    assert need("ml.local.gpu", BIG).capacity == BIG
    with pytest.raises(ServiceError):
        need("ml.g5.12xlarge", BIG)


def test_local_and_unknown_types_mean_the_machine() -> None:
    """Without its GPUs; a type that is not known gets a notice."""
    assert need("ml.local.cpu", BIG).capacity == Capacity(64, 512 * GIB)
    assert need("ml.local.cpu", BIG).notices == ()
    assert need("ml.z9.xlarge", BIG).capacity == Capacity(64, 512 * GIB)
    assert "does not know how large ml.z9.xlarge is" in need("ml.z9.xlarge", BIG).notices[0]
    assert need("ml.g99.xlarge", BIG) == Need(
        BIG, ("Treadle does not know how large ml.g99.xlarge is: the job gets the whole machine, GPUs included.",)
    )


# ---------------------------------------------------------------------------------------------------------------------
# On a cluster
# ---------------------------------------------------------------------------------------------------------------------


def cluster(*machines: Capacity) -> Capacity:
    return Capacity(
        sum(each.cpus for each in machines),
        sum(each.memory for each in machines),
        sum(each.gpus for each in machines),
        machines,
    )


# What Ray offers of a machine of 2 vCPU and 8 GiB, and of one of 8 vCPU, 61 GiB and a GPU.
SMALL, GPU = Capacity(2, int(5.4 * GIB)), Capacity(8, 42 * GIB, 1)


@pytest.mark.parametrize(
    ("name", "want", "notice"),
    [
        ("ml.c5.large", Capacity(2, 4 * GIB), ""),
        ("ml.m5.large", Capacity(2, 8 * GIB), ""),  # on the machine with a GPU, which has the memory
        ("ml.p3.2xlarge", Capacity(8, 42 * GIB, 1), "ml.p3.2xlarge has 61 GiB; the cluster's machines offer 42.0 GiB"),
        ("ml.local.cpu", Capacity(2, SMALL.memory), ""),
        ("ml.local.gpu", GPU, ""),
        ("ml.g99.xlarge", GPU, "does not know how large ml.g99.xlarge is"),
        ("ml.z9.xlarge", Capacity(2, SMALL.memory), "does not know how large ml.z9.xlarge is"),
    ],
)
def test_what_an_instance_takes_of_a_machine_of_a_cluster(name: str, want: Capacity, notice: str) -> None:
    """Its size, as far as CPUs and GPUs go; of the memory, what the machines offer of theirs."""
    found = need(name, cluster(SMALL, GPU, SMALL))
    assert found.capacity == want
    assert notice in "".join(found.notices)
    assert bool(notice) == bool(found.notices)


@pytest.mark.parametrize(
    ("types", "what"),
    [
        (["ml.m5.24xlarge"], "96 vCPU, 384 GiB on one machine"),
        (["ml.trn99.48xlarge"], "NeuronCores"),
        (["ml.g5.12xlarge"], "48 vCPU, 192 GiB, 4 GPUs on one machine"),
        (["ml.r5.2xlarge"], "8 vCPU, 64 GiB on one machine"),
        (["ml.trn1.2xlarge"], "2 NeuronCores"),
        (["ml.c5.large"] * 7, "7 instances at the same time"),
        (["ml.g4dn.2xlarge"] * 2, "2 instances at the same time"),
    ],
)
def test_what_a_cluster_could_never_hold_is_refused(types: list[str], what: str) -> None:
    """Nothing is capped or shared there; the answer says what there is."""
    machines = cluster(SMALL, SMALL, Capacity(8, 36 * GIB, 1))
    with pytest.raises(ServiceError) as caught:
        needs(types, machines)
    assert caught.value.code == "ResourceLimitExceeded"
    assert f"It needs {what}, and the cluster has 2 x 2 CPUs, 5.4 GiB and 1 x 8 CPUs, 36.0 GiB, 1 GPU." in str(
        caught.value
    )


def test_six_instances_fit_on_three_machines() -> None:
    """Two machines for one each, and one for four."""
    assert needs(["ml.c5.large"] * 6, cluster(SMALL, SMALL, Capacity(8, 36 * GIB, 1))).capacity.cpus == 12


def test_a_cluster_without_machines() -> None:
    """At this moment nothing fits."""
    with pytest.raises(ServiceError, match="It needs a machine, and the cluster has none at this moment"):
        need("ml.m5.large", cluster())
