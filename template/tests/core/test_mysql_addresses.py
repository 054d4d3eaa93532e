"""What the addresses of MySQL and MariaDB say to their programs, the driver is told too."""

from typing import Any

import pytest
from pydantic import SecretStr

from app.config import Settings
from app.core.database.flavours.flavour import FLAVOUR
from app.core.database.layout import DATABASES
from app.core.database.settings import driver_url
from app.core.settings import load_settings

FOUND = {"ssl": {"check_hostname": False}}
"""The driver's options for TLS with a server of which nothing is verified."""


def told(query: str) -> dict[str, Any]:
    """Give the options that the driver gets for the query of an address."""
    url = driver_url(SecretStr(f"mysql://user:secret@host:3306/name{query}"))
    [], options = url.get_dialect()().create_connect_args(url)
    always = {"charset", "client_flag", "db", "host", "password", "port", "user"}
    assert always <= options.keys()
    return {name: value for name, value in options.items() if name not in always}


@pytest.mark.parametrize(
    ("query", "options"),
    [
        ("", {}),
        ("?ssl-mode=DISABLED&ssl-ca=a.pem", {}),
        ("?ssl=false", {}),
        ("?ssl-mode=PREFERRED", FOUND),
        ("?ssl-mode=REQUIRED", FOUND),
        ("?ssl_mode=required", FOUND),
        ("?sslmode=Required", FOUND),
        ("?ssl=true", FOUND),
        ("?ssl=true&ssl-ca=a.pem", {"ssl": {"ca": "a.pem"}}),
        ("?ssl-mode=VERIFY_CA&ssl_ca=a.pem", {"ssl": {"ca": "a.pem", "check_hostname": False}}),
        (
            "?ssl_check_hostname=false&ssl-mode=verify_identity&ssl-capath=a",
            {"ssl": {"capath": "a", "check_hostname": True}},
        ),
        (
            "?ssl_cert=a.pem&ssl_key=a.key&unix_socket=/a",
            {"ssl": {"cert": "a.pem", "key": "a.key"}, "unix_socket": "/a"},
        ),
    ],
)
def test_the_driver_is_told_what_an_address_says(query: str, options: dict[str, Any]) -> None:
    assert told(query) == options


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("?useSSL=hunter2", "has useSSL in its query, where only these are known: charset, .*ssl_"),
        ("?ssl-mode=hunter2", "must have one of DISABLED, .*, VERIFY_IDENTITY as ssl-mode"),
        ("?ssl-mode=VERIFY_CA", "needs ssl_ca, .* for ssl-mode=VERIFY_CA"),
    ],
)
def test_what_the_driver_does_not_know_is_refused_at_the_start(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, query: str, said: str
) -> None:
    variable = DATABASES[0].variable.upper()
    monkeypatch.setenv(variable, f"{FLAVOUR.example}{query}")
    with pytest.raises(SystemExit, match=rf"^configuration: {variable} .*{said}.*$") as stopped:
        load_settings(Settings)
    assert "hunter2" not in str(stopped.value.code)
