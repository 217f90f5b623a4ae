"""The shape that every document of the directory shares: strict, frozen, camelCase outside, snake_case inside."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints
from pydantic.alias_generators import to_camel

Text = Annotated[str, StringConstraints(min_length=1, max_length=2000)]


class Document(BaseModel):
    """A part of a document: unknown members are refused, so that a misspelt one is never silently ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)


class Texts(Document):
    """One text for citizens in the three languages of the house."""

    nl: Text
    fr: Text
    en: Text
