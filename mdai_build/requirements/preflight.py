"""Whether the requirements can be met, asked of uv on the host before anything is built: the files and the command.

Nothing is run here. The command never builds a source package: that would run the package's code on the host.
"""

from __future__ import annotations

import json
import posixpath
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from mdai_build.matrix import support_matrix
from mdai_build.requirements.install import CONSTRAINT_FILE, constraint_file, install_file
from mdai_build.requirements.model import Requirement, Requirements
from mdai_build.requirements.preinstalled import preinstalled
from mdai_build.requirements.target import Target, newer_glibc, uv_platform

RESOLVED_FILE = "_resolved.txt"
"""What uv writes: exact versions of everything, for `parse_resolved`."""
CONFIG_FILE = "_uv.toml"
"""uv's settings: the indexes."""
_FILE, _EXCLUDED, _KEPT = "_install.txt", "_excluded.txt", "_kept.txt"


def full_version(python: str) -> str:
    """A Python as an installer has to be told of it: uv takes 3.8 for 3.8.0, which some packages refuse."""
    return support_matrix().pythons.get(python, python)


def preflight_file(requirements: Requirements, python: str | None = None) -> str:
    """The install file without what only a build could tell about; empty if nothing is left.

    That are source packages, and wheels for a newer C library than every parent has: one parent may have it.
    `--no-binary` goes too: what a package needs is asked of its wheel, whatever it is installed from.
    """
    target = Target(python, machine=requirements.machine)
    kept = tuple(
        line
        for line in requirements.lines
        if line.kind in ("index", "wheel", "url") and not _is_source(line) and not _may_not_fit(line, target)
    )
    options = tuple(option for option in requirements.options if not option.startswith("--no-binary "))
    return install_file(replace(requirements, lines=kept, options=options)) if kept else ""


def preflight_files(
    requirements: Requirements,
    python: str,
    excluded: Iterable[str] = (),
    kept: Iterable[str] = (),
    index_url: str | None = None,
    extra_index_urls: Sequence[str] = (),
    default_index: str | None = None,
) -> dict[str, str]:
    """The texts that `preflight_command` reads, by file name; they lie in its working folder.

    Args:
        requirements: of the bundle. The wheels among its `files` lie in the same folder, at their paths.
        python: of the image, such as "3.10".
        excluded: packages to leave out wherever something needs them, since only a build could tell about them.
        kept: preinstalled packages that are to keep their version.
        index_url: package index instead of the public one, unless the requirements name their own.
        extra_index_urls: further ones.
        default_index: what uv asks where nobody names an index; named here to say for how long its pages are good.
    """
    indexes = [(url, False) for url in extra_index_urls]
    own_index = any(option.startswith("--index-url ") for option in requirements.options)
    if first := index_url or (default_index if not own_index else None):
        indexes.append((first, True))
    return {
        _FILE: preflight_file(requirements, python),
        CONSTRAINT_FILE: constraint_file(requirements),
        # uv prefers the versions of an earlier result, as an install step prefers what is installed.
        RESOLVED_FILE: "".join(f"{pin.name}=={pin.version}\n" for pin in preinstalled(python)),
        _KEPT: "".join(f"{pin.name}=={pin.version}\n" for pin in preinstalled(python) if pin.name in set(kept)),
        _EXCLUDED: "".join(f"{name}\n" for name in excluded),
        # What an archive needs never changes; what an index lists is good for ten minutes, as PyPI itself says.
        CONFIG_FILE: "".join(
            f"[[index]]\nurl = {json.dumps(url)}\ndefault = {'true' if default else 'false'}\n"
            'cache-control = { api = "max-age=600", files = "max-age=365000000, immutable" }\n'
            for url, default in indexes
        ),
    }


def preflight_command(requirements: Requirements, python: str, uv: Path, interpreter: Path) -> list[str]:
    """The command that resolves `preflight_files` for the target, and fails with uv's reasons if that cannot be done.

    Args:
        requirements: of the bundle.
        python: of the image, such as "3.10".
        uv: the program.
        interpreter: any Python of the host; uv wants one even where it builds nothing.
    """
    return [
        *(str(uv), "pip", "compile", "--verbose", "--config-file", CONFIG_FILE, "--color", "never"),
        *("--no-header", "--no-annotate", "--no-build", "--no-python-downloads", "--python", str(interpreter)),
        *("--python-version", full_version(python), "--python-platform", uv_platform(requirements.machine)),
        *(("--pre",) if "--pre" in requirements.options else ()),
        *("--constraints", _KEPT, "--excludes", _EXCLUDED, "--output-file", RESOLVED_FILE, _FILE),
    ]


def _is_source(line: Requirement) -> bool:
    return line.kind == "url" and not line.text.split(" ;")[0].split("#")[0].endswith(".whl")


def _may_not_fit(line: Requirement, target: Target) -> bool:
    return line.kind == "wheel" and newer_glibc(posixpath.basename(line.path or ""), target) is not None
