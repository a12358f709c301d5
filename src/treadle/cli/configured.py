"""The `treadle.toml` that holds for a document, found and read."""

from __future__ import annotations

import os
from pathlib import Path

from treadle.settings import Settings, find_settings, read_settings

__all__ = ["settings_for"]


def settings_for(document: str, config: str | None = None) -> Settings:
    """Give the settings of the file that was named, else of the one found upwards from the document, else none.

    Raises `DescriptionError` with everything that is wrong in it.
    """
    path = Path(config) if config is not None else find_settings(document)
    if path is None:
        return Settings()
    from treadle.arazzo.rules.catalogue import ENTRIES  # names and texts that only a file makes necessary
    from treadle.arazzo.rules.dialect import RULES

    here = Path.cwd()
    trusted = config is not None or path.parent == here or path.parent in here.parents
    label = os.path.relpath(path) if config is None and path.is_relative_to(here) else str(path)
    return read_settings(path, rules=ENTRIES, dialect=RULES, trusted=trusted, label=label)
