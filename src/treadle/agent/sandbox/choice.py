"""Which sandbox a program gets."""

from __future__ import annotations

from dataclasses import dataclass

from treadle.agent.sandbox.entrance import Entrance
from treadle.agent.sandbox.namespace import NamespaceSandbox
from treadle.agent.sandbox.plain import PlainSandbox
from treadle.errors import LaunchError
from treadle.seams import Sandbox

__all__ = ["Choice", "choose"]

_BARE = "nothing is hidden from the program; it finds its /opt/ml through SAGEMAKER_BASE_DIR"


@dataclass(frozen=True, slots=True)
class Choice:
    """A sandbox and what the log of the job should say of it."""

    sandbox: Sandbox
    warning: str = ""


def choose(name: str, entrance: Entrance | None = None) -> Choice:
    """Choose by name: `namespace`, `plain`, or `auto` (namespace where it works). Raises `LaunchError`.

    `entrance` is one that is up, with the trial of `auto`.
    """
    if name == "plain":
        return Choice(PlainSandbox(entrance), _BARE)
    if name not in {"auto", "namespace"}:
        raise LaunchError(f'This agent has no sandbox "{name}".', hint="Choose one of: auto, namespace, plain.")
    namespaces = NamespaceSandbox(entrance)
    problem = namespaces.probe()
    if not problem:
        return Choice(namespaces)
    if name == "namespace":
        raise LaunchError(f'The sandbox "namespace" does not work on this machine: {problem}.')
    return Choice(PlainSandbox(entrance), f"{_BARE}; namespaces do not work on this machine: {problem}")
