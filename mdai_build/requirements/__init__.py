"""What a bundle wants installed: requirements.txt and its includes, parsed, checked and flattened; never installed."""

from mdai_build.requirements.advice import DECIDING, advice
from mdai_build.requirements.explain import Findings, explain_failure, not_looked_up
from mdai_build.requirements.guess import Guess, guess_requirements
from mdai_build.requirements.install import (
    CONSTRAINT_FILE,
    constraint_file,
    install_file,
    installer_arguments,
    resolved_file,
    vcs_lines,
)
from mdai_build.requirements.lock import (
    LockFacts,
    lock_arguments,
    lock_facts,
    lock_input,
    lock_text,
    needs_building,
    place_of_archive_lock,
    preferences,
    requirements_digest,
    stale,
)
from mdai_build.requirements.model import LOCK_FILE, Kind, Override, Pin, Requirement, Requirements
from mdai_build.requirements.modules import missing_imports, package_of
from mdai_build.requirements.preflight import RESOLVED_FILE, preflight_command, preflight_file, preflight_files
from mdai_build.requirements.preinstalled import preinstalled, preinstalled_file
from mdai_build.requirements.reader import read_lock, read_requirements
from mdai_build.requirements.redact import redact
from mdai_build.requirements.resolved import Resolved, ResolvedPackage, parse_resolved
from mdai_build.requirements.sources import (
    SOURCE_FILE,
    built_instead,
    passed_over,
    source_command,
    source_file,
)
from mdai_build.requirements.target import MACHINES

__all__ = [
    "CONSTRAINT_FILE",
    "DECIDING",
    "LOCK_FILE",
    "MACHINES",
    "RESOLVED_FILE",
    "SOURCE_FILE",
    "Findings",
    "Guess",
    "Kind",
    "LockFacts",
    "Override",
    "Pin",
    "Requirement",
    "Requirements",
    "Resolved",
    "ResolvedPackage",
    "advice",
    "built_instead",
    "constraint_file",
    "explain_failure",
    "guess_requirements",
    "install_file",
    "installer_arguments",
    "lock_arguments",
    "lock_facts",
    "lock_input",
    "lock_text",
    "missing_imports",
    "needs_building",
    "not_looked_up",
    "package_of",
    "parse_resolved",
    "passed_over",
    "place_of_archive_lock",
    "preferences",
    "preflight_command",
    "preflight_file",
    "preflight_files",
    "preinstalled",
    "preinstalled_file",
    "read_lock",
    "read_requirements",
    "redact",
    "requirements_digest",
    "resolved_file",
    "source_command",
    "source_file",
    "stale",
    "vcs_lines",
]
