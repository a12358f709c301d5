"""GPUs of the machine, asked of a container engine in the way that it offers.

CDI (the Container Device Interface: `nvidia.com/gpu=N`) where a specification of NVIDIA's stands, else Docker's own
device requests where its NVIDIA runtime is registered. Nothing in between: an engine that would take the request and
not heed it (Podman before 5) is refused, because a program that was promised GPUs must not train without.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from treadle.errors import LaunchError
from treadle.launchers.engine import Engine
from treadle.launchers.gpus import Gpu
from treadle.seams import Json

__all__ = ["request"]

_KIND: Final = "nvidia.com/gpu"
# Where specifications are when the engine does not say (Podman); cncf-tags/container-device-interface, SPEC.md.
_CDI: Final = ("/etc/cdi", "/var/run/cdi")
_PODMAN: Final = 5


def request(its: Engine, numbers: Sequence[int], machine: Sequence[Gpu], root: Path = Path("/")) -> dict[str, Json]:
    """Give members of HostConfig that ask for these GPUs, {} for none. Raises `LaunchError`. `root` is for tests."""
    if not numbers:
        return {}
    missing = sorted(set(numbers) - {each.number for each in machine})
    if missing:
        raise LaunchError(f"This machine has no GPU {', '.join(map(str, missing))} any more.")
    if its.podman and _major(its.version) < _PODMAN:
        raise LaunchError(
            f"{its.name} does not give GPUs to containers that are made through its API.",
            hint="Use Podman 5 or newer, or Docker.",
        )
    if _described(its.information.get("CDISpecDirs") or (_CDI if its.podman else ()), root):
        return _asked("cdi", [f"{_KIND}={number}" for number in numbers])
    if not its.podman and "nvidia" in (its.information.get("Runtimes") or {}):
        named = {each.number: each.uuid for each in machine}
        return _asked("nvidia", [named[number] or str(number) for number in numbers])
    raise LaunchError(
        f"{its.name} has no GPUs to give to containers.",
        hint="Install NVIDIA's container toolkit, then `sudo nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml` "
        "or, for Docker, `sudo nvidia-ctk runtime configure --runtime=docker`.",
    )


def _asked(driver: str, devices: Sequence[str]) -> dict[str, Json]:
    capabilities = [["gpu"]] if driver == "nvidia" else []
    asked = {"Driver": driver, "Count": 0, "DeviceIDs": list(devices), "Capabilities": capabilities, "Options": {}}
    return {"DeviceRequests": [asked]}


def _described(directories: Sequence[str], root: Path) -> bool:
    """Tell whether a specification of NVIDIA's GPUs is in one of the directories."""
    for directory in directories:
        for file in (root / directory.lstrip("/")).glob("*"):
            if file.suffix in {".json", ".yaml", ".yml"} and _KIND in file.read_text(errors="replace"):
                return True
    return False


def _major(version: str) -> int:
    first = version.partition(".")[0]
    return int(first) if first.isdigit() else 0
