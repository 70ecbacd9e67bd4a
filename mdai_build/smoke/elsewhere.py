"""A server that somebody else started, known by its address alone."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from mdai_build.engine.target import TargetState
from mdai_build.errors import Location, Problem, UnavailableError, UsageError
from mdai_build.logins import hide_login
from mdai_build.smoke.client import Client, NoReplyError, TooLargeError, TooSlowError

_LOOKS_LIKE_A_PAGE = re.compile(rb"<(!doctype|html)", re.IGNORECASE)


def is_url(word: str) -> bool:
    """Whether a target is named by its address."""
    return word.startswith(("http://", "https://"))


class Elsewhere:
    """A server at an address. It satisfies `engine.target.Target`; of its log and memory nothing is known."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")

    def logs(self) -> str:
        """Nothing: it is not ours to read."""
        return "(the server at this address keeps its log where it runs)"

    def state(self) -> TargetState:
        """It counts as running: whether it answers is seen when it is asked."""
        return TargetState(running=True)

    def peak_memory(self) -> int | None:
        """Not known."""
        return None


def server_at(url: str) -> Elsewhere:
    """A server that answers at an address, ready or not.

    Raises:
        UsageError: it is no address of a server.
        UnavailableError: nothing answers there, or something that is no such server.
    """
    parts = urlsplit(url)
    if not parts.hostname:
        raise UsageError(Problem("usage.url", f"{url!r} is no address", expected="such as http://127.0.0.1:6324"))
    base = url.rstrip("/").removesuffix("/inference")
    shown = hide_login(base)
    try:
        with Client(base) as client:
            reply = client.get("/ready")
    except (NoReplyError, TooSlowError, TooLargeError) as error:
        raise UnavailableError(
            Problem(
                code="predict.no-server",
                what=f"nothing answers: {_reason(error)}",
                where=Location(shown),
                expected="the address of a served model, such as http://127.0.0.1:6324",
                next_step="start one with `mdai-build run IMAGE`, or name the image itself in place of the address",
            )
        ) from error
    if reply.status not in (200, 503) or _LOOKS_LIKE_A_PAGE.search(reply.body[:200]):
        raise UnavailableError(
            Problem(
                code="predict.no-server",
                what=f"what answers there is no served model: GET /ready gave status {reply.status}",
                where=Location(shown),
                expected="200 or 503 from the server of an image that mdai-build built",
                next_step="check the address and the port; the path is not part of it",
            )
        )
    return Elsewhere(base)


def _reason(error: Exception) -> str:
    text = str(error)
    known = {
        "Connection refused": "the connection was refused",
        "Failed to resolve": "this host name is not known",
        "NameResolution": "this host name is not known",
    }
    return next((words for sign, words in known.items() if sign in text), text[:200])
