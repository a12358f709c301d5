"""What the SageMaker SDKs ask of IAM before they train: whether there is such a role, and what it may do.

Roles are names here: every one is there, lets SageMaker assume it, and may do everything.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Final
from urllib.parse import quote

from treadle.aws.shapes import load_service
from treadle.training.api.operations import Api, Caller, Values
from treadle.training.keyring import role_id

__all__ = ["iam_api"]

_TRUST: Final = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}


def iam_api() -> Api:
    """Give the IAM API. It speaks AWS Query, so requests find it by the scope of their signature."""
    return Api(
        name="iam",
        target_prefix="",
        model=load_service("iam"),
        operations={"GetRole": _get_role, "SimulatePrincipalPolicy": _simulate},
    )


async def _get_role(values: Values, caller: Caller) -> Values:
    name = values["RoleName"]
    role = {
        "Path": "/",
        "RoleName": name,
        "RoleId": role_id(name),
        "Arn": f"arn:aws:iam::{caller.account}:role/{name}",
        # Nobody made it, so there is no true answer; but clients need one.
        "CreateDate": 0,
        "AssumeRolePolicyDocument": quote(json.dumps(_TRUST), safe=""),
        "MaxSessionDuration": 43_200,
    }
    return {"Role": role}


async def _simulate(values: Values, _caller: Caller) -> Values:
    return {"EvaluationResults": list(_results(values)), "IsTruncated": False}


def _results(values: Values) -> Iterator[Values]:
    for action in values["ActionNames"]:
        for resource in values.get("ResourceArns") or ("*",):
            yield {
                "EvalActionName": action,
                "EvalResourceName": resource,
                "EvalDecision": "allowed",
                "MatchedStatements": [],
                "MissingContextValues": [],
            }
