"""What a bundle wants installed: requirements.txt and its includes, parsed, checked and flattened; never installed."""

from mdai_build.requirements.install import (
    CONSTRAINT_FILE,
    constraint_file,
    install_file,
    installer_arguments,
    vcs_lines,
)
from mdai_build.requirements.model import Kind, Override, Pin, Requirement, Requirements
from mdai_build.requirements.modules import missing_imports, package_of
from mdai_build.requirements.preflight import Findings, explain_failure, preflight_command, preflight_file
from mdai_build.requirements.preinstalled import preinstalled, preinstalled_file
from mdai_build.requirements.reader import read_requirements
from mdai_build.requirements.redact import redact

__all__ = [
    "CONSTRAINT_FILE",
    "Findings",
    "Kind",
    "Override",
    "Pin",
    "Requirement",
    "Requirements",
    "constraint_file",
    "explain_failure",
    "install_file",
    "installer_arguments",
    "missing_imports",
    "package_of",
    "preflight_command",
    "preflight_file",
    "preinstalled",
    "preinstalled_file",
    "read_requirements",
    "redact",
    "vcs_lines",
]
