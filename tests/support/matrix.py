"""All legal combinations of answers, without listing them one by one.

Questions with choices and yes/no questions take all their values. A question with a free answer
takes the representatives declared here, once per question; one without is refused, so that a new
question cannot be forgotten. Texts move together: nothing may branch on a text (a contract test
says so), so crossing them with each other would only repeat work.
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from tests.support.answers import Resolver
from tests.support.template import Answers, Question, Template

Group = tuple[tuple[str, Any], ...]
"""Questions with answers, in the order in which they are asked."""

Key = tuple[tuple[str, str], ...]
"""The same, to be looked up: True and 1 are two answers."""

DEFAULT = object()
"""Stands for whatever the question's default comes to."""

SPREAD: Mapping[str, tuple[Any, ...]] = {
    "external_api": ("", "bybit"),
    "port_base": (0, 1024, 5200, 64000),
}
"""Free answers that switch something: crossed with everything else."""

TEXTS: Mapping[str, tuple[Any, ...]] = {
    "project_name": (DEFAULT, "X", "null", "L'Été à la plage: 100% #1 & more [beta] - 'quoted'"),
    "project_slug": (DEFAULT, "x", "no", "a-very-long-name-of-a-service-4-42-x-end"),
    "description": (
        DEFAULT,
        "",
        "- *all*: @home, ~",
        f"It's #1: 100% naïve & 'quoted' [docs] \u2713, {', '.join(['and so on'] * 9)}",
    ),
    "author_name": (DEFAULT, "O", "@me", "Zoë O'Neill & Sons: #1"),
    "author_email": (DEFAULT, "a@b", "0@1.e2", "first.last+tag@sub.example.co.uk"),
}
"""Free answers that are only printed: the n-th of each goes with the n-th of the others."""

PRINTED = ("license", "python_version")
"""Questions with choices whose answers are printed, like texts."""


@dataclass(frozen=True)
class Projection:
    """One of the distinct things that legal combinations give for some of the questions.

    Attributes:
        answers: a full, legal set of answers that gives it.
        combinations: how many legal combinations give it.
    """

    answers: Answers
    combinations: int


@dataclass
class _State:
    row: int
    answers: Answers
    combinations: int
    pieces: tuple[bool, ...] = ()
    """Which of the pieces that count are on, as far as that is decided."""


class Matrix:
    """The combinations of one template.

    Raises:
        LookupError: a question has a free answer and no representatives.
    """

    def __init__(
        self,
        template: Template,
        spread: Mapping[str, tuple[Any, ...]] = SPREAD,
        texts: Mapping[str, tuple[Any, ...]] = TEXTS,
    ) -> None:
        self.template = template
        self.resolver = Resolver(template)
        self.spread = spread
        self.texts = {name: values for name, values in texts.items() if name in template.questions}
        self.text_rows = range(max((len(values) for values in texts.values()), default=1))
        for question in template.asked:
            self.values(question)

    def values(self, question: Question) -> tuple[Any, ...]:
        """Give the values that stand for a question."""
        if question.type == "bool":
            return (True, False)
        if question.choices:
            return question.choices
        for declared in (self.spread, self.texts):
            if question.name in declared:
                return declared[question.name]
        raise LookupError(
            f"{question.name} has a free answer: declare representatives in {__name__}"
        )

    def count(self) -> int:
        """Count the legal combinations."""
        return sum(projection.combinations for projection in self.projections(()))

    def texts_of(self, row: int) -> Answers:
        """Give the texts that go together in one row, without those that are defaults."""
        return {
            name: values[row] for name, values in self.texts.items() if values[row] is not DEFAULT
        }

    def projections(
        self,
        names: Iterable[str] = (),
        fixed: Mapping[str, Any] | None = None,
        pieces: Iterable[str] = (),
    ) -> list[Projection]:
        """List what legal combinations give for some questions and pieces, each thing once.

        Combinations that agree in them and in all that later questions look at are carried on as
        one, so millions of combinations cost no more than their distinct projections.

        Args:
            names: asked questions, whose answers count.
            fixed: only combinations with these answers.
            pieces: pieces, of which it counts whether they are on.
        """
        fixed = fixed or {}
        wanted = frozenset(names) | fixed.keys()
        undecided = {piece: self._read_by(piece) for piece in pieces}
        states = {(row,): _State(row, {}, 1) for row in self.text_rows}
        for position, question in enumerate(self.template.asked):
            later = frozenset(each.name for each in self.template.asked[position + 1 :])
            waiting = [read for read in undecided.values() if read & later]
            kept = wanted | self._looked_at_after(position) | frozenset[str]().union(*waiting)
            decided = [piece for piece, read in undecided.items() if not read & later]
            for piece in decided:
                del undecided[piece]
            rows_matter = self._rows_matter(kept, position)
            merged: dict[tuple[Any, ...], _State] = {}
            for state in states.values():
                for answers in self._answered(question, state, fixed):
                    on = (
                        *state.pieces,
                        *(self.resolver.is_on(piece, answers) for piece in decided),
                    )
                    key = (
                        state.row if rows_matter else None,
                        *(repr(answers[name]) for name in answers if name in kept),
                        on,
                    )
                    seen = merged.setdefault(key, _State(state.row, answers, 0, on))
                    seen.combinations += state.combinations
            states = merged
        return [
            Projection(self._complete(state.answers), state.combinations)
            for state in states.values()
        ]

    @property
    def free(self) -> frozenset[str]:
        """The questions whose answers are printed as they are, and have many values."""
        return frozenset(self.texts) | frozenset(self.spread) | frozenset(PRINTED)

    def presets(self) -> dict[str, Answers]:
        """Give what each preset comes to when every other question keeps its default."""
        return {
            preset: self.resolver.resolve({"preset": preset})
            for preset in self.template.questions["preset"].choices
        }

    def groups(
        self,
        names: Iterable[str] | None = None,
        fixed: Mapping[str, Any] | None = None,
        strength: int = 2,
    ) -> Iterator[Group]:
        """Give every legal group of answers to so many questions, of all or of `names`."""
        for together in itertools.combinations(self._ordered(names), strength):
            for projection in self.projections(together, fixed):
                yield tuple((name, projection.answers[name]) for name in together)

    def covered(
        self,
        rows: Iterable[Answers],
        names: Iterable[str] | None = None,
        fixed: Mapping[str, Any] | None = None,
        strength: int = 2,
    ) -> tuple[int, int]:
        """Count the groups of answers that occur in some combinations, and those that are legal."""
        legal = set(map(_key, self.groups(names, fixed, strength)))
        seen = {key for row in rows for key in self._keys_of(row, strength)}
        return len(legal & seen), len(legal)

    def covering(
        self,
        names: Iterable[str] | None = None,
        fixed: Mapping[str, Any] | None = None,
        first: Iterable[Answers] = (),
        parts: Iterable[Answers] = (),
        strength: int = 2,
    ) -> list[Answers]:
        """Choose few combinations in which each legal group of answers occurs.

        Greedy: each row starts with a group not seen yet and takes, question by question, the legal
        value that adds the most unseen groups.

        Args:
            names: only groups of answers to these questions.
            fixed: only combinations with these answers.
            first: combinations that are among them in any case.
            parts: answers that stand together in one of them in any case.
            strength: how many answers a group has.
        """
        fixed = fixed or {}
        missing = {_key(group): group for group in self.groups(names, fixed, strength)}
        rows = list(first)
        for row in rows:
            self._take_out(row, missing)
        for part in parts:
            if not any(part.items() <= row.items() for row in rows):
                rows.append(self._complete_row({**fixed, **part}, missing, names))
                self._take_out(rows[-1], missing)
        while missing:
            start = dict(next(iter(missing.values())))
            rows.append(self._complete_row({**fixed, **start}, missing, names))
            self._take_out(rows[-1], missing)
        return rows

    @cached_property
    def _opening(self) -> frozenset[str]:
        """The questions on whose answers it depends whether others are asked."""
        whens = (question.when for question in self.template.asked)
        return frozenset[str]().union(
            *(self.template.variables(when) for when in whens if isinstance(when, str))
        )

    def _take_out(self, row: Answers, missing: dict[Key, Group]) -> None:
        for key in self._keys_of(row, _strength(missing)):
            missing.pop(key, None)

    def _complete_row(
        self,
        chosen: Answers,
        missing: Mapping[Key, Group],
        names: Iterable[str] | None,
    ) -> Answers:
        """Answer the questions that are open so that the most missing groups occur."""
        for name in self._ordered(names):
            if name not in chosen:
                candidates = self.projections((name,), chosen)
                # Of equal ones the first: what is off costs less when it is run, unless others are
                # asked only where it is on.
                values = sorted(
                    (projection.answers[name] for projection in candidates),
                    key=_is_something,
                    reverse=name in self._opening,
                )
                gains = [self._gain({**chosen, name: value}, name, missing) for value in values]
                chosen[name] = values[gains.index(max(gains))]
        return self.resolver.resolve(chosen)

    def _gain(self, chosen: Answers, name: str, missing: Mapping[Key, Group]) -> int:
        """Count the unseen groups that an answer brings with those before it."""
        return sum(key in missing for key in self._keys_of(chosen, _strength(missing), name))

    def _ordered(self, names: Iterable[str] | None) -> list[str]:
        wanted = None if names is None else frozenset(names)
        asked = [question.name for question in self.template.asked]
        return [name for name in asked if wanted is None or name in wanted]

    def _read_by(self, piece: str) -> frozenset[str]:
        when = self.template.pieces[piece].when
        return self.template.asked_behind(self.template.variables(when))

    def _keys_of(self, answers: Answers, strength: int, name: str | None = None) -> Iterator[Key]:
        """Give the groups that a combination has, or those of them in which `name` is answered."""
        names = [question.name for question in self.template.asked if question.name in answers]
        for together in itertools.combinations(names, strength):
            if name is None or name in together:
                yield _key([(each, answers[each]) for each in together])

    def _answered(
        self, question: Question, state: _State, fixed: Mapping[str, Any]
    ) -> Iterator[Answers]:
        """Give each legal way to go on after `state` with an answer to `question`."""
        answers = state.answers
        values = self.values(question)
        if question.name in self.texts:
            values = (values[state.row],)
        if not self.resolver.is_asked(question, answers):
            values = (DEFAULT,)
        for value in values:
            if value is DEFAULT:
                value = self.resolver.default(question, answers)
            if fixed.get(question.name, value) != value:
                continue
            extended = {**answers, question.name: value}
            if not self.resolver.refusal(question, extended):
                yield extended

    def _looked_at_after(self, position: int) -> frozenset[str]:
        later = self.template.asked[position + 1 :]
        return self.template.asked_behind(
            variable
            for question in later
            for text in question.logic
            for variable in self.template.variables(text) - {question.name}
        )

    def _rows_matter(self, kept: frozenset[str], position: int) -> bool:
        later = {question.name for question in self.template.asked[position + 1 :]}
        return bool(kept & later & self.texts.keys())

    def _complete(self, answers: Answers) -> Answers:
        completed = dict(answers)
        for question in self.template.questions.values():
            if question.computed:
                completed[question.name] = self.resolver.default(question, completed)
        return completed


def _is_something(value: Any) -> bool:
    return bool(value) and value != "none"


def _key(group: Iterable[tuple[str, Any]]) -> Key:
    return tuple((name, repr(value)) for name, value in group)


def _strength(groups: Mapping[Key, Group]) -> int:
    return len(next(iter(groups), ()))
