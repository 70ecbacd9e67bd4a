"""What a bundle wants installed: requirements.txt and its includes, parsed, checked and flattened; never installed."""

from mdai_build.requirements.advice import DECIDING, advice
from mdai_build.requirements.explain import Findings, explain_failure, not_looked_up
from mdai_build.requirements.install import (
    CONSTRAINT_FILE,
    constraint_file,
    install_file,
    installer_arguments,
    vcs_lines,
)
from mdai_build.requirements.model import Kind, Override, Pin, Requirement, Requirements
from mdai_build.requirements.preflight import RESOLVED_FILE, preflight_command, preflight_file, preflight_files
from mdai_build.requirements.preinstalled import preinstalled, preinstalled_file
from mdai_build.requirements.reader import read_requirements
from mdai_build.requirements.redact import redact
from mdai_build.requirements.resolved import Resolved, ResolvedPackage, parse_resolved
from mdai_build.requirements.sources import (
    SOURCE_FILE,
    built_instead,
    passed_over,
    source_command,
    source_file,
)

__all__ = [
    "CONSTRAINT_FILE",
    "DECIDING",
    "RESOLVED_FILE",
    "SOURCE_FILE",
    "Findings",
    "Kind",
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
    "install_file",
    "installer_arguments",
    "not_looked_up",
    "parse_resolved",
    "passed_over",
    "preflight_command",
    "preflight_file",
    "preflight_files",
    "preinstalled",
    "preinstalled_file",
    "read_requirements",
    "redact",
    "source_command",
    "source_file",
    "vcs_lines",
]
