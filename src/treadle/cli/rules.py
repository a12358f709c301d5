"""What `treadle check` says about its rules: all of them, one of them, and their texts for SARIF."""

from __future__ import annotations

from collections.abc import Iterator

from treadle.arazzo.rules.catalogue import ENTRIES, Entry
from treadle.arazzo.slips import close_to
from treadle.errors import UsageError
from treadle.reporters.diagnostics import RuleText

__all__ = ["explained", "listed", "texts"]

_WIDTH = max(map(len, ENTRIES))


def listed() -> Iterator[str]:
    """Give the lines of the list, in groups."""
    group = ""
    for entry in ENTRIES.values():
        if entry.group != group:
            if group:
                yield ""
            group = entry.group
            yield group
        fix = "  --fix" if entry.fixable else ""
        yield f"  {entry.name:{_WIDTH}}  {entry.severity:7}  {entry.written}{fix}"
    yield ""
    yield "treadle check --explain RULE says more."
    yield "In treadle.toml, [rules] weighs findings and [dialect] switches leniency off."


def explained(name: str) -> str:
    """Say everything about a rule. Raises `UsageError` where there is none of that name."""
    entry = ENTRIES.get(name)
    if entry is None:
        meant = close_to(name, ENTRIES)
        hint = f"did you mean {meant}?" if meant else "treadle check --list-rules shows all of them"
        raise UsageError(f"there is no rule {name}", hint=hint)
    is_dialect = entry.group.startswith("Dialect")
    rows = [
        ("written", entry.written),
        ("meant" if is_dialect else "wrong", entry.meant),
        ("properly", entry.properly),
        ("clause", entry.clause if entry.clause.startswith("OpenAPI") else f"Arazzo, {entry.clause}"),
        ("found as", entry.severity + (", with --strict as error" if is_dialect else "")),
    ]
    if entry.fixable:
        rows.append(("rewritten", "treadle check --fix, where there is one certain way"))
    switch = f'[dialect] {name} = false makes it an error; [rules] {name} = "off" keeps it silent'
    rows.append(("switch", switch if is_dialect else f'[rules] {name} = "off", "note", "warning" or "error"'))
    return "\n".join([name, *(f"  {label:9}  {text}" for label, text in rows)])


def texts() -> dict[str, RuleText]:
    """Give the texts of every rule for SARIF."""
    return {name: _text(entry) for name, entry in ENTRIES.items()}


def _text(entry: Entry) -> RuleText:
    return RuleText(
        entry.name, entry.severity, f"{entry.written}: {entry.meant}", f"Properly: {entry.properly}", entry.clause
    )
