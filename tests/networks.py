"""The names by which the hosts of an attempt find their network. They are the whole machine's: each test looks at its own."""

from __future__ import annotations

from pathlib import Path

from treadle.agent.sandbox import network

__all__ = ["listening"]


def listening(*secrets: str) -> set[str]:
    """Give the names, of those of the attempts with these secrets, that somebody on this machine has now."""
    names = {network.name_of(each).replace("\0", "@") for each in secrets}
    return {line.split()[-1] for line in Path("/proc/net/unix").read_text().splitlines()} & names
