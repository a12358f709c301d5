"""A draft of an answer, and how a condition changes it until it holds.

`solve` takes the outline of what is to hold and a draft, and gives drafts in which it probably does, the most natural
one first. It works atom by atom: a comparison with a literal writes the literal, a `!=` takes another of the schema's
values, `.length > 0` fills a list, a pattern gives a text. Atoms that a draft satisfies already leave it alone, so
several conditions on one place find each other. Nothing is believed: the caller has every draft judged by the real
criteria.
"""

from __future__ import annotations

import copy
import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias

import msgspec

from treadle.arazzo.criteria import outline as asks
from treadle.arazzo.criteria.compare import loose, strict
from treadle.arazzo.criteria.conditions import truthy
from treadle.arazzo.criteria.outline import Outline
from treadle.arazzo.expressions import Context, nodes, text_of
from treadle.mock import xml
from treadle.mock.patterns import compiled, matching
from treadle.mock.samples import EACH, Each, Path, Sampler, plausible
from treadle.seams import MISSING, Answer, Json, Missing
from treadle.sources.walk import Node

__all__ = [
    "Draft",
    "Solver",
    "forced",
    "is_bad",
    "mentioned",
    "over_operands",
    "path_of",
    "put",
    "reads_body",
    "remove",
]

MOST_BRANCHES: Final = 48
MOST_DRAFTS: Final = 16
_BODY: Final = nodes.Body("response")


@dataclass(frozen=True, slots=True)
class Draft:
    """An answer in the making; `body` is a JSON value, or text. `schema` is what the description says of the body."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Json | Missing = MISSING
    schema: Node | None = None
    media_type: str = "application/json"

    def seen(self, context: Context) -> Context:
        """Give the context in which criteria see this answer."""
        url = context.request.url if context.request else ""
        answer = Answer(self.status, tuple(self.headers.items()), self.body, url=url)
        return msgspec.structs.replace(context, response=answer)


# ---------------------------------------------------------------------------------------------------------------------
# Paths
# ---------------------------------------------------------------------------------------------------------------------


def path_of(tail: nodes.Tail) -> Path:
    """Give the path that the tail of an expression means; a final `length` is left out."""
    path: list[Path] = [_part(each) for each in tail]
    flat = tuple(token for part in path for token in part)
    return flat[:-1] if flat and flat[-1] == "length" else flat


def _part(part: nodes.Member | nodes.Index | nodes.Each | nodes.Pointer) -> Path:
    match part:
        case nodes.Member():
            return (part.name,)
        case nodes.Index():
            return (part.index,)
        case nodes.Pointer():
            return part.tokens
        case _:
            return (EACH,)


def put(value: Json, path: Path, new: Json) -> Json:
    """Give the value with `new` at the path, on which everything is there but perhaps the last member."""
    if not path:
        return new
    token, rest = path[0], path[1:]
    if isinstance(value, dict):
        name = str(token)
        return {**value, name: put(value.get(name), rest, new)}
    if isinstance(value, list):
        places = range(len(value)) if token is EACH else [_index(token, len(value))]
        made = list(value)
        for place in places:
            if place == len(made):
                made.append(put(None, rest, new))
            elif 0 <= place < len(made):
                made[place] = put(made[place], rest, new)
        return made
    return value


def remove(value: Json, path: Path) -> Json:
    """Give the value without what is at the path; elements of arrays become null, since their place counts."""
    token, rest = path[0], path[1:]
    if isinstance(value, dict):
        name = str(token)
        if not rest:
            return {key: each for key, each in value.items() if key != name}
        return {**value, name: remove(value[name], rest)} if name in value else value
    if isinstance(value, list):
        places = range(len(value)) if token is EACH else [_index(token, len(value))]
        made = list(value)
        for place in places:
            if 0 <= place < len(made):
                made[place] = remove(made[place], rest) if rest else None
        return made
    return value


def forced(value: Json, path: Path) -> Json:
    """Give the value with something at the path, whatever shape it had: a list gives way to its first element."""
    if not path:
        # An empty object would be no text at all in the path of a request.
        return value if value or isinstance(value, (bool, int, float)) else plausible("id")
    token, rest = path[0], path[1:]
    if isinstance(token, str) and not token.isdigit() and isinstance(value, list):
        value = next((each for each in value if isinstance(each, dict)), {})
    if isinstance(value, dict):
        name = str(token)
        below = value.get(name)
        if below is None or (not rest and below in ({}, [], "")):
            below = {} if rest else plausible(name)
        return {**value, name: forced(below, rest)}
    if isinstance(value, list) and not isinstance(token, Each):
        index = _index(token, len(value))
        return [forced(each, rest) if place == index else each for place, each in enumerate(value)]
    return value


def _index(token: object, length: int) -> int:
    if isinstance(token, str):
        return int(token) if token.isdigit() else -1
    index = token if isinstance(token, int) else 0
    return index if index >= 0 else length + index


_Steps: TypeAlias = "tuple[asks.Step, ...]"


def _sampled(path: _Steps) -> Path:
    return tuple(EACH if each is asks.ANY or isinstance(each, asks.Where) else each for each in path)  # type: ignore[misc]


# ---------------------------------------------------------------------------------------------------------------------
# Looking
# ---------------------------------------------------------------------------------------------------------------------


def _walk(value: Json | Missing, path: _Steps, context: Context) -> list[Json]:
    """Give the nodes that a query selects; a filter at an object may mean the object (`root-filter-on-object`)."""
    found = [] if value is MISSING else [value]
    for step in path:
        found = [each for one in found for each in _children(one, step, context)]
    if not found and path and isinstance(path[0], asks.Where) and isinstance(value, dict):
        return _walk([value], path, context)
    return found


def _children(value: Json, step: asks.Step, context: Context) -> Iterator[Json]:
    members = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    if isinstance(step, asks.Where):
        yield from (each for each in members if _holds(step.condition, context, each))
    elif isinstance(step, str):
        if isinstance(value, dict) and step in value:
            yield value[step]
        elif isinstance(value, list) and step.isdigit() and int(step) < len(value):
            yield value[int(step)]
    elif isinstance(step, int):
        if isinstance(value, list) and -len(value) <= step < len(value):
            yield value[step]
    else:
        yield from members


def _look(operand: asks.Operand, context: Context, element: Json | Missing = MISSING) -> Json | Missing:
    match operand:
        case asks.Constant():
            return operand.value
        case asks.Looked():
            return operand.expression.evaluate(context)
        case asks.Selected():
            start = element if operand.context is None else operand.context.evaluate(context)
            return next(iter(_walk(start, operand.path, context)), MISSING)
        case asks.Length():
            start = element if operand.of.context is None else operand.of.context.evaluate(context)
            found = _walk(start, operand.of.path, context)
            many = any(not isinstance(each, (str, int)) for each in operand.of.path)
            if many:
                return len(found)
            return len(found[0]) if found and isinstance(found[0], (list, dict, str)) else 0


def _holds(condition: Outline, context: Context, element: Json | Missing = MISSING) -> bool:
    match condition:
        case asks.All():
            return all(_holds(each, context, element) for each in condition.parts)
        case asks.Either():
            return any(_holds(each, context, element) for each in condition.parts)
        case asks.Not():
            return not _holds(condition.inner, context, element)
        case asks.Compare():
            compare = loose if _is_loose(condition) else strict
            left, right = _look(condition.left, context, element), _look(condition.right, context, element)
            return compare(condition.operator, left, right)[0]
        case asks.Test():
            value = _look(condition.operand, context, element)
            return value is not MISSING if condition.exists else truthy(value)
        case asks.Matches():
            value = _look(condition.subject, context, element)
            pattern = compiled(condition.pattern)
            if value is MISSING or value is None or pattern is None:
                return False
            data = text_of(value).encode("utf-8", "replace")
            return bool(pattern.fullmatch(data) if condition.whole else pattern.search(data))
        case asks.XPath():
            return xml.holds(condition.text, condition.context.evaluate(context))


def _is_loose(condition: asks.Compare) -> bool:
    return not any(isinstance(each, (asks.Selected, asks.Length)) for each in (condition.left, condition.right))


# ---------------------------------------------------------------------------------------------------------------------
# Places
# ---------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Status:
    pass


@dataclass(frozen=True, slots=True)
class _Header:
    name: str


@dataclass(frozen=True, slots=True)
class _InBody:
    path: _Steps
    length: bool = False


_Place: TypeAlias = "_Status | _Header | _InBody"


def _place(operand: asks.Operand) -> _Place | None:
    """Give what of an answer the operand looks at; None when it looks at something else."""
    match operand:
        case asks.Looked(nodes.Plain(name="statusCode")):
            return _Status()
        case asks.Looked(nodes.HeaderReference(side="response", name=name)):
            return _Header(name)
        case asks.Looked(nodes.Body(side="response", tail=tail)):
            whole = tuple(token for part in tail for token in _part(part))
            path = _as_steps(whole)
            return _InBody(path[:-1], length=True) if path and path[-1] == "length" else _InBody(path)
        case asks.Selected(nodes.Plain(name="statusCode"), ()):
            return _Status()
        case asks.Selected(nodes.Body(side="response", tail=tail), path):
            return _InBody((*_as_steps(path_of(tail)), *path))
        case asks.Length(of):
            inner = _place(of)
            return _InBody(inner.path, length=True) if isinstance(inner, _InBody) else None
        case _:
            return None


def _as_steps(path: Path) -> _Steps:
    return tuple(asks.ANY if each is EACH else each for each in path)  # type: ignore[misc]


def reads_body(condition: Outline) -> bool:
    """Tell whether a condition looks into the body of the answer."""
    match condition:
        case asks.All() | asks.Either():
            return any(map(reads_body, condition.parts))
        case asks.Not():
            return reads_body(condition.inner)
        case asks.Compare():
            return any(isinstance(_place(each), _InBody) for each in (condition.left, condition.right))
        case asks.Test():
            return isinstance(_place(condition.operand), _InBody)
        case asks.Matches():
            return isinstance(_place(condition.subject), _InBody)
        case asks.XPath():
            return condition.context.reads_answer_body


def mentioned(condition: Outline) -> Iterator[Path]:
    """Give the places of the body that a condition compares with something, as far as a path leads without a filter.

    What is not there satisfies many conditions (`status != 'Creating'`), and yet is not what anybody means by them.
    """
    match condition:
        case asks.All() | asks.Either():
            for each in condition.parts:
                yield from mentioned(each)
        case asks.Not():
            yield from mentioned(condition.inner)
        case asks.Compare() if condition.operator != "!=" and asks.Constant(None) not in (
            condition.left,
            condition.right,
        ):
            yield from _in_body(condition.left)
            yield from _in_body(condition.right)
        case asks.Matches():
            yield from _in_body(condition.subject)


def _in_body(operand: asks.Operand) -> Iterator[Path]:
    place = _place(operand)
    if isinstance(place, _InBody) and place.path:
        until = next((index for index, step in enumerate(place.path) if not isinstance(step, (str, int))), None)
        path = _sampled(place.path[:until])
        if path:
            yield path


def _absolute(condition: Outline, prefix: _Steps) -> Outline:
    """Write the condition of a filter as one about the element at `prefix` of the body."""

    def operand(each: asks.Operand) -> asks.Operand:
        if isinstance(each, asks.Selected) and each.context is None:
            return asks.Selected(_BODY, (*prefix, *each.path))
        if isinstance(each, asks.Length) and each.of.context is None:
            return asks.Length(asks.Selected(_BODY, (*prefix, *each.of.path)))
        return each

    return over_operands(condition, operand)


def over_operands(condition: Outline, change: Callable[[asks.Operand], asks.Operand]) -> Outline:
    """Give a condition with its operands changed; what an XPath looks at stays."""
    match condition:
        case asks.All():
            return asks.All(tuple(over_operands(each, change) for each in condition.parts))
        case asks.Either():
            return asks.Either(tuple(over_operands(each, change) for each in condition.parts))
        case asks.Not():
            return asks.Not(over_operands(condition.inner, change))
        case asks.Compare():
            return asks.Compare(change(condition.left), condition.operator, change(condition.right))
        case asks.Test():
            return asks.Test(change(condition.operand), exists=condition.exists)
        case asks.Matches():
            return asks.Matches(change(condition.subject), condition.pattern, whole=condition.whole)
        case _:
            return condition


# ---------------------------------------------------------------------------------------------------------------------
# Solving
# ---------------------------------------------------------------------------------------------------------------------

_Atom: TypeAlias = "tuple[bool, asks.Compare | asks.Test | asks.Matches | asks.XPath]"


def _branches(condition: Outline, positive: bool = True) -> Iterator[tuple[_Atom, ...]]:
    """Give the conjunctions of atoms, one of which must hold for the condition to hold."""
    match condition:
        case asks.Not():
            yield from _branches(condition.inner, not positive)
        case asks.All() | asks.Either() if isinstance(condition, asks.All) is positive:
            parts = [list(itertools.islice(_branches(each, positive), MOST_BRANCHES)) for each in condition.parts]
            for chosen in itertools.product(*parts):
                yield tuple(dict.fromkeys(atom for each in chosen for atom in each))
        case asks.All() | asks.Either():
            for each in condition.parts:
                yield from _branches(each, positive)
        case asks.Compare() if not positive:
            yield ((True, asks.Compare(condition.left, asks.NEGATED[condition.operator], condition.right)),)
        case _:
            yield ((positive, condition),)


@dataclass(frozen=True, slots=True)
class Solver:
    """Changes drafts. `context` is all that criteria see besides the answer; `statuses` are those to try, in order.

    `literals` are texts that other conditions compare the same things with: values that the API is known to have.
    """

    sampler: Sampler
    context: Context
    statuses: Sequence[int] = ()
    literals: Sequence[Json] = ()

    def solve(self, condition: Outline, draft: Draft) -> Iterator[Draft]:
        """Give drafts in which the condition probably holds."""
        for atoms in itertools.islice(_branches(condition), MOST_BRANCHES):
            yield from self._satisfied(atoms, draft)

    def statuses_for(self, condition: Outline) -> list[int]:
        """Give the statuses that the condition allows, whatever the rest of the answer."""
        found: list[int] = []
        for atoms in itertools.islice(_branches(condition), MOST_BRANCHES):
            about = [atom for atom in atoms if self._about_status(atom[1])]
            for status in dict.fromkeys((*self.statuses, *_mentioned(about), *_COMMON_STATUSES)):
                seen = Draft(status).seen(self.context)
                if all(_holds(atom, seen) is positive for positive, atom in about) and status not in found:
                    found.append(status)
        return found

    def _about_status(self, atom: asks.Compare | asks.Test | asks.Matches | asks.XPath) -> bool:
        match atom:
            case asks.Compare():
                places = [_place(atom.left), _place(atom.right)]
                others = [each for each in places if each is not None and not isinstance(each, _Status)]
                return any(isinstance(each, _Status) for each in places) and not others
            case asks.Matches():
                return isinstance(_place(atom.subject), _Status)
            case _:
                return False

    def _satisfied(self, atoms: Sequence[_Atom], draft: Draft) -> Iterator[Draft]:
        drafts = [draft]
        for positive, atom in sorted(atoms, key=_weight):
            following: list[Draft] = []
            for each in drafts:
                if _holds(atom, each.seen(self.context)) is positive:
                    if self._by_absence(atom, each):
                        following += itertools.islice(self._applied(atom, positive, each), MOST_DRAFTS)
                    following.append(each)
                    continue
                following += itertools.islice(self._applied(atom, positive, each), MOST_DRAFTS)
            drafts = following[:MOST_DRAFTS]
        yield from drafts

    def _by_absence(self, atom: asks.Compare | asks.Test | asks.Matches | asks.XPath, draft: Draft) -> bool:
        """Tell whether a `!=` holds only because there is nothing, or nothing but a placeholder.

        By `status != 'Creating'` authors mean a status of the API, not any other text.
        """
        if not isinstance(atom, asks.Compare) or atom.operator != "!=" or draft.body is MISSING:
            return False
        seen = draft.seen(self.context)
        for mine, other in ((atom.left, atom.right), (atom.right, atom.left)):
            place = _place(mine)
            if isinstance(place, _InBody) and not place.length and isinstance(other, asks.Constant):
                name = place.path[-1] if place.path else ""
                return _look(mine, seen) in (MISSING, plausible(name if isinstance(name, str) else ""))
        return False

    def _applied(
        self, atom: asks.Compare | asks.Test | asks.Matches | asks.XPath, positive: bool, draft: Draft
    ) -> Iterator[Draft]:
        match atom:
            case asks.Compare():
                yield from self._compared(atom, draft)
            case asks.Test():
                place = _place(atom.operand)
                if place is not None:
                    yield from self._tested(place, draft, positive=positive, exists=atom.exists)
            case asks.Matches():
                place = _place(atom.subject)
                if place is not None:
                    texts = [matching(atom.pattern)] if positive else ["", "-"]
                    yield from self._matched(place, [each for each in texts if each is not None], draft)
            case asks.XPath():
                yield from (replace(draft, body=text) for text in xml.candidates(atom.text, draft.body, positive))

    # -- comparisons --------------------------------------------------------------------------------------------------

    def _compared(self, atom: asks.Compare, draft: Draft) -> Iterator[Draft]:
        seen = draft.seen(self.context)
        for mine, operator, other in (
            (atom.left, atom.operator, atom.right),
            (atom.right, _MIRRORED[atom.operator], atom.left),
        ):
            place = _place(mine)
            if place is None:
                continue
            value = _look(other, seen)
            elsewhere = _place(other)
            if value is MISSING and isinstance(elsewhere, _InBody) and not elsewhere.length:
                draft = next(self._tested(elsewhere, draft, positive=True, exists=True), draft)
                value = _look(other, draft.seen(self.context))
            match place:
                case _Status():
                    # Drafts are made for one status, which everything else in them follows from.
                    return
                case _Header() if operator == "!=" and (value is None or value is MISSING):
                    yield self._with_header(draft, place.name, plausible(place.name))
                case _Header():
                    for each in _others(operator, value, [], None, self.literals):
                        yield self._with_header(draft, place.name, each)
                case _InBody(length=True):
                    yield from self._resized(place, operator, value, draft)
                case _InBody():
                    yield from self._written(place, operator, value, draft)

    def _with_header(self, draft: Draft, name: str, value: Json | Missing) -> Draft:
        kept = {key: each for key, each in draft.headers.items() if key.lower() != name.lower()}
        return replace(draft, headers=kept if value is MISSING or value is None else {**kept, name: text_of(value)})

    def _written(self, place: _InBody, operator: str, value: Json | Missing, draft: Draft) -> Iterator[Draft]:
        for concrete, made in self._concrete(place.path, draft):
            schema = self.sampler.at(made.schema, _sampled(concrete))
            current = next(iter(_walk(made.body, concrete, self.context)), MISSING)
            choices = self.sampler.choices(schema)
            for each in _others(operator, value, choices, current, self.literals):
                yield self._put(made, concrete, each)
            if operator == "!=" and (value is None or value is MISSING):
                yield self._ensured(made, concrete)

    def _put(self, draft: Draft, path: _Steps, value: Json | Missing) -> Draft:
        where = _sampled(path)
        if value is MISSING:
            return replace(draft, body=remove(draft.body, where)) if where else replace(draft, body=MISSING)
        ensured = self._ensured(draft, path)
        return replace(ensured, body=put(ensured.body, where, copy.deepcopy(value)))

    def _ensured(self, draft: Draft, path: _Steps) -> Draft:
        """Give the draft with something that is not null at the path."""
        where = _sampled(path)
        body = None if draft.body is MISSING else draft.body
        if body is None:
            body = self.sampler.sample(draft.schema, wanted=[each for each in where[:1] if isinstance(each, str)])
        body = self.sampler.ensure(body, draft.schema, where)
        found = next(iter(_walk(body, path, self.context)), MISSING)
        if found is None and where:
            last = where[-1]
            body = put(body, where, plausible(last if isinstance(last, str) else ""))
        return replace(draft, body=body)

    def _concrete(self, path: _Steps, draft: Draft) -> Iterator[tuple[_Steps, Draft]]:
        """Choose an element for every filter on a path, and make it fit."""
        place = next((index for index, step in enumerate(path) if isinstance(step, asks.Where)), None)
        if place is None:
            yield path, draft
            return
        prefix, rest, filtered = path[:place], path[place + 1 :], path[place]
        if not isinstance(filtered, asks.Where):
            return
        container = next(iter(_walk(draft.body, prefix, self.context)), MISSING)
        kinds = self.sampler.kinds(self.sampler.at(draft.schema, _sampled(prefix)))
        is_object = isinstance(container, dict) or (container is MISSING and kinds[:1] == ["object"])
        # A filter at an object means its members; what people mean is the object itself (`root-filter-on-object`).
        chosen: list[_Steps] = [prefix, (*prefix, "item")] if is_object else [(*prefix, 0)]
        for element in chosen:
            condition = _absolute(filtered.condition, element)
            for made in itertools.islice(self.solve(condition, self._ensured(draft, element)), 4):
                yield from self._concrete((*element, *rest), made)

    def _resized(self, place: _InBody, operator: str, value: Json | Missing, draft: Draft) -> Iterator[Draft]:
        if not isinstance(value, int):
            return
        sizes = [
            each for each in (value, value + 1, value - 1, 0, 1, 2) if each >= 0 and strict(operator, each, value)[0]
        ]
        for size in dict.fromkeys(sizes):
            filtered = next((index for index, step in enumerate(place.path) if not isinstance(step, (str, int))), None)
            if filtered is not None:
                # The number of nodes of a query: none, or as the list that it looks at.
                yield from self._counted(place.path, filtered, size, draft)
                continue
            made = self._ensured(draft, (*place.path, 0)) if size else self._ensured_list(draft, place.path)
            current = next(iter(_walk(made.body, place.path, self.context)), MISSING)
            if isinstance(current, str):
                yield self._put(made, place.path, current[:size].ljust(size, "x"))
            elements = current if isinstance(current, list) else []
            last = elements[-1] if elements else plausible("")
            grown = [*elements[:size], *(copy.deepcopy(last) for _ in range(size - len(elements)))]
            yield self._put(made, place.path, grown)
            if isinstance(current, dict):
                yield self._put(made, place.path, {f"key{index + 1}": "text" for index in range(size)})

    def _counted(self, path: _Steps, filtered: int, size: int, draft: Draft) -> Iterator[Draft]:
        listed = path[:filtered]
        if size == 0:
            yield self._put(self._ensured_list(draft, listed), listed, [])
            return
        for concrete, made in self._concrete(path, draft):
            ensured = self._ensured(made, concrete)
            elements = next(iter(_walk(ensured.body, listed, self.context)), MISSING)
            if isinstance(elements, list) and elements:
                yield self._put(ensured, listed, [copy.deepcopy(elements[0]) for _ in range(size)])

    def _ensured_list(self, draft: Draft, path: _Steps) -> Draft:
        kinds = self.sampler.kinds(self.sampler.at(draft.schema, _sampled(path)))
        made = self._ensured(draft, path)
        current = next(iter(_walk(made.body, path, self.context)), MISSING)
        if isinstance(current, (list, dict)) or "string" in kinds:
            return made
        return self._put(made, path, [])

    # -- tests and patterns -------------------------------------------------------------------------------------------

    def _tested(self, place: _Place, draft: Draft, *, positive: bool, exists: bool) -> Iterator[Draft]:
        match place:
            case _Header():
                yield self._with_header(draft, place.name, plausible(place.name) if positive else MISSING)
            case _InBody(length=True):
                yield from self._resized(place, ">" if positive else "==", 0, draft)
            case _InBody() if positive:
                for concrete, made in self._concrete(place.path, draft):
                    ensured = self._ensured(made, concrete)
                    value = next(iter(_walk(ensured.body, concrete, self.context)), MISSING)
                    if exists or truthy(value):
                        yield ensured
                    else:
                        yield self._put(ensured, concrete, True if value is False else 1 if value == 0 else "text")
            case _InBody():
                if place.path:
                    yield from self._unfiltered(place.path, draft)
                    yield self._put(draft, _until_filter(place.path), MISSING)
                    if not exists:
                        yield from (self._put(draft, place.path, each) for each in (None, False, ""))
                else:
                    yield replace(draft, body=MISSING)
            case _:
                return

    def _unfiltered(self, path: _Steps, draft: Draft) -> Iterator[Draft]:
        """Make the first filter of a path hold for nothing: neither for an object nor for any of its members."""
        place = next((index for index, step in enumerate(path) if isinstance(step, asks.Where)), None)
        filtered = path[place] if place is not None else None
        if place is None or not isinstance(filtered, asks.Where):
            return
        container = next(iter(_walk(draft.body, path[:place], self.context)), MISSING)
        if isinstance(container, dict):
            yield from self.solve(asks.Not(_absolute(filtered.condition, path[:place])), draft)
        elif isinstance(container, list):
            every = asks.All(
                tuple(
                    asks.Not(_absolute(filtered.condition, (*path[:place], index))) for index in range(len(container))
                )
            )
            yield from self.solve(every, draft)

    def _matched(self, place: _Place, texts: Iterable[str], draft: Draft) -> Iterator[Draft]:
        for text in texts:
            match place:
                case _Status():
                    return
                case _Header():
                    yield self._with_header(draft, place.name, text)
                case _InBody(path=()):
                    # A pattern over a whole JSON body is about its text: a member may be what is looked for.
                    if isinstance(draft.body, dict):
                        for word in re.findall(r"[A-Za-z_][\w-]+", text):
                            yield self._ensured(draft, (word,))
                    yield replace(draft, body=text)
                case _InBody():
                    for concrete, made in self._concrete(place.path, draft):
                        yield self._put(made, concrete, text)


_MIRRORED: Final = {"==": "==", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
_COMMON_STATUSES: Final = (
    200,
    201,
    202,
    204,
    301,
    302,
    304,
    400,
    401,
    403,
    404,
    409,
    410,
    412,
    422,
    429,
    500,
    502,
    503,
)


def _weight(atom: _Atom) -> int:
    """Order the atoms: what fixes values before what only asks for other values, lengths before their elements."""
    condition = atom[1]
    if isinstance(condition, asks.Compare):
        if any(isinstance(each, asks.Length) for each in (condition.left, condition.right)):
            return 0
        return 1 if condition.operator == "==" else 3
    return 2


def _until_filter(path: _Steps) -> _Steps:
    """Give what to remove so that a query selects nothing."""
    place = next((index for index, step in enumerate(path) if not isinstance(step, (str, int))), None)
    return path if place is None else path[: max(1, place)]


def _mentioned(atoms: Iterable[_Atom]) -> Iterator[int]:
    for _, atom in atoms:
        for each in (atom.left, atom.right) if isinstance(atom, asks.Compare) else ():
            value = each.value if isinstance(each, asks.Constant) else None
            if isinstance(value, str) and value.isdigit():
                value = int(value)
            if isinstance(value, int) and not isinstance(value, bool):
                yield from (status for status in (value, value + 1, value - 1) if 100 <= status <= 599)


# ---------------------------------------------------------------------------------------------------------------------
# Values
# ---------------------------------------------------------------------------------------------------------------------

_GOOD: Final = re.compile(
    r"(?i)complete|succe|^ok$|ready|active|available|in_?service|done|finish|approved|authori[sz]ed|accepted|running|valid"
)
_GOING: Final = re.compile(
    r"(?i)progress|pending|creat(ing|ed)|queue|wait|start|process|running|updating|stopping|new|draft|init"
)
_BAD: Final = re.compile(
    r"(?i)fail|error|cancel|reject|den(y|ied)|refus|expire|abort|delet|invalid|stopp|out_?of|unknown|not_?|in_?active|un_?available|dis"
)


def is_bad(condition: Outline) -> bool:
    """Tell whether a condition wants a value that means a failure: `state == 'failed'`."""
    match condition:
        case asks.All() | asks.Either():
            return any(map(is_bad, condition.parts))
        case asks.Compare(left, "==", right):
            values = [each.value for each in (left, right) if isinstance(each, asks.Constant)]
            return any(isinstance(each, str) and _BAD.search(each) is not None for each in values)
        case _:
            return False


def _rank(value: Json) -> int:
    """Order the values that a `!=` may take: an end that somebody hopes for first, an end at all before going on."""
    if not isinstance(value, str):
        return 1
    if _BAD.search(value):
        return 2
    if _GOOD.search(value):
        return 0
    return 3 if _GOING.search(value) else 1


def _others(
    operator: str, value: Json | Missing, choices: Sequence[Json], current: Json | Missing, literals: Sequence[Json]
) -> Iterator[Json | Missing]:
    """Give values for which `it operator value` holds; MISSING: nothing at all."""
    if operator == "==":
        if value is MISSING or value is None:
            yield MISSING
            yield None
        elif isinstance(value, str) and _is_number(current) and re.fullmatch(r"-?\d+(\.\d+)?", value):
            yield float(value) if "." in value else int(value)
            yield value
        else:
            yield value
        return
    if operator == "!=":
        if value is MISSING or value is None:
            return
        alike = [each for each in literals if type(each) is type(value)]
        listed = sorted((each for each in choices if each != value and each is not None), key=_rank)
        if listed:
            yield from listed
            return
        yield from sorted((each for each in alike if each != value), key=_rank)
        yield from _different(value)
        return
    if _is_number(value):
        offset = {"<": -1, "<=": 0, ">": 1, ">=": 0}[operator]
        yield value + offset  # type: ignore[operator]
    elif isinstance(value, str):
        yield {"<": "", "<=": value, ">": value + "a", ">=": value}[operator]


def _is_number(value: Json | Missing) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _different(value: Json) -> Iterator[Json]:
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, (int, float)):
        yield value + 1
    elif isinstance(value, str):
        yield "Completed" if _GOING.search(value) or _BAD.search(value) else f"not {value}"
        yield f"not {value}"
    else:
        yield "text"
