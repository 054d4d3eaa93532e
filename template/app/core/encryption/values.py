"""What the attribute of an encrypted column holds."""

from typing import Annotated, Any

from pydantic import GetCoreSchemaHandler, PlainSerializer, PlainValidator, WithJsonSchema

from app.core.encryption.envelope import DecryptionError
from app.core.encryption.port import Place, encryption

MASKED = "**********"


class EncryptedStr:
    """A text that is encrypted where it is stored, and that is not printed.

    `EncryptedStr("text")` makes a new one, and `reveal()` gives the text. Values that come from the
    database are decrypted only then. Two of them are never equal, since encrypted columns cannot be
    compared or searched either: compare what `reveal()` gives.
    """

    __slots__ = ("_place", "_plain", "_sealed")

    def __init__(self, plain: str) -> None:
        self._plain: str | None = plain
        self._sealed: str | None = None
        self._place: Place | None = None

    @classmethod
    def stored(cls, sealed: str, place: Place | None = None) -> "EncryptedStr":
        """Make one of what the database has; where it belongs may be said later."""
        value = cls.__new__(cls)
        value._plain, value._sealed, value._place = None, sealed, place
        return value

    def reveal(self) -> str:
        """Give the text.

        Raises:
            DecryptionError: it was changed or moved, or its master key is not known, or nobody
                knows whose it is, because its column was read without its model.
        """
        if self._plain is None:
            if self._sealed is None or self._place is None:
                raise DecryptionError(
                    "an encrypted column was read by itself: load its model, with id and tenant"
                )
            try:
                self._plain = encryption.open(self._sealed, *self._place)
            except DecryptionError as error:
                raise DecryptionError(f"{error}: {' '.join(self._place)}") from None
        return self._plain

    def at(self, place: Place) -> "EncryptedStr":
        """Give the value for a place: itself, or a new one when it belongs to another row."""
        if self._place is None and self._sealed is None:
            self._place = place
        elif self._place != place:
            return EncryptedStr(self.reveal()).at(place)
        return self

    def sealed(self) -> str:
        """Give what is stored.

        Raises:
            TypeError: nobody knows where, because it is not a model that is stored.
        """
        if self._sealed is None:
            if self._place is None or self._plain is None:
                raise TypeError(
                    "encrypted columns are written by adding or changing an object of the model:"
                    " a bulk statement does not know the rows, and a condition finds none"
                )
            self._sealed = encryption.seal(self._plain, *self._place)
        return self._sealed

    def placed(self, place: Place) -> None:
        """Learn where a value that was read belongs."""
        if self._place is None:
            self._place = place

    def __repr__(self) -> str:
        return f"EncryptedStr({MASKED!r})"

    def __str__(self) -> str:
        return MASKED

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, handler: GetCoreSchemaHandler) -> Any:
        """Accept texts in bodies of requests, and never show one in JSON."""
        return handler.generate_schema(
            Annotated[
                Any,
                PlainValidator(_validated),
                PlainSerializer(str, return_type=str, when_used="json"),
                WithJsonSchema({"type": "string", "format": "password", "writeOnly": True}),
            ]
        )


def _validated(value: Any) -> EncryptedStr:
    if isinstance(value, EncryptedStr):
        return value
    if isinstance(value, str):
        return EncryptedStr(value)
    raise ValueError("must be a text")
