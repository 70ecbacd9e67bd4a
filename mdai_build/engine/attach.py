"""Puts a statement beside an image in its registry, and reads it there (OCI Distribution Specification 1.1).

It is a manifest that names the image's as its `subject`, and has the tag by which cosign looks for attestations.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urljoin, urlsplit

import docker.auth
import requests

from mdai_build.engine.connection import Engine
from mdai_build.errors import Problem, UnavailableError

_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_MANIFESTS = ", ".join(
    (
        _MANIFEST,
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.docker.distribution.manifest.v2+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
    )
)
_SECONDS = 60
_MOST_BYTES = 32 * 2**20
_CHALLENGE = re.compile(r'(\w+)="([^"]*)"')


@dataclass(frozen=True)
class Repository:
    """A repository of a registry, reached with the login that `docker login` left."""

    host: str
    name: str
    session: requests.Session

    @property
    def base(self) -> str:
        """The address below which its manifests and blobs are; Docker too speaks plain HTTP on loopback alone."""
        scheme = "http" if _is_loopback(self.host) else "https"
        return f"{scheme}://{self.host}/v2/{self.name}/"


def attach_statement(engine: Engine, reference: str, content: bytes, media_type: str, predicate_type: str) -> None:
    """Puts a statement beside the image of a reference with a digest, in place of an earlier one of its kind.

    Raises:
        UnavailableError: the registry does not answer, or does not take it.
    """
    with _repository(engine, reference) as repository:
        digest = reference.partition("@")[2]
        subject = _ask(repository, "GET", f"manifests/{digest}", headers={"Accept": _MANIFESTS})
        if subject.status_code != 200:
            raise _failure(reference, subject)
        tag = _tag(digest)
        others = [layer for layer in _layers(repository, tag) if _predicate(layer) != predicate_type]
        annotations = {"dev.cosignproject.cosign/signature": "", "predicateType": predicate_type}
        own = {**_put_blob(repository, content, media_type), "annotations": annotations}
        layers = [*others, own]
        config = {
            "architecture": "",
            "os": "",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [layer["digest"] for layer in layers]},
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": _MANIFEST,
            "config": _put_blob(repository, json.dumps(config, sort_keys=True).encode(), _CONFIG),
            "layers": layers,
            "subject": _descriptor(
                subject.content, subject.headers.get("Content-Type", _MANIFEST).partition(";")[0], digest
            ),
        }
        written = json.dumps(manifest, sort_keys=True).encode()
        done = _ask(repository, "PUT", f"manifests/{tag}", data=written, headers={"Content-Type": _MANIFEST})
        if done.status_code != 201:
            raise _failure(reference, done)


def attached_statement(engine: Engine, reference: str, predicate_type: str) -> bytes | None:
    """The statement beside the image of a reference with a digest; None where there is none.

    Raises:
        UnavailableError: the registry does not answer.
    """
    with _repository(engine, reference) as repository:
        for layer in _layers(repository, _tag(reference.partition("@")[2])):
            if _predicate(layer) != predicate_type or int(layer["size"]) > _MOST_BYTES:
                continue
            answer = _ask(repository, "GET", f"blobs/{layer['digest']}")
            digest = f"sha256:{hashlib.sha256(answer.content).hexdigest()}"
            if answer.status_code == 200 and digest == layer["digest"]:
                return answer.content
    return None


@contextmanager
def _repository(engine: Engine, reference: str) -> Iterator[Repository]:
    host, _, rest = reference.partition("/")
    name = rest.partition("@")[0]
    if not rest or not ("." in host or ":" in host or host == "localhost"):
        host, name = "registry-1.docker.io", reference.partition("@")[0]
    if ":" in name.rpartition("/")[2]:
        name = name.rpartition(":")[0]
    with requests.Session() as session:
        session.trust_env = not _is_loopback(host)
        folder = engine.environment.values.get("DOCKER_CONFIG")
        known = docker.auth.load_config(str(Path(folder, "config.json")) if folder else None)
        login = known.resolve_authconfig("docker.io" if host == "registry-1.docker.io" else host) or {}
        # The library gives both names to what `docker login` wrote; a credential helper's answer has capitals.
        user = login.get("username") or login.get("Username")
        password = login.get("password") or login.get("Password")
        if user and password:
            session.auth = (user, password)
        try:
            yield Repository(host, name, session)
        except requests.RequestException as error:
            raise UnavailableError(
                Problem(
                    code="engine.registry-silent",
                    what=f"the registry {host} does not answer: {type(error).__name__}",
                    next_step="see whether it can be reached; the image itself is as it was",
                    details=str(error),
                )
            ) from error


def _ask(repository: Repository, method: str, path: str, **more: Any) -> requests.Response:
    """One request; a registry that wants a token is asked for one first (the distribution project's token scheme)."""
    address = urljoin(repository.base, path)
    session = repository.session
    answer = session.request(method, address, timeout=_SECONDS, **more)
    challenge = answer.headers.get("WWW-Authenticate", "")
    if answer.status_code != 401 or not challenge.lower().startswith("bearer "):
        return answer
    asked = dict(_CHALLENGE.findall(challenge))
    query = urlencode({key: asked[key] for key in ("service", "scope") if key in asked})
    given = session.get(f"{asked.get('realm', '')}?{query}", timeout=_SECONDS)
    if given.status_code != 200:
        return answer
    token = given.json().get("token") or given.json().get("access_token")
    session.auth = None
    session.headers["Authorization"] = f"Bearer {token}"
    return session.request(method, address, timeout=_SECONDS, **more)


def _put_blob(repository: Repository, content: bytes, media_type: str) -> dict[str, Any]:
    described = _descriptor(content, media_type)
    if _ask(repository, "HEAD", f"blobs/{described['digest']}").status_code == 200:
        return described
    begun = _ask(repository, "POST", "blobs/uploads/")
    if begun.status_code != 202:
        raise _failure(f"{repository.host}/{repository.name}", begun)
    place = urljoin(begun.url, begun.headers["Location"])
    joined = "&" if urlsplit(place).query else "?"
    # Where blobs are kept elsewhere, the login is not for that place.
    elsewhere = urlsplit(place).netloc != urlsplit(begun.url).netloc
    done = (requests.put if elsewhere else repository.session.put)(
        f"{place}{joined}{urlencode({'digest': described['digest']})}",
        data=content,
        headers={"Content-Type": "application/octet-stream"},
        timeout=_SECONDS,
    )
    if done.status_code != 201:
        raise _failure(f"{repository.host}/{repository.name}", done)
    return described


def _layers(repository: Repository, tag: str) -> list[dict[str, Any]]:
    answer = _ask(repository, "GET", f"manifests/{tag}", headers={"Accept": _MANIFEST})
    if answer.status_code != 200:
        return []
    found = answer.json().get("layers")
    return [layer for layer in found if isinstance(layer, dict)] if isinstance(found, list) else []


def _predicate(layer: dict[str, Any]) -> str:
    return str((layer.get("annotations") or {}).get("predicateType"))


def _tag(digest: str) -> str:
    return f"{digest.replace(':', '-')}.att"


def _descriptor(content: bytes, media_type: str, digest: str | None = None) -> dict[str, Any]:
    digest = digest or f"sha256:{hashlib.sha256(content).hexdigest()}"
    return {"mediaType": media_type, "digest": digest, "size": len(content)}


def _is_loopback(host: str) -> bool:
    return re.fullmatch(r"(?:localhost|127(?:\.\d+){3}|\[::1\])(?::\d+)?", host) is not None


def _failure(reference: str, answer: requests.Response) -> UnavailableError:
    return UnavailableError(
        Problem(
            code="engine.not-attached",
            what=f"the provenance could not be put beside {reference}: the registry answered {answer.status_code}",
            next_step="the image is there; `docker login` where it wants a login",
            details=answer.text[:2000] or None,
        )
    )
