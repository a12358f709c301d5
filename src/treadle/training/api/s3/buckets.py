"""Buckets: list, make, look, remove."""

from __future__ import annotations

from treadle.errors import BucketNotFound
from treadle.training.api.s3 import xml
from treadle.training.api.s3.answers import Answer, of_xml
from treadle.training.api.s3.errors import refusal
from treadle.training.api.s3.headers import iso_date, refuse_unsupported
from treadle.training.api.s3.listing import token_of, token_read, whole_number
from treadle.training.api.s3.request import S3Request
from treadle.training.api.s3.store import Store

__all__ = [
    "create_bucket",
    "delete_bucket",
    "get_bucket_location",
    "get_bucket_versioning",
    "head_bucket",
    "list_buckets",
]

_FIRST_REGION = "us-east-1"


def list_buckets(store: Store, request: S3Request) -> Answer:
    """ListBuckets. Pages have no end unless one is asked for."""
    query = request.query
    prefix = query.get("prefix", "")
    limit = whole_number(query, "max-buckets", 10_000)
    after = token_read(query.get("continuation-token", ""))[0]
    names = [name for name in store.objects.buckets() if name.startswith(prefix) and name > after]
    if query.get("bucket-region", store.region) != store.region:
        names = []
    page = []
    for name in names[:limit]:
        try:
            made_at = iso_date(store.objects.bucket_made_at(name))
        except BucketNotFound:  # gone since it was seen
            continue
        children = [xml.element("Name", name), xml.element("CreationDate", made_at)]
        if query.keys() & {"max-buckets", "bucket-region", "continuation-token", "prefix"}:
            children.append(xml.element("BucketRegion", store.region))
        page.append(xml.element("Bucket", children))
    content = [store.owner(), xml.element("Buckets", page)]
    if len(names) > limit and limit:
        content.append(xml.element("ContinuationToken", token_of(names[limit - 1])))
    if prefix:
        content.append(xml.element("Prefix", prefix))
    return of_xml("ListAllMyBucketsResult", content)


def create_bucket(store: Store, request: S3Request, body: bytes) -> Answer:
    """CreateBucket. In us-east-1 one's own bucket can be made again, elsewhere it cannot, as on AWS."""
    refuse_unsupported(request)
    wanted = (xml.read(body, "CreateBucketConfiguration").find("LocationConstraint") or "").strip() if body else ""
    if (wanted or _FIRST_REGION) != store.region:
        message = f"The {wanted or 'unspecified'} location constraint is incompatible for the region specific endpoint"
        raise refusal("IllegalLocationConstraintException", f"{message} this request was sent to.")
    if store.objects.has_bucket(request.bucket) and store.region != _FIRST_REGION:
        raise refusal("BucketAlreadyOwnedByYou", BucketName=request.bucket)
    store.objects.create_bucket(request.bucket)
    return Answer(200, {"location": f"/{request.bucket}"})


def head_bucket(store: Store, request: S3Request) -> Answer:
    """HeadBucket."""
    store.objects.bucket_made_at(request.bucket)
    return Answer(200, {"x-amz-bucket-region": store.region, "content-type": "application/xml"})


def get_bucket_location(store: Store, request: S3Request) -> Answer:
    """GetBucketLocation: us-east-1 is told by saying nothing."""
    store.objects.bucket_made_at(request.bucket)
    return of_xml("LocationConstraint", [] if store.region == _FIRST_REGION else [store.region])


def get_bucket_versioning(store: Store, request: S3Request) -> Answer:
    """GetBucketVersioning: it has never been switched on, which is told by saying nothing."""
    store.objects.bucket_made_at(request.bucket)
    return of_xml("VersioningConfiguration", [])


def delete_bucket(store: Store, request: S3Request) -> Answer:
    """DeleteBucket. Uploads that nobody completed go with it."""
    store.objects.delete_bucket(request.bucket)
    store.uploads.abort_all(request.bucket)
    return Answer(204)
