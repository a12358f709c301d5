"""The training service: what the operations of the API mean. Members are the API's, times Unix seconds.

Inputs have passed the service model; what the model cannot say is checked in `spec`. Refusals have AWS's codes and, as
far as they are known, AWS's texts (§2.4): clients compare them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from treadle.errors import ImageError, ServiceError
from treadle.home import DEFAULT_ACCOUNT, DEFAULT_REGION
from treadle.seams import Capacity, JobStore, Json, Objects
from treadle.training import describe, instances, limits, lists, spec, tags, update
from treadle.training.file_systems import FileSystems
from treadle.training.hosts import host_names
from treadle.training.job import Event, InterruptRequested, Job, Tagged, Updated, created, decode
from treadle.training.places import Found
from treadle.training.search import search

__all__ = ["Caller", "Images", "Jobs", "TrainingService"]


class Caller(Protocol):
    """Who calls; `api.operations.Caller`."""

    @property
    def account(self) -> str:
        """The account, twelve digits."""
        ...

    @property
    def region(self) -> str:
        """The region that the request was signed for."""
        ...


class Images(Protocol):
    """Has training images; `images.ImageRegistry`. `at_hand` is quick; `resolve` may ask others, so it has a thread."""

    def at_hand(
        self,
        reference: str,
        entrypoint: Sequence[str] = (),
        arguments: Sequence[str] = (),
        hyperparameters: Mapping[str, str] | None = None,
    ) -> tuple[dict[str, Json], list[str]] | None:
        """`resolve` an image that is registered or built in; None for others. Raises `ImageError`."""
        ...

    def resolve(
        self,
        reference: str,
        entrypoint: Sequence[str] = (),
        arguments: Sequence[str] = (),
        hyperparameters: Mapping[str, str] | None = None,
    ) -> tuple[dict[str, Json], list[str]]:
        """Give what runs a TrainingImage, as `HostSpec.image` has it, and the argv. Raises `ImageError`.

        `metric_definitions` of the image are those of its jobs.
        """
        ...


class Jobs(Protocol):
    """Drives jobs; `supervisor.Supervisor`."""

    async def add(self, job: Job) -> bool:
        """Take a new job; False when its name is taken."""
        ...

    async def find(self, name: str) -> Job | None:
        """Give a job as it is now, or None."""
        ...

    async def request_stop(self, name: str) -> None:
        """Begin to stop a job."""
        ...

    async def edit(self, name: str, decide: Callable[[Job], Event]) -> Job | None:
        """Apply the event that `decide` makes of a job; None when there is none. What `decide` raises is raised."""
        ...

    async def delete(self, name: str) -> bool:
        """Remove an ended job with its logs; False when there is none."""
        ...

    async def prune(self, *, dry: bool) -> Sequence[Path]:
        """Remove what belongs to no job any more; give what that is."""
        ...

    async def capacity(self) -> Capacity:
        """Give what the machines have."""
        ...


class TrainingService:
    """The operations. `jobs` is read for lists; everything that changes a job goes through the supervisor.

    `room` raises `ServiceError` while there is too little room for a new job.
    """

    def __init__(
        self,
        *,
        jobs: JobStore,
        objects: Objects,
        images: Images,
        file_systems: FileSystems,
        supervisor: Jobs,
        clock: Callable[[], float] = time.time,
        room: Callable[[], None] = lambda: None,
        region: str = DEFAULT_REGION,
        account: str = DEFAULT_ACCOUNT,
    ) -> None:
        self._jobs = jobs
        self._objects = objects
        self._images = images
        self._file_systems = file_systems
        self._supervisor = supervisor
        self._clock = clock
        self._room = room
        self._region = region
        self._account = account

    async def create_training_job(self, values: dict[str, Any], caller: Caller) -> dict[str, Any]:
        """CreateTrainingJob. Everything that can be refused is refused here, before a job exists."""
        name = values["TrainingJobName"]
        account, region = caller.account or self._account, caller.region or self._region
        arn = f"arn:aws:sagemaker:{region}:{account}:training-job/{name}"
        members = spec.members(values)
        spec.check(values, members)
        limits.check(values)
        tags.check(values.get("Tags") or ())
        request = spec.with_defaults(values)
        capacity = await self._supervisor.capacity()
        cluster = capacity.machines is not None
        ways = instances.ways(request, capacity)
        if cluster:
            spec.check_on_cluster(request, max(len(host_names(each.request)) for each in ways))
        # Of several ways the log tells when one has been selected.
        notices = () if ways[0].selected else ways[0].notices
        image, command = await self._prepared(request, members, region)
        noted = [note] if (note := image.pop("note", "")) else []
        job = created(
            name=name,
            arn=arn,
            request=request,
            image=image,
            command=command,
            at=self._clock(),
            notes=(*notices, *noted, *spec.notices(members, cluster=cluster)),
        )
        if not await self._supervisor.add(job):
            raise _taken(arn)
        return {"TrainingJobArn": arn}

    async def _prepared(
        self, request: dict[str, Json], members: Found, region: str
    ) -> tuple[dict[str, Json], list[str]]:
        """Look at disk, image and data, and give what runs the image; its `note` is for the log.

        The request gets the metrics that its image always has.
        """
        self._room()
        algorithm = request["AlgorithmSpecification"]
        image, command = await self._resolved(algorithm, request.get("HyperParameters") or {})
        if definitions := image.pop("metric_definitions", None):
            if algorithm.get("MetricDefinitions"):
                raise ServiceError(
                    "ValidationException",
                    "You can't override the metric definitions for Amazon SageMaker algorithms. Please retry the "
                    "request without specifying metric definitions.",
                )
            request["AlgorithmSpecification"] = {**algorithm, "MetricDefinitions": definitions}
        spec.check_data(request, members, self._objects, region)
        self._file_systems.check(request)
        return image, command

    async def _resolved(
        self, algorithm: Mapping[str, Json], hyperparameters: Mapping[str, str]
    ) -> tuple[dict[str, Json], list[str]]:
        asked = (
            algorithm["TrainingImage"],
            algorithm.get("ContainerEntrypoint") or (),
            algorithm.get("ContainerArguments") or (),
            hyperparameters,
        )
        try:
            # To look at a few small files takes less time than to hand that to a thread; an engine has to be asked.
            found = self._images.at_hand(*asked)
            return found if found is not None else await asyncio.to_thread(self._images.resolve, *asked)
        except ImageError as error:
            # AWS's sentence, then what is the matter here.
            raise ServiceError(
                "ValidationException",
                "Invalid training image. Please provide a valid Amazon Elastic Container Registry path of the Docker "
                f"image to run. {error.message} {error.hint}".rstrip(),
            ) from error

    async def describe_training_job(self, values: dict[str, Any], _caller: Caller) -> dict[str, Any]:
        """DescribeTrainingJob."""
        return describe.describe(await self._job(values["TrainingJobName"]))

    async def stop_training_job(self, values: dict[str, Any], _caller: Caller) -> None:
        """StopTrainingJob. A job that is stopping already stays so; one that has ended is refused."""
        job = await self._job(values["TrainingJobName"])
        if job.finished:
            raise _in_status(job)
        await self._supervisor.request_stop(job.name)

    async def update_training_job(self, values: dict[str, Any], _caller: Caller) -> dict[str, Any]:
        """UpdateTrainingJob, while the job is in progress. A warm pool that is gone cannot be kept any longer."""

        def decide(job: Job) -> Event:
            if job.status != "InProgress":
                raise _in_status(job)
            return Updated(self._clock(), update.members(job.request, values))

        return {"TrainingJobArn": (await self._edit(values["TrainingJobName"], decide)).arn}

    async def delete_training_job(self, values: dict[str, Any], _caller: Caller) -> None:
        """DeleteTrainingJob: an ended job and its logs are gone, its name is free; its artifacts stay."""
        job = await self._job(values["TrainingJobName"])
        if not job.finished:
            # The code is the one that the model names for this operation, the text that of StopTrainingJob [guess].
            raise _in_status(job, code="ResourceInUse")
        if not await self._supervisor.delete(job.name):
            raise _not_found()

    async def list_training_jobs(self, values: dict[str, Any], _caller: Caller) -> dict[str, Any]:
        """ListTrainingJobs."""
        return lists.list_jobs(await self._jobs.all(), values)

    async def list_training_jobs_for_hyper_parameter_tuning_job(
        self, values: dict[str, Any], _caller: Caller
    ) -> dict[str, Any]:
        """ListTrainingJobsForHyperParameterTuningJob: there are no tuning jobs here, and AWS says it like this."""
        name = values["HyperParameterTuningJobName"]
        raise ServiceError(
            "ResourceNotFound", f"Amazon SageMaker can't find a tuning job called {name}. Type another name."
        )

    async def search(self, values: dict[str, Any], _caller: Caller) -> dict[str, Any]:
        """Search, over training jobs."""
        stored = await self._jobs.all() if values["Resource"] == "TrainingJob" else ()
        # Every job is looked at, which takes its time where there are many.
        return await asyncio.to_thread(lambda: search(map(decode, stored), values))

    # -- tags ---------------------------------------------------------------------------------------------------------

    async def add_tags(self, values: dict[str, Any], _caller: Caller) -> dict[str, Any]:
        """AddTags; gives all tags of the job."""
        job = await self._tagged(values, lambda job: tags.added(job.tags, values["Tags"]))
        return {"Tags": tags.as_list(job.tags)}

    async def list_tags(self, values: dict[str, Any], _caller: Caller) -> dict[str, Any]:
        """ListTags."""
        arn = values["ResourceArn"]
        return tags.page(_of(arn, await self._job(tags.job_name(arn))).tags, values)

    async def delete_tags(self, values: dict[str, Any], _caller: Caller) -> dict[str, Any]:
        """DeleteTags."""
        await self._tagged(values, lambda job: tags.removed(job.tags, values["TagKeys"]))
        return {}

    async def _tagged(self, values: Mapping[str, Any], change: Callable[[Job], dict[str, str]]) -> Job:
        arn = values["ResourceArn"]

        def decide(job: Job) -> Event:
            return Tagged(self._clock(), change(_of(arn, job)))

        return await self._edit(tags.job_name(arn), decide)

    # -- what AWS does by itself --------------------------------------------------------------------------------------

    async def interrupt_training_job(self, values: dict[str, Any], _caller: Caller) -> dict[str, Any]:
        """Take the instances of a managed spot job away, as AWS does when it needs them (§1.9)."""

        def decide(job: Job) -> Event:
            if job.status != "InProgress":
                raise _in_status(job)
            if not job.request["EnableManagedSpotTraining"]:
                raise _invalid(f"{job.name} is not a managed spot job: EnableManagedSpotTraining is not set.")
            if not job.hosts:
                raise _invalid(f"{job.name} has no instances that could be taken away; it is {job.secondary_status}.")
            return InterruptRequested(self._clock())

        job = await self._edit(values["TrainingJobName"], decide)
        return {"TrainingJobArn": job.arn}

    async def prune_training_jobs(self, values: dict[str, Any], _caller: Caller) -> dict[str, Any]:
        """Delete the jobs that ended long ago, their logs, and what belongs to no job any more; artifacts stay."""
        dry = values.get("DryRun", False)
        before = self._clock() - values["OlderThanSeconds"]
        old = [each.name for each in await self._jobs.all() if each.modified_at < before and decode(each).finished]
        gone = old if dry else [name for name in old if await self._supervisor.delete(name)]
        left = await self._supervisor.prune(dry=dry)
        return {"TrainingJobNames": gone, "Leftovers": [str(each) for each in left]}

    # -- small things -------------------------------------------------------------------------------------------------

    async def _job(self, name: str) -> Job:
        job = await self._supervisor.find(name)
        if job is None:
            raise _not_found()
        return job

    async def _edit(self, name: str, decide: Callable[[Job], Event]) -> Job:
        job = await self._supervisor.edit(name, decide)
        if job is None:
            raise _not_found()
        return job


def _invalid(message: str) -> ServiceError:
    return ServiceError("ValidationException", message)


def _not_found() -> ServiceError:
    # Clients take this very text for "there is no such job".
    return _invalid("Requested resource not found.")


def _of(arn: str, job: Job) -> Job:
    """Give the job, if it is the one that the ARN names in whole: region and account, too. Raises `ServiceError`."""
    if job.arn != arn:
        raise _not_found()
    return job


def _in_status(job: Job, code: str = "ValidationException") -> ServiceError:
    return ServiceError(code, f"The request was rejected because the training job is in status {job.status}.")


def _taken(arn: str) -> ServiceError:
    return ServiceError(
        "ResourceInUse",
        "Training job names must be unique within an AWS account and region, and a training job with this name "
        f"already exists ({arn})",
    )
