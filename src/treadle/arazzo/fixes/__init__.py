"""Rewrites what only the dialect allows into what the specification says, where there is one certain way.

`proposed` finds what can be rewritten, `repairs` what is wrong and can be put right, `edits` makes both in the text
(`nodes`: where everything stands in it; `request_body`: parameters that are `in: body`), `meaning` tells whether two
plans mean the same: whoever writes the new text to a file first plans it, and compares.
"""

from treadle.arazzo.fixes.edits import CannotEdit, Change, Editor
from treadle.arazzo.fixes.meaning import differences
from treadle.arazzo.fixes.proposed import applied, proposed, repairs

__all__ = ["CannotEdit", "Change", "Editor", "applied", "differences", "proposed", "repairs"]
