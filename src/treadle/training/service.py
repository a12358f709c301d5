"""The training service: what the operations of the API mean. Members are the API's, times Unix seconds.

Inputs have passed the service model; what the model cannot say is checked in `spec`. Refusals have AWS's codes and, as
far as they are known, AWS's texts (§2.4): clients compare them.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Protocol

import msgspec

from treadle.errors import ImageError, ServiceError
from treadle.home import DEFAULT_ACCOUNT, DEFAULT_REGION
from treadle.seams import Capacity, JobRecord, JobStore, Json, Objects
from treadle.training import describe, instances, spec
from treadle.training.job import Job, created, decode

__all__ = ["Caller", "Images", "Jobs", "TrainingService"]

_PAGE: Final = 10


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
    """Knows training images; `images.ImageRegistry`. Called in threads."""

    def resolve(
        self, reference: str, entrypoint: Sequence[str] = (), arguments: Sequence[str] = ()
    ) -> tuple[dict[str, Json], list[str]]:
        """Give what runs a TrainingImage, as `HostSpec.image` has it, and the argv. Raises `ImageError`."""
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

    async def capacity(self) -> Capacity:
        """Give what the machines have."""
        ...


class TrainingService:
    """The operations. `jobs` is read for lists; everything that changes a job goes through the supervisor."""

    def __init__(
        self,
        *,
        jobs: JobStore,
        objects: Objects,
        images: Images,
        supervisor: Jobs,
        clock: Callable[[], float] = time.time,
        region: str = DEFAULT_REGION,
        account: str = DEFAULT_ACCOUNT,
    ) -> None:
        self._jobs = jobs
        self._objects = objects
        self._images = images
        self._supervisor = supervisor
        self._clock = clock
        self._region = region
        self._account = account

    async def create_training_job(self, values: dict[str, Any], caller: Caller) -> dict[str, Any]:
        """CreateTrainingJob. Everything that can be refused is refused here, before a job exists."""
        name = values["TrainingJobName"]
        account, region = caller.account or self._account, caller.region or self._region
        arn = f"arn:aws:sagemaker:{region}:{account}:training-job/{name}"
        spec.check(values)
        if await self._supervisor.find(name):
            raise _taken(arn)
        request = spec.with_defaults(values)
        need = instances.need(request["ResourceConfig"]["InstanceType"], await self._supervisor.capacity())
        image, command = await asyncio.to_thread(self._resolve, request["AlgorithmSpecification"])
        await asyncio.to_thread(spec.check_data, request, self._objects, region)
        job = created(
            name=name,
            arn=arn,
            request=request,
            image=image,
            command=command,
            at=self._clock(),
            notes=(*need.notices, *spec.notices(request)),
        )
        if not await self._supervisor.add(job):
            raise _taken(arn)
        return {"TrainingJobArn": arn}

    def _resolve(self, algorithm: Mapping[str, Json]) -> tuple[dict[str, Json], list[str]]:
        try:
            return self._images.resolve(
                algorithm["TrainingImage"],
                algorithm.get("ContainerEntrypoint") or (),
                algorithm.get("ContainerArguments") or (),
            )
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
            raise ServiceError(
                "ValidationException",
                f"The request was rejected because the training job is in status {job.status}.",
            )
        await self._supervisor.request_stop(job.name)

    async def _job(self, name: str) -> Job:
        job = await self._supervisor.find(name)
        if job is None:
            # Clients take this very text for "there is no such job".
            raise ServiceError("ValidationException", "Requested resource not found.")
        return job

    async def list_training_jobs(self, values: dict[str, Any], _caller: Caller) -> dict[str, Any]:
        """ListTrainingJobs. Filters come before paging, so that only the last page is short.

        Newest first unless asked otherwise [guess]: the documentation says both "Ascending" and "most current first".
        """
        order = _Order(values.get("SortBy", "CreationTime"), values.get("SortOrder", "Descending"))
        after = _read_token(values["NextToken"], order) if values.get("NextToken") else None
        found = order.sorted(each for each in await self._jobs.all() if _wanted(each, values))
        if after is not None:
            found = [each for each in found if order.follows(each, after)]
        size = values.get("MaxResults", _PAGE)
        page = found[:size]
        answer: dict[str, Any] = {"TrainingJobSummaries": [describe.summary(decode(each)) for each in page]}
        if len(found) > size:
            answer["NextToken"] = _token(order, order.key(page[-1]))
        return answer


def _taken(arn: str) -> ServiceError:
    return ServiceError(
        "ResourceInUse",
        "Training job names must be unique within an AWS account and region, and a training job with this name "
        f"already exists ({arn})",
    )


# ---------------------------------------------------------------------------------------------------------------------
# Lists
# ---------------------------------------------------------------------------------------------------------------------

_Key = tuple[float | str, str]


class _Order(msgspec.Struct, frozen=True):
    """How a list is sorted; equals are sorted by name."""

    by: str
    order: str

    def key(self, record: JobRecord) -> _Key:
        values: Mapping[str, float | str] = {"Name": record.name, "Status": record.status}
        return values.get(self.by, record.created_at), record.name

    def sorted(self, records: Iterable[JobRecord]) -> list[JobRecord]:
        return sorted(records, key=self.key, reverse=self.order == "Descending")

    def follows(self, record: JobRecord, after: _Key) -> bool:
        """Tell whether a record comes behind a place in the list; who had the place may be gone or elsewhere."""
        return self.key(record) < after if self.order == "Descending" else self.key(record) > after


def _wanted(record: JobRecord, values: Mapping[str, Any]) -> bool:
    return (
        record.created_at > values.get("CreationTimeAfter", float("-inf"))
        and record.created_at < values.get("CreationTimeBefore", float("inf"))
        and record.modified_at > values.get("LastModifiedTimeAfter", float("-inf"))
        and record.modified_at < values.get("LastModifiedTimeBefore", float("inf"))
        and values.get("NameContains", "") in record.name
        and values.get("StatusEquals", record.status) == record.status
        # There are neither warm pools nor training plans here, so no job belongs to one.
        and "WarmPoolStatusEquals" not in values
        and "TrainingPlanArnEquals" not in values
    )


class _Token(msgspec.Struct, frozen=True, array_like=True):
    order: _Order
    after: tuple[float | str, str]


def _token(order: _Order, after: _Key) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(_Token(order, after))).decode("ascii")


def _read_token(text: str, order: _Order) -> _Key:
    try:
        token = msgspec.json.decode(base64.b64decode(text, altchars=b"-_", validate=True), type=_Token)
    except (binascii.Error, ValueError, msgspec.DecodeError):
        token = None
    if token is None or token.order != order or isinstance(token.after[0], str) != (order.by != "CreationTime"):
        raise ServiceError("ValidationException", "The given NextToken is not one of this list.")
    return token.after
