"""The training operations of the SageMaker API, bound to the training service."""

from __future__ import annotations

from typing import Final, Protocol

from treadle.aws.shapes import load_service
from treadle.training.api.operations import Api, Caller, Values

__all__ = ["LOCAL_INSTANCE_TYPES", "Training", "sagemaker_api"]

LOCAL_INSTANCE_TYPES: Final = r"ml\.local\.[a-z0-9.]+"
"""Instance types beside AWS's own. Not `local`: the SageMaker SDK takes that as a request to train by itself."""


class Training(Protocol):
    """What the training service does for this API; inputs are checked against the model, defaults are not filled."""

    async def create_training_job(self, values: Values, caller: Caller, /) -> Values:
        """Take a job: `TrainingJobArn`."""
        ...

    async def describe_training_job(self, values: Values, caller: Caller, /) -> Values:
        """Describe a job."""
        ...

    async def list_training_jobs(self, values: Values, caller: Caller, /) -> Values:
        """List jobs: `TrainingJobSummaries`, `NextToken`."""
        ...

    async def stop_training_job(self, values: Values, caller: Caller, /) -> None:
        """Begin to stop a job."""
        ...

    async def update_training_job(self, values: Values, caller: Caller, /) -> Values:
        """Change a job in progress: `TrainingJobArn`."""
        ...

    async def delete_training_job(self, values: Values, caller: Caller, /) -> None:
        """Remove an ended job."""
        ...

    async def list_training_jobs_for_hyper_parameter_tuning_job(self, values: Values, caller: Caller, /) -> Values:
        """List the jobs of a tuning job."""
        ...

    async def search(self, values: Values, caller: Caller, /) -> Values:
        """Search: `Results`, `NextToken`."""
        ...

    async def add_tags(self, values: Values, caller: Caller, /) -> Values:
        """Add tags to a job: all its `Tags`."""
        ...

    async def list_tags(self, values: Values, caller: Caller, /) -> Values:
        """List the tags of a job: `Tags`, `NextToken`."""
        ...

    async def delete_tags(self, values: Values, caller: Caller, /) -> Values:
        """Remove tags of a job."""
        ...


def sagemaker_api(service: Training) -> Api:
    """Give the SageMaker API over a training service."""
    model = load_service("sagemaker", (("TrainingInstanceType", LOCAL_INSTANCE_TYPES),))
    return Api(
        name="sagemaker",
        target_prefix=model.target_prefix,
        model=model,
        operations={
            "CreateTrainingJob": service.create_training_job,
            "DescribeTrainingJob": service.describe_training_job,
            "ListTrainingJobs": service.list_training_jobs,
            "StopTrainingJob": service.stop_training_job,
            "UpdateTrainingJob": service.update_training_job,
            "DeleteTrainingJob": service.delete_training_job,
            "ListTrainingJobsForHyperParameterTuningJob": service.list_training_jobs_for_hyper_parameter_tuning_job,
            "Search": service.search,
            "AddTags": service.add_tags,
            "ListTags": service.list_tags,
            "DeleteTags": service.delete_tags,
        },
    )
