"""What it means that uv, or an install step, could not meet the requirements: its reasons in our words.

The words are those of uv 0.13; tests ask a real uv for each.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from mdai_build.errors import Location, Problem
from mdai_build.matrix import support_matrix
from mdai_build.requirements.hints import FAILS_ON_PURPOSE, OTHER_NAME
from mdai_build.requirements.install import is_pinned
from mdai_build.requirements.knowledge import fails_to_build, first_version
from mdai_build.requirements.known_names import nearest_name
from mdai_build.requirements.model import REQUIREMENTS_FILE, Requirement, Requirements
from mdai_build.requirements.redact import redact
from mdai_build.requirements.refusal import Refusal

_VERSIONED = r"(?P<name>[A-Za-z0-9][\w.-]*?)(?:\[[\w,.-]*\])?(?P<version>[=<>!~][^\s]*[^\s,])?"
_TAGS = re.compile(
    r"only found wheels for `(?P<name>[^`]+)` \(v(?P<version>[^)]+)\) "
    r"with the following Python \w+ tags?: (?P<tags>(?:`[^`]+`,? ?)+)"
)
_NO_TAG = re.compile(rf"{_VERSIONED} (?:has|have) no wheels with a matching Python")
_NO_PLATFORM = re.compile(rf"{_VERSIONED} (?:has|have) no wheels with a matching platform tag")
_ONLY_SYSTEMS = re.compile(r"on the following platforms?: (?P<systems>(?:`[^`]+`,? ?)+)")
_NO_VERSION = re.compile(rf"there (?:is no version|are no versions) of {_VERSIONED} and")
_OTHER_VERSIONS = re.compile(
    r"only (?P<there>(?P<name>[\w.-]+)[<=]=(?P<newest>\S+)) (?:is|are) available and "
    r"(?:you require|(?:all versions of )?\S+ depends? on) (?P=name)(?P<version>[=<>!~][^\s]*[^\s,])"
)
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
_REFUSED = re.compile(
    r"index(?: URL)? \((?P<url>[^)]+)\) (?:could not be queried[^(]*\(|returned an? )"
    r"(?P<status>\d{3}[A-Za-z ]*?)(?: error|\))"
)
_OTHER_BYTES = re.compile(r"Hash mismatch for `(?P<name>[A-Za-z0-9][\w.-]*?)(?:==| @ |`)")
_BAD_WHEEL = re.compile(r"Failed to read metadata: .*?(?P<file>[^/\s]+\.whl)")


@dataclass(frozen=True)
class Findings:
    """What uv's answer means: problems that keep the requirements from being met, and doubts."""

    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()
    without: tuple[str, ...] = ()
    """Packages about which all is said; the rest can be looked up without them."""


def explain_failure(output: str, requirements: Requirements, python: str) -> Findings:
    """What it means that `preflight_command` failed.

    Args:
        output: what uv wrote, standard output and error.
        requirements: that were resolved.
        python: of the image.
    """
    said = " ".join(re.sub(r"^\s*cause: ", "", line) for line in output.split("\n"))
    said = re.sub(r"\s+", " ", said)
    if (status := _STATUS.search(said)) and status["status"].startswith(("404", "410")):
        return Findings(problems=(_unreachable(status, requirements),))
    if status or (status := _REFUSED.search(said)):
        # The host that looks may be refused where the one that builds is not: a login, a proxy, a bad day.
        return Findings(warnings=(not_looked_up(f"`{status['url']}` answers {status['status']}", output),))
    if _NETWORK.search(said) and "No solution found" not in said:
        silent = _FETCHED.search(said)
        what = f"`{silent['url'] if silent else 'the package index'}` does not answer"
        return Findings(warnings=(not_looked_up(what, output),))
    if other := _OTHER_BYTES.search(said):
        next_step = "take out its --hash, or correct it, if the change is meant"
        if requirements.lock:
            next_step = "run `mdai-build lock` on the model if the change is meant"
        refusal = Refusal("hash-mismatch", f"`{other['name']}` has other bytes than its hash says", next_step=next_step)
        return Findings(problems=(_at(refusal, _named(other["name"], requirements), output),))
    if "Building source distributions is disabled" in said:
        return Findings(warnings=(not_looked_up("one of them has to be built to tell", output),))
    if broken := _BAD_WHEEL.search(said):
        lines = [line for line in requirements.lines if line.path and line.path.endswith(broken["file"])]
        refusal = Refusal("broken-wheel", f"`{broken['file']}` is no wheel: it cannot be unpacked")
        return Findings(problems=(_at(refusal, lines, output),))
    return _explain(said, output, requirements, python)


def not_looked_up(reason: str, output: str = "") -> Problem:
    """The warning that nothing is known, which is no fault of the bundle."""
    refusal = Refusal(
        "not-looked-up",
        f"the requirements could not be looked up before the build: {reason}",
        next_step="the build itself tells; `--offline` says not to look",
    )
    return replace(refusal.at(Location(REQUIREMENTS_FILE)), details=redact(output.strip()) or None)


def _explain(said: str, output: str, requirements: Requirements, python: str) -> Findings:
    lines = _lines_meant(said, requirements)
    if unbuilt := list(_NO_WHEEL.finditer(said)):
        return _no_usable_wheel(unbuilt, requirements, lines, python, output)
    tags, untagged = _TAGS.search(said), _NO_TAG.search(said)
    if tags and untagged:
        return Findings((_no_matching_wheel(tags, requirements, lines, python, output),), without=(tags["name"],))
    if absent := _NO_PACKAGE.search(said):
        problem = _no_package(absent["name"], said, requirements, lines, python, output)
        return Findings((problem,), without=(absent["name"],))
    if missing := _NO_VERSION.search(said) or _newer_than_all(said):
        problem = _no_version(missing, said, requirements, lines, output)
        return Findings((problem,), without=(missing["name"],))
    if older := _OTHER_PYTHON.search(said):
        refusal = Refusal(
            "python-version",
            f"{_spoken(older)} needs Python {older['needed']}; this bundle asks for {_base_image(python)}",
            next_step=_other_version(older["name"], older["version"], python)
            or f"use {_base_image_within(older['needed'], python)}, or another version of {older['name']}",
        )
        where = _named(older["name"], requirements) or lines
        return Findings((_at(refusal, where, output),), without=(older["name"],))
    if platform := _NO_PLATFORM.search(said):
        where = _named(platform["name"], requirements) or lines
        return Findings(
            (_at(_other_system(platform, said, requirements.machine), where, output),), without=(platform["name"],)
        )
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
    what = f"{name} {version} has wheels for Python {_span(pythons)}; this bundle asks for {_base_image(python)}"
    next_step = _other_python(name, version, pythons, python)
    return _at(Refusal("no-wheel", what, next_step=next_step), named or lines, output)


def _newer_than_all(said: str) -> re.Match[str] | None:
    """A version above all that there are. uv uses the same words where one of them would do, but for something else."""
    for found in _OTHER_VERSIONS.finditer(said):
        try:
            if not SpecifierSet(found["version"]).contains(found["newest"], prereleases=True):
                return found
        except (InvalidSpecifier, InvalidVersion):
            continue
    return None


def _other_system(platform: re.Match[str], said: str, machine: str) -> Refusal:
    systems = _ONLY_SYSTEMS.search(said)
    names = re.findall(r"`(\w+)`", systems["systems"]) if systems else []
    if names and all(name.startswith("win") for name in names):
        return Refusal(
            "no-wheel",
            f"{_spoken(platform)} has wheels for Windows only",
            next_step="take out the line; `pip freeze` on Windows writes it",
        )
    found = f"; it has some for {', '.join(names)}" if names else ""
    name = platform["name"]
    return Refusal(
        "no-wheel",
        f"{_spoken(platform)} has no wheel for Linux {machine}{found}",
        next_step=f"write `{name.removesuffix('-macos')}`, which is for Linux too" if name.endswith("-macos") else None,
    )


def _no_package(
    name: str, said: str, requirements: Requirements, lines: Sequence[Requirement], python: str, output: str
) -> Problem:
    canonical = canonicalize_name(name)
    advice = "check how its name is written"
    if canonical in OTHER_NAME:
        advice = f"write `{OTHER_NAME[canonical]}`"
    elif name in sys.stdlib_module_names:
        advice = "it is a module of Python itself: take out the line"
    # A name that another package gives is not the user's to mend.
    elif _named(name, requirements) and (near := nearest_name(name, python)):
        advice = f"write `{near}`, if that is meant"
    return _nowhere(
        "no-package",
        name,
        f"a package `{name}`",
        f"{advice}; a package of your own goes into `.mdai` as a wheel",
        said,
        requirements,
        lines,
        output,
    )


def _no_version(
    missing: re.Match[str], said: str, requirements: Requirements, lines: Sequence[Requirement], output: str
) -> Problem:
    version = missing["version"] or ""
    next_step = "take a version that the package index has"
    if there := missing.groupdict().get("there"):
        next_step += f": {there}"
    if "+cu" in version or "+cpu" in version:
        page = "https://download.pytorch.org/whl/torch_stable.html"
        next_step = f"versions with `+` are on PyTorch's own page: write `-f {page}` on the line above"
    wanted = f"{missing['name']}{version}"
    return _nowhere("no-version", wanted, wanted, next_step, said, requirements, lines, output)


def _nowhere(
    code: str,
    wanted: str,
    what: str,
    next_step: str,
    said: str,
    requirements: Requirements,
    lines: Sequence[Requirement],
    output: str,
) -> Problem:
    """What no index has, told of the package that asks for it where that is not a line's own."""
    by = re.search(rf"(?:all versions of )?(?<![\w.-]){_VERSIONED} depends? on {re.escape(wanted)}(?![\w.])", said)
    if by:
        refusal = Refusal(code, f"{_spoken(by)} needs {what}, which no package index has", next_step=next_step)
        return _at(refusal, _named(by["name"], requirements) or lines, output)
    name = re.split(r"[=<>!~]", wanted)[0]
    refusal = Refusal(code, f"no package index has {what}", next_step=next_step)
    return _at(refusal, _named(name, requirements) or lines, output)


def _no_usable_wheel(
    unbuilt: Sequence[re.Match[str]],
    requirements: Requirements,
    lines: Sequence[Requirement],
    python: str,
    output: str,
) -> Findings:
    """Packages that have to be built: sure to fail for the large compiled ones, a matter of trying for others."""
    for found in unbuilt:
        refusal = None
        if found["name"] in FAILS_ON_PURPOSE and f"{found['name']}{found['version']}" != "sklearn==0.0":
            refusal = Refusal(
                "other-name",
                f"`{found['name']}` is the name that is imported; the package of that name fails on purpose",
                next_step=f"write `{OTHER_NAME[found['name']]}`",
            )
        elif fails_to_build(found["name"], found["version"], python):
            known = _other_version(found["name"], found["version"], python)
            refusal = Refusal("no-wheel", f"{_spoken(found)} has no wheel for Python {python}", next_step=known)
        if refusal:
            where = _named(found["name"], requirements) or lines
            return Findings((_at(refusal, where, output),), without=(found["name"],))
    warnings = [
        _at(
            Refusal(
                "built-from-source",
                f"{_spoken(found)} has no wheel for Python {python}: the build makes one from its source; "
                "what it needs could not be looked up",
                next_step=_other_version(found["name"], found["version"], python),
            ),
            named,
            None,
        )
        # What a dependency of a dependency is made from, nobody can change in this file.
        for found in unbuilt
        if (named := _named(found["name"], requirements))
    ]
    return Findings(warnings=tuple(warnings), without=tuple(dict.fromkeys(found["name"] for found in unbuilt)))


def _unreachable(status: re.Match[str], requirements: Requirements) -> Problem:
    url = status["url"]
    lines = [line for line in requirements.lines if url in line.text]
    option = next((option for option in requirements.options if url in option), None)
    refusal = Refusal("url", f"`{option or url}` answers {status['status']}", next_step="check the address")
    return _at(refusal, lines, None)


def _at(refusal: Refusal, lines: Sequence[Requirement], output: str | None) -> Problem:
    first = lines[0] if lines else None
    where = (
        Location(first.file, first.line, source=first.text.split(" --hash=")[0])
        if first
        else Location(REQUIREMENTS_FILE)
    )
    return replace(refusal.at(where), details=redact(output.strip()) if output else None)


def _lines_meant(said: str, requirements: Requirements) -> list[Requirement]:
    """The lines that uv's reasons come down to, in the order of the file."""
    names = {
        canonicalize_name(name)
        for clause in _REQUIRED.findall(said)
        for name in re.findall(r"(?:^|, | and )([A-Za-z0-9][\w.-]*)", re.sub(r"[=<>!~]=?[^\s]*|\[.*?\]", "", clause))
    }
    meant = [line for line in requirements.lines if line.name and canonicalize_name(line.name) in names]
    strict = {canonicalize_name(line.name or "") for line in meant if line.specifier}
    return [line for line in meant if line.specifier or canonicalize_name(line.name or "") not in strict]


def _named(name: str, requirements: Requirements) -> list[Requirement]:
    wanted = canonicalize_name(name)
    return [line for line in requirements.lines if line.name and canonicalize_name(line.name) == wanted]


def _spoken(found: re.Match[str]) -> str:
    return f"{found['name']} {(found['version'] or '').removeprefix('==')}".strip()


def _base_image(python: str) -> str:
    return f"py{python.replace('.', '')}"


def _base_image_within(needed: str, python: str) -> str:
    """The `base_image` nearest to the one asked for whose Python is within `needed`."""
    try:
        specifiers = SpecifierSet(needed.rstrip(","))
    except InvalidSpecifier:
        return "another base_image"
    asked = int(python.split(".")[1])
    within = [name for name, full in support_matrix().pythons.items() if specifiers.contains(full)]
    nearest = min(within, key=lambda name: abs(int(name.split(".")[1]) - asked), default=None)
    return f"base_image {_base_image(nearest)}" if nearest else "another base_image"


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
    usable = [candidate for candidate in pythons if candidate in support_matrix().pythons]
    ways = [f"base_image {_base_image(usable[-1])}"] if usable else []
    first = first_version(name, python)
    if first and Version(version) < Version(first):
        ways.append(f"{name}>={first}")
    else:
        ways.append(f"a version of {name} with wheels for Python {python}")
    return f"use {' or '.join(ways)}"
