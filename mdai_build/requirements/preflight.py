"""Whether the requirements can be met, asked of uv on the host before anything is built.

Only the pure parts: the file and the command to run, and uv's answer in our words. The command never builds a source
package: that would run the package's code on the host.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from packaging.utils import canonicalize_name
from packaging.version import Version

from mdai_build.errors import Location, Problem
from mdai_build.requirements.hints import OTHER_NAME
from mdai_build.requirements.install import install_file, installer_arguments, is_pinned
from mdai_build.requirements.knowledge import first_version
from mdai_build.requirements.model import REQUIREMENTS_FILE, Requirement, Requirements
from mdai_build.requirements.redact import redact
from mdai_build.requirements.refusal import Refusal
from mdai_build.requirements.target import MACHINE

# uv takes "3.8" for 3.8.0, which packages that ask for 3.8.1 refuse; these are what conda installs, or older.
_FULL_VERSIONS = {
    "3.7": "3.7.16",
    "3.8": "3.8.18",
    "3.9": "3.9.18",
    "3.10": "3.10.13",
    "3.11": "3.11.7",
    "3.12": "3.12.1",
    "3.13": "3.13.0",
}

_VERSIONED = r"(?P<name>[A-Za-z0-9][\w.-]*?)(?:\[[\w,.-]*\])?(?P<version>[=<>!~][^\s]*)?"
_TAGS = re.compile(
    r"only found wheels for `(?P<name>[^`]+)` \(v(?P<version>[^)]+)\) "
    r"with the following Python \w+ tags?: (?P<tags>(?:`[^`]+`,? ?)+)"
)
_NO_TAG = re.compile(rf"{_VERSIONED} (?:has|have) no wheels with a matching Python")
_NO_PLATFORM = re.compile(rf"{_VERSIONED} (?:has|have) no wheels with a matching platform tag")
_NO_VERSION = re.compile(rf"there (?:is no version|are no versions) of {_VERSIONED} and")
_NO_PACKAGE = re.compile(r"(?P<name>[\w.-]+) was not found in the (?:package registry|provided package locations)")
_NO_WHEEL = re.compile(rf"(?:all versions of )?{_VERSIONED} (?:has|have) no usable wheels")
_OTHER_PYTHON = re.compile(
    rf"does not satisfy Python(?P<needed>[<>=!~][^\s]*) and (?:all versions of )?{_VERSIONED} depends on Python"
)
_REQUIRED = re.compile(r"you require (.+?)(?=, we can conclude| and \S+ (?:depends|has|have|was)\b|$)")
_NETWORK = re.compile(
    r"error sending request|tcp connect error|dns error|client error \(Connect\)|timed out|operation timed"
)
_FETCHED = re.compile(r"Failed to fetch: (?P<url>\S+)")
_STATUS = re.compile(r"HTTP status (?:client|server) error \((?P<status>[^)]+)\) for url \((?P<url>[^)]+)\)")
_BAD_WHEEL = re.compile(r"Failed to read metadata: .*?(?P<file>[^/\s]+\.whl)")


@dataclass(frozen=True)
class Findings:
    """What uv's answer means: problems that keep the requirements from being met, and doubts."""

    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()


def preflight_file(requirements: Requirements) -> str:
    """The install file without what only a build of a source package could tell about; empty if nothing is left."""
    kept = tuple(line for line in requirements.lines if line.kind in ("index", "wheel", "url") and not _is_source(line))
    return install_file(replace(requirements, lines=kept))


def preflight_command(requirements: Requirements, python: str, uv: Path, file: Path, interpreter: Path) -> list[str]:
    """The command that resolves `preflight_file` for the target, and fails with uv's reasons if that cannot be done.

    Args:
        requirements: of the bundle.
        python: of the image, such as "3.10".
        uv: the program.
        file: with the text of `preflight_file`, in a folder as `install_file` asks for, which is the working folder.
        interpreter: any Python of the host; uv wants one even where it builds nothing.
    """
    return [
        str(uv),
        *("pip", "compile", "--quiet", "--no-config", "--color", "never", "--no-header", "--no-annotate"),
        *("--no-build", "--no-python-downloads", "--python", str(interpreter)),
        *("--python-version", _FULL_VERSIONS.get(python, python), "--python-platform", f"{MACHINE}-manylinux_2_28"),
        *installer_arguments(requirements, "uv"),
        str(file),
    ]


def explain_failure(output: str, requirements: Requirements, python: str) -> Findings:
    """What it means that `preflight_command` failed.

    Args:
        output: what uv wrote, standard output and error.
        requirements: that were resolved.
        python: of the image.
    """
    said = " ".join(re.sub(r"^\s*cause: ", "", line) for line in output.split("\n"))
    said = re.sub(r"\s+", " ", said)
    if status := _STATUS.search(said):
        return Findings(problems=(_unreachable(status, requirements),))
    if _NETWORK.search(said) and "No solution found" not in said:
        silent = _FETCHED.search(said)
        what = f"`{silent['url'] if silent else 'the package index'}` does not answer"
        return Findings(warnings=(_not_looked_up(what, output),))
    if "Building source distributions is disabled" in said:
        return Findings(warnings=(_not_looked_up("one of them has to be built to tell", output),))
    if broken := _BAD_WHEEL.search(said):
        lines = [line for line in requirements.lines if line.path and line.path.endswith(broken["file"])]
        refusal = Refusal("broken-wheel", f"`{broken['file']}` is no wheel: it cannot be unpacked")
        return Findings(problems=(_at(refusal, lines, output),))
    return _explain(said, output, requirements, python)


def _not_looked_up(reason: str, output: str) -> Problem:
    refusal = Refusal("not-looked-up", f"the requirements could not be looked up before the build: {reason}")
    return replace(refusal.at(Location(REQUIREMENTS_FILE)), details=redact(output.strip()))


def _explain(said: str, output: str, requirements: Requirements, python: str) -> Findings:
    lines = _lines_meant(said, requirements)
    base_image = f"py{python.replace('.', '')}"
    tags, untagged = _TAGS.search(said), _NO_TAG.search(said)
    if tags and untagged:
        return Findings(problems=(_no_matching_wheel(tags, requirements, lines, python, output),))
    if absent := _NO_PACKAGE.search(said):
        return Findings(problems=(_no_package(absent["name"], requirements, lines, output),))
    if missing := _NO_VERSION.search(said):
        return Findings(problems=(_no_version(missing, requirements, lines, output),))
    if older := _OTHER_PYTHON.search(said):
        refusal = Refusal(
            "python-version",
            f"{_spoken(older)} needs Python {older['needed']}; this bundle asks for {base_image}",
            next_step=_other_version(older["name"], older["version"], python)
            or f"use a newer base_image, or an older {older['name']}",
        )
        return Findings(problems=(_at(refusal, _named(older["name"], requirements) or lines, output),))
    if unbuilt := _NO_WHEEL.search(said):
        return _no_usable_wheel(unbuilt, requirements, lines, python, output)
    if platform := _NO_PLATFORM.search(said):
        refusal = Refusal("no-wheel", f"{_spoken(platform)} has no wheel for Linux {MACHINE}")
        return Findings(problems=(_at(refusal, _named(platform["name"], requirements) or lines, output),))
    if len(lines) > 1:
        named = ", ".join(f"`{line.text}` ({line.file}:{line.line})" for line in lines)
        refusal = Refusal(
            "conflict",
            f"these lines contradict each other: {named}",
            next_step="loosen one of them; the reasons below name the versions that clash",
        )
        return Findings(problems=(_at(refusal, lines[-1:], output),))
    refusal = Refusal("unresolvable", "the requirements cannot be met together; uv gives the reasons below")
    return Findings(problems=(_at(refusal, lines, output),))


def _no_matching_wheel(
    tags: re.Match[str], requirements: Requirements, lines: Sequence[Requirement], python: str, output: str
) -> Problem:
    """A package that has wheels, but none for this Python."""
    name, version, pythons = tags["name"], tags["version"], _pythons(tags["tags"])
    named = _named(name, requirements)
    open_line = next((line for line in named if line.kind == "index" and not is_pinned(line)), None)
    if open_line:
        # uv's hint then tells of one version out of many, often a pre-release.
        what = f"no version that `{open_line.text}` allows has a wheel for Python {python}"
        next_step = _other_version(name, open_line.specifier, python) or "use another base_image"
        return _at(Refusal("no-wheel", what, next_step=next_step), [open_line], output)
    base_image = f"py{python.replace('.', '')}"
    what = f"{name} {version} has wheels for Python {_span(pythons)}; this bundle asks for {base_image}"
    next_step = _other_python(name, version, pythons, python)
    return _at(Refusal("no-wheel", what, next_step=next_step), named or lines, output)


def _no_package(name: str, requirements: Requirements, lines: Sequence[Requirement], output: str) -> Problem:
    canonical = canonicalize_name(name)
    advice = f"write `{OTHER_NAME[canonical]}`" if canonical in OTHER_NAME else "check how its name is written"
    refusal = Refusal(
        "no-package",
        f"no package index has a package `{name}`",
        next_step=f"{advice}; a package of your own goes into `.mdai` as a wheel",
    )
    return _at(refusal, _named(name, requirements) or lines, output)


def _no_version(
    missing: re.Match[str], requirements: Requirements, lines: Sequence[Requirement], output: str
) -> Problem:
    version = missing["version"] or ""
    next_step = "take a version that the package index has"
    if "+cu" in version or "+cpu" in version:
        page = "https://download.pytorch.org/whl/torch_stable.html"
        next_step = f"versions with `+` are on PyTorch's own page: write `-f {page}` on the line above"
    what = f"no package index has {missing['name']}{version}"
    return _at(Refusal("no-version", what, next_step=next_step), _named(missing["name"], requirements) or lines, output)


def _no_usable_wheel(
    unbuilt: re.Match[str], requirements: Requirements, lines: Sequence[Requirement], python: str, output: str
) -> Findings:
    """A package that has to be built: sure to fail for the large compiled ones, a matter of trying for others."""
    where = _named(unbuilt["name"], requirements) or lines
    what = f"{_spoken(unbuilt)} has no wheel for Python {python}"
    known = _other_version(unbuilt["name"], unbuilt["version"], python)
    if known:
        return Findings(problems=(_at(Refusal("no-wheel", what, next_step=known), where, output),))
    refusal = Refusal(
        "built-from-source",
        f"{what}: the build makes one from its source, which may take long or fail; nothing else was looked up",
        next_step="take a version with a wheel if there is one",
    )
    return Findings(warnings=(_at(refusal, where, output),))


def _unreachable(status: re.Match[str], requirements: Requirements) -> Problem:
    url = status["url"]
    lines = [line for line in requirements.lines if url in line.text]
    option = next((option for option in requirements.options if url in option), None)
    refusal = Refusal("url", f"`{option or url}` answers {status['status']}", next_step="check the address")
    return _at(refusal, lines, None)


def _at(refusal: Refusal, lines: Sequence[Requirement], output: str | None) -> Problem:
    first = lines[0] if lines else None
    where = Location(first.file, first.line, source=first.text) if first else Location(REQUIREMENTS_FILE)
    return replace(refusal.at(where), details=redact(output.strip()) if output else None)


def _lines_meant(said: str, requirements: Requirements) -> list[Requirement]:
    """The lines that uv's reasons come down to, in the order of the file."""
    names = {
        canonicalize_name(name)
        for clause in _REQUIRED.findall(said)
        for name in re.findall(r"(?:^|, | and )([A-Za-z0-9][\w.-]*)", re.sub(r"[=<>!~]=?[^\s]*|\[.*?\]", "", clause))
    }
    return [line for line in requirements.lines if line.name and canonicalize_name(line.name) in names]


def _named(name: str, requirements: Requirements) -> list[Requirement]:
    wanted = canonicalize_name(name)
    return [line for line in requirements.lines if line.name and canonicalize_name(line.name) == wanted]


def _spoken(found: re.Match[str]) -> str:
    return f"{found['name']} {(found['version'] or '').removeprefix('==')}".strip()


def _pythons(tags: str) -> tuple[str, ...]:
    found = {(int(major), int(minor)) for major, minor in re.findall(r"`cp(\d)(\d+)m?u?`", tags)}
    return tuple(f"{major}.{minor}" for major, minor in sorted(found))


def _span(pythons: Sequence[str]) -> str:
    if not pythons:
        return "others"
    minors = [int(python.split(".")[1]) for python in pythons]
    if len(pythons) > 2 and minors == list(range(minors[0], minors[-1] + 1)):
        return f"{pythons[0]} to {pythons[-1]}"
    return " and ".join(filter(None, (", ".join(pythons[:-1]), pythons[-1])))


def _other_version(name: str, version: str | None, python: str) -> str | None:
    """Which other version to take, for packages that are known here."""
    first = first_version(name, python)
    if first is None:
        return None
    asked = re.search(r"\d[\w.]*", version or "")
    if asked and Version(asked[0]) >= Version(first):
        return f"use a newer base_image, or an older {name}"
    return f"use {name}>={first}, the first with wheels for Python {python}"


def _other_python(name: str, version: str, pythons: Iterable[str], python: str) -> str:
    usable = [candidate for candidate in pythons if candidate in _FULL_VERSIONS]
    ways = [f"base_image py{usable[-1].replace('.', '')}"] if usable else []
    first = first_version(name, python)
    if first and Version(version) < Version(first):
        ways.append(f"{name}>={first}")
    else:
        ways.append(f"a version of {name} with wheels for Python {python}")
    return f"use {' or '.join(ways)}"


def _is_source(line: Requirement) -> bool:
    return line.kind == "url" and not line.text.split(" ;")[0].split("#")[0].endswith(".whl")
