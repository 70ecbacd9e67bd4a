"""What an operator can set, all of it by environment variables, and the defaults."""

from __future__ import annotations

import os
from typing import Any, Callable, Mapping, NamedTuple

MIB = 1024 * 1024
_SUFFIXES = {"K": 1024, "M": MIB, "G": 1024 * MIB}


class SettingsError(Exception):
    """One or more variables hold what they cannot; the message names each of them."""


class Settings(NamedTuple):
    """The variables' values; times in seconds, 0 meaning no limit, sizes in bytes."""

    host: str
    port: int
    model_root: str
    mdai_path: str
    server_packages: str
    log_format: str
    load_timeout: float
    predict_timeout: float
    head_timeout: float
    body_timeout: float
    grace_period: float
    max_body_bytes: int
    max_held_bytes: int
    queue_limit: int


class Variable(NamedTuple):
    """One environment variable: the field that it sets, how its text is read, and what it means."""

    name: str
    field: str
    default: str
    parse: Callable[[str], Any]
    meaning: str


def _port(text: str) -> int:
    value = int(text)
    if not 0 <= value <= 65535:
        raise ValueError
    return value


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 <= value < 1e9:
        raise ValueError
    return value


def _size(text: str) -> int:
    scale = _SUFFIXES.get(text[-1:].upper(), 1)
    value = int(text[:-1] if scale > 1 else text) * scale
    if value < 1:
        raise ValueError
    return value


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ValueError
    return value


def _log_format(text: str) -> str:
    if text not in ("text", "json"):
        raise ValueError
    return text


def _folder_beside_runtime() -> str:
    """``/opt/mdai/packages`` when this file lies in ``/opt/mdai/runtime/mdai_runtime``."""
    runtime = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    return os.path.join(os.path.dirname(runtime), "packages")


VARIABLES: tuple[Variable, ...] = (
    Variable("MDAI_HOST", "host", "0.0.0.0", str, "address to listen on"),
    Variable("MDAI_PORT", "port", "6324", _port, "port to listen on, 0 to 65535"),
    Variable("MDAI_MODEL_ROOT", "model_root", "/src/lib", os.path.abspath, "folder that holds the model"),
    Variable("MDAI_PATH", "mdai_path", ".mdai", str, "folder of mdai_deploy.py, relative to the model root"),
    Variable(
        "MDAI_SERVER_PACKAGES",
        "server_packages",
        _folder_beside_runtime(),
        os.path.abspath,
        "folder of the server's own packages",
    ),
    Variable("MDAI_LOG_FORMAT", "log_format", "text", _log_format, "text or json"),
    Variable("MDAI_LOAD_TIMEOUT", "load_timeout", "0", _seconds, "seconds a model may take to load, 0 for no limit"),
    Variable(
        "MDAI_PREDICT_TIMEOUT",
        "predict_timeout",
        "0",
        _seconds,
        "seconds one request may take in the model, 0 for no limit",
    ),
    Variable(
        "MDAI_HEAD_TIMEOUT",
        "head_timeout",
        "30",
        _seconds,
        "seconds that a client may take to send the headers of a request, 0 for no limit",
    ),
    Variable(
        "MDAI_BODY_TIMEOUT",
        "body_timeout",
        "60",
        _seconds,
        "seconds without a byte after which a client that sends or reads a body is given up, 0 for no limit",
    ),
    Variable(
        "MDAI_GRACE_PERIOD",
        "grace_period",
        "9",
        _seconds,
        "seconds that accepted requests have to finish after SIGTERM; under the 10 s after which `docker stop` kills",
    ),
    Variable(
        "MDAI_MAX_BODY_BYTES",
        "max_body_bytes",
        "2G",
        _size,
        "largest request body, in bytes or with K, M or G; half of the container's memory where that is less",
    ),
    Variable(
        "MDAI_MAX_HELD_BYTES",
        "max_held_bytes",
        "4G",
        _size,
        "all request bodies held in memory at once, those that wait included; half of the container's memory likewise",
    ),
    Variable("MDAI_QUEUE_LIMIT", "queue_limit", "64", _count, "requests that may wait, the running one not counted"),
)


def within_memory(settings: Settings, limit: int | None) -> Settings:
    """The settings for a container with this memory limit: bodies lie in memory, and may take half of it.

    With more, the kernel would take the server for the cause, and everyone who waits would lose his answer.
    """
    if limit is None:
        return settings
    half = limit // 2
    return settings._replace(
        max_body_bytes=min(settings.max_body_bytes, half), max_held_bytes=min(settings.max_held_bytes, half)
    )


def read_settings(environment: Mapping[str, str]) -> Settings:
    """The settings from environment variables; an empty variable counts as not set.

    Raises SettingsError that names every variable with a wrong value.
    """
    values: dict[str, Any] = {}
    problems = []
    for variable in VARIABLES:
        text = environment.get(variable.name, "").strip() or variable.default
        try:
            values[variable.field] = variable.parse(text)
        except ValueError:
            problems.append(f"{variable.name}={text!r}: expected {variable.meaning}; default {variable.default}")
    if problems:
        raise SettingsError("\n".join(problems))
    return Settings(**values)
