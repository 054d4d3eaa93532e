"""Problem details (RFC 9457): the one shape of every error answer."""

import json
from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response
from starlette.types import Scope

from app.core import context

MEDIA_TYPE = "application/problem+json"


class Problem(BaseModel):
    """Body of an error answer (https://www.rfc-editor.org/rfc/rfc9457)."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(examples=["urn:problem-type:not-found"])
    title: str = Field(examples=["Not found"])
    status: int = Field(examples=[404])
    detail: str | None = None
    instance: str = Field(description="Path of the request")
    code: str = Field(description="Stable name for programs", examples=["not_found"])
    request_id: str | None = Field(description="What to quote in a report")


PROBLEM_MEMBERS = frozenset(Problem.model_fields)
"""What every problem says, so what no extension may be called."""


def problem_response(
    scope: Scope,
    /,
    *,
    status: int,
    code: str,
    title: str,
    detail: str | None = None,
    headers: dict[str, str] | None = None,
    **extensions: Any,
) -> Response:
    """Build the answer for an error; `extensions` become further members of the body."""
    body = {
        "type": f"urn:problem-type:{code.replace('_', '-')}",
        "title": title,
        "status": status,
        "detail": detail,
        "instance": scope["path"],
        "code": code,
        "request_id": context.request_id.get(),
        **extensions,
    }
    try:
        content = orjson.dumps(body, default=str)
    except TypeError:  # a text that is no Unicode, such as half of a surrogate pair
        content = json.dumps(body, default=str).encode()
    return Response(content, status_code=status, headers=headers, media_type=MEDIA_TYPE)
