"""Resolving answers as Copier does: given ones are checked, the others take their defaults."""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import yaml

from tests.support.template import ANSWERS_FILE, Answers, Question, Template

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The fast one, where PyYAML was built with it."""


@cache
def _read(text: str) -> Any:
    """Parse what is read often, and what nobody changes."""
    return yaml.load(text, LOADER)  # noqa: S506 - both loaders are safe


CASTS: Mapping[str, Callable[[Any], Any]] = {
    "bool": lambda value: bool(_read(value) if isinstance(value, str) else value),
    "float": float,
    "int": int,
    "str": str,
    "yaml": lambda value: _read(value) if isinstance(value, str) else value,
}


ACTIVE = "active"
"""The computed question that names the pieces that are on."""

ANEW = {"_copier_conf": {"dst_path": "/nowhere", "answers_file": ANSWERS_FILE}}
"""What Copier says of itself to questions, where nothing was rendered before."""


class Resolver:
    """Evaluates the questions of a template; each Jinja text once per values it reads."""

    def __init__(self, template: Template) -> None:
        self.template = template
        self._compiled = cache(template.environment.from_string)
        self._evaluated: dict[tuple[str, ...], str] = {}

    def resolve(self, given: Mapping[str, Any] | None = None) -> Answers:
        """Answer every question, the computed ones too.

        Raises:
            KeyError: a given answer belongs to no question.
            ValueError: a given answer is refused; the message is the validator's.
        """
        given = given or {}
        if unknown := given.keys() - {question.name for question in self.template.asked}:
            raise KeyError(f"no such question: {', '.join(sorted(unknown))}")
        answers: Answers = dict(given)
        for question in self.template.questions.values():
            if question.name in given:
                answers[question.name] = CASTS[question.type](given[question.name])
            else:
                answers[question.name] = self.default(question, answers)
            if problem := self.refusal(question, answers):
                raise ValueError(problem)
        return answers

    def default(self, question: Question, answers: Answers) -> Any:
        """Compute the default of a question from the answers before it.

        What is active is computed as extensions/active.jinja does, without Jinja and YAML.
        """
        if question.name == ACTIVE:
            return [name for name in self.template.pieces if self.is_on(name, answers)]
        value = question.default
        if isinstance(value, str):
            value = self.evaluate(value, answers)
        return CASTS[question.type](value)

    def refusal(self, question: Question, answers: Answers) -> str:
        """Say why the answer to a question is refused; empty when it is accepted."""
        value = answers[question.name]
        if question.choices and value not in question.choices:
            return f"{value!r} is not in {list(question.choices)}"
        if question.computed or not question.validator:
            return ""
        return " ".join(self.evaluate(question.validator, answers).split())

    def is_on(self, piece: str, answers: Answers) -> bool:
        """Whether a piece is on with these answers."""
        on: bool = CASTS["bool"](self.evaluate(self.template.pieces[piece].when, answers))
        return on

    def is_asked(self, question: Question, answers: Answers) -> bool:
        """Whether `when` lets the question be asked after these answers."""
        if isinstance(question.when, bool):
            return question.when
        return bool(CASTS["bool"](self.evaluate(question.when, answers)))

    def evaluate(self, text: str, answers: Answers) -> str:
        """Render one Jinja text of copier.yml or of the manifest."""
        if "{" not in text:
            return text
        names = sorted(self.template.variables(text) & answers.keys())
        key = (text, *(repr(answers[name]) for name in names))
        if key not in self._evaluated:
            context = {name: answers[name] for name in names}
            self._evaluated[key] = self._compiled(text).render(ANEW, **context)
        return self._evaluated[key]
