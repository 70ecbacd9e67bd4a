"""Reads `.mdai/requirements.txt` and all that it includes, and tells every problem at once with file and line."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable
from dataclasses import replace
from difflib import get_close_matches

from mdai_build.bundle import Bundle, shown
from mdai_build.errors import Location, Problem, RequirementsError
from mdai_build.requirements import hints, whole
from mdai_build.requirements.forms import Forms
from mdai_build.requirements.lines import LogicalLine, build_option, decode, logical_lines
from mdai_build.requirements.local import LocalFiles
from mdai_build.requirements.lock import (
    RENEW,
    lock_facts,
    locked,
    requirements_digest,
    stale,
    without_hash,
)
from mdai_build.requirements.model import LOCK_FILE, REQUIREMENTS_FILE, Requirement, Requirements
from mdai_build.requirements.options import Options
from mdai_build.requirements.preinstalled import find_overrides
from mdai_build.requirements.redact import redact
from mdai_build.requirements.refusal import Refusal
from mdai_build.requirements.target import MACHINE, Target, newer_glibc

MOST_LINES = 5_000
"""In all files together: above what any tool writes, and read in seconds."""
MOST_DEEP = 20
"""Of includes within includes."""


def read_requirements(
    bundle: Bundle, python: str | None, *, heed_lock: bool = True, machine: str = MACHINE
) -> Requirements:
    """Read what the bundle asks to have installed.

    Args:
        bundle: whose `.mdai/requirements.txt` is read; one without asks for nothing.
        python: of the image, such as "3.10"; None where the parent image decides, and then neither the Python of
            local wheels nor markers are judged.
        heed_lock: whether the bundle's `.mdai/requirements.lock`, if it has one, decides what is installed.
        machine: the processor of the image, as wheels name it.

    Raises:
        RequirementsError: with every line that cannot be installed, or the lock is of other requirements.
        BundleError: a file cannot be read from the archive.
    """
    requirements = _read_written(bundle, Target(python, machine=machine))
    if not heed_lock or not bundle.has(LOCK_FILE):
        return requirements
    text = bundle.read_text(LOCK_FILE)
    facts = lock_facts(text)
    if facts is None:
        return replace(requirements, warnings=(*requirements.warnings, _FOREIGN_LOCK.at(Location(LOCK_FILE))))
    if refusal := stale(facts, requirements_digest(bundle, requirements), python, machine):
        raise RequirementsError(refusal.at(Location(LOCK_FILE)), warnings=requirements.warnings)
    return locked(requirements, read_lock(bundle, text, python, machine))


def read_lock(bundle: Bundle, text: str, python: str | None, machine: str = MACHINE) -> Requirements:
    """The lines of a lock's text, checked like those of any requirements file.

    Raises:
        RequirementsError: with every line that cannot be installed or has no hash.
    """
    reading = _Reading(bundle, Target(python, machine=machine))
    reading.read_text(text, LOCK_FILE, constraint=False, above=())
    found = reading.result(lock=True)
    problems = [_NO_HASH.at(where) for where in without_hash(found)]
    if problems:
        raise RequirementsError(problems)
    return found


def _read_written(bundle: Bundle, target: Target) -> Requirements:
    if not bundle.has(REQUIREMENTS_FILE):
        return Requirements(warnings=(_no_file(bundle),), machine=target.machine)
    reading = _Reading(bundle, target)
    reading.read(REQUIREMENTS_FILE, constraint=False, above=())
    return reading.result()


class _Reading:
    """One run over the files; collects lines, problems and warnings."""

    def __init__(self, bundle: Bundle, target: Target) -> None:
        self._bundle = bundle
        self._target = target
        self._local = LocalFiles(bundle)
        self._forms = Forms(self._local, target)
        self._options = Options(self._local)
        self._lines: list[Requirement] = []
        self._constraints: list[Requirement] = []
        self._problems: list[Problem] = []
        self._warnings: list[Problem] = []
        self._read: dict[tuple[str, bool], None] = {}
        self._count = 0

    def read(self, file: str, *, constraint: bool, above: tuple[str, ...]) -> None:
        """Read one file and, in their place, those that it includes. `above` are the files that lead here."""
        # A file that is included twice says nothing new, and files that include each other twice would never end.
        if (file, constraint) in self._read:
            return
        self._read[file, constraint] = None
        try:
            self.read_text(decode(self._bundle.read_bytes(file)), file, constraint=constraint, above=above)
        except Refusal as refusal:
            self._problems.append(refusal.at(Location(file)))

    def read_text(self, text: str, file: str, *, constraint: bool, above: tuple[str, ...]) -> None:
        """Read the text of a file; what cannot be read at all becomes a problem of it."""
        try:
            for line in logical_lines(text):
                self._count += 1
                if self._count > MOST_LINES:
                    raise Refusal("too-long", f"there are more than {MOST_LINES} lines")
                self._take(line, file, constraint, above)
        except Refusal as refusal:
            self._problems.append(refusal.at(Location(file)))

    def result(self, *, lock: bool = False) -> Requirements:
        """What was read. A lock need not have a hash in every line, nor tell what else lies in the bundle.

        Raises:
            RequirementsError: there were problems.
        """
        self._problems += whole.contradictions(self._lines)
        if not lock:
            self._problems += whole.missing_hashes(self._lines, self._options.lines)
        if self._problems:
            raise RequirementsError(self._problems, warnings=self._warnings)
        if not lock:
            self._warnings += whole.unused_wheels(self._lines, self._local.beside(), self._options.searched)
        self._warnings += whole.local_versions(self._lines, self._options.lines, self._target.python)
        sources = tuple(dict.fromkeys(file for file, _ in self._read))
        return Requirements(
            lines=tuple(self._lines),
            constraints=tuple(self._constraints),
            options=tuple(self._options.lines),
            files=self._files(),
            sources=sources,
            overrides=find_overrides(self._lines, self._target.python),
            warnings=tuple(self._warnings),
            machine=self._target.machine,
        )

    def _take(self, line: LogicalLine, file: str, constraint: bool, above: tuple[str, ...]) -> None:
        where = Location(file, line.number, source=redact(line.text))
        refuse = self._refuser(where)
        if line.refusal:
            refuse(line.refusal)
            return
        options = dict(line.options)
        hashes = tuple(options.pop("hashes", ()))
        for unsafe in ("install_options", "global_options"):
            if options.pop(unsafe, None):
                refuse(build_option(f"--{unsafe.replace('_', '-').removesuffix('s')}"))
        editables = options.pop("editables", [])
        for included, as_constraint in (
            *((path, constraint) for path in options.pop("requirements", [])),
            *((path, True) for path in options.pop("constraints", [])),
        ):
            self._include(included, file, as_constraint, above, refuse)
        if line.requirement and options:
            self._warn(_beside_package(sorted(options)), where)
        for name, value in options.items():
            for warning in self._options.take(name, value, file, refuse):
                self._warn(warning, where)
        if line.requirement:
            self._add(line.requirement, hashes, where, constraint, refuse)
        for editable in editables:
            self._warn(_EDITABLE, where)
            # `-e folder` is always a path, while a bare `folder` would be a package of the index.
            path = ":" not in editable and not editable.startswith((".", "/"))
            self._add(f"./{editable}" if path else editable, hashes, where, constraint, refuse)

    def _add(
        self,
        written: str,
        hashes: tuple[str, ...],
        where: Location,
        constraint: bool,
        refuse: Callable[[Refusal], None],
    ) -> None:
        try:
            requirement = self._forms.read(written, hashes, where.file, where.line or 0)
            if constraint and (requirement.kind != "index" or requirement.extras):
                raise Refusal(
                    "constraint",
                    f"`{redact(written)}` cannot be a constraint",
                    expected="a package with its version, such as numpy<2",
                )
        except Refusal as refusal:
            refuse(refusal)
            return
        (self._constraints if constraint else self._lines).append(requirement)
        if not requirement.applies or constraint:
            return
        if requirement.kind == "index" and requirement.name and (doubt := hints.doubt(requirement.name)):
            self._warn(doubt, where)
        if requirement.kind == "wheel" and requirement.path:
            self._warn_glibc(requirement.path, where)
        if requirement.kind == "folder" and requirement.path in (".", ".mdai"):
            self._warn(_whole_model(written), where)

    def _include(
        self, written: str, file: str, constraint: bool, above: tuple[str, ...], refuse: Callable[[Refusal], None]
    ) -> None:
        shown = redact(written)
        path = posixpath.normpath(posixpath.join(posixpath.dirname(file), written))
        if "://" in written:
            refuse(Refusal("include", f"`{shown}` is not in the bundle", next_step="put a copy of it into `.mdai`"))
        elif written.startswith(("/", "~")) or path == ".." or path.startswith("../"):
            refuse(Refusal("outside-bundle", f"`{shown}` lies outside the bundle", next_step="put it into `.mdai`"))
        elif not self._bundle.has(path):
            texts = [
                member.path
                for member in self._bundle.members
                if member.path.endswith((".txt", ".in")) and member.path != file
            ][:500]
            by_name = {posixpath.basename(text): text for text in texts}
            near = get_close_matches(posixpath.basename(path), by_name, n=1)
            relative = posixpath.relpath(by_name[near[0]], posixpath.dirname(file)) if near else None
            refuse(
                Refusal(
                    "missing-file",
                    f"the bundle has no `{shown}` beside {posixpath.basename(file)}",
                    next_step=f"did you mean `{relative}`?" if relative else "add the file, or take out the line",
                )
            )
        elif path == file or path in above:
            chain = (*above, file)
            circle = " -> ".join((*chain[chain.index(path) :], path))
            refuse(Refusal("include-cycle", f"includes run in a circle: {circle}", next_step="take out one of them"))
        elif len(above) >= MOST_DEEP:
            refuse(Refusal("include", f"files include files more than {MOST_DEEP} deep"))
        else:
            self.read(path, constraint=constraint, above=(*above, file))

    def _warn_glibc(self, path: str, where: Location) -> None:
        minor = newer_glibc(posixpath.basename(path), self._target)
        if minor is not None:
            self._warn(
                Refusal(
                    "wheel-glibc",
                    f"`{posixpath.basename(path)}` needs a C library of version 2.{minor} or newer",
                    expected=f"at most 2.{self._target.glibc_minor}, which every parent image has",
                    next_step="build the wheel on an older Linux if the build says that it does not fit",
                ),
                where,
            )

    def _files(self) -> tuple[str, ...]:
        found: set[str] = set()
        for line in self._lines:
            if line.path and line.applies:
                found.update(self._local.below(line.path) if line.kind == "folder" else (line.path,))
        for folder in self._options.searched:
            found.update(self._local.archives(folder))
        return tuple(sorted(found))

    def _refuser(self, where: Location) -> Callable[[Refusal], None]:
        return lambda refusal: self._problems.append(refusal.at(where))

    def _warn(self, warning: Refusal, where: Location) -> None:
        self._warnings.append(warning.at(where))


_FOREIGN_LOCK = Refusal(
    "foreign-lock",
    "this lock was not written by `mdai-build lock`; it is not used",
    next_step="run `mdai-build lock` on the model, or take the file out",
)
_NO_HASH = Refusal("hash", "this line of the lock has no hash", next_step=RENEW)
_EDITABLE = Refusal(
    "editable",
    "`-e` is read as if it were not there: an image has a copy of the package installed",
    next_step="take out `-e`",
)


def _beside_package(names: Iterable[str]) -> Refusal:
    options = " ".join(f"--{name.replace('_', '-').removesuffix('s')}" for name in names)
    options = options.replace("--find-link", "--find-links")
    return Refusal(
        "option-beside-package",
        f"`{options}` stands in the line of a package, where pip does not heed it; it is read as a line of its own",
        next_step="write it on the line above",
    )


def _whole_model(written: str) -> Refusal:
    return Refusal(
        "whole-model",
        f"`{written}` installs the folder of the whole model, so that any change of it installs everything anew",
        next_step="take out the line (every folder of the bundle is on sys.path), or move the package to a folder",
    )


def _no_file(bundle: Bundle) -> Problem:
    texts = [member.path for member in bundle.members if posixpath.basename(member.path) == "requirements.txt"]
    beside = {path.lower(): path for member in bundle.members if posixpath.dirname(path := member.path) == ".mdai"}
    near = get_close_matches(REQUIREMENTS_FILE, beside, n=1, cutoff=0.85)
    advice = "add one if the model imports anything else"
    if near:
        advice = f"rename `{shown(beside[near[0]])}` to `requirements.txt`"
    elif texts:
        advice = f"move `{shown(texts[0])}` into .mdai/"
    return Refusal(
        "no-file",
        "the bundle has no requirements.txt in `.mdai`: it gets the preinstalled packages alone",
        next_step=advice,
    ).at(Location(REQUIREMENTS_FILE))
