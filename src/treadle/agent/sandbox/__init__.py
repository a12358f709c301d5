"""How the training program is isolated on its host."""

from __future__ import annotations

from dataclasses import dataclass

from treadle.agent.sandbox.namespace import NamespaceSandbox
from treadle.agent.sandbox.plain import PlainSandbox
from treadle.errors import LaunchError
from treadle.seams import Sandbox

_BARE = "nothing is hidden from the program; it finds its /opt/ml through SAGEMAKER_BASE_DIR"

__all__ = ["Choice", "NamespaceSandbox", "PlainSandbox", "choose"]


@dataclass(frozen=True, slots=True)
class Choice:
    """A sandbox and what the log of the job should say of it."""

    sandbox: Sandbox
    warning: str = ""


def choose(name: str) -> Choice:
    """Choose by name: `namespace`, `plain`, or `auto` (namespace where it works). Raises `LaunchError`."""
    if name == "plain":
        return Choice(PlainSandbox(), _BARE)
    if name not in {"auto", "namespace"}:
        raise LaunchError(f'This agent has no sandbox "{name}".', hint="Choose one of: auto, namespace, plain.")
    problem = NamespaceSandbox().probe()
    if not problem:
        return Choice(NamespaceSandbox())
    if name == "namespace":
        raise LaunchError(f'The sandbox "namespace" does not work on this machine: {problem}.')
    return Choice(PlainSandbox(), f"{_BARE}; namespaces do not work on this machine: {problem}")
