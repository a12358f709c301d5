"""A server for any document: the operations that it uses, with the answers that it asks for.

`mock` follows the runs that it serves, `play` is the machine that it follows them with, `answers` makes an answer,
`drafts` bends one until a condition holds, `samples` makes values of schemas, `needs` knows what outputs look for,
`routes` and `learning` say what a request means, `app` puts it all behind a socket.
"""

from treadle.mock.inputs import sample_inputs, variants
from treadle.mock.mock import Exchange, Mock, Rehearsal, Visit
from treadle.mock.transport import MockTransport

__all__ = ["Exchange", "Mock", "MockTransport", "Rehearsal", "Visit", "sample_inputs", "variants"]
