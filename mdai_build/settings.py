"""The settings of one run, read once: option > environment `MDAI_BUILD_*` > `mdai-build.toml` > default.

Nothing downstream reads the environment: a room that needs a setting gets it from here.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import platformdirs
import tomli
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from mdai_build.errors import Location, Problem, UsageError
from mdai_build.logins import Login, hide_login, take_login
from mdai_build.matrix import Platform

SETTINGS_FILE = "mdai-build.toml"
PINS_FILE = "parents.lock"
"""Beside the settings file or in the working folder: digests of parent images, a table `parent_pins` in TOML."""
PREFIX = "MDAI_BUILD_"
_OPTIONS = {"build_network": "network"}
"""Settings whose option has a shorter name."""
_CA_VARIABLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PIP_CERT")
_CA_FILES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu, Alpine
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora, RHEL
    "/etc/ssl/ca-bundle.pem",  # SUSE
)
_REGISTRY = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]*(?::\d+)?(?:/[a-z0-9._-]+)*/?")
_GPUS = re.compile(r"auto|none|all|[1-9]\d{0,2}|device=[\w-]+(?:,[\w-]+)*|\d+(?:,\d+)+|(?:GPU|MIG)-[\w/-]+")
_PROXY_VARIABLES = ("http_proxy", "https_proxy", "no_proxy", "all_proxy")


class Settings(BaseModel):
    """What a machine, a company or a user decides once for all bundles. Sizes are bytes, times are seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    parent: str = Field("gcp", description="the parent image: `gcp`, `slim`, `local`, or any image reference")
    parent_registry: str = Field(
        "gcr.io/deeplearning-platform-release", description="registry or mirror of Google's parent images"
    )
    parent_mirrors: dict[str, str] = Field(
        default_factory=dict,
        description="where parent images come from: the begin of a reference, and what it becomes",
    )
    parent_replacements: dict[str, str] = Field(
        default_factory=dict, description="images to use in place of parents: the name of a parent, and the other image"
    )
    parent_pins: dict[str, str] = Field(
        default_factory=dict,
        description="digests of parent images, by name; `mdai-build parents pin` writes parents.lock",
    )
    platform: Platform = Field("linux/amd64", description="what the image runs on: linux/amd64 or linux/arm64")
    base_registry: str | None = Field(
        None, description="registry of prebuilt base images, such as registry.example:5000/team; see `mdai-build base`"
    )
    conda_channels: tuple[str, ...] = Field(("conda-forge",), description="conda channels, first one first")
    index_url: str | None = Field(None, description="package index instead of the default one")
    extra_index_urls: tuple[str, ...] = Field((), description="further package indexes")
    netrc: Path | None = Field(
        None, description="file with names and passwords for indexes, channels and git hosts; no other is ever read"
    )
    keyring: Literal["disabled", "subprocess"] = Field(
        "disabled", description="`subprocess`: ask the `keyring` command for passwords that an address lacks"
    )
    wheels: Path | None = Field(
        None, description="a folder of wheels: everything is installed from it, and no index is asked"
    )
    installer: Literal["auto", "uv", "pip"] = Field(
        "auto", description="what installs the requirements: `uv`, `pip`, or `auto`, uv and then pip where uv cannot"
    )
    reproducible: bool = Field(
        False, description="give images their normal form: the same digest on every machine: true or false"
    )
    offline: bool = Field(
        False,
        description="do not look up, before a build, whether the requirements can be met, nor ask a registry for base "
        "images: true or false",
    )
    signing_key: SecretStr | None = Field(
        None,
        description="key that signs provenance, ECDSA P-256 or Ed25519: a PEM file, or its text",
    )
    signing_key_password: SecretStr | None = Field(None, description="password of that key, where it has one")
    builder_id: str = Field(
        "urn:mdai-build:local", description="URI of who builds, as it stands in the provenance of images"
    )
    ca_bundle: Path | None = Field(
        None, description="CA certificates (PEM) for installs inside a build; default: this machine's own"
    )
    proxies: dict[str, str] = Field(
        default_factory=dict, description="http_proxy, https_proxy, no_proxy, all_proxy during a build"
    )
    build_network: str | None = Field(None, description="network of the build's RUN steps: `default`, `none` or `host`")
    builder: str | None = Field(None, description="name of the buildx builder")
    cache_from: tuple[str, ...] = Field(
        (), description="build caches to read: image references, or buildx's type=…; {name} is the model's name"
    )
    cache_to: tuple[str, ...] = Field(
        (), description="build caches to write: image references, or buildx's type=…; {name} is the model's name"
    )
    cache_folder: Path = Field(
        default_factory=lambda: Path(platformdirs.user_cache_path("mdai-build")),
        description="where unpacked bundles, build contexts and reports are kept",
    )
    keep_days: float = Field(
        30.0, ge=0, description="how many days an unpacked bundle and its pictures are kept since they were last used"
    )
    keep_bytes: int = Field(
        50 * 1024**3, ge=0, description="how much unpacked bundles may take, such as 20g; the oldest go first"
    )
    engine_folder: Path = Field(
        default_factory=lambda: Path(platformdirs.user_data_path("mdai-build")) / "engine",
        description="folder of the private engine that `make engine` starts",
    )
    memory: int = Field(
        4 * 1024**3, ge=6 * 1024**2, description="memory limit of the smoke test's container, from 6m, docker's least"
    )
    cpus: float = Field(4.0, gt=0, description="CPUs that the smoke test's container may use, of those that there are")
    test_network: Literal["none", "default"] = Field(
        "none", description="network of the smoke test's container: `none`, or the engine's `default`"
    )
    gpus: str = Field(
        "auto",
        description="GPUs for a served model: `auto` (all that there are, for a model of device_type gpu), `none`, "
        "`all`, how many, or which, such as device=0,2 or device=GPU-3a23c669",
    )
    ready_timeout: float = Field(300.0, gt=0, description="how long a model may take to load")
    predict_timeout: float = Field(120.0, gt=0, description="how long one answer of the smoke test may take")

    build_timeout: float = Field(7200.0, gt=0, description="how long a build may take")
    bundle_entries: int = Field(100_000, gt=0, description="how many files a bundle may hold")
    bundle_bytes: int = Field(64 * 1024**3, gt=0, description="how much a bundle may hold, unpacked; such as 64g")
    bundle_ratio: int = Field(
        200, gt=1, description="how many times an archive, or a file in it, may grow when it is unpacked"
    )

    _logins: tuple[Login, ...] = PrivateAttr(())

    @property
    def secret_proxies(self) -> bool:
        """Whether a proxy's address carries a login."""
        return any(take_login(url)[1] for url in self.proxies.values())

    @property
    def logins(self) -> tuple[Login, ...]:
        """Names and passwords that were given in addresses, which no longer hold them."""
        return self._logins

    @field_validator("conda_channels", "extra_index_urls", mode="before")
    @classmethod
    def _split_words(cls, value: Any) -> Any:
        return tuple(value.replace(",", " ").split()) if isinstance(value, str) else value

    @field_validator("parent_mirrors", "parent_replacements", "parent_pins", "proxies", mode="before")
    @classmethod
    def _read_pairs(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        pairs = [word.partition("=") for word in value.split()]
        if not all(before and after for before, _, after in pairs):
            raise ValueError("must be pairs NAME=VALUE, apart by spaces")
        return {before: after for before, _, after in pairs}

    @field_validator("parent_pins")
    @classmethod
    def _digests(cls, value: dict[str, str]) -> dict[str, str]:
        if not all(re.fullmatch(r"sha256:[0-9a-f]{64}", digest) for digest in value.values()):
            raise ValueError("a digest is sha256: and 64 digits")
        return value

    @field_validator("cache_from", "cache_to", mode="before")
    @classmethod
    def _read_caches(cls, value: Any, info: ValidationInfo) -> Any:
        # Words apart by spaces alone: one has commas.
        words = value.split() if isinstance(value, str) else value
        if not isinstance(words, (list, tuple)) or not all(isinstance(word, str) for word in words):
            return words
        extra = ",mode=max,compression=zstd,oci-mediatypes=true" if info.field_name == "cache_to" else ""
        return tuple(word if "=" in word else f"type=registry,ref={word}{extra}" for word in words)

    @field_validator("memory", "bundle_bytes", "keep_bytes", mode="before")
    @classmethod
    def _read_size(cls, value: Any) -> Any:
        return parse_size(value) if isinstance(value, str) else value

    @field_validator("wheels")
    @classmethod
    def _folder(cls, value: Path | None) -> Path | None:
        if value is not None and not value.is_dir():
            raise ValueError("must be a folder that exists")
        return value.absolute() if value else None

    @field_validator("base_registry")
    @classmethod
    def _registry(cls, value: str | None) -> str | None:
        if value is not None and not _REGISTRY.fullmatch(value):
            raise ValueError("must be a host, and perhaps a path, such as registry.example:5000/team")
        return value

    @field_validator("gpus", mode="before")
    @classmethod
    def _read_gpus(cls, value: Any) -> Any:
        text = str(value).strip()
        if not _GPUS.fullmatch(text):
            raise ValueError("must be `auto`, `none`, `all`, a number above zero, or device=ID,ID")
        return text

    @field_validator("build_network")
    @classmethod
    def _known_network(cls, value: str | None) -> str | None:
        if value not in (None, "default", "none", "host"):
            raise ValueError("must be `default`, `none` or `host`")
        return value


def parse_size(text: str) -> int:
    """Bytes from a size as docker writes it: `512m`, `4g`, `1073741824`.

    Raises:
        ValueError: it is no such size.
    """
    units = {"b": 1, "k": 1024, "m": 1024**2, "g": 1024**3}
    number = text.strip().lower().removesuffix("ib")
    factor = units.get(number[-1:], 1)
    if number[-1:] in units:
        number = number[:-1]
    try:
        size = int(float(number) * factor)
    except (ValueError, OverflowError):
        raise ValueError(f"{text!r} is not a size such as 512m or 4g") from None
    if size <= 0:
        raise ValueError(f"{text!r} is not a size above zero")
    return size


def load_settings(
    options: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    look_for_file: bool = True,
) -> Settings:
    """The settings in force for a run started in `folder` (default: the working folder).

    Options whose value is None count as not given. Without `look_for_file` no settings file is read.

    Raises:
        UsageError: a setting is unknown or has a value that it cannot have; all of them at once.
    """
    environment = os.environ if environment is None else environment
    values: dict[str, Any] = {}
    origin: dict[str, str] = {}
    _take(values, origin, _machine_defaults(environment), "this machine")
    folder = folder or _working_folder()
    pins = _pins_file(folder) if look_for_file else None
    if pins is not None:
        _take(values, origin, _read_toml(pins), str(pins))
    file = settings_file(folder) if look_for_file else None
    if file is not None:
        _take(values, origin, _read_toml(file), str(file))
    for name in Settings.model_fields:
        variable = PREFIX + name.upper()
        if environment.get(variable):
            _take(values, origin, {name: environment[variable]}, f"environment variable {variable}")
    given = {name: value for name, value in (options or {}).items() if value is not None}
    for name, value in given.items():
        _take(values, origin, {name: value}, f"option --{_OPTIONS.get(name, name).replace('_', '-')}")
    logins = _take_logins(values)
    try:
        settings = Settings(**values)
        settings._logins = logins
        return settings
    except ValidationError as error:
        raise UsageError(
            Problem(
                code="settings.wrong-value",
                what=_what(".".join(map(str, fault["loc"])), fault["type"], fault["msg"], fault["input"]),
                where=Location(origin.get(str(fault["loc"][0]), "settings"), key=str(fault["loc"][0])),
                expected=_expected(str(fault["loc"][0])),
                next_step=_meant(str(fault["loc"][0])),
            )
            for fault in error.errors()
        ) from None


def _take(values: dict[str, Any], origin: dict[str, str], new: Mapping[str, Any], source: str) -> None:
    values.update(new)
    origin.update(dict.fromkeys(new, source))


def _what(name: str, kind: str, message: str, found: object) -> str:
    if kind == "extra_forbidden":
        return f"there is no setting {name}"
    return f"{name}: {message.removeprefix('Value error, ')} (found {hide_login(repr(found))})"


def _take_logins(values: dict[str, Any]) -> tuple[Login, ...]:
    """Takes the logins out of the addresses, before anything can print, store or hand on an address that has one."""
    found: list[Login] = []

    def bare(url: str) -> str:
        url, login = take_login(url)
        if login is not None:
            found.append(login)
        return url

    for name in ("index_url", "extra_index_urls", "conda_channels"):
        value = values.get(name)
        if isinstance(value, str):
            words = [value] if name == "index_url" else value.replace(",", " ").split()
            values[name] = " ".join(bare(word) for word in words)
        elif isinstance(value, (list, tuple)):
            values[name] = [bare(word) if isinstance(word, str) else word for word in value]
    return tuple(found)


def _expected(name: str) -> str:
    known = Settings.model_fields.get(name)
    if known is None:
        return "one of " + ", ".join(sorted(Settings.model_fields))
    return str(known.description)


def _meant(name: str) -> str | None:
    near = () if name in Settings.model_fields else difflib.get_close_matches(name, Settings.model_fields, n=1)
    return f"did you mean `{near[0]}`?" if near else None


def _working_folder() -> Path | None:
    try:
        return Path.cwd()
    except FileNotFoundError:  # it was removed under us; nothing else needs it
        return None


def settings_file(folder: Path | None = None) -> Path | None:
    """The settings file that counts for a run started in `folder` (default: the working folder), if there is one."""
    folder = folder or _working_folder()
    if folder is None:
        return None
    for place in (folder, *folder.parents):
        if (place / SETTINGS_FILE).is_file():
            return place / SETTINGS_FILE
    return None


def pins_file(folder: Path | None = None) -> Path:
    """Where the digests of parents are kept, or would be, for a run started in `folder` (default: the working folder).

    Beside the settings file where there is one.
    """
    folder = folder or _working_folder() or Path()
    settings = settings_file(folder)
    return _pins_file(folder) or (settings.parent if settings else folder) / PINS_FILE


def _pins_file(folder: Path | None) -> Path | None:
    settings = settings_file(folder)
    places = [settings.parent if settings else folder, folder]
    return next((place / PINS_FILE for place in places if place and (place / PINS_FILE).is_file()), None)


def _read_toml(file: Path) -> dict[str, Any]:
    try:
        return tomli.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomli.TOMLDecodeError) as error:
        raise UsageError(
            Problem(
                code="settings.unreadable",
                what=f"the settings file cannot be read: {error}",
                where=Location(str(file)),
                expected='a TOML file of settings, such as: parent = "local"',
            )
        ) from None


def _machine_defaults(environment: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    candidates = [environment[name] for name in _CA_VARIABLES if environment.get(name)] + list(_CA_FILES)
    bundle = next((Path(name) for name in candidates if Path(name).is_file()), None)
    if bundle is not None:
        found["ca_bundle"] = bundle
    proxies = {
        name: value for name in _PROXY_VARIABLES if (value := environment.get(name) or environment.get(name.upper()))
    }
    if proxies:
        found["proxies"] = proxies
    return found
