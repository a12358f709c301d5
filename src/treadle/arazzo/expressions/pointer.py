"""JSON Pointer, RFC 6901."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from treadle.seams import MISSING, Json, Missing

__all__ = ["escape", "follow", "print_pointer", "tokens_of"]


def tokens_of(pointer: str) -> tuple[str, ...]:
    """Split a JSON Pointer ("" or "/a/0") into its tokens. Raises `ValueError` for anything else."""
    if not pointer:
        return ()
    if pointer[0] != "/":
        raise ValueError("a JSON Pointer is empty or begins with '/'")
    return tuple(_unescape(token) for token in pointer[1:].split("/"))


def _unescape(token: str) -> str:
    if "~" not in token:
        return token
    rest = token.replace("~0", "").replace("~1", "")
    if "~" in rest:
        raise ValueError("in a JSON Pointer '~' is written '~0', '/' in a name '~1'")
    return token.replace("~1", "/").replace("~0", "~")


def escape(token: str) -> str:
    """Write a name as a reference token."""
    return token.replace("~", "~0").replace("/", "~1")


def print_pointer(tokens: Sequence[str]) -> str:
    """Write tokens as a JSON Pointer."""
    return "".join("/" + escape(token) for token in tokens)


def follow(value: Json | Missing, tokens: Sequence[str]) -> Json | Missing:
    """Give what the tokens lead to, or MISSING."""
    for token in tokens:
        # What JSON is read as is asked for first: an abstract class costs three times as much to ask.
        if isinstance(value, dict) or isinstance(value, Mapping):  # noqa: SIM101  (in this order)
            value = value.get(token, MISSING)
        elif isinstance(value, list):
            value = _element(value, token)
        else:
            return MISSING
    return value


def _element(values: list[Json], key: str) -> Json | Missing:
    # §4 of the RFC: digits without leading zeros. "-" (the element after the last) never has a value.
    if key.isascii() and key.isdigit() and (key == "0" or key[0] != "0") and len(key) < 10:
        index = int(key)
        return values[index] if index < len(values) else MISSING
    return MISSING
