"""Errors in OpenAI's shape, with the status codes its clients act on."""

import json
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from contracts.engine import (
    AdapterInUse,
    EngineError,
    InvalidSampling,
    InvalidToken,
    PromptTooLong,
    UnknownAdapter,
)
from serving.engine.errors import Interrupted
from serving.lora.files import AdapterError


class ApiError(Exception):
    """An answer other than 200."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = "invalid_request_error",
        param: str | None = None,
        code: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers
        self.body: dict[str, Any] = {
            "error": {"message": message, "type": kind, "param": param, "code": code}
        }


def from_engine(error: EngineError) -> ApiError:
    """What an engine's refusal or failure means to a client."""
    if isinstance(error, PromptTooLong):
        return ApiError(400, str(error), param="messages", code="context_length_exceeded")
    if isinstance(error, InvalidToken):
        return ApiError(400, str(error), param="prompt", code="invalid_token")
    if isinstance(error, UnknownAdapter):
        return ApiError(404, str(error), param="model", code="model_not_found")
    if isinstance(error, AdapterInUse):
        return ApiError(409, str(error), code="adapter_in_use")
    if isinstance(error, AdapterError):
        return ApiError(400, str(error), param="lora_path", code="invalid_adapter")
    if isinstance(error, InvalidSampling):
        return ApiError(400, str(error), code="invalid_parameter")
    if isinstance(error, Interrupted):
        # No Retry-After: clients would use it in place of their own, patient back-off.
        retry = {"x-should-retry": "true"}
        return ApiError(503, str(error), kind="server_error", code="interrupted", headers=retry)
    # Asked again it would fail again: tell clients that retry on 500 not to.
    return ApiError(500, str(error), kind="server_error", headers={"x-should-retry": "false"})


class _Answer(JSONResponse):
    """JSON in ASCII: what is wrong with a request may be that it has no other encoding."""

    def render(self, content: Any) -> bytes:
        return json.dumps(content).encode("ascii")


def answer_of(error: ApiError) -> JSONResponse:
    """The response that an error is."""
    return _Answer(error.body, error.status, error.headers)


def install(app: FastAPI) -> None:
    """Answer every failure in OpenAI's shape."""

    @app.exception_handler(ApiError)
    async def api_error(_: Request, error: ApiError) -> JSONResponse:
        return answer_of(error)

    @app.exception_handler(EngineError)
    async def engine_error(_: Request, error: EngineError) -> JSONResponse:
        return answer_of(from_engine(error))

    @app.exception_handler(RequestValidationError)
    async def bad_parameter(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"][1:]) or "body"
        message = f"{where}: {first['msg']}"
        return answer_of(ApiError(400, message, param=where, code=first["type"]))

    @app.exception_handler(HTTPException)
    async def other(_: Request, error: HTTPException) -> JSONResponse:
        return answer_of(ApiError(error.status_code, str(error.detail)))

    @app.exception_handler(Exception)
    async def unforeseen(_: Request, error: Exception) -> JSONResponse:
        message = f"{type(error).__name__} in the endpoint; its log says more"
        return answer_of(ApiError(500, message, kind="server_error"))
