"""The author's own Dockerfile, which comes before ours: its stages, and where it cannot be followed by ours.

Only as much of the format is read as tells FROM instructions from other text: comments, lines that a backslash
continues, here-documents, and what ARG instructions give FROM (Dockerfile reference, "Format", "Here-Documents" and
"Understand how ARG and FROM interact").
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from mdai_build.bundle import shown
from mdai_build.errors import BundleError, Location, Problem
from mdai_build.matrix import Platform, support_matrix

AUTHOR_DOCKERFILE = ".mdai/Dockerfile"
OUR_STAGES = frozenset(
    {"mdai-parent", "system", "environment", "installer", "packages", "server", "tools", "wheels", "model"}
    | {"requirements", "lock", "resolve", "collect", "wheels-folder", "micromamba", "mdai-base", "mdai-base-server"}
)
"""Names of the stages in templates/. Of two stages with one name, `--from=NAME` means the later one: ours."""
_DEEPEST = 4
"""So many `${A:-${B}}` within each other are followed."""
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}

# A word of its own, as BuildKit has it: `$((1<<3))` begins no here-document.
_HEREDOC = re.compile(r"""(?<!\S)\d*<<(?P<dash>-?)(?P<quote>["']?)(?P<end>[^\s<"']+)(?P=quote)(?!\S)""")
_CONTINUED = re.compile(r"\\[ \t]*$")
_DIRECTIVE = re.compile(r"#\s*(?P<name>\w+)\s*=\s*(?P<value>\S*)\s*")
# A frontend that knows no more than the one in BuildKit.
_PLAIN_SYNTAX = re.compile(r"(?:docker\.io/)?docker/dockerfile:[\d.]+(?:@\S+)?")
_ASSIGNED = re.compile(r"""(?<!\S)(?P<name>\w+)=(?P<value>"[^"]*"|'[^']*'|[^\s"']*)""")
_VARIABLE = re.compile(r"\$(?:\{(?P<braced>\w+)(?::?(?P<how>[-+])(?P<word>[^{}]*))?\}|(?P<bare>\w+))")


@dataclass(frozen=True)
class AuthorStage:
    """A FROM instruction."""

    image: str
    """The image or the earlier stage that it names; an ARG in it has its default."""
    name: str | None
    line: int
    """Where it begins, from 1."""
    end: int
    """The line on which it ends."""
    platform: str | None = None
    """What `--platform` says; None: the one that is built for."""


def check_author_dockerfile(dockerfile: str, platform: Platform = "linux/amd64") -> tuple[Problem, ...]:
    """Sees to it that our stages can follow the author's; gives what it seems to lack, or has to no effect.

    Args:
        dockerfile: its text.
        platform: what the image is built for.

    Raises:
        BundleError: it has no FROM, continues its lines by another character than ours, names an image by an ARG that
            has no value or one that does not exist for the platform, ends on another platform, or copies from a stage
            that has a name of ours.
    """
    directives = _directives(dockerfile)
    if directives.get("escape", "\\") != "\\":
        raise BundleError(
            Problem(
                code="config.escape",
                what=f"the Dockerfile continues its lines by `{shown(directives['escape'])}`; our stages follow it "
                "in the same file, and do so by a backslash",
                where=Location(AUTHOR_DOCKERFILE, line=1),
                next_step="remove the line `# escape=…`, and end continued lines with a backslash",
            )
        )
    stages = read_stages(dockerfile, platform)
    if not stages:
        raise BundleError(
            Problem(
                code="config.no-from",
                what="the Dockerfile has no FROM instruction",
                where=Location(AUTHOR_DOCKERFILE, line=1),
                expected="a Dockerfile of its own, such as one that begins with: FROM python:3.10",
            )
        )
    problems = [
        Problem(
            code="config.no-image",
            what="FROM names an image by an ARG that has no value",
            where=Location(AUTHOR_DOCKERFILE, stage.line),
            expected="a default in front of the first FROM, such as: ARG BASE=python:3.10-slim",
            next_step="give the ARG a default there; mdai-build gives a Dockerfile no build arguments",
        )
        for stage in stages
        if not stage.image
    ]
    problems += [
        Problem(
            code="config.stage-name",
            what=f"the stage name `{shown(stage.name)}` is one that mdai-build gives to a stage of its own",
            where=Location(AUTHOR_DOCKERFILE, stage.line, key=shown(stage.name)),
            next_step=f"rename it, for instance to `my-{shown(stage.name.lower())}`, here and where it is copied from",
        )
        for stage in stages
        if stage.name is not None
        and stage.name.lower() in OUR_STAGES
        and re.search(rf"\bfrom={re.escape(stage.name)}(?![\w.-])", dockerfile, re.I)
    ]
    root = _chain(stages)[0]
    problems += _other_platform(root, platform)
    if problems:
        raise BundleError(problems)
    return tuple(_doubts(dockerfile, stages))


def _other_platform(root: AuthorStage, platform: Platform) -> Iterator[Problem]:
    """What keeps an image that stands on this stage from being one for the platform."""
    if root.platform is not None and _plain(root.platform) != platform:
        yield Problem(
            code="config.dockerfile-platform",
            what=f"FROM takes {shown(root.image)} for {shown(root.platform)}, while the image is for {platform}",
            where=Location(AUTHOR_DOCKERFILE, root.line),
            next_step="leave out --platform there; what an image is for, the setting `platform` says",
        )
    known = support_matrix().image_named(root.image)
    if known is not None and platform not in known.platforms:
        yield Problem(
            code="config.dockerfile-platform",
            what=f"the image {shown(root.image)} does not exist for {platform}",
            where=Location(AUTHOR_DOCKERFILE, root.line),
            expected=" or ".join(known.platforms),
            next_step="build for linux/amd64, as the platform runs it; or begin with another image",
        )


def _plain(platform: str) -> str:
    """A platform in the words of the settings; of arm64 there is one variant (containerd, `platforms.Normalize`)."""
    parts = platform.lower().split("/")
    system, machine = parts[:2] if len(parts) > 1 else ("linux", parts[0])
    return f"{system}/{_MACHINES.get(machine, machine)}"


def _doubts(dockerfile: str, stages: tuple[AuthorStage, ...]) -> Iterator[Problem]:
    """Warnings: what an image holds is known for certain only once it is built."""
    syntax = _directives(dockerfile).get("syntax")
    if syntax and not _PLAIN_SYNTAX.fullmatch(syntax):
        yield Problem(
            code="config.dockerfile-syntax",
            what=f"`# syntax={shown(syntax)}` has no effect: the lines become part of a Dockerfile of ours, which "
            "BuildKit reads by itself",
            where=Location(AUTHOR_DOCKERFILE, line=1),
            next_step="remove it, and what only that frontend understands",
        )
    chain = _chain(stages)
    root = chain[0]
    instructions = list(_chained_instructions(dockerfile, stages, chain))
    text = "\n".join(instruction for _, instruction in instructions)
    repository, _, tag = root.image.partition("@")[0].rpartition("/")[2].partition(":")
    if repository == "alpine" or "alpine" in tag:
        yield Problem(
            code="config.dockerfile-musl",
            what=f"{shown(root.image)} is an Alpine image: its C library is musl, which the wheels of numpy, torch and "
            "TensorFlow do not run on; a build ends where its Python turns out to be made for musl",
            where=Location(AUTHOR_DOCKERFILE, root.line),
            next_step="begin with an image of Debian or Ubuntu, such as python:3.10-slim",
        )
    elif repository in _WITHOUT_PYTHON and not _BRINGS_PYTHON.search(text):
        yield Problem(
            code="config.dockerfile-no-python",
            what=f"{shown(root.image)} brings no Python, and no line of the Dockerfile installs one",
            where=Location(AUTHOR_DOCKERFILE, root.line),
            expected="a `python3` from 3.7 to 3.13, with pip",
            next_step="begin with an image such as python:3.10-slim, or install python3 and python3-pip",
        )
    for line, instruction in instructions:
        if re.match(r"ENTRYPOINT\b", instruction, re.I):
            yield Problem(
                code="config.dockerfile-entrypoint",
                what="ENTRYPOINT has no effect: the image starts the server, with the `python3` that PATH finds",
                where=Location(AUTHOR_DOCKERFILE, line),
                next_step="what it sets up, an environment that it activates for instance, belongs in ENV",
            )
    made = next((line for line, instruction in instructions if _MAKES_ENVIRONMENT.search(instruction)), None)
    if made and not re.search(r"^ENV\s.*\bPATH\b", text, re.I | re.M):
        yield Problem(
            code="config.dockerfile-conda",
            what="a conda environment is made and is not put on PATH: the packages go into another Python",
            where=Location(AUTHOR_DOCKERFILE, made),
            next_step="add a line such as ENV PATH=/opt/conda/envs/NAME/bin:$PATH; `conda activate` ends with its RUN",
        )


# Images that are a system alone.
_WITHOUT_PYTHON = frozenset(
    {"debian", "ubuntu", "fedora", "centos", "rockylinux", "almalinux", "cuda", "busybox", "buildpack-deps"}
)
_BRINGS_PYTHON = re.compile(r"python|conda|mamba|pyenv|\buv\b", re.I)
_MAKES_ENVIRONMENT = re.compile(r"\b(?:conda|mamba|micromamba) (?:env )?create\b")


def _chain(stages: tuple[AuthorStage, ...]) -> tuple[AuthorStage, ...]:
    """The stages that the last one is made from, the one that names an image first."""
    chain = [stages[-1]]
    for stage in reversed(stages[:-1]):
        if stage.name and stage.name.lower() == chain[0].image.lower():
            chain.insert(0, stage)
    return tuple(chain)


def _chained_instructions(
    dockerfile: str, stages: tuple[AuthorStage, ...], chain: tuple[AuthorStage, ...]
) -> Iterator[tuple[int, str]]:
    """The instructions after FROM of some stages, each with its line."""
    by_line = {stage.line: stage for stage in stages}
    current: AuthorStage | None = None
    for line, _, text in _instructions(_lines(dockerfile)):
        if line in by_line:
            current = by_line[line]
        elif current in chain:
            yield line, text.strip()


def name_last_stage(dockerfile: str, name: str) -> str:
    """The text of a checked Dockerfile with its last stage named `name`, so that further stages can follow it.

    A stage that has a name already keeps it: one more stage of the wanted name then starts from it.
    """
    lines = _lines(dockerfile)
    # A backslash at the end of the file continues nothing; ours must not become its next line. Comments and empty lines
    # after it end nothing.
    said = next(place for place in reversed(range(len(lines))) if not _is_empty(lines[place]))
    lines[said] = _CONTINUED.sub("", lines[said]).rstrip()
    last = read_stages("\n".join(lines))[-1]
    if last.name:
        # Names of stages are kept in lower case, and sought as they are written.
        return "\n".join([*lines, "", f"FROM {last.name.lower()} AS {name}", ""])
    lines[last.end - 1] = f"{lines[last.end - 1].rstrip()} AS {name}"
    return "\n".join([*lines, ""])


def parent_images(dockerfile: str, platform: Platform = "linux/amd64") -> tuple[str, ...]:
    """The images that a Dockerfile's stages start from, apart from its own stages."""
    own: set[str] = set()
    images = []
    for stage in read_stages(dockerfile, platform):
        # What a helping stage takes of another platform, BuildKit gets by itself.
        if stage.image.lower() not in {*own, "scratch"} and _plain(stage.platform or platform) == platform:
            images.append(stage.image)
        if stage.name:
            own.add(stage.name.lower())
    return tuple(images)


def final_image(dockerfile: str, platform: Platform = "linux/amd64") -> str | None:
    """The image that the last stage stands on, by way of the Dockerfile's own stages; None: it begins with none."""
    image = _chain(read_stages(dockerfile, platform))[0].image
    return None if image == "scratch" else image


def read_stages(dockerfile: str, platform: Platform = "linux/amd64") -> tuple[AuthorStage, ...]:
    """The FROM instructions of a Dockerfile, in their order; `platform` is the one that is built for."""
    stages: list[AuthorStage] = []
    arguments = _given_by_buildkit(platform)
    for line, end, text in _instructions(_lines(dockerfile)):
        word, *rest = text.split()
        operands = [operand for operand in rest if not operand.startswith("--")]
        flags = dict(word.partition("=")[::2] for word in rest if word.startswith("--"))
        if word.upper() == "FROM" and operands:
            named = len(operands) == 3 and operands[1].upper() == "AS"
            image = _expanded(operands[0].strip("\"'"), arguments)
            own = _expanded(flags.get("--platform", ""), arguments) or None
            stages.append(AuthorStage(image, operands[2] if named else None, line, end, own))
        elif word.upper() == "ARG" and not stages:  # of those within a stage, FROM knows nothing
            for found in _ASSIGNED.finditer(text.strip()[len(word) :]):
                arguments[found["name"]] = _expanded(found["value"].strip("\"'"), arguments)
    return tuple(stages)


def _given_by_buildkit(platform: Platform) -> dict[str, str]:
    """Arguments that need no ARG (Dockerfile reference, "Automatic platform ARGs in the global scope")."""
    system, _, architecture = platform.partition("/")
    parts = {"PLATFORM": platform, "OS": system, "ARCH": architecture, "VARIANT": ""}
    return {f"{side}{part}": value for side in ("TARGET", "BUILD") for part, value in parts.items()}


def _expanded(text: str, arguments: Mapping[str, str]) -> str:
    """The text with `$NAME`, `${NAME}`, `${NAME:-word}` and `${NAME:+word}` replaced, from within."""

    def value(found: re.Match[str]) -> str:
        own = arguments.get(found["braced"] or found["bare"], "")
        if found["how"] == "+":
            return found["word"] if own else ""
        return own or (found["word"] or "")

    for _ in range(_DEEPEST):
        text = _VARIABLE.sub(value, text)
    return text


def _directives(dockerfile: str) -> dict[str, str]:
    """What stands in the comments at the top that mean something (Dockerfile reference, "Parser directives")."""
    found: dict[str, str] = {}
    for line in _lines(dockerfile):
        directive = _DIRECTIVE.fullmatch(line)
        if directive is None or directive["name"].lower() in found:
            break
        found[directive["name"].lower()] = directive["value"]
    return found


def _lines(dockerfile: str) -> list[str]:
    return dockerfile.replace("\r\n", "\n").rstrip("\n").split("\n")


def _is_empty(line: str) -> bool:
    return not line.strip() or line.lstrip().startswith("#")


def _instructions(lines: list[str]) -> Iterator[tuple[int, int, str]]:
    """Each instruction with its first and last line, from 1; here-documents are skipped."""
    place = 0
    while place < len(lines):
        first, text, goes_on = place + 1, "", True
        while goes_on and place < len(lines):
            line = lines[place]
            place += 1
            if _is_empty(line):
                # Within an instruction such a line is as if it were not there.
                goes_on = bool(text)
                continue
            goes_on = bool(_CONTINUED.search(line))
            text += _CONTINUED.sub(" ", line)
        if not text.strip():
            continue
        yield first, place, text
        for document in _HEREDOC.finditer(text):
            rest = [line.lstrip("\t") if document["dash"] else line for line in lines[place:]]
            if document["end"] in rest:
                place += rest.index(document["end"]) + 1
