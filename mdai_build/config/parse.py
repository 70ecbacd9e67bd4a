"""The second pass over config.yaml: what its keys mean. Every problem is told at once, each with its line."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Sequence

from mdai_build.bundle import shown
from mdai_build.config.document import Document, Item, Value
from mdai_build.config.environment import read_environment
from mdai_build.config.model import (
    BASE_IMAGES,
    CLARA_VERSIONS,
    CUDA_VERSIONS,
    DEFAULT_CLARA,
    DEVICE_TYPES,
    OWN_PARENTS,
    ModelConfig,
    ParsedConfig,
)
from mdai_build.errors import BundleError, Location, Problem

_NUMBER = re.compile(r"v?([0-9]{1,4})(?:\.([0-9]{1,4}))?")


def parse_config(text: str, file: str = ".mdai/config.yaml") -> ParsedConfig:
    """Reads the text of config.yaml; `file` is its name in messages.

    Raises:
        BundleError: every problem at once, in the order of their lines.
    """
    return _Meaning(Document(text, file), file).read()


class _Meaning:
    def __init__(self, document: Document, file: str) -> None:
        self._file = file
        self._errors: list[Problem] = list(document.problems)
        self._warnings: list[Problem] = []
        self._items = self._known(document.items)

    def read(self) -> ParsedConfig:
        base_image = self._base_image()
        device = self._choice("device_type", DEVICE_TYPES, default="cpu")
        values = {
            "base_image": base_image,
            "device_type": device,
            "cuda_version": self._cuda_version(device, base_image),
            "env": self._environment(),
            "clara_version": self._clara_version(base_image),
        }
        warnings = sorted(self._warnings, key=_place)
        if self._errors:
            raise BundleError(sorted(self._errors, key=_place), warnings)
        return ParsedConfig(ModelConfig.model_validate(values), tuple(warnings))

    def _known(self, items: Sequence[Item]) -> dict[str, Item]:
        known: dict[str, Item] = {}
        self._unknown: list[Item] = []
        for item in items:
            name = item.key.strip().lower()
            if name not in ModelConfig.model_fields:
                self._unknown.append(item)
                continue
            if name in known:
                self._errors.append(
                    Problem(
                        "config.duplicate-key",
                        f"the key `{name}` is given twice, first in line {known[name].where.line}",
                        item.where,
                        "each key once",
                        "remove one of the two lines",
                    )
                )
                continue
            if item.key != name:
                self._warnings.append(
                    Problem("config.key-case", f"`{shown(item.key)}` is read as `{name}`", item.where, f"`{name}`")
                )
            known[name] = item
        for item in self._unknown:
            near = _nearest(item.key.lower().replace("-", "_"), tuple(ModelConfig.model_fields))
            self._warnings.append(
                Problem(
                    "config.unknown-key",
                    f"the key `{shown(item.key)}` is not known and has no effect",
                    item.where,
                    f"one of {', '.join(ModelConfig.model_fields)}",
                    f"did you mean `{near}`?" if near else None,
                )
            )
        return known

    def _given(self, key: str) -> Value | None:
        """The key's value; None if it is absent. An empty value counts as absent, with a warning."""
        item = self._items.get(key)
        if item is None:
            return None
        if item.value.kind == "null":
            if key != "env":
                self._warnings.append(
                    Problem("config.no-value", f"`{key}` has no value; its default is used", item.where)
                )
            return None
        return item.value

    def _base_image(self) -> str | None:
        item = self._items.get("base_image")
        if item is None or item.value.kind == "null":
            typo = next((i for i in self._unknown if _nearest(i.key.lower(), ("base_image",))), None)
            above = next((i for i in self._unknown if i.value.kind == "map" and len(self._unknown) == 1), None)
            where = item.where if item else typo.where if typo else Location(self._file, key="base_image")
            self._errors.append(
                Problem(
                    "config.no-base-image",
                    "`base_image` has no value" if item else "the key `base_image` is missing",
                    where,
                    f"one of {', '.join(BASE_IMAGES)}",
                    f"rename `{shown(typo.key)}` to `base_image`"
                    if typo and not item
                    else f"write the keys below `{shown(above.key)}` at the left edge, and take out that line"
                    if above and not item
                    else "add the line `base_image: py310`, with the Python that your model was made with",
                )
            )
            return None
        return self._choice("base_image", BASE_IMAGES, _python_hint)

    def _choice(
        self,
        key: str,
        allowed: Sequence[str],
        hint: Callable[[str], str | None] | None = None,
        default: str | None = None,
    ) -> str | None:
        """The allowed value that is given; None, with an error, if it is not allowed."""
        value = self._given(key)
        if value is None:
            return default
        text = value.text.strip().lower()
        if value.kind not in ("map", "list") and text in allowed:
            return text
        self._wrong(key, value, allowed, hint(text) if hint else _MEANT.get(text) or _nearest(text, allowed))
        return None

    def _wrong(self, key: str, value: Value, allowed: Sequence[str], meant: str | None, why: str | None = None) -> None:
        found = {"map": "a map", "list": "a list"}.get(value.kind, f"`{shown(value.text, 60)}`")
        problem = f"`{key}` is {found}, " + (why or "which is not one of the allowed values")
        advice = f"did you mean `{meant}`?" if meant else None
        if key == "base_image" and value.kind == "text" and re.search("[/:]", value.text):
            advice = (
                "for an image of your own write `base_image: custom`, and begin .mdai/Dockerfile with FROM and its name"
            )
        self._errors.append(Problem("config.wrong-value", problem, value.where, f"one of {', '.join(allowed)}", advice))

    def _cuda_version(self, device: str | None, base_image: str | None) -> str | None:
        value = self._given("cuda_version")
        if value is None:
            return None
        if device == "cpu":
            self._no_effect("cuda_version", value, "device_type is cpu", "write `device_type: gpu`")
            return None
        if base_image in OWN_PARENTS:
            self._no_effect("cuda_version", value, f"base_image is {base_image}", None)
            return None
        version = _cuda_number(value)
        if version in CUDA_VERSIONS:
            return version
        self._wrong("cuda_version", value, CUDA_VERSIONS, _nearest_version(value.text))
        return None

    def _clara_version(self, base_image: str | None) -> str | None:
        value = self._given("clara_version")
        if base_image != "nvidia":
            if value is not None and base_image is not None:
                self._no_effect("clara_version", value, f"base_image is {base_image}", "write `base_image: nvidia`")
            return None
        if value is None:
            item = self._items["base_image"]
            self._warnings.append(
                Problem(
                    "config.no-clara-version",
                    f"`clara_version` is not given; {DEFAULT_CLARA} is used",
                    item.where,
                    next_step=f"add the line `clara_version: {DEFAULT_CLARA}`",
                )
            )
            return DEFAULT_CLARA
        if value.text.strip() in CLARA_VERSIONS:
            return value.text.strip()
        self._wrong("clara_version", value, CLARA_VERSIONS, CLARA_VERSIONS[0], _CLARA_WHY)
        return None

    def _no_effect(self, key: str, value: Value, why: str, advice: str | None) -> None:
        remove = f"remove the line, or {advice}" if advice else "remove the line"
        self._warnings.append(
            Problem("config.no-effect", f"`{key}` has no effect, as {why}", value.where, next_step=remove)
        )

    def _environment(self) -> dict[str, str]:
        value = self._given("env")
        if value is None:
            return {}
        if value.kind != "map":
            found = "a list" if value.kind == "list" else f"`{shown(value.text, 60)}`"
            self._errors.append(
                Problem(
                    "config.env-shape",
                    f"`env` is {found}, not names with values",
                    value.where,
                    "indented lines such as `  NAME: value`",
                    "remove the `-` at the start of the lines, and write `NAME: value`"
                    if value.kind == "list"
                    else None,
                )
            )
            return {}
        return read_environment(value, self._errors, self._warnings)


_MEANT = {"cuda": "gpu", "nvidia": "gpu", "none": "cpu"}
"""What other tools call a device."""
_CLARA_WHY = "and the one version that is supported has three numbers"


def _place(problem: Problem) -> tuple[int, int]:
    where = problem.where
    return (where.line or 0, where.column or 0) if where else (0, 0)


def _nearest(text: str, allowed: Sequence[str]) -> str | None:
    near = difflib.get_close_matches(text[:100], allowed, n=1, cutoff=0.6)
    return near[0] if near else None


def _python_hint(text: str) -> str | None:
    """`3.8`, `python3.8` and `py3.8` mean py38; of a Python that there is not, nothing is near."""
    digits = re.fullmatch(r"(?:py|python)?[ -]?([23])\.?([0-9]{1,2})(?:\.[0-9]+)?", text)
    if digits is None:
        return None if "/" in text or ":" in text else _nearest(text, BASE_IMAGES)
    image = f"py{digits[1]}{digits[2]}"
    return image if image in BASE_IMAGES else None


def _cuda_number(value: Value) -> str | None:
    """`11` and `11.0` are 11.0, `11.30` is 11.3: a version that was a number on its way is still the one meant."""
    found = _NUMBER.fullmatch(value.text.strip().lower())
    if value.kind in ("map", "list") or found is None:
        return None
    return f"{int(found[1])}.{(found[2] or '0').rstrip('0') or '0'}"


def _nearest_version(text: str) -> str | None:
    """`cu113`, `CUDA 11.3` and `11.3.1` mean 11.3; else the version with the nearest number."""
    digits = re.search(r"([0-9]{2})\.?([0-9])", text)
    if digits is not None and f"{digits[1]}.{digits[2]}" in CUDA_VERSIONS:
        return f"{digits[1]}.{digits[2]}"
    number = re.match(r"[0-9]{1,3}(\.[0-9]{1,3})?", text.strip())
    if number is None:
        return None
    return min(CUDA_VERSIONS, key=lambda version: abs(float(version) - float(number[0])))
