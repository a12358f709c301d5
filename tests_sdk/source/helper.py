"""A second file of the program."""

from pathlib import Path


def total(directory: Path) -> int:
    """Sum the numbers in the files of a directory."""
    return sum(int(line) for each in sorted(directory.iterdir()) for line in each.read_text().split())
