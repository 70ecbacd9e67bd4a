"""HTTP with the served model: limits on time and size, no proxies, every way of not answering told apart."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any

from typing_extensions import Self

if TYPE_CHECKING:
    import requests

    from mdai_build.smoke.request import RequestBody

MAX_ANSWER_BYTES = 2 * 1024**3
_CHUNK = 1024 * 1024


class NoReplyError(Exception):
    """The connection was refused, or it broke before the answer was complete."""


class TooSlowError(Exception):
    """No complete answer within the limit."""


class TooLargeError(Exception):
    """The answer is larger than we are ready to hold."""


@dataclass(frozen=True)
class Reply:
    """An HTTP answer."""

    status: int
    content_type: str
    body: bytes = field(repr=False)
    seconds: float = 0.0
    failure: str = ""
    """The step that our server says has failed (header `mdai-failure`); empty from others."""
    timing: str = ""
    """What our server says that the steps took (header `server-timing`); empty from others."""

    @property
    def text(self) -> str:
        """The body as text, whatever bytes it holds."""
        return self.body.decode("utf-8", "replace")


class Client:
    """Talks to one target. Environment variables for proxies are ignored: the target is on this machine."""

    def __init__(self, url: str) -> None:
        import requests

        self._url = url.rstrip("/")
        self._session: requests.Session = requests.Session()
        self._session.trust_env = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._session.close()

    def get(self, path: str, seconds: float = 5.0) -> Reply:
        """GET; raises NoReplyError, TooSlowError or TooLargeError."""
        return self._ask("GET", path, seconds)

    def post(
        self, path: str, body: bytes | RequestBody, content_type: str, seconds: float, measure: bool = False
    ) -> Reply:
        """POST; raises NoReplyError, TooSlowError or TooLargeError. `measure` asks for memory in `Reply.timing`."""
        headers = {"content-type": content_type, **({"mdai-measure": "memory"} if measure else {})}
        return self._ask("POST", path, seconds, data=body, headers=headers)

    def _ask(self, method: str, path: str, seconds: float, **parts: Any) -> Reply:
        import requests
        import urllib3

        begin = time.monotonic()
        try:
            with self._session.request(
                method, self._url + path, timeout=(min(5.0, seconds), seconds), stream=True, **parts
            ) as response:
                body = bytearray()
                for chunk in response.iter_content(_CHUNK):
                    body += chunk
                    if len(body) > MAX_ANSWER_BYTES:
                        raise TooLargeError(f"more than {MAX_ANSWER_BYTES} bytes")
                    if time.monotonic() - begin > seconds:
                        raise TooSlowError(f"no complete answer within {seconds:g} s")
                content_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
                return Reply(
                    status=response.status_code,
                    content_type=content_type,
                    body=bytes(body),
                    seconds=time.monotonic() - begin,
                    failure=response.headers.get("mdai-failure", ""),
                    timing=response.headers.get("server-timing", ""),
                )
        except (requests.Timeout, urllib3.exceptions.TimeoutError) as error:
            raise TooSlowError(f"no answer within {seconds:g} s") from error
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            raise NoReplyError(str(error)) from error
