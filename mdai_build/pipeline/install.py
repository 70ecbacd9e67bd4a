"""What to try next when the requirements did not install: only where another way is known to work, and never silently.

uv is stricter than pip about archives, and builds each source package by itself, with nothing but what the package says
that it needs; many published packages leave that out, since pip long built them beside what was installed already.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Literal

from packaging.utils import canonicalize_name

from mdai_build.errors import Location, Problem
from mdai_build.requirements import Requirements, preinstalled
from mdai_build.settings import Settings

_REQUIREMENTS = Location(".mdai/requirements.txt")
_MOST_BUILD_REQUIREMENTS = 6
# Of uv 0.13: the hint under a failed build, and why it does not take an archive.
_UNDECLARED = re.compile(
    r"indicates that `(?P<package>[\w.-]+)(?:@[^`]*)?` depends on `(?P<module>[\w.-]+)`, but doesn't"
)
# Of a source whose name uv learns only by building it (a folder, a bare git address), it knows no more than this.
_UNDECLARED_NAMELESS = re.compile(r"The build backend returned an error[\s\S]*No module named '(?P<module>\w+)[\w.]*'")
_REFUSED_ARCHIVES = (
    (re.compile(r"The structure of `(?P<name>[^`]+)` .*was invalid:\s*(?P<why>.+)"), "its archive is damaged"),
    (re.compile(r"Wheel (?:version|name) does not match filename \((?P<why>[^)]+)\)"), "a wheel was renamed"),
    (re.compile(r"(?P<why>has an invalid package format)"), "an archive is damaged"),
    (re.compile(r"(?P<why>Metadata field \S+ not found|Failed to parse metadata[^\n]*)"), "its metadata is malformed"),
    (re.compile(r"(?P<why>The wheel is invalid: [^\n]+)"), "a wheel is malformed"),
)
_NO_TOOLS = re.compile(
    r"command '(?:[\w-]*-)?(?:gcc|g\+\+|cc|c\+\+)' failed: No such file|unable to execute '[\w-]*(?:gcc|g\+\+|cc)'"
    r"|(?:gcc|g\+\+|make|git): (?:command )?not found|Git executable not found|No CMAKE_CX*_COMPILER could be found"
    r"|Cannot find command 'git'"
)
# A module whose package has another name, or is only in some versions of it.
_PROVIDED_BY = {
    "pkg_resources": "setuptools<82",
    "distutils": "setuptools",
    "cv2": "opencv-python-headless",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "yaml": "PyYAML",
    "PIL": "pillow",
}


# Of a build in which no package may be built, since it was known that none has to be.
_NEEDS_BUILD = re.compile(
    r"[Bb]uilding source distributions[^.]{0,200}disabled|No matching distribution found|Could not find a version that"
)


@dataclass(frozen=True)
class Attempt:
    """One way to install the requirements."""

    installer: Literal["uv", "pip"]
    build_requirements: tuple[tuple[str, str], ...] = ()
    """For source packages that do not tell it themselves: the package, and what its build needs."""
    lends_tools: bool = True
    """Whether packages may be built from their source. The install step is lent compilers and git then, and loses the
    cache that builds share, in which the code of a package could leave something for the next one."""
    sources_last: bool = False
    """Whether everything else is installed first, and sources then build in the model's environment itself."""
    fresh_tools: bool = False
    """Whether the stage with the compilers is made anew, since an earlier build may have had no network."""


def next_attempt(
    failed: Attempt, log: str, requirements: Requirements, python: str | None, settings: Settings
) -> tuple[Attempt, Problem] | None:
    """What to try after an attempt failed, and what to tell of it; None where nothing else would help.

    Args:
        failed: the attempt.
        log: what its installer wrote.
        requirements: of the bundle.
        python: of the image, where it is known.
        settings: say whether pip may take over, and whether the build has a network.
    """
    if _NO_TOOLS.search(log) or (not failed.lends_tools and _NEEDS_BUILD.search(log)):
        if not failed.lends_tools:
            what = "a package had to be built from its source: the build was lent compilers"
            return replace(failed, lends_tools=True), Problem("install.tools", what, _REQUIREMENTS)
        if failed.fresh_tools or settings.build_network == "none":
            return None
        what = "a package had to be compiled, and the build had no compiler: it was asked for once more"
        return replace(failed, fresh_tools=True), Problem("install.tools", what, _REQUIREMENTS)
    if failed.installer != "uv":
        return None
    if undeclared := _UNDECLARED.search(log):
        package, module = undeclared["package"], undeclared["module"]
        added = (package, _version_for(module, requirements, python))
        if added in failed.build_requirements or len(failed.build_requirements) >= _MOST_BUILD_REQUIREMENTS:
            return None
        what = f"`{package}` does not say that its build needs {added[1]}; it was given that"
        where = _line_of(package, requirements) or _REQUIREMENTS
        return (
            replace(failed, build_requirements=(*failed.build_requirements, added)),
            Problem("install.build-requirement", what, where),
        )
    nameless = any(line.applies and line.kind in ("vcs", "sdist", "folder") for line in requirements.lines)
    if nameless and not failed.sources_last and (undeclared := _UNDECLARED_NAMELESS.search(log)):
        needed = _version_for(undeclared["module"], requirements, python)
        what = f"a source package needs {needed} for its build and does not say so; it was built after all others"
        return replace(failed, sources_last=True), Problem("install.sources-last", what, _REQUIREMENTS)
    # pip asks for a hash of everything, which what a lock has from git or a folder cannot have.
    hashed = all(line.hashes for line in requirements.lines if line.applies)
    if settings.installer == "auto" and (hashed or not requirements.lock):
        for pattern, reason in _REFUSED_ARCHIVES:
            if found := pattern.search(log):
                what = (
                    f"pip installed the requirements, since uv refuses one of them: {reason} ({found['why'].strip()})"
                )
                return replace(failed, installer="pip", build_requirements=()), Problem(
                    "install.by-pip", what, _REQUIREMENTS
                )
    if not failed.lends_tools:
        what = "what was looked up before the build did not install in it; it was looked up anew"
        return replace(failed, lends_tools=True), Problem("install.again", what, _REQUIREMENTS)
    return None


def explain_no_tools(log: str) -> Problem | None:
    """Why nothing could be compiled, if that is what a log tells."""
    if not (found := _NO_TOOLS.search(log)):
        return None
    return Problem(
        code="install.no-tools",
        what="a package comes as sources, and this build has no compiler or git for it: the parent image has none, and "
        "its package manager could not bring them",
        where=_REQUIREMENTS,
        expected=f"a parent with compilers, or a network for its package manager; the log says: {found.group(0)}",
        next_step="give a wheel of the package in place of its sources: `mdai-build wheels MODEL FOLDER` makes one",
        details=log,
    )


def _version_for(module: str, requirements: Requirements, python: str | None) -> str:
    """The requirement that brings a module, at the version that the model's environment has: the two must fit."""
    wanted = _PROVIDED_BY.get(module, module)
    name = canonicalize_name(re.split("[<>=!~]", wanted)[0])
    for line in requirements.lines:
        if line.applies and line.kind == "index" and line.name and canonicalize_name(line.name) == name:
            return f"{line.name}{line.specifier}"
    for pin in preinstalled(python) if python else ():
        if canonicalize_name(pin.name) == name:
            return f"{pin.name}=={pin.version}"
    return wanted


def _line_of(package: str, requirements: Requirements) -> Location | None:
    for line in requirements.lines:
        if line.name and canonicalize_name(line.name) == canonicalize_name(package):
            return Location(line.file, line=line.line)
    return None
