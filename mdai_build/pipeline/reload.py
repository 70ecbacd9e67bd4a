"""A served model that can be loaded anew where it is served."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from mdai_build.errors import UnavailableError

if TYPE_CHECKING:
    from mdai_build.engine import Reloadable

_POLL_SECONDS = 0.01


class Served:
    """A model that is served, and whether it is the one that was saved last."""

    def __init__(self, target: Reloadable, environment: object) -> None:
        from mdai_build.smoke.client import Client

        self.target = target
        self.environment = environment
        self.stuck = False
        """Whether it has ended, or is busy with a request that nobody waits for any more."""
        self._client = Client(target.url)
        self._loads = 0

    def reload(self) -> None:
        """Asks for the model to be loaded anew, and does not wait for it."""
        self._loads = self._told()
        try:
            self.target.reload()
        except UnavailableError:
            self.stuck = True

    def reloaded(self, seconds: float) -> bool:
        """Waits until the model that was served has gone; False if it does not go."""
        deadline = time.monotonic() + seconds
        while not self.stuck and time.monotonic() < deadline:
            loads = self._told()
            if loads > self._loads:
                return True
            if loads < 0 and not self.target.state().running:
                return False
            time.sleep(_POLL_SECONDS)
        return False

    def _told(self) -> int:
        """How often the server has loaded the model, by its own count; -1 where it does not say."""
        from mdai_build.smoke.client import NoReplyError, TooLargeError, TooSlowError

        try:
            return int(json.loads(self._client.get("/status").body)["worker_restarts"])
        except (NoReplyError, TooSlowError, TooLargeError):
            return -1
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):  # it may be a stranger's server
            return -1
