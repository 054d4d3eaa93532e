"""Encrypted columns on a real database."""

from collections.abc import AsyncIterator

import pytest
from alembic.autogenerate import compare_metadata
from alembic.autogenerate.api import AutogenContext
from alembic.migration import MigrationContext
from sqlalchemy import Connection, insert, select, update
from sqlalchemy.exc import StatementError
from sqlalchemy.orm import load_only

from app.config import Settings
from app.core.database.migrations import _render_item
from app.core.encryption import DecryptionError, EncryptedStr, EncryptedText, encryption
from tests.core.encryption.accounts import (
    METADATA,
    Account,
    Counter,
    add,
    find,
    forget_all,
    overwrite,
    running,
    stored,
)
from tests.core.encryption.keyrings import keyring
from tests.core.first_database import database
from tests.core.plugin import Addresses


@pytest.fixture(scope="module")
async def service(module_databases: Addresses, settings: Settings) -> AsyncIterator[None]:
    async with running(module_databases, settings):
        yield


@pytest.fixture(autouse=True)
async def empty(service: None) -> None:
    await forget_all()


async def test_what_is_stored_is_read_again_and_cannot_be_read_there() -> None:
    await add("ada", "Ünïcode ✓", "")
    await add("bob")
    account = await find("ada")
    assert account.api_key.reveal() == "Ünïcode ✓"
    assert account.api_secret is not None
    assert account.api_secret.reveal() == ""
    assert (await find("bob")).api_secret is None
    (_, key, secret), (_, _, nothing) = await stored()
    assert key.startswith("v0.")
    assert secret.startswith("v0.")
    assert nothing is None
    assert "code" not in key


async def test_values_are_not_printed() -> None:
    await add("ada", "hunter2")
    account = await find("ada")
    account.api_key.reveal()
    for value in (account.api_key, EncryptedStr("hunter2")):
        assert "hunter2" not in f"{value!r} {value} {[value]}"


async def test_a_change_is_stored_and_the_rest_stays_as_it_is() -> None:
    await add("ada", "old", "kept")
    before = (await stored())[0]
    async with database.session_context() as session:
        account = (await session.scalars(select(Account))).one()
        account.api_key = EncryptedStr("new")
        await session.flush()
        assert account.api_key.reveal() == "new"
    after = (await stored())[0]
    assert (after[1] == before[1], after[2] == before[2]) == (False, True)
    assert (await find("ada")).api_key.reveal() == "new"
    async with database.session_context() as session:
        (await session.scalars(select(Account))).one().name = "eve"
    assert (await stored())[0][1:] == after[1:]


async def test_a_value_that_is_given_to_another_row_is_encrypted_for_it() -> None:
    await add("ada", "shared")
    async with database.session_context() as session:
        ada = (await session.scalars(select(Account))).one()
        session.add(Account(name="bob", api_key=ada.api_key, api_secret=ada.api_key))
        await session.flush()
    bob = await find("bob")
    assert bob.api_secret is not None
    assert (bob.api_key.reveal(), bob.api_secret.reveal()) == ("shared", "shared")
    assert len({value for _, *values in await stored() for value in values if value}) == 3


async def test_a_value_in_another_row_is_not_decrypted() -> None:
    await add("ada", "of ada")
    await add("eve", "of eve")
    await overwrite("eve", api_key=(await stored())[0][1])
    assert (await find("ada")).api_key.reveal() == "of ada"
    with pytest.raises(DecryptionError, match=r"moved.*accounts_of_the_tests\.api_key"):
        (await find("eve")).api_key.reveal()


async def test_a_value_in_another_column_is_not_decrypted() -> None:
    await add("ada", "key", "secret")
    _, key, secret = (await stored())[0]
    await overwrite("ada", api_key=secret, api_secret=key)
    account = await find("ada")
    assert account.api_secret is not None
    for value in (account.api_key, account.api_secret):
        with pytest.raises(DecryptionError, match="changed or moved"):
            value.reveal()


@pytest.mark.parametrize("text", ["plain text", "v0.AAAA", ""])
async def test_what_somebody_else_has_written_is_not_believed(text: str) -> None:
    await add("ada")
    await overwrite("ada", api_key=text)
    with pytest.raises(DecryptionError) as refused:
        (await find("ada")).api_key.reveal()
    assert "plain text" not in str(refused.value)


async def test_another_master_key_decrypts_nothing_and_an_older_one_does() -> None:
    with encryption.using(keyring(1)):
        await add("ada", "text")
    with encryption.using(keyring(2)):
        account = await find("ada")
        with pytest.raises(DecryptionError, match="version 1 is not in the secret file"):
            account.api_key.reveal()
    with encryption.using(keyring(2, 1)):
        assert (await find("ada")).api_key.reveal() == "text"
        await add("bob")
    assert [key[:3] for _, key, _ in await stored()] == ["v1.", "v2."]


async def test_values_are_decrypted_only_when_they_are_asked_for() -> None:
    await add("ada")
    await overwrite("ada", api_key="nonsense")
    async with database.session_context() as session:
        account = (await session.scalars(select(Account))).one()
        account.name = "eve"
    assert (await stored())[0][:2] == ("eve", "nonsense")


async def test_expired_and_deferred_values_know_their_place() -> None:
    await add("ada", "text", "other")
    async with database.session_context() as session:
        some = load_only(Account.name, Account.api_key)
        account = (await session.scalars(select(Account).options(some))).one()
        assert account.api_key.reveal() == "text"
        account.name = "changed"  # the rest is not loaded, and stays
        await session.flush()
        session.expire(account)
        await session.refresh(account)
        assert account.api_key.reveal() == "text"
        merged = await session.merge(Account(id=account.id, name="m", api_key=EncryptedStr("n")))
        await session.flush()
    assert (await find("m")).api_key.reveal() == "n"
    assert merged.api_key.reveal() == "n"


async def test_a_column_by_itself_does_not_say_whose_it_is() -> None:
    await add("ada")
    async with database.session_context() as session:
        value = (await session.scalars(select(Account.api_key))).one()
        with pytest.raises(DecryptionError, match="load its model"):
            value.reveal()


async def test_what_goes_past_the_models_is_refused() -> None:
    await add("ada", "text")
    before = await stored()
    new = EncryptedStr("new")
    row = {"name": "bob", "api_key": new}
    async with database.session_context() as session:
        for statement in (
            insert(Account).values(row),
            update(Account).values(api_key=new),
            update(METADATA.tables["accounts_of_the_tests"]).values(api_key="plain text"),
            select(Account).where(Account.api_key == new),
        ):
            with pytest.raises(StatementError, match=r"bulk statement|EncryptedStr") as refused:
                await session.execute(statement)
            assert isinstance(refused.value.orig, TypeError)
            assert "plain text" not in str(refused.value)
        await session.rollback()
    assert await stored() == before


async def test_a_text_that_nobody_wrapped_is_refused() -> None:
    async with database.session_context() as session:
        session.add(Account(name="ada", api_key="hunter2"))
        with pytest.raises(TypeError, match="takes an EncryptedStr, not a str") as refused:
            await session.flush()
        assert "hunter2" not in str(refused.value)
        await session.rollback()


async def test_a_row_must_know_its_key_before_it_is_stored() -> None:
    async with database.session_context() as session:
        session.add(Counter(text=EncryptedStr("text")))
        with pytest.raises(TypeError, match="Counter must know its primary key"):
            await session.flush()
        await session.rollback()
        session.add(Counter(id=7, text=EncryptedStr("text")))
        await session.flush()
        session.expire_all()
        counter = await session.get_one(Counter, 7)
        assert counter.text.reveal() == "text"


# --- migrations ---


async def test_migrations_see_a_plain_text_and_nothing_to_change() -> None:
    def differences(connection: Connection) -> list[object]:
        context = MigrationContext.configure(
            connection,
            opts={
                "compare_type": True,
                "include_object": lambda item, name, kind, *_: (
                    kind != "table" or name in METADATA.tables
                ),
            },
        )
        return list(compare_metadata(context, METADATA))

    async with database.migrator.connect() as connection:
        assert await connection.run_sync(differences) == []
    context = AutogenContext(MigrationContext.configure(dialect_name=connection.dialect.name))
    assert _render_item("type", EncryptedText(), context) == "sa.Text()"
