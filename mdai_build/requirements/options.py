"""The global options of a requirements file, and the ones that only an installer's command line can carry."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from mdai_build.requirements.local import LocalFiles
from mdai_build.requirements.redact import redact
from mdai_build.requirements.refusal import Refusal
from mdai_build.requirements.urls import split_url

_PACKAGES = re.compile(r"(?::all:|:none:|[A-Za-z0-9._-]+)(?:,(?::all:|:none:|[A-Za-z0-9._-]+))*")

# Read and left out, each with why. uv ignores them in a file as well, and says so at every run.
_LEFT_OUT: Final[Mapping[str, tuple[str, str]]] = {
    "trusted_hosts": (
        "`--trusted-host` is left out: the build always checks certificates",
        "a company's own certificate is given to the build by its settings",
    ),
    "use_features": ("`--use-feature` is left out: it is a switch of single versions of pip", "take out the line"),
    "allow_all_external": ("`--allow-all-external` is left out: pip has not had it since 2016", "take out the line"),
    "allow_external": ("`--allow-external` is left out: pip has not had it since 2016", "take out the line"),
    "allow_unverified": ("`--allow-unverified` is left out: pip has not had it since 2016", "take out the line"),
    "always_unzip": ("`--always-unzip` is left out: pip has not had it since 2019", "take out the line"),
    "no_use_wheel": ("`--no-use-wheel` is left out: pip has not had it since 2016", "write `--no-binary :all:`"),
}


class Options:
    """Turns pip's option values into lines for the install file, in order."""

    def __init__(self, local: LocalFiles) -> None:
        self._local = local
        self.lines: list[str] = []
        self.searched: set[str] = set()
        """Folders of the bundle that `--find-links` names."""

    def take(self, name: str, value: Any, file: str, refuse: Callable[[Refusal], None]) -> Iterable[Refusal]:
        """Take one option, by pip's name for it. What is refused goes to `refuse`; what is returned is a warning."""
        if name in _LEFT_OUT:
            what, next_step = _LEFT_OUT[name]
            return [Refusal("option-left-out", what, next_step=next_step)]
        for single in value if isinstance(value, list) else [value]:
            try:
                line = self._line(name, single, file)
            except Refusal as refusal:
                refuse(refusal)
                continue
            if name == "index_url":
                # The last one holds for pip; uv takes no second one.
                self.lines = [earlier for earlier in self.lines if not earlier.startswith("--index-url ")]
            if line not in self.lines:
                self.lines.append(line)
        return []

    def _line(self, name: str, value: Any, file: str) -> str:
        option = f"--{name.replace('_', '-')}"
        if name in ("no_index", "pre", "prefer_binary", "require_hashes"):
            return option
        text = str(value).lstrip("=")
        if name in ("index_url", "extra_index_urls"):
            split_url(text, schemes=("https", "http"))
            return f"{option.removesuffix('s')} {text}"
        if name == "find_links":
            if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:", text):
                split_url(text, schemes=("https", "http"))
                return f"--find-links {text}"
            folder = self._local.folder(text, file)
            self.searched.add(folder)
            return f"--find-links ./{folder}"
        if name in ("no_binary", "only_binary"):
            if not _PACKAGES.fullmatch(text):
                raise Refusal(
                    "option", f"`{option} {redact(text)}` names no packages", expected=f"{option} NAME,NAME or :all:"
                )
            return f"{option} {text}"
        raise Refusal("option", f"`{option}` has no place in a bundle", next_step="take it out")
