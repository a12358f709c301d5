"""What an interpreter knows of itself: imported by ours, and run by any other, from Python 3.7 on.

It is run as a file, and so imports nothing of the package.
"""

from __future__ import annotations

import os
import site
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def facts() -> dict[str, Any]:
    """Give the members of `packages.Interpreter`."""
    return {
        "executable": sys.executable,
        "prefix": sys.prefix,
        "base": getattr(sys, "_base_executable", None) or sys.executable,
        "version": f"{sys.version_info[0]}.{sys.version_info[1]}",
        "scripts": os.path.dirname(sys.executable),  # noqa: PTH120  (pathlib takes as long to import as all the rest)
        # Of a virtual environment: its own packages, and whether it shows those of the Python that it was made with.
        "sites": [] if sys.prefix == sys.base_prefix else site.getsitepackages([sys.prefix]),
        "system": sys.base_prefix in site.PREFIXES,
    }


if __name__ == "__main__":
    import json

    sys.stdout.write(json.dumps(facts()))
