"""What a private network is made of in the kernel (see `network` for what it is): each function gives a descriptor.

Who may not make networks (`rights`) has them made by another process, so what goes in are numbers and texts.
"""

from __future__ import annotations

import hashlib
import ipaddress
import os
import socket
from collections.abc import Callable
from typing import Final

from treadle.agent.sandbox import netlink

__all__ = ["NETWORK", "listener", "new", "plug_in", "trial"]

NETWORK: Final = ipaddress.ip_network("10.0.0.0/16")

_BRIDGE = "hosts"
_DEVICE = "eth0"  # as resourceconfig.json says


def new() -> int:
    """Make the switch's namespace, with the bridge in it. Raises OSError."""
    return _furnished(lambda: netlink.add_bridge(_BRIDGE))


def plug_in(switch: int, host: str, address: str) -> int:
    """Make a host's namespace, with its `eth0` on the switch. Raises OSError."""

    def furnish() -> None:
        netlink.set_up("lo")
        netlink.add_address(_DEVICE, address, NETWORK.prefixlen)
        netlink.set_up(_DEVICE)

    def wire(namespace: int) -> None:
        end = f"v{hashlib.sha256(host.encode()).hexdigest()[:12]}"  # a name of 15 characters at most
        netlink.within(switch, lambda: netlink.add_veth(end, bridge=_BRIDGE, peer=_DEVICE, namespace=namespace))

    return _furnished(furnish, wire)


def trial() -> int:
    """Make a switch with one host, and give the host's namespace; there is nothing to do with it but to close it."""
    switch = new()
    try:
        return plug_in(switch, "trial", "10.0.0.1")
    finally:
        os.close(switch)


def listener(namespace: int, address: str, port: int) -> int:
    """Bind a TCP socket in a namespace, to an address that is a machine's elsewhere. Raises OSError."""
    return netlink.within(namespace, lambda: _bound(address, port))


def _bound(address: str, port: int) -> int:
    ip = ipaddress.ip_address(address)
    if not ip.is_loopback:
        netlink.add_address("lo", address, ip.max_prefixlen)
    with socket.socket(socket.AF_INET if ip.version == 4 else socket.AF_INET6) as made:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((address, port))
        return made.detach()


def _furnished(furnish: Callable[[], None], before: Callable[[int], None] = lambda _: None) -> int:
    namespace = netlink.new_namespace()
    try:
        before(namespace)
        netlink.within(namespace, furnish)
    except BaseException:
        os.close(namespace)
        raise
    return namespace
