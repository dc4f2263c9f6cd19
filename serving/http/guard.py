"""What a request must show before a byte of its body is read: the key, and a size."""

import hmac
from typing import TYPE_CHECKING

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException

from contracts.manifest import hash_bytes
from serving.http.errors import ApiError, answer_of

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from serving.http.service import Service

MAX_BODY = 32 << 20
"""Bytes of a request's body at most: far more than the longest context takes as ids."""
_OPEN = frozenset({"/health"})
"""Paths that need no key."""


class Guard:
    """ASGI middleware: refuses who has no key (401), and bodies that are too large (413)."""

    def __init__(self, app: "ASGIApp", service: "Service", max_body: int = MAX_BODY) -> None:
        self._app, self._service, self._max_body = app, service, max_body

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Pass a request on, or answer it."""
        refusal = self._refusal(scope) if scope["type"] == "http" else None
        if refusal is not None:
            await answer_of(refusal)(scope, receive, send)
            return
        await self._app(scope, self._counted(receive), send)

    def _refusal(self, scope: "Scope") -> ApiError | None:
        headers = Headers(scope=scope)
        # A server behind a prefix may leave it in the path.
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        if path not in _OPEN and not self._knows(headers.get("authorization", "")):
            return ApiError(
                401, "missing or wrong API key", kind="authentication_error", code="invalid_api_key"
            )
        said = headers.get("content-length", "0")
        if not said.isdecimal() or int(said) > self._max_body:
            return ApiError(413, self._too_large(), code="body_too_large")
        return None

    def _knows(self, authorization: str) -> bool:
        given = hash_bytes(authorization.removeprefix("Bearer ").encode())
        wanted = self._service.key_hash
        return wanted is None or hmac.compare_digest(given, wanted)

    def _counted(self, receive: "Receive") -> "Receive":
        """Ends a body without a length, or with a wrong one, at the limit."""
        taken = 0

        async def counted() -> "Message":
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > self._max_body:
                raise HTTPException(413, self._too_large())
            return message

        return counted

    def _too_large(self) -> str:
        return f"the body is larger than the {self._max_body} bytes this endpoint takes"
