"""What request and response bodies start from."""

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict


def _without_nul(text: str) -> str:
    if "\x00" in text:
        raise ValueError("must not contain the NUL character")
    return text


Text = Annotated[str, AfterValidator(_without_nul)]
"""A string that every database can store."""


class RequestSchema(BaseModel):
    """Base of request bodies: surrounding blanks are cut off, unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)


class PatchSchema(RequestSchema):
    """Base of PATCH bodies: an absent field stays as it is, null empties what may be empty.

    Give each field a default that is never used, so that it may be absent: `None` where null is
    allowed, `Field(default_factory=...)` where it is not.
    """

    def changes(self) -> dict[str, Any]:
        """The fields that the caller has sent."""
        return self.model_dump(exclude_unset=True)


class ResponseSchema(BaseModel):
    """Base of response bodies: reads its fields from a model's attributes."""

    model_config = ConfigDict(from_attributes=True)
