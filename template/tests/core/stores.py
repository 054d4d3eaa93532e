"""What every store of secrets does, whatever it is: derive from `StoreContract`."""

import pytest

from app.core.secrets import Secret, SecretConflictError, secrets


def plain(secret: Secret | None) -> dict[str, str] | None:
    """Show what a document says."""
    if secret is None:
        return None
    return {name: value.get_secret_value() for name, value in secret.values.items()}


class StoreContract:
    """The tests; the fixture `started` of the derived class runs a service."""

    @pytest.fixture
    def started(self) -> None:
        raise NotImplementedError

    async def test_a_document_is_kept_with_its_versions(self, started: None) -> None:
        assert await secrets.get("keys/stripe") is None
        assert await secrets.put("keys/stripe", {"KEY": "one"}) == 1
        assert await secrets.put("keys/stripe", {"KEY": "two"}) == 2
        newest = await secrets.get("keys/stripe")
        assert (plain(newest), newest and newest.version) == ({"KEY": "two"}, 2)
        assert plain(await secrets.get("keys/stripe", version=1)) == {"KEY": "one"}
        assert await secrets.get("keys/stripe", version=9) is None

    async def test_nobody_overwrites_what_somebody_else_has_written(self, started: None) -> None:
        await secrets.put("shared", {"KEY": "one"}, version=0)
        with pytest.raises(SecretConflictError):
            await secrets.put("shared", {"KEY": "late"}, version=0)
        assert await secrets.put("shared", {"KEY": "two"}, version=1) == 2
        with pytest.raises(SecretConflictError):
            await secrets.put("shared", {"KEY": "late"}, version=1)
        assert plain(await secrets.get("shared")) == {"KEY": "two"}

    async def test_not_even_what_somebody_else_has_removed(self, started: None) -> None:
        await secrets.put("gone", {"KEY": "one"})
        await secrets.delete("gone")
        with pytest.raises(SecretConflictError):
            await secrets.put("gone", {"KEY": "late"}, version=7)
        assert await secrets.get("gone") is None

    async def test_a_removed_document_is_gone_and_may_come_back(self, started: None) -> None:
        await secrets.put("old", {"KEY": "one"})
        await secrets.delete("old")
        assert await secrets.get("old") is None
        assert await secrets.put("old", {"KEY": "two"}, version=0) == 2
        assert plain(await secrets.get("old")) == {"KEY": "two"}
        await secrets.delete("never/there")

    async def test_documents_are_listed_level_by_level(self, started: None) -> None:
        for path in ("a/one", "a/two", "b"):
            await secrets.put(path, {"KEY": "x"})
        assert list(await secrets.list()) == ["a/", "b"]
        assert list(await secrets.list("a")) == ["one", "two"]
        assert list(await secrets.list("nothing")) == []

    @pytest.mark.parametrize("path", ["", "/a", "a/", "a//b", "../other", "a/../../other", "."])
    async def test_no_path_leads_out_of_the_service_s_place(self, started: None, path: str) -> None:
        with pytest.raises(ValueError, match="a path is names"):
            await secrets.get(path)
        with pytest.raises(ValueError, match="a path is names"):
            await secrets.put(path, {})
        with pytest.raises(ValueError, match="a path is names"):
            await secrets.delete(path)

    async def test_values_are_not_printed(self, started: None) -> None:
        await secrets.put("quiet", {"KEY": "hunter2"})
        found = await secrets.get("quiet")
        assert "hunter2" not in f"{found!r} {found} {secrets!r} {vars(secrets)!r}"
