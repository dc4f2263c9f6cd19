"""Server-sent events: the response that streams."""

import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from fastapi.responses import StreamingResponse

from contracts.engine import EngineError
from serving.http.errors import ApiError, from_engine


async def streaming(events: Any) -> StreamingResponse:
    """A response of JSON events, closed by ``[DONE]``.

    The first event is awaited before the status line goes out, so that a request the
    engine refuses gets its own status code. A failure after that becomes an event.
    """
    try:
        first = await anext(events)
    except BaseException:
        await events.aclose()
        raise
    return StreamingResponse(_lines(first, events), media_type="text/event-stream")


async def _lines(first: dict[str, Any], events: Any) -> AsyncIterator[str]:
    async with aclosing(events):
        yield _line(first)
        try:
            async for event in events:
                yield _line(event)
        except EngineError as error:
            yield _line(from_engine(error).body)
            return
        except ApiError as error:
            yield _line(error.body)
            return
    yield "data: [DONE]\n\n"


def _line(event: dict[str, Any]) -> str:
    # In ASCII: some clients end a line at U+0085, U+2028 and U+2029 too.
    return f"data: {json.dumps(event)}\n\n"
