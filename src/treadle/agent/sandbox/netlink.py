"""The few words of rtnetlink that a private network needs: links, addresses, and namespaces to put them in.

A program that could do this (`ip`) is not on every machine, and starting it several times would take longer than the
whole rest of a start. Everything here acts on the network namespace of the thread that calls it; `within` runs a
function in another one, in a thread of its own, because a thread that cannot come back must not be used again.

Sources: rtnetlink(7), linux/rtnetlink.h, linux/if_link.h, linux/veth.h.
"""

from __future__ import annotations

import ctypes
import errno
import ipaddress
import os
import socket
import struct
import threading
from collections.abc import Callable
from typing import TypeVar

__all__ = ["add_address", "add_bridge", "add_veth", "new_namespace", "set_up", "within"]

_T = TypeVar("_T")

_CLONE_NEWNET = 0x40000000

_RTM_NEWLINK, _RTM_NEWADDR = 16, 20
_NLM_F_REQUEST, _NLM_F_ACK, _NLM_F_EXCL, _NLM_F_CREATE = 0x1, 0x4, 0x200, 0x400
_NLMSG_ERROR = 2

_IFLA_IFNAME, _IFLA_MASTER, _IFLA_LINKINFO, _IFLA_NET_NS_FD = 3, 10, 18, 28
_IFLA_INFO_KIND, _IFLA_INFO_DATA = 1, 2
_VETH_INFO_PEER = 1
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_IFF_UP = 1

_libc = ctypes.CDLL(None, use_errno=True)


def new_namespace() -> int:
    """Make a network namespace, and give a descriptor that keeps it. Raises OSError."""

    def make() -> int:
        _checked(_libc.unshare(_CLONE_NEWNET), "unshare")
        return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)

    return _in_thread(make)


def within(namespace: int, what: Callable[[], _T]) -> _T:
    """Do something in another network namespace; what it gives or raises comes back."""

    def enter() -> _T:
        _checked(_libc.setns(namespace, _CLONE_NEWNET), "setns")
        return what()

    return _in_thread(enter)


def _in_thread(what: Callable[[], _T]) -> _T:
    results: list[_T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(what())
        except BaseException as error:  # noqa: BLE001  (it is raised again where it was asked for)
            errors.append(error)

    thread = threading.Thread(target=run, name="network")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


def add_bridge(name: str) -> None:
    """Make a bridge and set it up."""
    kind = _attribute(_IFLA_INFO_KIND, b"bridge")
    _request(
        _RTM_NEWLINK,
        _link(flags=_IFF_UP) + _name(name) + _attribute(_IFLA_LINKINFO, kind),
        _NLM_F_CREATE | _NLM_F_EXCL,
    )


def add_veth(name: str, *, bridge: str, peer: str, namespace: int) -> None:
    """Make a pair of devices: `name` here, on the bridge and up; `peer` in the other namespace, down as yet."""
    there = _link() + _name(peer) + _attribute(_IFLA_NET_NS_FD, struct.pack("=I", namespace))
    info = _attribute(_IFLA_INFO_KIND, b"veth") + _attribute(_IFLA_INFO_DATA, _attribute(_VETH_INFO_PEER, there))
    master = _attribute(_IFLA_MASTER, struct.pack("=I", socket.if_nametoindex(bridge)))
    body = _link(flags=_IFF_UP) + _name(name) + master + _attribute(_IFLA_LINKINFO, info)
    _request(_RTM_NEWLINK, body, _NLM_F_CREATE | _NLM_F_EXCL)


def set_up(name: str) -> None:
    """Set a device up."""
    _request(_RTM_NEWLINK, _link(index=socket.if_nametoindex(name), flags=_IFF_UP))


def add_address(name: str, address: str, prefix: int) -> None:
    """Give a device an address, IPv4 or IPv6; no error when it has it."""
    packed = ipaddress.ip_address(address).packed
    family = socket.AF_INET if len(packed) == 4 else socket.AF_INET6
    head = struct.pack("=BBBBI", family, prefix, 0, 0, socket.if_nametoindex(name))
    body = head + _attribute(_IFA_LOCAL, packed) + _attribute(_IFA_ADDRESS, packed)
    try:
        _request(_RTM_NEWADDR, body, _NLM_F_CREATE | _NLM_F_EXCL)
    except FileExistsError:
        return


def _link(*, index: int = 0, flags: int = 0) -> bytes:
    """Give an ifinfomsg; of the flags only those that are set are changed."""
    return struct.pack("=BxHiII", socket.AF_UNSPEC, 0, index, flags, flags)


def _name(name: str) -> bytes:
    return _attribute(_IFLA_IFNAME, name.encode() + b"\0")


def _attribute(kind: int, data: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(data), kind) + data + bytes(-len(data) % 4)


def _request(kind: int, body: bytes, flags: int = 0) -> None:
    """Send one request and wait for the kernel's answer. Raises OSError."""
    head = struct.pack("=IHHII", 16 + len(body), kind, flags | _NLM_F_REQUEST | _NLM_F_ACK, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE) as channel:
        channel.send(head + body)
        answer = channel.recv(65536)
    if struct.unpack_from("=H", answer, 4)[0] != _NLMSG_ERROR:
        raise OSError(errno.EPROTO, os.strerror(errno.EPROTO), "rtnetlink")
    if number := -struct.unpack_from("=i", answer, 16)[0]:
        raise OSError(number, os.strerror(number), "rtnetlink")


def _checked(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)
