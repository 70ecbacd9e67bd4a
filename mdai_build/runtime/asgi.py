"""The few parts of ASGI 3 that the application uses."""

from __future__ import annotations

import asyncio
from typing import Any, Awaitable, Callable, Coroutine, Dict

Scope = Dict[str, Any]
Receive = Callable[[], Awaitable[Dict[str, Any]]]
Send = Callable[[Dict[str, Any]], Awaitable[None]]

TEXT = "text/plain; charset=utf-8"


class Stalled(Exception):
    """Nothing moved for too long."""


async def respond(
    send: Send, status: int, content: str | bytes, kind: str = TEXT, headers: dict[str, str] | None = None
) -> None:
    """Sends a whole response."""
    body = content.encode("utf-8", "replace") if isinstance(content, str) else content
    await start_response(send, status, len(body), kind, headers)
    await send({"type": "http.response.body", "body": body})


async def start_response(send: Send, status: int, size: int, kind: str, headers: dict[str, str] | None = None) -> None:
    """Sends the status and the headers of a response whose body follows."""
    pairs = {"content-type": kind, "content-length": str(size), **(headers or {})}
    encoded = [(name.encode("ascii"), value.encode("latin-1")) for name, value in pairs.items()]
    await send({"type": "http.response.start", "status": status, "headers": encoded})


async def while_it_moves(work: Coroutine[Any, Any, Any], progress: Callable[[], int], seconds: float) -> Any:
    """The result of a coroutine that is given up once its progress stands still for so long (0: never).

    Raises Stalled. One timer for the whole work: a time limit on each chunk would cost more than the chunk.
    """
    task = asyncio.ensure_future(work)
    try:
        while True:
            before = progress()
            done, _ = await asyncio.wait({task}, timeout=seconds or None)
            if done:
                return task.result()
            if progress() == before:
                raise Stalled
    finally:
        task.cancel()
