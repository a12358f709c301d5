"""The one rule that tells which requests certainly change nothing, so that they may be sent again without harm.

It errs on the side of "may change something": a POST counts as a read only when AWS's naming says so.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["AMZ_TARGET", "certainly_reads"]

AMZ_TARGET: Final = "X-Amz-Target"

# RFC 9110 section 9.2.1, and QUERY of OpenAPI 3.2.
_SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "QUERY"})

# The verb must end there: `GetEndpoint` and `Scan` are reads, `Getaway` and `ListenToMe` would not be.
_READING_VERB: Final = re.compile(r"(?:Describe|List|Get|BatchGet|BatchDescribe|Search|Query|Scan)(?![a-z])")


def certainly_reads(method: str, amz_target: str | None) -> bool:
    """Tell whether a request certainly changes nothing; `amz_target` is its X-Amz-Target, `SageMaker.ListModels`."""
    if method in _SAFE_METHODS:
        return True
    if method != "POST" or not amz_target:
        return False
    return _READING_VERB.match(amz_target.rpartition(".")[2]) is not None
