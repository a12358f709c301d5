"""`python -m bench [NAME]…`: run measurements, a table each for people, then all figures as one line of JSON.

A measurement is a module with `measure() -> dict` and `table(figures) -> list of lines`.
"""

from __future__ import annotations

import importlib
import json
import sys
from typing import Any

MEASUREMENTS = ("poll", "many", "startup", "runners", "service", "s3", "staging")


def main(names: list[str]) -> None:
    """Measure and print."""
    if unknown := [name for name in names if name not in MEASUREMENTS]:
        sys.exit(f"there is no measurement {', '.join(unknown)}; there are {', '.join(MEASUREMENTS)}")
    figures: dict[str, Any] = {}
    for name in names or MEASUREMENTS:
        module = importlib.import_module(f"bench.{name}")
        figures[name] = module.measure()
        print("\n".join(module.table(figures[name])), flush=True)
        print()
    print(json.dumps(figures))


if __name__ == "__main__":
    main(sys.argv[1:])
