"""Measurements beside their floor, in the same run: `make bench`."""
