"""How the training program is isolated on its host."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from treadle.agent.sandbox.namespace import NamespaceSandbox
from treadle.agent.sandbox.plain import PlainSandbox
from treadle.errors import LaunchError
from treadle.seams import Sandbox

_BARE = "nothing is hidden from the program; it finds its /opt/ml through SAGEMAKER_BASE_DIR"

__all__ = ["Choice", "NamespaceSandbox", "PlainSandbox", "Probed", "choose", "probe"]


@dataclass(frozen=True, slots=True)
class Choice:
    """A sandbox and what the log of the job should say of it."""

    sandbox: Sandbox
    warning: str = ""


def probe() -> str:
    """Say why the namespace sandbox does not work here, "" when it does."""
    return NamespaceSandbox().probe()


class Probed:
    """A probe of the namespace sandbox that goes on in a thread; to call it is to wait for what it found.

    It takes as long as the agent's imports and its claim, so the agent lets it begin before them.
    """

    def __init__(self) -> None:
        self._problem = ""
        self._thread = threading.Thread(target=self._probe, name="probe", daemon=True)
        self._thread.start()

    def _probe(self) -> None:
        self._problem = probe()

    def __call__(self) -> str:
        """Give "" when the sandbox works here, else why not."""
        self._thread.join()
        return self._problem


def choose(name: str, probe: Callable[[], str] = probe) -> Choice:
    """Choose by name: `namespace`, `plain`, or `auto` (namespace where it works). Raises `LaunchError`."""
    if name == "plain":
        return Choice(PlainSandbox(), _BARE)
    if name not in {"auto", "namespace"}:
        raise LaunchError(f'This agent has no sandbox "{name}".', hint="Choose one of: auto, namespace, plain.")
    problem = probe()
    if not problem:
        return Choice(NamespaceSandbox())
    if name == "namespace":
        raise LaunchError(f'The sandbox "namespace" does not work on this machine: {problem}.')
    return Choice(PlainSandbox(), f"{_BARE}; namespaces do not work on this machine: {problem}")
