"""The launcher's clerk: a Ray driver that does what it is asked for on standard input, `python -m … ADDRESS NAMESPACE`.

A line of JSON is a question, `{"id": 1, "call": "nodes", "with": {…}}`; a line is its answer, `{"id": 1, "value": …}`
or `{"id": 1, "problem": "…"}`. The first line says that it is connected, or why not. Questions are answered side by
side, in threads, because Ray's calls block. The end of standard input ends the clerk.

Names: a placement group `NAMESPACE/JOB/ATTEMPT`, its actors `JOB/ATTEMPT/HOST` in the namespace. Both are detached.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TextIO

from ray.util import get_placement_group, placement_group, placement_group_table, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

import ray
from ray import exceptions
from treadle.launchers.ray.host import HostActor

# Each host that is looked at on a node that hangs takes one for a while.
_THREADS = 128
# A group for which there is room is ready after some 20 ms.
_READY = 0.3
# A node has an actor's process ready after a second; with a cold disk and a crowd of them it takes longer.
_START = 60.0
_ALIVE = 10.0
_END = 45.0
_REACHABLE = 5.0


class ProblemError(Exception):
    """What cannot be done, as a sentence for the user."""


class Clerk:
    """Answers questions; each public method is one."""

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace
        self._actors: dict[str, Any] = {}

    def nodes(self) -> list[dict[str, Any]]:
        """Give the nodes that are alive: their addresses, and what they offer."""
        return [
            {
                "address": each["NodeManagerAddress"],
                "cpus": each["Resources"].get("CPU", 0.0),
                "memory": int(each["Resources"].get("memory", 0)),
                "gpus": int(each["Resources"].get("GPU", 0)),
            }
            for each in ray.nodes()
            if each["Alive"]
        ]

    def reserve(self, job: str, attempt: int, bundles: list[dict[str, float]], strategy: str) -> list[str] | None:
        """Give the addresses of the nodes that are kept for the bundles, None while there is no room."""
        wanted = f"{self._namespace}/{job}/{attempt}"
        for name in self._groups(job):
            if name != wanted:
                _remove(name)
        deadline = time.monotonic() + _READY
        group = _group(wanted)
        while group is not None and (_strategy(group), group.bundle_specs) != (strategy, bundles):
            # It was asked for when the cluster was another, or for another of the ways in which the job can be placed.
            remove_placement_group(group)
            if time.monotonic() > deadline:
                return None
            time.sleep(0.01)
            group = _group(wanted)
        if group is None:
            group = placement_group(bundles, strategy=strategy, name=wanted, lifetime="detached")
        while (table := placement_group_table(group))["state"] != "CREATED":
            if time.monotonic() > deadline:
                return None
            time.sleep(0.01)
        addresses = {each["NodeID"]: each["NodeManagerAddress"] for each in ray.nodes()}
        placed = table["bundles_to_node_id"]
        return [addresses[placed[number]] for number in range(len(bundles))]

    def release(self, job: str) -> None:
        """Remove the groups of a job, and with them its actors."""
        for name in self._groups(job):
            _remove(name)

    def reserved(self) -> list[tuple[str, int]]:
        """Give job and attempt of all groups."""
        split = (name.split("/") for name in self._groups())
        return [(job, int(attempt)) for _, job, attempt in split]

    def launch(self, job: str, attempt: int, host: str, number: int, given: str, version: str) -> None:
        """Start an actor in a bundle of the attempt's group, and the agent in it. Raises `ProblemError`."""
        name = f"{job}/{attempt}/{host}"
        group = _group(f"{self._namespace}/{job}/{attempt}")
        if group is None:
            raise ProblemError("the room that was kept for it is gone")
        bundle = group.bundle_specs[number]
        actor = (
            ray.remote(HostActor)
            .options(
                name=name,
                lifetime="detached",
                num_cpus=bundle.get("CPU", 0),
                num_gpus=bundle.get("GPU", 0),
                memory=bundle.get("memory") or None,
                max_restarts=0,
                scheduling_strategy=PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=number),
            )
            .remote()
        )
        try:
            problem = ray.get(actor.start.remote(given, version, self._namespace), timeout=_START)
        except exceptions.GetTimeoutError:
            ray.kill(actor)
            raise ProblemError(f"its node has not started it within {_START:.0f} s") from None
        except exceptions.RayError as error:
            raise ProblemError(_plainly(error)) from None
        if problem:
            ray.kill(actor)
            raise ProblemError(problem)
        self._actors[name] = actor

    def launch_again(self, name: str) -> None:
        """Let an actor start another agent in the place of the one that it had. Raises `ProblemError`."""
        actor = self._actor(name)
        try:
            problem = "its actor is gone" if actor is None else ray.get(actor.start_again.remote(), timeout=_START)
        except (exceptions.GetTimeoutError, exceptions.RayError) as error:
            problem = _plainly(error)
        if problem:
            raise ProblemError(problem)

    def alive(self, name: str) -> bool:
        """Tell whether the agent of an actor runs; True where nobody can know at this moment."""
        actor = self._actor(name)
        if actor is None:
            return False
        try:
            return bool(ray.get(actor.alive.remote(), timeout=_ALIVE))
        except (exceptions.GetTimeoutError, exceptions.ActorUnavailableError):
            return True
        except exceptions.RayActorError:
            return False

    def kill(self, name: str) -> str:
        """End an agent and its actor; give what the agent had to say. No error when it is gone."""
        actor = self._actor(name)
        if actor is None:
            return ""
        said = ""
        try:
            said = str(ray.get(actor.end.remote(), timeout=_END))
        except exceptions.RayActorError:
            pass  # it has gone before, or cannot be reached: Ray ends it when it can
        except exceptions.GetTimeoutError:
            raise ProblemError(f"it has not ended within {_END:.0f} s") from None
        except exceptions.RayTaskError as error:
            raise ProblemError(_plainly(error)) from None
        finally:
            self._actors.pop(name, None)
            ray.kill(actor)
        return said

    def _actor(self, name: str) -> Any:
        if name not in self._actors:
            try:
                self._actors[name] = ray.get_actor(name)
            except ValueError:
                return None
        return self._actors[name]

    def _groups(self, job: str = "") -> Iterator[str]:
        prefix = f"{self._namespace}/{job}/" if job else f"{self._namespace}/"
        for each in placement_group_table().values():
            if each["name"].startswith(prefix) and each["state"] != "REMOVED":
                yield str(each["name"])


def _group(name: str) -> Any:
    """Give a placement group, None where there is none of that name."""
    try:
        return get_placement_group(name)
    except ValueError:
        return None


def _remove(name: str) -> None:
    if (group := _group(name)) is not None:
        remove_placement_group(group)


def _strategy(group: Any) -> str:
    return str(placement_group_table(group)["strategy"])


def _plainly(error: Exception) -> str:
    """Say what matters of Ray's long texts."""
    text = str(error)
    if "No module named 'treadle" in text:
        return "Treadle is not installed on its node: install the version that the service has"
    lines = [each.strip() for each in text.splitlines() if each.strip()]
    return lines[-1] if lines else type(error).__name__


def serve(questions: Iterable[str], answer: Callable[[Mapping[str, Any]], None], clerk: Clerk) -> None:
    """Answer every question, side by side; returns at the end of the questions."""
    names = ("nodes", "reserve", "release", "reserved", "launch", "launch_again", "alive", "kill")
    calls = {name: getattr(clerk, name) for name in names}

    def do(question: Mapping[str, Any]) -> None:
        try:
            answer({"id": question["id"], "value": calls[question["call"]](**question["with"])})
        except ProblemError as problem:
            answer({"id": question["id"], "problem": str(problem)})
        except Exception as error:  # noqa: BLE001  (whatever Ray raises, the launcher must hear of it)
            answer({"id": question["id"], "problem": f"{type(error).__name__}: {_plainly(error)}"})

    with ThreadPoolExecutor(_THREADS, thread_name_prefix="clerk") as pool:
        for line in questions:
            pool.submit(do, json.loads(line))


def main(address: str, namespace: str) -> None:
    """Connect, and answer until standard input ends."""
    # Ray writes to standard output what it likes.
    out: TextIO = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    lock = threading.Lock()

    def answer(value: Mapping[str, Any]) -> None:
        with lock:
            out.write(json.dumps(value) + "\n")

    try:
        _check_reachable(address)
        with _quietly():
            ray.init(address=address, namespace=namespace, log_to_driver=False, logging_level="error")
    except Exception as error:  # noqa: BLE001  (as above)
        answer({"problem": _plainly(error)})
        return
    answer({"value": ray.__version__})
    threading.Thread(target=_serve_and_end, args=(answer, namespace), daemon=True).start()
    threading.Event().wait()


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Let nobody see what Ray writes: where this machine is no node, it ends the process with pages of a stack."""
    sys.stderr.flush()
    shown, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(shown, 2)
        os.close(shown)
        os.close(nowhere)


def _check_reachable(address: str) -> None:
    """Refuse an address that nobody listens at: Ray would try for a minute. Raises `OSError`."""
    if "://" in address:
        raise OSError("it is no address of a cluster's head, which is written as HOST:PORT")
    host, colon, port = address.rpartition(":")
    if colon and port.isdigit():
        with socket.create_connection((host.strip("[]"), int(port)), _REACHABLE):
            pass


def _serve_and_end(answer: Callable[[Mapping[str, Any]], None], namespace: str) -> None:
    serve(sys.stdin, answer, Clerk(namespace))
    # Threads may be waiting for a cluster that does not answer.
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
