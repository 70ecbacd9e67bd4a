"""Invents config files and requirement lines that attack, and says what was wrong about how they were taken."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from pathlib import Path

import yaml
from packaging.requirements import InvalidRequirement
from packaging.requirements import Requirement as Packaged
from packaging.utils import canonicalize_name

from mdai_build.bundle import Bundle, Limits, Member
from mdai_build.bundle.archive import ArchiveSource
from mdai_build.config import parse_config
from mdai_build.dockerfile import quote_value
from mdai_build.errors import MdaiBuildError
from mdai_build.report.text import clean, clean_line
from mdai_build.requirements import Requirements, constraint_file, install_file, read_requirements, vcs_lines

NASTY = (
    "$HOME", "${PATH}", "$(id)", "`id`", "\\", "\\\\", "\\n", "\n", "\r", "\r\n", "\x00", "\x07", "\x1b[2J", "\x1b]0;x\x07", "\x9b31m",
    "\u202e", "\u2066", "\u2028", "\u0085", "\ufeff", "\u200b", "'", '"', "'\"", "#", " #", "# syntax=evil/image", "# escape=`", "<<EOF",
    "<<-'EOF'", "EOF", "RUN id", "\nRUN id\n", "FROM scratch", "--mount=type=secret,id=netrc", "USER root", "&&", "|", ";", "{{ plan }}",
    "{% raw %}", "{# x #}", "%s", "%n", "*", "?", "~", "é", "日本", "😀", "\ud800", "\t", " ", "", "-", "--", "=", ":", "://", "@", "../",
    "/etc/passwd", "C:\\x", "!!python/object/apply:os.system", "!!binary", "&a", "*a", "<<", "? x", "|2", ">-", "%YAML 1.1", "---", "...",
    "[", "{", "]", "}", ",", "null", "~", "yes", "0x10", "1e400", "-.inf", "2001-01-01", "'" * 50, "[" * 30, "a" * 3000,
)  # fmt: skip
KEYS = (
    "base_image",
    "device_type",
    "cuda_version",
    "env",
    "clara_version",
    "Base_Image",
    "base-image",
    "x",
    "<<",
    "? [a]",
    '"\\u0000"',
)
VALUES = (
    "py38",
    "py310",
    "custom",
    "nvidia",
    "cpu",
    "gpu",
    "11.0",
    "10.1",
    "4.1.0",
    "py99",
    "11.30",
    "{}",
    "[]",
    "null",
    "!!str py38",
)


def invent_config(number: int) -> str:
    """The text of a config.yaml."""
    chance = random.Random(number)
    lines = ["base_image: py38"] if chance.random() < 0.8 else []
    for _ in range(chance.randint(0, 3)):
        lines.append(f"{chance.choice(KEYS)}: {chance.choice((*VALUES, chance.choice(NASTY)))}")
    if chance.random() < 0.7:
        lines.append("env:")
        for _ in range(chance.randint(1, 4)):
            value = "".join(chance.choice(NASTY) for _ in range(chance.randint(1, 3)))
            name = chance.choice(
                ("A", "PATH", "LD_PRELOAD", "a b", "A-B", "1A", "MDAI_PATH", "é", "A\nB", chance.choice(NASTY))
            )
            lines.append(f"  {name}: {_written(chance, value)}")
    text = "\n".join(lines)
    for _ in range(chance.choice((0, 0, 1, 2))):
        place = chance.randint(0, len(text))
        text = text[:place] + chance.choice(NASTY) + text[place + chance.choice((0, 0, 1, 5)) :]
    if chance.random() < 0.02:
        text = (
            "a: &a ["
            + "x, " * 5
            + "]\n"
            + "\n".join(f"b{n}: &b{n} [{', '.join([f'*b{n - 1}' if n else '*a'] * 9)}]" for n in range(9))
        )
    return text


def _written(chance: random.Random, value: str) -> str:
    how = chance.random()
    if how < 0.3:
        return value
    if how < 0.5:
        return "'" + value.replace("'", "''") + "'"
    if how < 0.9:
        escaped = "".join(
            c if c.isprintable() and c not in '"\\' and ord(c) < 0xD800 else f"\\U{ord(c):08x}" for c in value
        )
        return f'"{escaped}"'
    return "|\n    " + value.replace("\n", "\n    ")


def judge_config(text: str) -> str:
    """`refused`, `accepted`, or what was wrong."""
    try:
        config = parse_config(text).config
    except MdaiBuildError as failure:
        return _told(failure)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what is looked for
        return f"crash: {type(error).__name__}: {error}"
    nodes = dict(_scalars(yaml.compose(text.removeprefix("\ufeff"), yaml.SafeLoader)))
    env = next((node for name, node in nodes.items() if name.strip().lower() == "env"), None)
    wanted = {name: node.value for name, node in _scalars(env)}
    for name, value in config.env.items():
        if wanted.get(name) != value:
            return f"wrong accept: env {name!r} is {value!r}, written {wanted.get(name)!r}"
        line = f"ENV {name}={quote_value(value)}"
        if not re.fullmatch("ENV [A-Za-z_][A-Za-z0-9_]*=[^\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]*", line):
            return f"wrong accept: {line!r}"
        if _unquoted(quote_value(value)) != value:
            return f"wrong accept: {value!r} does not read back"
    return "accepted"


def _scalars(node: yaml.Node | None) -> Iterator[tuple[str, yaml.Node]]:
    """The keys of a map that are text, with what stands behind them."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode):
                yield key.value, value


def _unquoted(word: str) -> str:
    """A double-quoted word as BuildKit's lexer reads it."""
    return re.sub(r"\\(.)", r"\1", word[1:-1]) if not re.search(r"(?<!\\)(?:\\\\)*[$\"]", word[1:-1]) else ""


def _told(failure: MdaiBuildError) -> str:
    """A refusal is one if everything in it can be shown: no terminal obeys any of it."""
    for problem in failure.problems:
        source = problem.where.source if problem.where else ""
        for text in (problem.what, problem.expected, problem.next_step, problem.details, source, str(problem.where)):
            shown = clean(text or "")
            if clean_line(shown) != clean_line(clean(shown)) or re.search(
                "[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", shown
            ):
                return f"escape: {shown!r}"
            shown.encode("utf-8")
    return "refused"


# ---- requirement lines ----

_LINES = (
    "numpy==1.23.3", "torch>=1.8,<2 ; python_version < '3.11'", "-f https://example.org/page.html", "--index-url https://example.org/simple",
    "git+https://example.org/x.git@v1#egg=x", "./wheel-1.0-py3-none-any.whl", "-r more.txt", "-c more.txt", "-e .", "pkg[extra]==1.0",
    "x @ https://example.org/x-1.0-py3-none-any.whl", "--pre", "numpy==1.0 --hash=sha256:" + "0" * 64, "--no-binary :all:", "-i https://e.org",
    "--trusted-host e.org", "x @ file:///etc/passwd", "file:///etc/passwd", "/etc/passwd", "../x.whl", "-r /etc/passwd", "-r ../../x",
    "git+ssh://git@example.org/x", "git+file:///root/x", "git+ext::sh -c id", "--config-settings x=y", "--global-option=x", "-r https://e.org/x",
    "x @ git+https://example.org/x", "--find-links /", "--find-links ../..", "hg+https://e.org/x", "http://169.254.169.254/x-1.whl",
)  # fmt: skip
_MEMBERS = (
    ".mdai/requirements.txt",
    ".mdai/more.txt",
    ".mdai/wheel-1.0-py3-none-any.whl",
    ".mdai/config.yaml",
    ".mdai/setup.py",
)


class _Memory:
    """A bundle's bytes, without a file."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.contents = {path: number for number, path in enumerate(files)}
        self._bytes = list(files.values())

    def stream(self, numbers):  # type: ignore[no-untyped-def]
        import io

        from mdai_build.bundle.reader import MemberReader

        for number in numbers:
            content = self._bytes[number]
            yield number, MemberReader(io.BytesIO(content), Path("memory"), "member", len(content))


def invent_line(number: int) -> str:
    """A line, or a few, of a requirements.txt."""
    chance = random.Random(number)
    line = chance.choice(_LINES)
    for _ in range(chance.randint(0, 3)):
        place = chance.randint(0, len(line))
        line = line[:place] + chance.choice(NASTY) + line[place + chance.choice((0, 0, 1, 3)) :]
    if chance.random() < 0.1:
        line += "\n" + chance.choice(_LINES)
    return line


def judge_line(text: str) -> str:
    """`refused`, `accepted`, or what was wrong."""
    files = dict.fromkeys(_MEMBERS, b"")
    files[".mdai/requirements.txt"] = text.encode("utf-8", "surrogatepass")
    members = tuple(Member(path, len(content), False) for path, content in sorted(files.items()))
    source: ArchiveSource = _Memory(files)  # type: ignore[assignment]
    bundle = Bundle("m", Path("m.zip"), "zip", members, (), ".mdai/config.yaml", Limits(), source)
    try:
        requirements = read_requirements(bundle, "3.10")
        written = (
            install_file(requirements),
            constraint_file(requirements),
            "".join(f"{x}\n" for x in vcs_lines(requirements)),
        )
    except MdaiBuildError as failure:
        return _told(failure)
    except Exception as error:  # noqa: BLE001
        return f"crash: {type(error).__name__}: {error}"
    if len(requirements.lines) + len(requirements.constraints) > text.count("\n") + text.count("\r") + 3:
        return f"wrong accept: {len(requirements.lines)} lines"
    if wrong := _read_otherwise(text, requirements, written):
        return f"wrong accept: {wrong}"
    for line in "".join(written).splitlines():
        if not line.isprintable() or re.search(r"[\\`]|\$\{", line):
            return f"wrong accept: {line!r}"
        if re.search(
            r"(?i)file:|git\+(?!https?:)|(?:^|\s)(?:-e|--global-option|--config-settings|--trusted-host)\b", line
        ):
            return f"wrong accept: {line!r}"
        if re.match(r"(?:--find-links|-f|-r|-c)[ =](?:/|\.\./|~)|/|\.\./|~", line):
            return f"wrong accept: {line!r}"
    return "accepted"


def _read_otherwise(text: str, requirements: Requirements, written: tuple[str, str, str]) -> str:
    """What the installer would read in what we wrote that we did not read, or that the author did not write.

    `packaging` reads what we wrote, line by line; and what the author wrote, where that is one plain line.
    """
    installed = [line for line in (written[0] + written[2]).splitlines() if not line.startswith("-")]
    meant = [line for line in requirements.lines if line.applies]
    if len(installed) != len(meant):
        return f"{len(meant)} requirements are written as {installed}"
    for line in written[1].splitlines():
        if not _packaged(line):
            return f"no constraint: {line!r}"
    names = sorted(canonicalize_name(line.name or "") for line in meant if line.kind == "index")
    found = []
    for line in installed:
        bare = re.sub(r"(?: --hash=\w+:[0-9a-f]+)+$", "", line)
        if re.match(r"\./\.mdai(?:/[\w./-]+)?(?:\[[\w,.-]*\])?(?: ; .*)?$|(?:git\+)?https?://[^\s]+(?: ; .*)?$", bare):
            continue
        packaged = _packaged(bare)
        if packaged is None:
            return f"no requirement: {line!r}"
        if not packaged.url:
            found.append(canonicalize_name(packaged.name))
    if sorted(found) != names:
        return f"{names} are written as {found}"
    author = _packaged(text.strip()) if text.strip().isprintable() else None
    if author is not None and not author.url and meant and not set(text) & set("#\\"):
        ours = _packaged(re.sub(r"(?: --hash=\w+:[0-9a-f]+)+$", "", installed[0]))
        same = ours is not None and (canonicalize_name(ours.name), ours.specifier, ours.extras, str(ours.marker)) == (
            canonicalize_name(author.name),
            author.specifier,
            author.extras,
            str(author.marker),
        )
        if not same:
            return f"{text!r} is written as {installed}"
    return ""


def _packaged(line: str) -> Packaged | None:
    try:
        return Packaged(line)
    except (InvalidRequirement, ValueError, RecursionError):
        return None
