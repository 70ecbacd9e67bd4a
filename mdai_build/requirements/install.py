"""What the install step reads: one flat file, written from what was parsed and never from the user's own text.

It is meant to lie at the top of a folder that holds `Requirements.files` at their paths in the bundle, with that
folder as the working folder. uv 0.13 and pip 23.2 take the path of a wheel relative to the working folder, but those
of `--find-links` (uv) and `-c` (both) relative to the file; in that place the two are one.
"""

from __future__ import annotations

from typing import Literal

from mdai_build.requirements.model import Requirement, Requirements
from mdai_build.requirements.preinstalled import preinstalled
from mdai_build.requirements.resolved import Resolved, ResolvedPackage

CONSTRAINT_FILE = "_constraints.txt"
"""The name under which the install file, where there are constraints, includes `constraint_file`."""

# uv ignores these two in a file and says so; both installers take `--pre` on the command line, pip alone the other.
_ARGUMENTS = ("--pre", "--prefer-binary")


def install_file(requirements: Requirements) -> str:
    """The requirements file for the install step, empty when there is nothing to install.

    Without the lines of `vcs_lines`, which are built to wheels in a stage that has git and are installed in the same
    command as this file; of those with extras, the name and the extras stay. Without lines whose marker does not hold
    on the target. The same requirements give the same text.
    """
    applying = [line for line in requirements.lines if line.applies]
    if not applying:
        return ""
    lines = [_installed_text(line) for line in applying if line.kind != "vcs" or line.extras]
    options = [option for option in requirements.options if option not in _ARGUMENTS]
    hashed = [bool(line.hashes) for line in requirements.lines]
    if "--require-hashes" not in options and (all(hashed) if requirements.lock else any(hashed)):
        # pip asks for hashes everywhere as soon as one line has one; uv does so only when told. In a lock, what is
        # built in the image has none; the hashes of its other lines are checked all the same.
        options.append("--require-hashes")
    if constraint_file(requirements):
        options.append(f"-c {CONSTRAINT_FILE}")
    return "".join(f"{line}\n" for line in (*options, *lines))


def _installed_text(line: Requirement) -> str:
    if line.kind != "vcs":
        return line.text
    # The wheel of a git line is installed by its file name, which carries no extras.
    return f"{line.name}[{','.join(line.extras)}]"


def constraint_file(requirements: Requirements) -> str:
    """The text of `CONSTRAINT_FILE`, which lies beside the install file; empty when there are no constraints."""
    return "".join(f"{line.text}\n" for line in requirements.constraints if line.applies)


def resolved_file(requirements: Requirements, resolved: Resolved, python: str) -> str:
    """What the requirements came to, as a file for an installer that looks up no dependencies (`--no-deps`).

    Paths in it start where the install file lies. Without what is preinstalled in that very version. Empty where the
    installer has to read the requirements themselves: for their hashes, or since one cannot be told by name and version
    or address.

    Args:
        requirements: of the bundle.
        resolved: all packages that they need.
        python: of the image, such as "3.10".
    """
    hashed = requirements.lock or any(line.hashes for line in requirements.lines)
    if hashed or "--require-hashes" in requirements.options:
        return ""
    kept = {(pin.name, pin.version) for pin in preinstalled(python)}
    lines = [_resolved_text(package) for package in resolved.packages if (package.name, package.version) not in kept]
    options = [option for option in requirements.options if option not in _ARGUMENTS]
    return "".join(f"{line}\n" for line in (*options, *lines)) if all(lines) else ""


def _resolved_text(package: ResolvedPackage) -> str:
    if package.source is None:
        return f"{package.name}=={package.version}" if package.version else ""
    if package.source.startswith(("https://", "http://")):
        return f"{package.name} @ {package.source}"
    return package.source if package.source.startswith("./") else ""


def vcs_lines(requirements: Requirements) -> tuple[str, ...]:
    """The lines that need git, each as both installers read it."""
    return tuple(line.text for line in requirements.lines if line.applies and line.kind == "vcs")


def installer_arguments(requirements: Requirements, installer: Literal["uv", "pip"]) -> tuple[str, ...]:
    """What the requirements ask for that the installer takes on its command line only.

    `--extra-index-url`: pip looks at all indexes alike and takes the best version; uv, unless told, stays with the
    first index that knows a name, so that `torch` from PyTorch's index would bind numpy to what lies there.
    """
    arguments = [option for option in requirements.options if option in _ARGUMENTS]
    if requirements.lock:
        arguments.append("--no-deps")
    if installer == "pip":
        return tuple(arguments)
    arguments = [argument for argument in arguments if argument != "--prefer-binary"]
    if any(option.startswith("--extra-index-url ") for option in requirements.options):
        arguments += ["--index-strategy", "unsafe-best-match"]
    return tuple(arguments)


def is_pinned(line: Requirement) -> bool:
    """Whether a line from the index names one exact version."""
    return line.specifier.startswith("==") and "," not in line.specifier and not line.specifier.endswith("*")
