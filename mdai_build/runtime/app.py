"""The HTTP interface, as a plain ASGI application: bodies stay bytes, which no framework needs to look at."""

from __future__ import annotations

from .asgi import TEXT, Receive, Scope, Send, respond
from .contract import API_VERSION
from .inference import Inference, Server
from .supervisor import BUSY, READY

_JSON = "application/json"
_METRICS = "text/plain; version=0.0.4; charset=utf-8"


class Application:
    """Routes requests, and knows how many inferences are accepted and not yet answered (``active``)."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.active = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path, method = scope["path"], scope["method"]
        if path == "/inference" and method == "POST":
            self.active += 1
            try:
                await Inference(self._server, scope, receive, send).run()
            finally:
                self.active -= 1
            return
        page = self._page(path)
        if path == "/inference":
            await respond(send, 405, "Use POST.\n", headers={"allow": "POST"})
        elif page is None:
            pages = "/inference, /healthz, /ready, /version, /status and /metrics"
            await respond(send, 404, f"There is {pages}.\n")
        elif method not in ("GET", "HEAD"):
            await respond(send, 405, "Use GET.\n", headers={"allow": "GET, HEAD"})
        else:
            await respond(send, *page)

    def _page(self, path: str) -> tuple[int, str | bytes, str] | None:
        status = self._server.status
        if path == "/healthz":
            return 200, "", TEXT
        if path == "/ready":
            ready = status.state in (READY, BUSY)
            return (200, "", TEXT) if ready else (503, f"{status.state}: {status.reason}\n", TEXT)
        if path == "/version":
            return 200, API_VERSION, TEXT
        if path == "/status":
            return 200, status.as_json(), _JSON
        if path == "/metrics":
            return 200, status.as_metrics(), _METRICS
        return None
