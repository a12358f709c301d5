"""Requests go out, responses come back: the transports, and what of them may be shown to a person."""

from treadle.http.redaction import redact_headers, redact_text, redact_url
from treadle.http.replay import RecordingTransport, ReplayTransport, read_recording
from treadle.http.scripted import ScriptedTransport

__all__ = [
    "RecordingTransport",
    "ReplayTransport",
    "ScriptedTransport",
    "read_recording",
    "redact_headers",
    "redact_text",
    "redact_url",
]
