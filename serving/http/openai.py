"""The ASGI app: OpenAI's routes, and /score, /v1/stats and /health beside them."""

from dataclasses import asdict
from typing import Any

from fastapi import FastAPI, Request

from contracts.engine import AdapterEngine, Capability, Scored
from serving.http import adapters, chat, completions, errors
from serving.http.errors import ApiError
from serving.http.guard import Guard
from serving.http.schema import ScoreRequest
from serving.http.service import Service, unless_disconnected


def build_app(service: Service) -> FastAPI:
    """The app over one service. Needs the key on every route but ``/health``."""
    app = FastAPI(title="Inkstone", docs_url=None, redoc_url=None, openapi_url=None)
    errors.install(app)
    app.add_middleware(Guard, service=service)

    @app.get("/health")
    async def health() -> dict[str, Any]:
        stats = service.engine.stats()
        return {"status": "ok", "running": stats.running, "waiting": stats.waiting}

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        base, *others = [_entry(service, n) for n in (service.model_name, *service.adapters())]
        data = [base, *({**entry, "parent": service.model_name} for entry in others)]
        return {"object": "list", "data": data}

    @app.get("/v1/stats")
    async def stats() -> dict[str, int]:
        return asdict(service.engine.stats())

    @app.post("/score", response_model=None)
    async def score(body: ScoreRequest, request: Request) -> Any:
        service.check_model(body.model)
        if Capability.SCORE not in service.engine.capabilities:
            raise ApiError(400, "this model's engine cannot score", code="unsupported")
        return await unless_disconnected(request, _score(service, body))

    app.include_router(chat.router(service))
    app.include_router(completions.router(service))
    app.include_router(adapters.router(service))
    return app


def _entry(service: Service, name: str) -> dict[str, Any]:
    return {
        "id": name,
        "object": "model",
        "created": 0,
        "owned_by": "inkstone",
        "root": service.fingerprint(name),
        "max_model_len": service.engine.stats().max_context,
    }


async def _rows(
    service: Service, model: str, context: list[int], options: list[list[int]]
) -> list[Scored]:
    adapter = service.adapter_of(model)
    if adapter is not None and isinstance(service.engine, AdapterEngine):
        return await service.engine.score(context, options, adapter)
    return await service.engine.score(context, options)


async def _score(service: Service, body: ScoreRequest) -> dict[str, Any]:
    encode = service.tokenizer.encode
    context = encode(body.context) if isinstance(body.context, str) else body.context
    options = [encode(c) if isinstance(c, str) else c for c in body.continuations]
    with service.admit(1):
        rows = await _rows(service, body.model, context, options)
    results = [
        {
            "token_ids": list(ids),
            "logprobs": list(row.logprobs),
            "total": row.total,
            "greedy": row.greedy,
        }
        for ids, row in zip(options, rows, strict=True)
    ]
    return {
        "model": body.model,
        "system_fingerprint": service.fingerprint(body.model),
        "context_token_ids": list(context),
        "results": results,
    }
