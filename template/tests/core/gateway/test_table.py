"""How the table of upstreams is written."""

from collections.abc import Iterator

import pytest
from pydantic import ValidationError

from app.config import Settings
from app.core.gateway.settings import GatewaySettings, Upstream
from app.core.settings import AppSettings
from tests.core.plugin import with_changes


@pytest.mark.parametrize(
    ("text", "urls"),
    [
        ("projects", {"projects": "http://projects:8001"}),
        (
            "projects, billing-2=https://pay.example.com/v1/",
            {"projects": "http://projects:8001", "billing-2": "https://pay.example.com/v1"},
        ),
        ('{"a": "http://10.0.0.1:80"}', {"a": "http://10.0.0.1:80"}),
        ('{"a": {"url": "http://[::1]:9"}}', {"a": "http://[::1]:9"}),
        ("", {}),
    ],
)
def test_names_addresses_and_json(settings: Settings, text: str, urls: dict[str, str]) -> None:
    table = with_changes(settings, gateway_upstreams=text).gateway_upstreams
    assert {name: upstream.url for name, upstream in table.items()} == urls


def test_json_tells_more(settings: Settings) -> None:
    text = '{"a": {"url": "http://a:1", "public": true, "timeout": 5}}'
    table = with_changes(settings, gateway_upstreams=text).gateway_upstreams
    assert table == {"a": Upstream(url="http://a:1", public=True, timeout=5)}


@pytest.mark.parametrize(
    "text",
    [
        "UPPER",
        "a/b",
        "a..b",
        "a=ftp://host",
        "a=http://",
        "a=http://user:password@host",
        "a=http://host:99999",
        "a=http://host:0x50",
        "a=http://host/?query",
        "a=http://host/#fragment",
        "a=http://host/../up",
        "a=http://ho st",
        '{"a": {"url": "http://a", "unknown": 1}}',
        '{"a": {"url": "http://a", "timeout": 0}}',
        '{"a": {"url": "http://a", "timeout": 1e999}}',
        '{"a": {"url": "http://a", "health": "health"}}',
        '{"a": {"url": "http://a", "hidden": ["metrics"]}}',
        '{"a": {"url": "http://a", "hidden": ["/"]}}',
        '{"a": {"url": "http://a", "share": 0}}',
        '{"a": {"url": "http://a", "share": 2}}',
        "{broken",
    ],
)
def test_what_is_wrong_stops_the_start(settings: Settings, text: str) -> None:
    with pytest.raises(ValidationError, match="gateway_upstreams"):
        with_changes(settings, gateway_upstreams=text)


def test_a_list_is_no_table(settings: Settings) -> None:
    with pytest.raises(ValidationError, match="must be names, NAME=URL or a JSON object"):
        with_changes(settings, gateway_upstreams=["a"])


def test_broken_json_is_told_what_is_wanted(settings: Settings) -> None:
    with pytest.raises(ValidationError, match="must be names, NAME=URL or a JSON object"):
        with_changes(settings, gateway_upstreams='{"a": ')


def test_limits_of_others_stay(settings: Settings) -> None:
    class Other(AppSettings):
        def body_limits(self) -> Iterator[tuple[str, int]]:
            yield "/other", 1

    class Both(GatewaySettings, Other): ...

    both = Both.model_validate(settings.model_dump() | {"gateway_upstreams": "a"})
    assert dict(both.body_limits()).keys() == {"/other", "/services/a"}
