"""The S3 endpoint: the objects of a home as Amazon S3 shows objects.

A request goes through these steps, each in a module of its own:

1. `request`: bucket, key, query and headers are read; `gate` verifies the signature, in S3's words;
2. `routes` finds the operation, and names the one that is not here;
3. the operation (`buckets`, `listing`, `reading`, `writing`, `uploading`) decides what the headers ask for (`checks`,
   `conditions`, `headers`), works on the objects in another thread, and gives an answer; bodies come in by `intake`;
4. `app` sends the answer, an object's bytes piece by piece.

What is written is visible only when it is whole and verified. What is not implemented says so by name.
"""

from treadle.training.api.s3.app import s3_app
from treadle.training.api.s3.request import speaks_s3
from treadle.training.api.s3.store import Limits

__all__ = ["Limits", "s3_app", "speaks_s3"]
