"""Routes that load and drop LoRA adapters, named and shaped as in vLLM."""

from pathlib import Path
from typing import Any

from fastapi import APIRouter
from pydantic import Field

from contracts.engine import AdapterEngine
from serving.http.errors import ApiError
from serving.http.schema import _Request
from serving.http.service import Service


class LoadRequest(_Request):
    """``POST /v1/load_lora_adapter``."""

    lora_name: str = Field(min_length=1)
    """What requests will name as their model."""
    lora_path: str = Field(min_length=1)
    """Folder on the endpoint's machine, as peft writes it."""


class DropRequest(_Request):
    """``POST /v1/unload_lora_adapter``."""

    lora_name: str


def router(service: Service) -> APIRouter:
    """The adapter routes over a service."""
    routes = APIRouter()

    @routes.post("/v1/load_lora_adapter")
    async def load(body: LoadRequest) -> dict[str, Any]:
        if body.lora_name == service.model_name or body.lora_name in service.adapters():
            raise ApiError(
                409, f"the name {body.lora_name!r} is taken", param="lora_name", code="name_taken"
            )
        await _engine(service).load_adapter(body.lora_name, Path(body.lora_path))
        return {"id": body.lora_name, "root": service.fingerprint(body.lora_name)}

    @routes.post("/v1/unload_lora_adapter")
    async def unload(body: DropRequest) -> dict[str, Any]:
        await _engine(service).drop_adapter(body.lora_name)
        return {"id": body.lora_name, "deleted": True}

    return routes


def _engine(service: Service) -> AdapterEngine:
    if not isinstance(service.engine, AdapterEngine):
        raise ApiError(400, "this engine has no adapters", code="unsupported")
    return service.engine
