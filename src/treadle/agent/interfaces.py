"""The network interfaces of the machine, by their addresses."""

from __future__ import annotations

import fcntl
import socket
import struct

__all__ = ["interface_of"]

_SIOCGIFADDR = 0x8915  # linux/sockios.h
_NAME = 256


def interface_of(address: str) -> str:
    """Give the name of the interface that has an IPv4 address, "" where none has.

    >>> interface_of("127.0.0.1")
    'lo'
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        for _, name in socket.if_nameindex():
            try:
                asked = struct.pack(f"{_NAME}s", name.encode()[:15])
                found = fcntl.ioctl(any_socket.fileno(), _SIOCGIFADDR, asked)
            except OSError:  # it has no address
                continue
            if socket.inet_ntoa(found[20:24]) == address:
                return name
    return ""
