"""The audit log."""

import json

import pytest
import structlog

from app.config import Settings
from app.core.audit import audit
from app.core.logging import configure_logging


def test_a_security_event_is_one_line_without_secrets(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging(settings)
    monkeypatch.setattr("app.core.audit.log", structlog.get_logger(logger_name="app.audit"))
    audit("login.failed", address="203.0.113.9", password="hunter2")  # noqa: S106
    line = json.loads(capsys.readouterr().out)
    assert (line["event"], line["logger"], line["level"]) == ("login.failed", "app.audit", "info")
    assert line["address"] == "203.0.113.9"
    assert "hunter2" not in str(line)
