"""Asks package indexes, before anything is built, whether the requirements can be met; remembers what can."""

from __future__ import annotations

import contextlib
import hashlib
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from mdai_build import __version__
from mdai_build.bundle import Bundle
from mdai_build.bundle.folder_source import FolderSource
from mdai_build.config import ModelConfig
from mdai_build.engine import Resolution, Resolver
from mdai_build.errors import Location, Problem, RequirementsError
from mdai_build.requirements import (
    DECIDING,
    RESOLVED_FILE,
    SOURCE_FILE,
    Requirements,
    Resolved,
    advice,
    built_instead,
    explain_failure,
    needs_building,
    not_looked_up,
    parse_resolved,
    passed_over,
    preflight_command,
    preflight_file,
    preflight_files,
    preinstalled,
    resolved_file,
    source_command,
    source_file,
)
from mdai_build.scratch import remove_abandoned_folders, scratch_folder
from mdai_build.settings import Settings

REMEMBERED_SECONDS = 24 * 3600
_KEPT_SECONDS = 60 * 24 * 3600
"""For this long an old answer still tells, where nobody answers, whether wheels suffice."""
_CLOCK_SECONDS = 60
"""A file system's clock may be ahead of ours by so much."""
_MOST_ROUNDS = 25
"""Of looking up again without what uv cannot find, so that all of it is told at once."""


@dataclass(frozen=True)
class Preflight:
    """What was found out before the build."""

    warnings: tuple[Problem, ...] = ()
    wheels_suffice: bool = False
    """Whether it is known that no requirement has to be built from its source."""
    resolved_text: str = ""
    """`requirements.resolved_file` for the install step; empty where it has to look itself."""


@dataclass(frozen=True)
class _Answer:
    text: str
    """What uv wrote; empty where it could not look."""
    warnings: tuple[Problem, ...] = ()
    wheels_suffice: bool = False


@dataclass
class _Question:
    """What is asked: everything that the answer depends on."""

    bundle: Bundle
    requirements: Requirements
    config: ModelConfig
    python: str
    settings: Settings
    excluded: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)

    def files(self, default_index: str | None = None) -> dict[str, str]:
        """Texts by name, for the folder that uv works in."""
        urls = (self.settings.index_url, self.settings.extra_index_urls, default_index)
        return preflight_files(self.requirements, self.python, self.excluded, self.kept, *urls)

    @property
    def wheels(self) -> tuple[str, ...]:
        """Members of the bundle that uv reads."""
        return tuple(path for path in self.requirements.files if path.endswith(".whl"))

    def key(self) -> str:
        """Differs as soon as the answer might."""
        command = preflight_command(self.requirements, self.python, Path("uv"), Path("python"))
        lines = [(line.file, line.line, line.text) for line in self.requirements.lines]
        parts = [__version__, version("uv"), command, self.files(), lines, self._stamps()]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def _stamps(self) -> list[Any]:
        """What changes when a wheel does; of an archive, all of it."""
        source = self.bundle.source
        places = [source.paths[path] for path in self.wheels] if isinstance(source, FolderSource) else []
        if self.wheels and not places:
            places = [self.bundle.origin]
        stats = [place.stat() for place in places]
        return [self.wheels, [(stat.st_size, stat.st_mtime_ns, stat.st_ino) for stat in stats]]

    def write_files(self, folder: Path, default_index: str | None) -> None:
        """Writes `files` into the folder."""
        for name, text in self.files(default_index).items():
            (folder / name).write_text(text, encoding="utf-8")

    def lay_out_wheels(self, folder: Path) -> None:
        """Puts `wheels` into an empty folder."""
        source = self.bundle.source
        paths = {source.contents[path]: path for path in self.wheels}
        for path in self.wheels:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
        if isinstance(source, FolderSource):
            for path in self.wheels:
                (folder / path).symlink_to(source.paths[path].resolve())
            return
        for number, reader in source.stream(paths):
            with (folder / paths[number]).open("wb") as target:
                while part := reader.read(1024**2):
                    target.write(part)


def preflight(
    bundle: Bundle, config: ModelConfig, requirements: Requirements, settings: Settings, cudnn: str | None = None
) -> Preflight:
    """Whether an installer could meet the requirements, as far as that can be told without building a package.

    `cudnn` is the major version of the parent image's, where it is known.
    An answer that is good is remembered for a day in the cache folder, one that is not never is.

    Raises:
        RequirementsError: they cannot be met.
    """
    if settings.offline or config.python is None or not preflight_file(requirements, config.python):
        return Preflight()
    question = _Question(bundle, requirements, config, config.python, settings)
    memory = settings.cache_folder / "preflight" / f"{question.key()}.json"
    remove_abandoned_folders(memory.parent)  # whoever remembers makes none, and would look for none
    answer = _remembered(memory, REMEMBERED_SECONDS)
    if answer is None:
        answer = _ask(question)
        if answer.text:
            _remember(memory, answer)
        elif old := _remembered(memory, _KEPT_SECONDS):
            # A build's steps are not to change because an index does not answer today.
            answer = replace(answer, wheels_suffice=old.wheels_suffice)
    resolved = parse_resolved(answer.text)
    told = (*answer.warnings, *advice(resolved, requirements, config, cudnn))
    found = resolved_file(requirements, resolved, config.python) if answer.wheels_suffice else ""
    return Preflight(told, answer.wheels_suffice, found)


def _ask(question: _Question) -> _Answer:
    resolver = Resolver.find(question.settings)
    if resolver is None:
        return _Answer("", (not_looked_up("uv, which would do so, is not installed"),))
    with scratch_folder() as folder:
        question.lay_out_wheels(folder)
        return _resolve(question, resolver, folder)


def _resolve(question: _Question, resolver: Resolver, folder: Path) -> _Answer:
    command = preflight_command(question.requirements, question.python, resolver.uv, Path(sys.executable))
    warnings: dict[Problem, None] = {}
    problems: dict[Problem, None] = {}

    default_index = resolver.default_index()

    def ask() -> Resolution:
        question.write_files(folder, default_index)
        return resolver.resolve(command, folder, folder / RESOLVED_FILE)

    for _ in range(_MOST_ROUNDS):
        resolution = ask()
        if not resolution.failure:
            break
        findings = explain_failure(resolution.failure, question.requirements, question.python)
        warnings.update(dict.fromkeys(findings.warnings))
        problems.update(dict.fromkeys(findings.problems))
        new = [name for name in findings.without if name not in question.excluded]
        if not new:
            break
        question.excluded += new
    if problems:
        raise RequirementsError(sorted(problems, key=_place), warnings=tuple(warnings))
    if resolution.failure:
        return _Answer("", tuple(warnings))
    resolved = parse_resolved(resolution.resolved)
    from_source = tuple(_from_source(question, resolver, folder, resolved, resolution.log))
    warnings.update(dict.fromkeys(from_source))
    wheels_suffice = not (from_source or question.excluded or needs_building(question.requirements))
    return _Answer(_settled(question, ask, resolved, resolution.resolved), tuple(warnings), wheels_suffice)


def _settled(question: _Question, ask: Callable[[], Resolution], resolved: Resolved, text: str) -> str:
    """The resolution that advice is given about.

    uv moves a preinstalled package where the way around it is long, and which way it finds depends on what it sees of
    source packages. Where something is wrong with what moved, though it could stay, nobody is warned.
    """
    if not advice(resolved, question.requirements, question.config):
        return text
    for pin in preinstalled(question.python):
        found = resolved.version(pin.name)
        if pin.name in DECIDING and found is not None and str(found) != pin.version:
            question.kept.append(pin.name)
            again = ask()
            if again.failure:
                question.kept.pop()
            else:
                text = again.resolved
    return text


def _from_source(
    question: _Question, resolver: Resolver, folder: Path, resolved: Resolved, log: str
) -> Iterator[Problem]:
    """Newer versions that an installer takes though they have no wheel; uv passed them over, as it may not build."""
    command = source_command(question.python, resolver.uv, Path(sys.executable), question.requirements.machine)
    for name, found, bound in passed_over(log, resolved):
        (folder / SOURCE_FILE).write_text(source_file(question.requirements, name, found, bound), encoding="utf-8")
        # Offline and without dependencies, so that nothing is fetched, let alone built.
        if resolver.succeeds(command, folder) and not resolver.succeeds([*command, "--no-build"], folder):
            yield built_instead(question.requirements, question.python, name, found)


def _place(problem: Problem) -> tuple[str, int]:
    return (problem.where.file, problem.where.line or 0) if problem.where else ("", 0)


def _remembered(memory: Path, seconds: float) -> _Answer | None:
    try:
        # What is of the future was written before the clock was set back: its age is not known.
        if not 0 <= time.time() - memory.stat().st_mtime + _CLOCK_SECONDS <= seconds:
            return None
        found = json.loads(memory.read_text(encoding="utf-8"))
        warnings = [
            Problem(**{**warning, "where": Location(**warning["where"]) if warning["where"] else None})
            for warning in found["warnings"]
        ]
        return _Answer(found["resolved"], tuple(warnings), found["wheels_suffice"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _remember(memory: Path, answer: _Answer) -> None:
    """Keeps an answer; a cache folder that cannot be written to costs time only."""
    with contextlib.suppress(OSError):
        memory.parent.mkdir(parents=True, exist_ok=True)
        for old in _outdated(memory.parent):
            old.unlink(missing_ok=True)
        content = {
            "resolved": answer.text,
            "warnings": [asdict(warning) for warning in answer.warnings],
            "wheels_suffice": answer.wheels_suffice,
        }
        text = json.dumps(content)
        with scratch_folder(memory.parent) as scratch:
            (scratch / memory.name).write_text(text, encoding="utf-8")
            (scratch / memory.name).replace(memory)


def _outdated(folder: Path) -> Iterator[Path]:
    for file in folder.iterdir():
        with contextlib.suppress(OSError):
            if time.time() - file.stat().st_mtime > _KEPT_SECONDS:
                yield file
