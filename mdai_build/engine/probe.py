"""Quick looks at what builds depend on: the engine, indexes and registries, proxies, GPUs. Nothing is changed."""

from __future__ import annotations

import re
import shutil
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
import requests.utils

from mdai_build.engine.connection import Engine
from mdai_build.engine.failures import engine_words
from mdai_build.engine.process import Environment, run_quietly
from mdai_build.logins import hide_login
from mdai_build.settings import Settings


@dataclass(frozen=True)
class EngineFacts:
    """What the engine says of itself."""

    root: Path | None
    """Where it keeps images; None where that is on another machine."""
    store: str
    """`overlay2`, or `containerd`."""
    cores: int
    memory: int
    """Bytes."""
    gives_gpus: bool
    """Whether its containers can be given GPUs."""
    buildx: str
    """The version of the plugin."""


def engine_facts(engine: Engine) -> EngineFacts:
    """Asks the engine what it is.

    Raises:
        UnavailableError: it does not answer any more.
    """
    with engine_words():
        info: dict[str, Any] = engine.client.api.info()
    root = Path(str(info.get("DockerRootDir") or "/nowhere"))
    here = engine.host.startswith("unix://")
    # Of the toolkit's hook, which dockerd finds by its PATH, it tells nothing.
    has_hook = here and shutil.which("nvidia-container-runtime-hook") is not None
    said = run_quietly(engine.command("buildx", "version"), engine.environment, timeout=5).output
    version = re.search(r"v?(\d+\.\d+\.\d+\S*)", said)
    return EngineFacts(
        root=root if here and root.is_dir() else None,
        store="containerd" if engine.has_containerd_store() else str(info.get("Driver")),
        cores=int(info["NCPU"]),
        memory=int(info["MemTotal"]),
        gives_gpus="nvidia" in (info.get("Runtimes") or {}) or bool(info.get("DiscoveredDevices")) or has_hook,
        buildx=version[1] if version else "unknown",
    )


def has_builder(engine: Engine, name: str) -> bool:
    """Whether buildx knows a builder of that name."""
    return run_quietly(engine.command("buildx", "inspect", name), engine.environment, timeout=5).exit_code == 0


def answer_of(url: str, settings: Settings, seconds: float) -> tuple[int | None, str]:
    """The status with which a server answers, by the proxies and certificates of the settings; or why there is none."""
    session = requests.Session()
    session.trust_env = False  # what is not in the settings does not count in a build either
    proxies = {name.removesuffix("_proxy"): value for name, value in settings.proxies.items() if name != "no_proxy"}
    if requests.utils.should_bypass_proxies(url, settings.proxies.get("no_proxy")):
        proxies = {}
    host = urlsplit(url).hostname or ""
    login = next(
        (login for login in settings.logins if login.host in (host, urlsplit(url).netloc) and login.password), None
    )
    try:
        with session.get(
            url,
            timeout=(seconds, seconds),
            proxies=proxies,
            verify=str(settings.ca_bundle) if settings.ca_bundle else True,
            auth=(login.user or "", login.password or "") if login else None,
            stream=True,
            allow_redirects=True,
        ) as response:
            return response.status_code, response.reason or ""
    except (requests.RequestException, OSError) as error:
        return None, _reason(error)


def answers_at(address: str, seconds: float) -> str | None:
    """None where something listens at the address, such as a proxy's; else why not."""
    parts = urlsplit(address if "//" in address else f"//{address}")
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
        with socket.create_connection((parts.hostname or "", port), timeout=seconds):
            return None
    except (OSError, ValueError) as error:
        return _reason(error)


@dataclass(frozen=True)
class Gpu:
    """One of this machine's NVIDIA GPUs."""

    name: str
    driver: str
    """Such as `550.54.15`."""
    capability: str | None
    """Its compute capability, such as `8.6`; None: this driver's tool does not tell."""


def gpus() -> tuple[Gpu, ...]:
    """This machine's NVIDIA GPUs."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return ()

    def ask(*facts: str) -> list[list[str]]:
        words = [program, f"--query-gpu={','.join(facts)}", "--format=csv,noheader"]
        answer = run_quietly(words, Environment({}), timeout=2)
        lines = answer.output.splitlines() if answer.exit_code == 0 else []
        rows = [[cell.strip() for cell in line.rsplit(",", len(facts) - 1)] for line in lines]
        return [row for row in rows if len(row) == len(facts) and all(row)]

    # Tools of old drivers refuse the whole question for one word that they do not know.
    known = ask("name", "driver_version", "compute_cap")
    if known:
        return tuple(Gpu(name, driver, capability) for name, driver, capability in known)
    return tuple(Gpu(name, driver, None) for name, driver in ask("name", "driver_version"))


def _reason(error: BaseException) -> str:
    text = hide_login(str(error))
    for words, meant in (
        ("CERTIFICATE_VERIFY_FAILED", "its certificate is not trusted"),
        ("Name or service not known", "its name is not known here"),
        ("Temporary failure in name resolution", "names cannot be looked up"),
        ("nodename nor servname", "its name is not known here"),
        ("Connection refused", "connection refused"),
        ("timed out", "it did not answer in time"),
        ("Network is unreachable", "there is no network"),
        ("Tunnel connection failed: 403", "the proxy does not let it through (403)"),
        ("Tunnel connection failed: 407", "the proxy wants a login (407)"),
        ("Could not find a suitable TLS CA certificate bundle", "the CA certificates are not there"),
    ):
        if words in text:
            return meant
    return text.splitlines()[0][:200] if text else type(error).__name__
