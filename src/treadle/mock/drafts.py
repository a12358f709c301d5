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
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias

import msgspec

from treadle.arazzo.criteria import outline as asks
from treadle.arazzo.criteria.compare import strict
from treadle.arazzo.criteria.conditions import truthy
from treadle.arazzo.criteria.outline import Outline
from treadle.arazzo.expressions import Context, text_of
from treadle.mock import xml
from treadle.mock.paths import put, remove
from treadle.mock.patterns import matching
from treadle.mock.places import (
    Header,
    InBody,
    Place,
    Status,
    Steps,
    absolute,
    first,
    holds,
    look,
    open_end,
    place_of,
    sampled,
)
from treadle.mock.samples import Sampler, plausible
from treadle.mock.values import others
from treadle.seams import MISSING, Answer, Json, Missing
from treadle.sources.walk import Node

__all__ = ["Draft", "Solver"]

MOST_BRANCHES: Final = 48
MOST_DRAFTS: Final = 16


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
                if all(holds(atom, seen) is positive for positive, atom in about) and status not in found:
                    found.append(status)
        return found

    def _about_status(self, atom: asks.Compare | asks.Test | asks.Matches | asks.XPath) -> bool:
        match atom:
            case asks.Compare():
                places = [place_of(atom.left), place_of(atom.right)]
                others = [each for each in places if each is not None and not isinstance(each, Status)]
                return any(isinstance(each, Status) for each in places) and not others
            case asks.Matches():
                return isinstance(place_of(atom.subject), Status)
            case _:
                return False

    def _satisfied(self, atoms: Sequence[_Atom], draft: Draft) -> Iterator[Draft]:
        drafts = [draft]
        for positive, atom in sorted(atoms, key=_weight):
            following: list[Draft] = []
            for each in drafts:
                if holds(atom, each.seen(self.context)) is positive:
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
            place = place_of(mine)
            if isinstance(place, InBody) and not place.length and isinstance(other, asks.Constant):
                name = place.path[-1] if place.path else ""
                return look(mine, seen) in (MISSING, plausible(name if isinstance(name, str) else ""))
        return False

    def _applied(
        self, atom: asks.Compare | asks.Test | asks.Matches | asks.XPath, positive: bool, draft: Draft
    ) -> Iterator[Draft]:
        match atom:
            case asks.Compare():
                yield from self._compared(atom, draft)
            case asks.Test():
                place = place_of(atom.operand)
                if place is not None:
                    yield from self._tested(place, draft, positive=positive, exists=atom.exists)
            case asks.Matches():
                place = place_of(atom.subject)
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
            place = place_of(mine)
            if place is None:
                continue
            value = look(other, seen)
            elsewhere = place_of(other)
            if value is MISSING and isinstance(elsewhere, InBody) and not elsewhere.length:
                draft = next(self._tested(elsewhere, draft, positive=True, exists=True), draft)
                value = look(other, draft.seen(self.context))
            match place:
                case Status():
                    # Drafts are made for one status, which everything else in them follows from.
                    return
                case Header() if operator == "!=" and (value is None or value is MISSING):
                    yield self._with_header(draft, place.name, plausible(place.name))
                case Header():
                    for each in others(operator, value, [], None, self.literals):
                        yield self._with_header(draft, place.name, each)
                case InBody(length=True):
                    yield from self._resized(place, operator, value, draft)
                case InBody():
                    yield from self._written(place, operator, value, draft)

    def _with_header(self, draft: Draft, name: str, value: Json | Missing) -> Draft:
        kept = {key: each for key, each in draft.headers.items() if key.lower() != name.lower()}
        return replace(draft, headers=kept if value is MISSING or value is None else {**kept, name: text_of(value)})

    def _written(self, place: InBody, operator: str, value: Json | Missing, draft: Draft) -> Iterator[Draft]:
        for concrete, made in self._concrete(place.path, draft):
            schema = self.sampler.at(made.schema, sampled(concrete))
            current = first(made.body, concrete, self.context)
            choices = self.sampler.choices(schema)
            for each in others(operator, value, choices, current, self.literals):
                yield self._put(made, concrete, each)
            if operator == "!=" and (value is None or value is MISSING):
                yield self._ensured(made, concrete)

    def _put(self, draft: Draft, path: Steps, value: Json | Missing) -> Draft:
        where = sampled(path)
        if value is MISSING:
            return replace(draft, body=remove(draft.body, where)) if where else replace(draft, body=MISSING)
        ensured = self._ensured(draft, path)
        return replace(ensured, body=put(ensured.body, where, copy.deepcopy(value)))

    def _ensured(self, draft: Draft, path: Steps) -> Draft:
        """Give the draft with something that is not null at the path."""
        where = sampled(path)
        body = None if draft.body is MISSING else draft.body
        if body is None:
            body = self.sampler.sample(draft.schema, wanted=[each for each in where[:1] if isinstance(each, str)])
        body = self.sampler.ensure(body, draft.schema, where)
        found = first(body, path, self.context)
        if found is None and where:
            last = where[-1]
            body = put(body, where, plausible(last if isinstance(last, str) else ""))
        return replace(draft, body=body)

    def _concrete(self, path: Steps, draft: Draft) -> Iterator[tuple[Steps, Draft]]:
        """Choose an element for every filter on a path, and make it fit."""
        place = next((index for index, step in enumerate(path) if isinstance(step, asks.Where)), None)
        if place is None:
            yield path, draft
            return
        prefix, rest, filtered = path[:place], path[place + 1 :], path[place]
        if not isinstance(filtered, asks.Where):
            return
        container = first(draft.body, prefix, self.context)
        kinds = self.sampler.kinds(self.sampler.at(draft.schema, sampled(prefix)))
        is_object = isinstance(container, dict) or (container is MISSING and kinds[:1] == ["object"])
        # A filter at an object means its members; what people mean is the object itself (`root-filter-on-object`).
        chosen: list[Steps] = [prefix, (*prefix, "item")] if is_object else [(*prefix, 0)]
        for element in chosen:
            condition = absolute(filtered.condition, element)
            for made in itertools.islice(self.solve(condition, self._ensured(draft, element)), 4):
                yield from self._concrete((*element, *rest), made)

    def _resized(self, place: InBody, operator: str, value: Json | Missing, draft: Draft) -> Iterator[Draft]:
        if not isinstance(value, int):
            return
        sizes = [
            each for each in (value, value + 1, value - 1, 0, 1, 2) if each >= 0 and strict(operator, each, value)[0]
        ]
        for size in dict.fromkeys(sizes):
            filtered = open_end(place.path)
            if filtered is not None:
                # The number of nodes of a query: none, or as the list that it looks at.
                yield from self._counted(place.path, filtered, size, draft)
                continue
            made = self._ensured(draft, (*place.path, 0)) if size else self._ensured_list(draft, place.path)
            current = first(made.body, place.path, self.context)
            if isinstance(current, str):
                yield self._put(made, place.path, current[:size].ljust(size, "x"))
            elements = current if isinstance(current, list) else []
            last = elements[-1] if elements else plausible("")
            grown = [*elements[:size], *(copy.deepcopy(last) for _ in range(size - len(elements)))]
            yield self._put(made, place.path, grown)
            if isinstance(current, dict):
                yield self._put(made, place.path, {f"key{index + 1}": "text" for index in range(size)})

    def _counted(self, path: Steps, filtered: int, size: int, draft: Draft) -> Iterator[Draft]:
        listed = path[:filtered]
        if size == 0:
            yield self._put(self._ensured_list(draft, listed), listed, [])
            return
        for concrete, made in self._concrete(path, draft):
            ensured = self._ensured(made, concrete)
            elements = first(ensured.body, listed, self.context)
            if isinstance(elements, list) and elements:
                yield self._put(ensured, listed, [copy.deepcopy(elements[0]) for _ in range(size)])

    def _ensured_list(self, draft: Draft, path: Steps) -> Draft:
        kinds = self.sampler.kinds(self.sampler.at(draft.schema, sampled(path)))
        made = self._ensured(draft, path)
        current = first(made.body, path, self.context)
        if isinstance(current, (list, dict)) or "string" in kinds:
            return made
        return self._put(made, path, [])

    # -- tests and patterns -------------------------------------------------------------------------------------------

    def _tested(self, place: Place, draft: Draft, *, positive: bool, exists: bool) -> Iterator[Draft]:
        match place:
            case Header():
                yield self._with_header(draft, place.name, plausible(place.name) if positive else MISSING)
            case InBody(length=True):
                yield from self._resized(place, ">" if positive else "==", 0, draft)
            case InBody() if positive:
                for concrete, made in self._concrete(place.path, draft):
                    ensured = self._ensured(made, concrete)
                    value = first(ensured.body, concrete, self.context)
                    if exists or truthy(value):
                        yield ensured
                    else:
                        yield self._put(ensured, concrete, True if value is False else 1 if value == 0 else "text")
            case InBody():
                if place.path:
                    yield from self._unfiltered(place.path, draft)
                    yield self._put(draft, _until_filter(place.path), MISSING)
                    if not exists:
                        yield from (self._put(draft, place.path, each) for each in (None, False, ""))
                else:
                    yield replace(draft, body=MISSING)
            case _:
                return

    def _unfiltered(self, path: Steps, draft: Draft) -> Iterator[Draft]:
        """Make the first filter of a path hold for nothing: neither for an object nor for any of its members."""
        place = next((index for index, step in enumerate(path) if isinstance(step, asks.Where)), None)
        filtered = path[place] if place is not None else None
        if place is None or not isinstance(filtered, asks.Where):
            return
        container = first(draft.body, path[:place], self.context)
        if isinstance(container, dict):
            yield from self.solve(asks.Not(absolute(filtered.condition, path[:place])), draft)
        elif isinstance(container, list):
            every = asks.All(
                tuple(asks.Not(absolute(filtered.condition, (*path[:place], index))) for index in range(len(container)))
            )
            yield from self.solve(every, draft)

    def _matched(self, place: Place, texts: Iterable[str], draft: Draft) -> Iterator[Draft]:
        for text in texts:
            match place:
                case Status():
                    return
                case Header():
                    yield self._with_header(draft, place.name, text)
                case InBody(path=()):
                    # A pattern over a whole JSON body is about its text: a member may be what is looked for.
                    if isinstance(draft.body, dict):
                        for word in re.findall(r"[A-Za-z_][\w-]+", text):
                            yield self._ensured(draft, (word,))
                    yield replace(draft, body=text)
                case InBody():
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


def _until_filter(path: Steps) -> Steps:
    """Give what to remove so that a query selects nothing."""
    place = open_end(path)
    return path if place is None else path[: max(1, place)]


def _mentioned(atoms: Iterable[_Atom]) -> Iterator[int]:
    for _, atom in atoms:
        for each in (atom.left, atom.right) if isinstance(atom, asks.Compare) else ():
            value = each.value if isinstance(each, asks.Constant) else None
            if isinstance(value, str) and value.isdigit():
                value = int(value)
            if isinstance(value, int) and not isinstance(value, bool):
                yield from (status for status in (value, value + 1, value - 1) if 100 <= status <= 599)
