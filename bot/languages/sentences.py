"""The sentences of a language, by the names that they have in all languages."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

from fluent.runtime import FluentBundle, FluentResource

if TYPE_CHECKING:
    from collections.abc import Mapping

FALLBACK = "en"
_ENDING = ".ftl"


@cache
def languages() -> tuple[str, ...]:
    """The languages that there are sentences in, as their files are called."""
    files = resources.files(__package__).iterdir()
    return tuple(sorted(file.name.removesuffix(_ENDING) for file in files if file.name.endswith(_ENDING)))


@cache
def bundle(language: str) -> FluentBundle:
    """All sentences of one of the :func:`languages`. Numbers are written as that language does."""
    text = resources.files(__package__).joinpath(f"{language}{_ENDING}").read_text(encoding="utf-8")
    # Fluent would wrap every value in invisible signs that keep right-to-left text apart: chats show them as boxes.
    sentences = FluentBundle([language], use_isolating=False)
    sentences.add_resource(FluentResource(text))
    return sentences


def nearest(language: str) -> str:
    """The language to use for an IETF tag: ``de`` for ``de-AT``; English for those that there are no sentences in."""
    base = language.replace("_", "-").partition("-")[0].casefold()
    return base if base in languages() else FALLBACK


def sentence(name: str, *, language: str, values: Mapping[str, str | int]) -> str:
    """One sentence.

    Args:
        name: of the message.
        language: IETF tag of the language that the reader understands.
        values: what stands in its places; text loses what cannot be printed.

    Raises:
        KeyError: there is no sentence of that name.
    """
    sentences = bundle(nearest(language))
    pattern = sentences.get_message(name).value
    if pattern is None:
        raise KeyError(name)
    text, faults = sentences.format_pattern(
        pattern, {key: harmless(value) if isinstance(value, str) else value for key, value in values.items()}
    )
    if faults:
        raise KeyError(f"{name}: {faults}")
    return str(text)


def harmless(text: str) -> str:
    """A text without what moves a cursor, hides, or turns the direction of writing."""
    return "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in text)
