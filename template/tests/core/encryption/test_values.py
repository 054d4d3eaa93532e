"""Values by themselves, and where they belong."""

import json

import pytest
from pydantic import BaseModel
from sqlalchemy import Column, MetaData, Table

from app.core.encryption import EncryptedStr, EncryptedText
from app.core.encryption.column import place_of


def test_a_renamed_column_may_keep_the_name_of_its_values() -> None:
    table = Table(
        "renamed",
        MetaData(),
        Column("plain", EncryptedText()),
        Column("bound", EncryptedText("accounts.api_key")),
    )
    assert place_of(table.c.plain, None, [1]) == ("renamed.plain", "", "1")
    assert place_of(table.c.bound, None, [1]) == ("accounts.api_key", "", "1")


class Login(BaseModel):
    api_key: EncryptedStr


def test_bodies_take_a_text_and_never_show_it() -> None:
    login = Login.model_validate_json('{"api_key": "hunter2"}')
    assert login.api_key.reveal() == "hunter2"
    assert json.loads(login.model_dump_json()) == {"api_key": "**********"}
    assert login.model_dump()["api_key"] is login.api_key
    assert "hunter2" not in f"{login!r}"
    schema = Login.model_json_schema()["properties"]["api_key"]
    assert (schema["type"], schema["writeOnly"]) == ("string", True)
    with pytest.raises(ValueError, match="must be a text"):
        Login.model_validate({"api_key": 7})
