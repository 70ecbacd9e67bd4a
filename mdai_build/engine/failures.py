"""What is told where the engine, or the library that speaks with it, fails."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import docker.errors
import requests.exceptions

from mdai_build.errors import MdaiBuildError, Problem, UnavailableError

NO_ANSWER = {
    "permission denied": (
        "engine.denied",
        "does not let this user in",
        "let the user into the group that owns the socket (docker, most of the time) and log in anew",
    ),
    "timed out": (
        "engine.silent",
        "takes connections and does not answer",
        "it hangs: see its log, and restart it",
    ),
}
"""What to say of an engine that is there, by why it did not serve."""


class EngineLostError(UnavailableError):
    """The engine did not answer a question. Whether it is back in a moment was not looked at."""


@contextmanager
def engine_words() -> Iterator[None]:
    """Turns the Docker SDK's failures into ours."""
    try:
        yield
    except MdaiBuildError:
        raise
    except docker.errors.APIError as error:
        if says_disk_full(str(error.explanation or error)):
            raise disk_full("it refused", str(error.explanation or error)) from error
        raise UnavailableError(
            Problem(
                code="engine.refused",
                what=f"the container engine refused: {error.explanation or error}",
                next_step="see the engine's log; `docker info` tells whether it works",
            )
        ) from error
    except (docker.errors.DockerException, requests.exceptions.RequestException, OSError) as error:
        if "timed out" in str(error):
            code, what, next_step = NO_ANSWER["timed out"]
            problem = Problem(code, f"the container engine {what}", next_step=next_step, details=str(error))
            raise UnavailableError(problem) from error
        raise EngineLostError(
            Problem(
                code="engine.lost",
                what=f"the container engine no longer answers: {error}",
                next_step="check that it runs: `docker version`",
            )
        ) from error


def says_disk_full(said: str) -> bool:
    """Whether these words of an engine tell of a full disk."""
    return "no space left on device" in said.lower()


def disk_full(meanwhile: str, details: str) -> UnavailableError:
    """What to say where the engine's disk is full; `meanwhile` tells what it did, and `details` are its own words."""
    return UnavailableError(
        Problem(
            code="engine.disk-full",
            what=f"the disk of the engine is full; {meanwhile}",
            next_step="see `docker system df`; `docker builder prune` frees what the build cache holds",
            details=details,
        )
    )
