"""What AWS's API has no operation for: Treadle's own, signed and spoken like the others, for its command line."""

from __future__ import annotations

from typing import Final, Protocol

import msgspec

from treadle.aws.shapes import ServiceModel
from treadle.training.api.operations import Api, Caller, Values

__all__ = ["Own", "own_api"]

_MODEL: Final = {
    "metadata": {"protocol": "json", "jsonVersion": "1.1", "targetPrefix": "Treadle", "signingName": "treadle"},
    "operations": {
        "InterruptTrainingJob": {"input": {"shape": "Interrupt"}, "output": {"shape": "Interrupted"}},
        "PruneTrainingJobs": {"input": {"shape": "Prune"}, "output": {"shape": "Pruned"}},
    },
    "shapes": {
        "Name": {"type": "string", "min": 1, "max": 63, "pattern": "[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}"},
        "Seconds": {"type": "double", "min": 0},
        "Text": {"type": "string"},
        "Switch": {"type": "boolean"},
        "Texts": {"type": "list", "member": {"shape": "Text"}},
        "Interrupt": {
            "type": "structure",
            "members": {"TrainingJobName": {"shape": "Name"}},
            "required": ["TrainingJobName"],
        },
        "Interrupted": {"type": "structure", "members": {"TrainingJobArn": {"shape": "Text"}}},
        "Prune": {
            "type": "structure",
            "members": {"OlderThanSeconds": {"shape": "Seconds"}, "DryRun": {"shape": "Switch"}},
            "required": ["OlderThanSeconds"],
        },
        "Pruned": {
            "type": "structure",
            "members": {"TrainingJobNames": {"shape": "Texts"}, "Leftovers": {"shape": "Texts"}},
        },
    },
}


class Own(Protocol):
    """What the training service does for this API."""

    async def interrupt_training_job(self, values: Values, caller: Caller, /) -> Values:
        """Take the instances of a spot job away."""
        ...

    async def prune_training_jobs(self, values: Values, caller: Caller, /) -> Values:
        """Remove old jobs and leftovers, or with `DryRun` only say which."""
        ...


def own_api(service: Own) -> Api:
    """Give the API."""
    model = ServiceModel("treadle", msgspec.json.encode(_MODEL))
    return Api(
        name="treadle",
        target_prefix=model.target_prefix,
        model=model,
        operations={
            "InterruptTrainingJob": service.interrupt_training_job,
            "PruneTrainingJobs": service.prune_training_jobs,
        },
    )
