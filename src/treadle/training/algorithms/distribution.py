"""What the SDK's `distribution=…` means for a script: which launcher starts its processes, on each host.

`torch_distributed`, and `pytorchddp`, whose processes find the same variables, are started by PyTorch's own launcher.
The others need programs of AWS's images (MPI over SSH, SMDDP, XLA, parameter servers). Without them a script would run
once on each host as if it were alone, and its model would be wrong: the job is refused.

Source: aws/sagemaker-training-toolkit, `torch_distributed.py` and `runner.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from treadle.training.algorithms.program import UserError

__all__ = ["KINDS", "launcher", "variables"]

_TORCH: Final = frozenset({"sagemaker_torch_distributed_enabled", "sagemaker_pytorch_ddp_enabled"})
KINDS: Final[Mapping[str, str]] = {
    "sagemaker_mpi_enabled": "mpi",
    "sagemaker_parameter_server_enabled": "parameter_server",
    "sagemaker_distributed_dataparallel_enabled": "smdistributed.dataparallel",
    "sagemaker_pytorch_ddp_enabled": "pytorchddp",
    "sagemaker_pytorch_xla_multi_worker_enabled": "pytorchxla",
    "sagemaker_multi_worker_mirrored_strategy_enabled": "multi_worker_mirrored_strategy",
    "sagemaker_torch_distributed_enabled": "torch_distributed",
}
"""The framework's parameters that say that a job is distributed, and how the SDK's users call it."""

_PROCESSES: Final = "sagemaker_mpi_num_of_processes_per_host"
_PORT: Final = "7777"


def launcher(framework: Mapping[str, Any], facts: Mapping[str, Any]) -> list[str]:
    """Give the arguments of the interpreter that come before the program, none for a script that runs alone.

    `facts` are SM_TRAINING_ENV. Raises `UserError`.

    >>> launcher({}, {})
    []
    >>> facts = {"distribution_hosts": ["algo-1"], "current_host": "algo-1", "num_gpus": 4}
    >>> launcher({"sagemaker_torch_distributed_enabled": True}, facts)
    ['-m', 'torch.distributed.run', '--nnodes', '1', '--nproc_per_node', '4']
    """
    wanted = [name for name in KINDS if framework.get(name)]
    if not wanted:
        return []
    if refused := [KINDS[name] for name in wanted if name not in _TORCH]:
        raise UserError(
            f"distribution: {refused[0]} needs a launcher of AWS's images, which is not here. Use torch_distributed, "
            "or let the program find the other hosts by itself (SM_HOSTS, SM_CURRENT_HOST)"
        )
    hosts: Sequence[str] = facts["distribution_hosts"]
    if facts["current_host"] not in hosts:  # it is in a group that does not take part
        return []
    processes = framework.get(_PROCESSES) or facts["num_gpus"] or 1
    command = ["-m", "torch.distributed.run", "--nnodes", str(len(hosts)), "--nproc_per_node", str(processes)]
    if len(hosts) > 1:
        rank = str(hosts.index(facts["current_host"]))
        command += ["--master_addr", facts["master_hostname"], "--master_port", _PORT, "--node_rank", rank]
    return command


def variables(framework: Mapping[str, Any], facts: Mapping[str, Any], interfaces: Sequence[str]) -> dict[str, str]:
    """Give what the launcher's processes are told of the network: its interface, where there is one."""
    if not any(framework.get(name) for name in _TORCH):
        return {}
    name = facts["network_interface_name"]
    return {"NCCL_PROTO": "simple"} | ({"NCCL_SOCKET_IFNAME": name} if name in interfaces else {})
