"""What it costs to start: the help, a check, and a large description, each beside its floor."""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time

import yaml

from bench.poll import DOCUMENT
from treadle.arazzo.load import load

ROUNDS = 7
COMMANDS = {
    "python": ["-c", "pass"],
    "help": ["-m", "treadle.cli", "--help"],
    "check": ["-m", "treadle.cli", "check", str(DOCUMENT)],
}


def cpu_of(arguments: list[str]) -> float:
    """Run Python with these arguments; give the CPU seconds, user and system."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def large_description(size: int) -> str:
    """Give an OpenAPI description in YAML of about `size` bytes."""
    head = "openapi: 3.1.0\ninfo:\n  title: large\n  version: '1'\npaths:\n"
    operation = """\
  /things/{number}/parts:
    get:
      operationId: listParts{number}
      summary: Give the parts of a thing, page by page.
      parameters:
      - name: page
        in: query
        schema: {{type: integer, default: 1}}
      responses:
        '200':
          description: The parts.
          content:
            application/json:
              schema:
                type: object
                properties:
                  parts: {{type: array, items: {{type: string}}}}
"""
    count = (size - len(head)) // len(operation)
    return head + "".join(operation.format(number=number) for number in range(count))


def cpu_of_loading(text: bytes, how: str) -> float:
    """Load a description; give the CPU seconds."""
    begun = time.process_time()
    if how == "treadle":
        load(text, "large.yaml")
    else:
        yaml.load(text, Loader=yaml.CSafeLoader)  # the floor, without positions
    return time.process_time() - begun


def measure() -> dict[str, float]:
    """Alternate all; give medians in milliseconds of CPU."""
    figures: dict[str, float] = {}
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    with tempfile.TemporaryDirectory() as home:
        os.environ["TREADLE_HOME"] = home
        for arguments in COMMANDS.values():
            cpu_of(arguments)  # compiles the bytecode where that has not been done
        for _ in range(ROUNDS):
            for name, arguments in COMMANDS.items():
                times[name].append(cpu_of(arguments))
    figures |= {f"{name}_ms": statistics.median(each) * 1000 for name, each in times.items()}
    text = large_description(1_000_000).encode()
    for how in ("treadle", "csafeloader"):
        figures[f"load_1mb_{how}_ms"] = statistics.median(cpu_of_loading(text, how) for _ in range(ROUNDS)) * 1000
    return figures


def table(figures: dict[str, float]) -> list[str]:
    """Give the lines for people."""
    return [
        f"start-up, milliseconds of CPU, median of {ROUNDS}",
        f"  python -c pass          {figures['python_ms']:6.0f}",
        f"  treadle --help          {figures['help_ms']:6.0f}",
        f"  treadle check           {figures['check_ms']:6.0f}",
        f"  1 MB OpenAPI, treadle   {figures['load_1mb_treadle_ms']:6.0f}   (with positions on demand)",
        f"  1 MB OpenAPI, CSafe     {figures['load_1mb_csafeloader_ms']:6.0f}   (PyYAML, without positions)",
    ]
