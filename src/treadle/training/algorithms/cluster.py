"""The hosts of a job find each other, and tell each other what all of them have to know.

The first host by name leads: it listens, the others come to it, and whatever is decided together goes over it: each
host gives bytes, the leader makes one answer of all, and every host gets that (`together`). It is for little, seldom:
who has data, where a collective of XGBoost's own meets, the sums of a mini-batch.

A host that fails tells the others why before it goes, so that the job's FailureReason is the first failure, whichever
host is heard first. A host that vanishes is noticed by its connection.

Who comes must prove that he has the secret key of the attempt's credentials: the hosts may share their addresses with
everybody on the machine. On a network of their own the port is the one that AWS's XGBoost container uses; elsewhere
another job's leader can have it, so there are several, and who meets a stranger tries the next one.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import ipaddress
import json
import os
import secrets
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any, Final

from treadle.training.algorithms.program import AlgorithmError, UserError
from treadle.training.hosts import loopback_addresses

__all__ = ["Cluster"]

_PORT: Final = 9099
_PORTS: Final = 16
# The sagemaker-xgboost container (distributed.py) waits so long for names; hosts here begin together.
_PATIENCE: Final = 15 * 60.0
_FIRST_PAUSE: Final = 0.02
_LONGEST_PAUSE: Final = 1.0
_GREETING: Final = 5.0
"""Seconds within which who is met must have shown that he belongs to the job."""
_NONCE: Final = 16
_LONGEST: Final = 1 << 30
_LAST_WORDS: Final = 5.0

_DATA, _USER, _ALGORITHM = b"d", b"u", b"a"


class _StrangerError(Exception):
    """Whoever was met does not belong to this job."""


class Cluster:
    """One host's end of the talk. Everything but the first member of `hosts` is a follower."""

    def __init__(self, hosts: Sequence[str], host: str) -> None:
        self.hosts = tuple(hosts)
        self.host = host
        self.address = ""
        """Where this host can be reached by the others, when there are any."""
        self._links: dict[str, Connection] = {}

    @property
    def rank(self) -> int:
        """The place of this host among the hosts, from 0."""
        return self.hosts.index(self.host)

    @property
    def leads(self) -> bool:
        """Whether this is the host over which the others talk."""
        return self.rank == 0

    @classmethod
    @contextlib.contextmanager
    def joined(cls, resources: Mapping[str, Any], environment: Mapping[str, str] = os.environ) -> Iterator[Cluster]:
        """Join the hosts of resourceconfig.json, and tell them when the block fails. Raises `AlgorithmError`."""
        host = resources.get("current_host", "algo-1")
        cluster = cls(sorted(resources.get("hosts") or [host]), host)
        try:
            if len(cluster.hosts) > 1:
                cluster.address = _Meeting(cluster.hosts, host, environment).hold(cluster._links)
            yield cluster
        except (UserError, AlgorithmError) as error:
            cluster._farewell(error)
            raise
        finally:
            for each in cluster._links.values():
                each.close()

    def together(self, mine: bytes, combine: Callable[[Sequence[bytes]], bytes]) -> bytes:
        """Give what the leader's `combine` makes of the bytes of all hosts, in their order.

        Raises `UserError` or `AlgorithmError` when another host has failed.
        """
        if not self.leads:
            self._send(self.hosts[0], _DATA + mine)
            return self._receive(self.hosts[0])
        answer = combine([mine, *(self._receive(each) for each in self.hosts[1:])])
        for each in self.hosts[1:]:
            self._send(each, _DATA + answer)
        return answer

    def gather(self, mine: Any) -> list[Any]:
        """Give the JSON values of all hosts, in their order."""
        answer = self.together(json.dumps(mine).encode(), lambda all_: b"[" + b",".join(all_) + b"]")
        values: list[Any] = json.loads(answer)
        return values

    def keep(self, members: Sequence[str]) -> None:
        """Say goodbye to whoever is no member: his leaving is no failure. Nothing more can be decided together."""
        for host in [each for each in self._links if each not in members or self.host not in members]:
            self._links.pop(host).close()

    def first_failure(self) -> UserError | AlgorithmError | None:
        """Give what another host said when it failed, if one does so now: something else has broken already."""
        deadline = time.monotonic() + _LAST_WORDS
        while ready := wait(list(self._links.values()), timeout=max(0.0, deadline - time.monotonic())):
            for host in [each for each, link in self._links.items() if link in ready]:
                try:
                    self._receive(host)
                except (UserError, AlgorithmError) as error:
                    return error
        return None

    def _send(self, host: str, message: bytes) -> None:
        if len(message) > _LONGEST:
            raise AlgorithmError(f"{len(message)} bytes are too much to be decided on together by several hosts")
        try:
            self._links[host].send_bytes(message)
        except OSError as error:
            # Whoever has closed the connection may have said why before.
            self._receive(host)
            raise _lost(host) from error

    def _receive(self, host: str) -> bytes:
        try:
            message = self._links[host].recv_bytes(_LONGEST)
        except (OSError, EOFError) as error:
            raise _lost(host) from error
        kind, content = message[:1], message[1:]
        if kind == _DATA:
            return content
        text = content.decode("utf-8", "replace")
        raise UserError(text) if kind == _USER else AlgorithmError(text)

    def _farewell(self, error: UserError | AlgorithmError) -> None:
        kind = _USER if isinstance(error, UserError) else _ALGORITHM
        for each in self._links.values():
            with contextlib.suppress(OSError):
                each.send_bytes(kind + str(error).encode())


def _lost(host: str) -> AlgorithmError:
    return AlgorithmError(f"The connection to {host} was lost: it has ended before its work was done")


class _Meeting:
    """How the hosts of a job come together."""

    def __init__(self, hosts: Sequence[str], host: str, environment: Mapping[str, str]) -> None:
        self._hosts = hosts
        self._host = host
        self._deadline = time.monotonic() + _PATIENCE
        words = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "TRAINING_JOB_ARN")
        self._key = "\n".join(environment.get(each, "") for each in words).encode()
        # Where the names of hosts cannot be made to resolve, the hosts have the loopback addresses of their numbers.
        self._known = loopback_addresses(hosts) if environment.get("SAGEMAKER_BASE_DIR") else {}

    def hold(self, links: dict[str, Connection]) -> str:
        """Fill `links`, the leader's with all others, the others' with the leader; give this host's own address.

        Raises `AlgorithmError`.
        """
        leader = self._hosts[0]
        address = self._address(leader)
        if self._host == leader:
            self._await_all(address, links)
        else:
            links[leader] = self._come(leader, address)
        return self._address(self._host)

    def _address(self, host: str) -> str:
        pause = _FIRST_PAUSE
        while True:
            try:
                return self._known.get(host) or socket.gethostbyname(host)
            except OSError as error:
                pause = self._pause(pause, f"The name {host} does not resolve: {error.strerror or error}")

    def _pause(self, seconds: float, what: str) -> float:
        if time.monotonic() + seconds > self._deadline:
            raise AlgorithmError(f"{what}; it was waited for {_PATIENCE / 60:g} minutes")
        time.sleep(seconds)
        return min(2 * seconds, _LONGEST_PAUSE)

    # -- the leader ---------------------------------------------------------------------------------------------------

    def _await_all(self, address: str, links: dict[str, Connection]) -> None:
        with self._listener(address) as listener:
            while missing := [each for each in self._hosts[1:] if each not in links]:
                listener.settimeout(max(0.0, self._deadline - time.monotonic()) or 1e-3)
                try:
                    link = _connection(listener.accept()[0])
                except TimeoutError as error:
                    raise AlgorithmError(f"{missing[0]} did not come within {_PATIENCE / 60:g} minutes") from error
                with contextlib.suppress(_StrangerError, OSError, EOFError):
                    links[self._received(link)] = link
                    continue
                link.close()

    def _listener(self, address: str) -> socket.socket:
        for port in _ports(address):
            with contextlib.suppress(OSError):
                return socket.create_server((address, port), backlog=len(self._hosts))
        raise AlgorithmError(f"No port that the hosts could meet at is free: {_ports(address)} of {address}")

    def _received(self, link: Connection) -> str:
        """See that a host of this job has come; give its name."""
        challenge = secrets.token_bytes(_NONCE)
        link.send_bytes(challenge)
        proof, asked, name = (_polled(link) for _ in range(3))
        host = name.decode("utf-8", "replace")
        _check_proof(proof, self._proof(challenge, name))
        link.send_bytes(self._proof(asked, self._hosts[0].encode()))
        return host

    # -- a follower ---------------------------------------------------------------------------------------------------

    def _come(self, leader: str, address: str) -> Connection:
        pause = _FIRST_PAUSE
        while True:
            for port in _ports(address):
                with contextlib.suppress(_StrangerError, OSError, EOFError):
                    met = socket.create_connection((address, port), timeout=_GREETING)
                    return self._introduced(leader, _connection(met))
            pause = self._pause(pause, f"{leader} cannot be reached at {address}")

    def _introduced(self, leader: str, link: Connection) -> Connection:
        try:
            challenge, asked, name = _polled(link), secrets.token_bytes(_NONCE), self._host.encode()
            for each in (self._proof(challenge, name), asked, name):
                link.send_bytes(each)
            _check_proof(_polled(link), self._proof(asked, leader.encode()))
        except BaseException:
            link.close()
            raise
        return link

    def _proof(self, challenge: bytes, name: bytes) -> bytes:
        return hmac.digest(self._key, challenge + name, hashlib.sha256)


def _check_proof(given: bytes, wanted: bytes) -> None:
    if not hmac.compare_digest(given, wanted):
        raise _StrangerError


def _polled(link: Connection) -> bytes:
    if not link.poll(_GREETING):
        raise _StrangerError
    return link.recv_bytes(1024)


def _ports(address: str) -> range:
    return range(_PORT, _PORT + (_PORTS if ipaddress.ip_address(address).is_loopback else 1))


def _connection(met: socket.socket) -> Connection:
    """Give a connection of messages instead of bytes. A host whose machine vanishes is noticed, too."""
    met.settimeout(None)
    met.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    met.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return Connection(met.detach())
