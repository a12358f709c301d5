"""Runtime expressions: `$inputs.…`, `$response.body#/…`, `{$…}` in text; what a description's values become in a run.

`scope` holds what is known before and during a run, `nodes` the expressions themselves, `parse` their grammar,
`template` whole values that hold them, `selectors` the Selector Objects of Arazzo 1.1.
"""

from treadle.arazzo.expressions.nodes import Expression
from treadle.arazzo.expressions.parse import compile_expression, meant, parse
from treadle.arazzo.expressions.scope import Context, EvaluationError, ExpressionError, Note, Scope, suggestion
from treadle.arazzo.expressions.template import Kind, Template, compile_value
from treadle.arazzo.expressions.text import text_of

__all__ = [
    "Context",
    "EvaluationError",
    "Expression",
    "ExpressionError",
    "Kind",
    "Note",
    "Scope",
    "Template",
    "compile_expression",
    "compile_value",
    "meant",
    "parse",
    "suggestion",
    "text_of",
]
