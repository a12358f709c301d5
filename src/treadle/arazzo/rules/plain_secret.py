"""Credentials do not stand in a document (§1.4: `format: password` is for inputs; documents are shared).

Two kinds are found: texts in the form that a well-known service gives its secrets, wherever they stand; and constant
values of parameters whose very name says that they are credentials, unless they are plainly placeholders. The secret
itself is in no finding, nor is the line that it stands in: findings end up in the logs of builds.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from treadle.arazzo.rules.context import Checked, texts
from treadle.errors import Diagnostic, Severity

RULE: Final = "plain-secret"
SEVERITY: Final[Severity] = "warning"
CLAUSE: Final = "Security Considerations"

# The patterns are texts: `re` compiles and keeps each when it is first needed, and most documents need none.
# What the services say about their own formats; each has a beginning that no other text has.
_KNOWN: Final = (
    r"(?<![A-Za-z0-9])(?:"
    r"(?P<aws>A(?:KIA|SIA)[A-Z2-7]{16})"
    r"|(?P<github>gh[pousr]_[A-Za-z0-9]{36,255}|github_pat_[A-Za-z0-9_]{50,255})"
    r"|(?P<gitlab>glpat-[A-Za-z0-9_\-]{20,})"
    r"|(?P<slack>xox[abprs]-[A-Za-z0-9\-]{20,})"
    r"|(?P<stripe>[sr]k_live_[A-Za-z0-9]{16,})"
    r"|(?P<google>AIza[A-Za-z0-9_\-]{35})"
    r"|(?P<openai>sk-(?:proj-)?[A-Za-z0-9_\-]{32,})"
    r"|(?P<sendgrid>SG\.[A-Za-z0-9_\-]{16,}\.[A-Za-z0-9_\-]{16,})"
    r"|(?P<jwt>eyJ[A-Za-z0-9_\-]{10,}\.eyJ[A-Za-z0-9_\-]{10,}\.[A-Za-z0-9_\-]{10,})"
    r"|(?P<key>-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----)"
    r")"
)
_WHAT: Final = {
    "aws": "an access key of AWS",
    "github": "a token of GitHub",
    "gitlab": "a token of GitLab",
    "slack": "a token of Slack",
    "stripe": "a live key of Stripe",
    "google": "an API key of Google",
    "openai": "an API key",
    "sendgrid": "an API key of SendGrid",
    "jwt": "a signed token (JWT)",
    "key": "a private key",
}
# Looked for first: no text without one of these can hold any of the above.
_BEGINNINGS: Final = (
    "AKIA", "ASIA", "gh", "glpat-", "xox", "k_live_", "AIza", "sk-", "SG.", "eyJ", "PRIVATE KEY-----",
)  # fmt: skip

_NAMES: Final = (
    r"(?:proxy-)?authorization|x-api-key|api[-_]?key|x-auth-token|x-access-token|access[-_]?token|client[-_]?secret"
    r"|x-functions-key|ocp-apim-subscription-key|x-vault-token|private-token"
)
_SCHEME: Final = r"(?:bearer|basic|token|apikey)\s+"
# `YOUR_TOKEN`, `<token>`, `${TOKEN}`, `xxxx`, `test-key`, `example`: written to be replaced.
_PLACEHOLDER: Final = (
    r"your|example|placeholder|change.?me|replace|dummy|sample|fake|demo|test|xxx|\.\.\.|…|\*\*\*|[<>{}$]|0000|1234|abcd?ef"
    r"|special-key|^(?:api[-_]?)?(?:key|token|secret)$"
)
_SHORTEST: Final = 16


def check(checked: Checked) -> Iterator[Diagnostic]:
    """Report what is, or must be taken for, a secret."""
    for pointer, text in texts(checked.document.value):
        if any(each in text for each in _BEGINNINGS):
            match = re.search(_KNOWN, text)
            if match is not None and not _is_placeholder(match.group()):
                yield _found(checked, f"this is {_WHAT[str(match.lastgroup)]}", pointer)
    for pointer, name, value in _parameters(checked):
        secret = re.sub(_SCHEME, "", value, count=1, flags=re.IGNORECASE).strip()
        if _looks_real(secret) and not re.search(_KNOWN, secret):
            yield _found(checked, f"the value of `{name}` looks like a real credential", pointer)


def _found(checked: Checked, message: str, pointer: str) -> Diagnostic:
    hint = "make it an input with `format: password`, give it with a credential of treadle.toml, and take it back"
    found = checked.finding(RULE, f"{message}, in a document", pointer, severity=SEVERITY, hint=hint)
    return replace(found, place=replace(found.place, text="")) if found.place else found


def _parameters(checked: Checked) -> Iterator[tuple[str, str, str]]:
    """Give the constant parameters whose name says that they are credentials: where, name, value."""
    components = checked.description.components
    lists = [each.parameters for each in checked.description.workflows]
    lists += [step.parameters for _, step in checked.steps()]
    every = [*(each for listed in lists for each in listed), *components.parameters.values()]
    for each in every:
        name, value = getattr(each, "name", ""), each.value
        if isinstance(value, str) and not value.startswith("$") and re.fullmatch(_NAMES, name, re.IGNORECASE):
            yield f"{each.pointer}/value", name, value


def _is_placeholder(text: str) -> bool:
    return re.search(_PLACEHOLDER, text, re.IGNORECASE) is not None


def _looks_real(secret: str) -> bool:
    """Tell whether a text is long and mixed as generated secrets are, and no placeholder."""
    if len(secret) < _SHORTEST or " " in secret or _is_placeholder(secret):
        return False
    return any(each.isdigit() for each in secret) and any(each.isalpha() for each in secret)
