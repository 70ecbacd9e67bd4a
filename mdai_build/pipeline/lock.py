"""The lock of a bundle: made, kept up to date, looked at: bundle -> config -> requirements -> uv -> a file.

On this machine where wheels tell everything; in a stage of the image's own build where a package has to be built to
know what it needs, since that runs its code.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from mdai_build.bundle import Bundle, read_bundle
from mdai_build.bundle.folder_source import FolderSource
from mdai_build.config import ModelConfig, parse_config
from mdai_build.errors import Location, Problem, RequirementsError, UnavailableError, UsageError
from mdai_build.parents import choose_parent
from mdai_build.pipeline.bases import begin_with
from mdai_build.pipeline.check import CheckedModel, limits_of
from mdai_build.pipeline.files import build_files
from mdai_build.pipeline.install import Attempt, next_attempt
from mdai_build.pipeline.planning import plan_model
from mdai_build.pipeline.serve import Tell
from mdai_build.requirements import (
    LOCK_FILE,
    MACHINES,
    RESOLVED_FILE,
    explain_failure,
    lock_arguments,
    lock_facts,
    lock_input,
    lock_text,
    needs_building,
    place_of_archive_lock,
    preferences,
    preflight_command,
    preflight_files,
    read_lock,
    read_requirements,
    requirements_digest,
    stale,
)
from mdai_build.requirements.target import MACHINE
from mdai_build.scratch import scratch_folder, write_whole
from mdai_build.settings import Settings

if TYPE_CHECKING:
    from mdai_build.documents.bundle import LockDocument

_MOST_LOCK_BYTES = 1024**2
_MUST_BE_BUILT = re.compile(r"no usable wheels|Building source distributions is disabled")


@dataclass(frozen=True)
class LockOptions:
    """What one `lock` was asked for."""

    output: Path | None = None
    """The file to write; default: `.mdai/requirements.lock` of a folder, a file beside an archive."""
    upgrade: bool = False
    """Take the newest versions that fit, whatever an earlier lock says."""


@dataclass(frozen=True)
class Lock:
    """A lock that was written."""

    file: Path
    in_bundle: bool
    """Whether it lies where a build finds it."""
    packages: int
    unhashed: tuple[str, ...]
    """What has no hash, since it is built in the image."""
    changed: bool
    """Whether the file is another than before."""
    in_container: bool
    warnings: tuple[Problem, ...]
    belongs_at: str = LOCK_FILE

    def as_json(self) -> LockDocument:
        """The lock as JSON-ready values."""
        return {
            "format": 1,
            "exit_code": 0,
            "file": str(self.file),
            "belongs_at": self.belongs_at,
            "in_bundle": self.in_bundle,
            "packages": self.packages,
            "without_hash": list(self.unhashed),
            "changed": self.changed,
            "resolved_in": "container" if self.in_container else "host",
            "warnings": [warning.as_json() for warning in self.warnings],
        }


def lock_model(path: Path, settings: Settings, options: LockOptions, tell: Tell) -> Lock:
    """Writes the lock of a bundle.

    Raises:
        BundleError: the bundle or its config is wrong.
        RequirementsError: the requirements cannot be met.
        UnavailableError: an index or, where it is needed, an engine does not answer, or the file cannot be written.
        UsageError: the file that would be written over is no lock.
    """
    bundle = read_bundle(path, limits_of(settings))
    parsed = parse_config(bundle.read_text(bundle.config_path), bundle.config_path)
    raw = read_requirements(bundle, parsed.config.python, heed_lock=False, machine=MACHINES[settings.platform])
    if parsed.config.python is None:
        raise _unknown_python(parsed.config, bundle)
    file = options.output or _default_file(bundle)
    before = _earlier(file)
    kept = None if options.upgrade else before or _carried(bundle)
    checked = CheckedModel(bundle, parsed.config, raw, choose_parent(parsed.config, settings), raw.warnings)
    resolved, in_container = _resolve(checked, parsed.config.python, settings, kept, tell)
    text = lock_text(resolved, bundle, raw, parsed.config.python)
    lines = read_lock(bundle, text, parsed.config.python, raw.machine).lines
    _write(file, text)
    return Lock(
        file=file,
        in_bundle=isinstance(bundle.source, FolderSource) and file.resolve() == _default_file(bundle).resolve(),
        packages=len(lines),
        unhashed=tuple(line.text for line in lines if not line.hashes),
        changed=text != before,
        in_container=in_container,
        warnings=raw.warnings,
    )


def check_lock(path: Path, file: Path | None) -> str:
    """Where the lock of a bundle is, if it is up to date. Nothing is looked up: it is, if it was made from these lines.

    Args:
        path: of the bundle.
        file: a lock outside the bundle, in place of the one that it carries.

    Raises:
        RequirementsError: there is none, or it was made from other requirements.
        BundleError: the bundle or its config is wrong.
    """
    bundle = read_bundle(path)
    python = parse_config(bundle.read_text(bundle.config_path), bundle.config_path).config.python
    text = _earlier(file) if file else _carried(bundle)
    place = str(file or LOCK_FILE)
    renew = f"run `mdai-build lock {path}`"
    if text is None:
        what = "there is no such lock" if file else "the bundle carries no lock"
        raise RequirementsError(Problem("requirements.no-lock", what, Location(place), next_step=renew))
    facts = lock_facts(text)
    # Any platform's lock may be up to date; which one is built, nobody has said here.
    machine = next((name for name in MACHINES.values() if facts and facts.platform.startswith(f"{name}-")), MACHINE)
    raw = read_requirements(bundle, python, heed_lock=False, machine=machine)
    refusal = stale(facts, requirements_digest(bundle, raw), python, machine) if facts else None
    if facts is None or refusal:
        what = refusal.what if refusal else "this lock was not written by `mdai-build lock`"
        raise RequirementsError(Problem("requirements.stale-lock", what, Location(place), next_step=renew))
    read_lock(bundle, text, python, machine)
    return place


def _resolve(checked: CheckedModel, python: str, settings: Settings, kept: str | None, tell: Tell) -> tuple[str, bool]:
    """What uv wrote, and whether it ran in a container."""
    prefer = preferences(python, kept)
    if not any(line.applies for line in checked.requirements.lines):
        return "", False
    # A folder of wheels is for the image's own Python and system, and takes the place of every index.
    if settings.wheels is None and not needs_building(checked.requirements):
        tell("resolving the requirements")
        resolved = _resolve_here(checked, python, settings, prefer)
        if resolved is not None:
            return resolved, False
    if settings.wheels is None:
        tell("a package has to be built to know what it needs: resolving in a container")
    return _resolve_in_container(checked, settings, prefer, tell), True


def _resolve_here(checked: CheckedModel, python: str, settings: Settings, prefer: str) -> str | None:
    """What uv wrote on this machine; None where it would have to build something."""
    from mdai_build.engine import Resolver

    resolver = Resolver.find(settings)
    if resolver is None:
        return None
    requirements = checked.requirements
    command = preflight_command(requirements, python, resolver.uv, Path(sys.executable))
    at = command.index("compile") + 1
    command[at:at] = ["--generate-hashes"]
    with scratch_folder() as folder:
        files = preflight_files(
            requirements, python, index_url=settings.index_url, extra_index_urls=settings.extra_index_urls
        )
        for file, text in {**files, RESOLVED_FILE: prefer}.items():
            (folder / file).write_text(text, encoding="utf-8")
        _lay_out(checked.bundle, requirements.files, folder)
        resolution = resolver.resolve(command, folder, folder / RESOLVED_FILE)
    if not resolution.failure:
        return resolution.resolved
    if _MUST_BE_BUILT.search(re.sub(r"\s+", " ", resolution.failure)):
        return None
    findings = explain_failure(resolution.failure, requirements, python)
    if findings.problems:
        raise RequirementsError(findings.problems, warnings=requirements.warnings)
    raise UnavailableError(findings.warnings)


def _lay_out(bundle: Bundle, paths: Sequence[str], folder: Path) -> None:
    """Writes members of the bundle into a folder, at their paths."""
    by_number = {bundle.source.contents[path]: path for path in paths}
    for number, reader in bundle.source.stream(by_number):
        target = folder / by_number[number]
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as stream:
            while part := reader.read(1024**2):
                stream.write(part)


def _resolve_in_container(checked: CheckedModel, settings: Settings, prefer: str, tell: Tell) -> str:
    from mdai_build.dockerfile import render_lock_dockerfile
    from mdai_build.engine import connect

    engine = connect(settings.engine_folder)
    unpacked, plan = plan_model(checked, settings, tell)
    plan = replace(
        begin_with(engine, plan, settings, tell),
        requirements_text=lock_input(checked.requirements),
        vcs_requirements=(),
        installer_arguments=lock_arguments(checked.requirements),
        lock_preferences=prefer,
    )
    attempt = Attempt("uv")
    with scratch_folder() as folder:
        while True:
            attempted = replace(plan, build_requirements=attempt.build_requirements)
            try:
                build_files(
                    *(engine, checked, attempted, unpacked, settings, tell),
                    *(render_lock_dockerfile, "lock", folder),
                    fresh=("resolve",),  # an index and a branch move, though the question stays the same
                )
                return Path(folder, "requirements.lock").read_text(encoding="utf-8")
            except RequirementsError as failure:
                log = failure.problems[0].details or ""
                following = next_attempt(attempt, log, checked.requirements, checked.config.python, settings)
                if following is None or following[0].installer != "uv" or following[0].fresh_tools:
                    raise
                attempt = following[0]
                tell(following[1].what)


def _unknown_python(config: ModelConfig, bundle: Bundle) -> RequirementsError:
    return RequirementsError(
        Problem(
            code="requirements.no-python",
            what=f"`base_image: {config.base_image}` leaves the Python to the parent; nothing can be locked for it",
            where=Location(bundle.config_path, key="base_image"),
            expected="a base_image that names a Python, such as py310",
            next_step="pin the versions in requirements.txt",
        )
    )


def _default_file(bundle: Bundle) -> Path:
    source = bundle.source
    return source.root / LOCK_FILE if isinstance(source, FolderSource) else place_of_archive_lock(bundle.origin)


def _carried(bundle: Bundle) -> str | None:
    return bundle.read_text(LOCK_FILE) if bundle.has(LOCK_FILE) else None


def _earlier(file: Path) -> str | None:
    """The lock that is there now.

    Raises:
        UsageError: something else is.
    """
    try:
        if not file.exists():
            return None
        text = file.read_text(encoding="utf-8") if file.is_file() and file.stat().st_size < _MOST_LOCK_BYTES else ""
    except (OSError, UnicodeDecodeError):
        text = ""
    if lock_facts(text) is None:
        raise UsageError(
            Problem(
                code="usage.not-a-lock",
                what="this is no lock that `mdai-build lock` wrote; it is left as it is",
                where=Location(str(file)),
                next_step="name another file with -o, or move this one away",
            )
        )
    return text


def _write(file: Path, text: str) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, text)
    except OSError as error:
        raise UnavailableError(
            Problem(
                code="lock.cannot-write",
                what=f"the lock cannot be written: {error.strerror or error}",
                where=Location(str(file)),
                next_step="name another file with -o",
            )
        ) from error
