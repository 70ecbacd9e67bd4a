"""Puts a statement beside an image in its registry, and reads it there (OCI Distribution Specification 1.1).

It is a manifest that names the image's as its `subject`, and has the tag by which cosign looks for attestations.

The registry may be a stranger's, since an image's name names it: nothing that it sends fills the memory, outlasts a
limit or takes a login elsewhere.
"""

from __future__ import annotations

import hashlib
import json
import queue
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urljoin, urlsplit

import docker.auth
import requests
import urllib3

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
"""Of silence."""
_LONGEST_SECONDS = 300
"""For one whole answer, however it trickles."""
_MOST_BYTES = 32 * 2**20
_CHUNK = 2**16
_MOST_REDIRECTS = 5
_REDIRECTS = (301, 302, 303, 307, 308)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
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


class _Session(requests.Session):
    """One that follows nowhere: the library reads all of what comes with a redirect, however much that is."""

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Nowhere."""


class _Misbehaves(Exception):
    """What a registry sends is more, or takes longer, than any answer would."""


@dataclass(frozen=True)
class _Answer:
    status: int
    url: str
    headers: Mapping[str, str]
    content: bytes

    @property
    def values(self) -> dict[str, Any]:
        """The JSON object that it is; empty where it is none."""
        try:
            found = json.loads(self.content)
        except (ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}


def attach_statement(engine: Engine, reference: str, content: bytes, media_type: str, predicate_type: str) -> None:
    """Puts a statement beside the image of a reference with a digest, in place of an earlier one of its kind.

    Raises:
        UnavailableError: the registry does not answer, or does not take it.
    """
    with _repository(engine, reference) as repository:
        digest = reference.partition("@")[2]
        subject = _ask(repository, "GET", f"manifests/{digest}", headers={"Accept": _MANIFESTS})
        if subject.status != 200:
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
        if done.status != 201:
            raise _failure(reference, done)


def attached_statement(engine: Engine, reference: str, predicate_type: str) -> bytes | None:
    """The statement beside the image of a reference with a digest; None where there is none.

    Raises:
        UnavailableError: the registry does not answer.
    """
    with _repository(engine, reference) as repository:
        for layer in _layers(repository, _tag(reference.partition("@")[2])):
            wanted = str(layer.get("digest"))
            if _predicate(layer) != predicate_type or not _DIGEST.fullmatch(wanted):
                continue
            answer = _ask(repository, "GET", f"blobs/{wanted}")
            digest = f"sha256:{hashlib.sha256(answer.content).hexdigest()}"
            if answer.status == 200 and digest == wanted:
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
    with _Session() as session:
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
        except (requests.RequestException, urllib3.exceptions.HTTPError, _Misbehaves) as error:
            why = str(error) if isinstance(error, _Misbehaves) else type(error).__name__
            raise UnavailableError(
                Problem(
                    code="engine.registry-silent",
                    what=f"the registry {host} does not answer: {why}",
                    next_step="see whether it can be reached; the image itself is as it was",
                    details=str(error),
                )
            ) from error


def _ask(repository: Repository, method: str, path: str, **more: Any) -> _Answer:
    """One request; a registry that wants a token is asked for one first (the distribution project's token scheme)."""
    address = urljoin(repository.base, path)
    session = repository.session
    answer = _followed(session, method, address, **more)
    challenge = answer.headers.get("WWW-Authenticate", "")
    if answer.status != 401 or not challenge.lower().startswith("bearer "):
        return answer
    asked = dict(_CHALLENGE.findall(challenge))
    query = urlencode({key: asked[key] for key in ("service", "scope") if key in asked})
    given = _followed(session, "GET", f"{asked.get('realm', '')}?{query}")
    token = given.values.get("token") or given.values.get("access_token")
    if given.status != 200 or not isinstance(token, str):
        return answer
    session.auth = None
    session.headers["Authorization"] = f"Bearer {token}"
    return _followed(session, method, address, **more)


def _followed(session: requests.Session, method: str, address: str, **more: Any) -> _Answer:
    """The answer to a request at the place to which it leads; what is elsewhere is only got, and without a login."""
    answer = _sent(session, method, address, **more)
    for _ in range(_MOST_REDIRECTS):
        if answer.status not in _REDIRECTS or "Location" not in answer.headers:
            break
        place = urljoin(answer.url, answer.headers["Location"])
        if urlsplit(place)[:2] == urlsplit(address)[:2]:
            answer = _sent(session, method, place, **more)
        elif method in ("GET", "HEAD"):
            answer = _sent(_stranger(session), method, place, **more)
        else:
            break
    return answer


def _stranger(session: requests.Session) -> requests.Session:
    """A session that knows no login."""
    made = _Session()
    made.trust_env = session.trust_env
    made.auth = _no_login
    return made


def _no_login(request: requests.PreparedRequest) -> requests.PreparedRequest:
    # Without any, requests takes one from the user's ~/.netrc.
    return request


def _sent(session: requests.Session, method: str, address: str, **more: Any) -> _Answer:
    """One request and its whole answer, in a thread of its own: a library's limit is on silence alone.

    Raises:
        _Misbehaves: it is too large, or takes too long; then the thread ends with the connection or with us.
    """
    told: queue.SimpleQueue[_Answer | Exception] = queue.SimpleQueue()
    headers = {**more.pop("headers", {}), "Accept-Encoding": "identity"}  # a packed answer may unpack to anything

    def send() -> None:
        try:
            with session.request(method, address, timeout=_SECONDS, stream=True, headers=headers, **more) as answer:
                content = bytearray()
                while part := answer.raw.read(_CHUNK, decode_content=False):
                    content += part
                    if len(content) > _MOST_BYTES:
                        raise _Misbehaves(f"it sends more than {_MOST_BYTES // 2**20} MiB")
                told.put(_Answer(answer.status_code, answer.url, answer.headers, bytes(content)))
        except Exception as error:  # noqa: BLE001 - it is raised again by whoever waits
            told.put(error)

    threading.Thread(target=send, daemon=True).start()
    try:
        found = told.get(timeout=_LONGEST_SECONDS)
    except queue.Empty:
        raise _Misbehaves(f"no whole answer within {_LONGEST_SECONDS:g} s") from None
    if isinstance(found, Exception):
        raise found
    return found


def _put_blob(repository: Repository, content: bytes, media_type: str) -> dict[str, Any]:
    described = _descriptor(content, media_type)
    if _ask(repository, "HEAD", f"blobs/{described['digest']}").status == 200:
        return described
    begun = _ask(repository, "POST", "blobs/uploads/")
    if begun.status != 202 or "Location" not in begun.headers:
        raise _failure(f"{repository.host}/{repository.name}", begun)
    place = urljoin(begun.url, begun.headers["Location"])
    joined = "&" if urlsplit(place).query else "?"
    # Where blobs are kept elsewhere, the login is not for that place.
    elsewhere = urlsplit(place).netloc != urlsplit(begun.url).netloc
    done = _sent(
        _stranger(repository.session) if elsewhere else repository.session,
        "PUT",
        f"{place}{joined}{urlencode({'digest': described['digest']})}",
        data=content,
        headers={"Content-Type": "application/octet-stream"},
    )
    if done.status != 201:
        raise _failure(f"{repository.host}/{repository.name}", done)
    return described


def _layers(repository: Repository, tag: str) -> list[dict[str, Any]]:
    answer = _ask(repository, "GET", f"manifests/{tag}", headers={"Accept": _MANIFEST})
    found = answer.values.get("layers") if answer.status == 200 else None
    return [layer for layer in found if isinstance(layer, dict)] if isinstance(found, list) else []


def _predicate(layer: dict[str, Any]) -> str:
    annotations = layer.get("annotations")
    return str(annotations.get("predicateType")) if isinstance(annotations, dict) else ""


def _tag(digest: str) -> str:
    return f"{digest.replace(':', '-')}.att"


def _descriptor(content: bytes, media_type: str, digest: str | None = None) -> dict[str, Any]:
    digest = digest or f"sha256:{hashlib.sha256(content).hexdigest()}"
    return {"mediaType": media_type, "digest": digest, "size": len(content)}


def _is_loopback(host: str) -> bool:
    return re.fullmatch(r"(?:localhost|127(?:\.\d+){3}|\[::1\])(?::\d+)?", host) is not None


def _failure(reference: str, answer: _Answer) -> UnavailableError:
    return UnavailableError(
        Problem(
            code="engine.not-attached",
            what=f"the provenance could not be put beside {reference}: the registry answered {answer.status}",
            next_step="the image is there; `docker login` where it wants a login",
            details=answer.content[:2000].decode(errors="replace") or None,
        )
    )
