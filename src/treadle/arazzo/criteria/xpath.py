"""Criteria of type `xpath`: the effective boolean value of a query over the context, which is XML text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from treadle.arazzo.criteria.substitution import Substituted, find_xpath
from treadle.arazzo.criteria.verdict import ConditionError, Verdict, look
from treadle.arazzo.expressions import Context, EvaluationError, Expression, Scope
from treadle.arazzo.expressions.xpath import XPathError, compile_xpath
from treadle.seams import MISSING

__all__ = ["XPathCriterion", "compile_xpath_criterion"]


@dataclass(frozen=True, slots=True)
class XPathCriterion:
    """A compiled criterion."""

    kind: ClassVar[str] = "xpath"
    condition: str
    context: Expression
    text: Substituted
    version: str
    any_namespace: bool

    @property
    def expressions(self) -> tuple[Expression, ...]:
        """The context and what is substituted."""
        return (self.context, *self.text.expressions)

    def judge(self, context: Context) -> Verdict:
        """Judge; never raises. A missing or null context does not pass."""
        try:
            document = look(self.context, context)
            if document is MISSING or document is None:
                reason = f"{self.context} is {'missing' if document is MISSING else 'null'}"
                return Verdict(passed=False, reasons=(reason,), condition=self.condition)
            text = self.text.fill(context) if self.text.places else self.text.text
            passed, bent = compile_xpath(text, self.version).holds(document, any_namespace=self.any_namespace)
        except (EvaluationError, XPathError) as error:
            return Verdict(passed=False, problem=error.message, condition=self.condition)
        how = " when the default namespace is left out" if passed and bent else ""
        rules = ("xpath-default-namespace",) if passed and bent else ()
        reason = f"{text} is {'true' if passed else 'false'}{how}"
        return Verdict(passed=passed, reasons=(reason,), rules=rules, condition=self.condition)


def compile_xpath_criterion(condition: str, context: Expression, scope: Scope, version: str) -> XPathCriterion:
    """Compile. Raises `ConditionError`."""
    found = find_xpath(condition, scope)
    sample = found.sample() if found.places else condition
    try:
        if sample is not None:
            compile_xpath(sample, version)
    except XPathError as error:
        raise ConditionError(f"it is no XPath ({version}): {error.message}", hint=error.hint) from None
    return XPathCriterion(condition, context, found, version, scope.allows("xpath-default-namespace"))
