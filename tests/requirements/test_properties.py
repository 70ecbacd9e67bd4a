"""Whatever the text, the reader reads it or says why not; and what it writes is what it read."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from io import BytesIO
from pathlib import Path

import pip_requirements_parser as pip
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from packaging.requirements import Requirement as Specification

from mdai_build.bundle import Bundle, Limits, Member
from mdai_build.errors import BundleError, RequirementsError
from mdai_build.requirements import Requirement, install_file, read_requirements, vcs_lines

PURE = "pkg-1.0-py3-none-any.whl"
FILES = {
    f".mdai/{PURE}": b"",
    ".mdai/base.txt": b"scipy\n-r more/deep.txt\n",
    ".mdai/more/deep.txt": b"nibabel ; python_version > '3'\n",
    "lib/pkg/setup.py": b"",
    f".mdai/wheels/other-2.0-{'cp38-cp38-linux_x86_64'}.whl": b"",
}


class Memory:
    """The bytes of a bundle in memory: writing each example to disk would take most of the time."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self._contents = list(files.values())
        self.contents = {path: number for number, path in enumerate(files)}

    def stream(self, numbers: Collection[int]) -> Iterator[tuple[int, BytesIO]]:
        for number in numbers:
            yield number, BytesIO(self._contents[number])


def bundle_with(requirements: bytes) -> Bundle:
    files = {**FILES, ".mdai/requirements.txt": requirements}
    return Bundle(
        name="model",
        origin=Path("model.zip"),
        kind="zip",
        members=tuple(Member(path, len(content), executable=False) for path, content in sorted(files.items())),
        warnings=(),
        config_path=".mdai/config.yaml",
        limits=Limits(),
        source=Memory(files),
    )


# Pieces of lines, so that examples come near to what is read and do not all end at the first character.
PIECES = st.sampled_from(
    [
        "numpy", "pkg", "[a]", "==", "=", ">=1.0", "<2", "1.2.*", ";", " ", "\t", "\\\n", "\n", "\r\n", "\\", "#", " #",
        "python_version", "sys_platform == 'win32'", "python_version > '3'", "'", '"', "@", " @ ", "-r", "-c", "-f",
        "-e", "-i", "--hash=", "--pre", "--no-binary", "sha256:", "base.txt", "requirements.txt", "../", "./", "/",
        "https://", "git+https://", "file://", "host.example", "/p.git", "#egg=", "&subdirectory=", "user:pw@", "$",
        "${X}", "$(id)", "`id`", "EOF", "<<EOF", "RUN", PURE, "wheels", "lib/pkg", ".whl", ".tar.gz", "é", "\x00",
        "\u2028", "\ufeff", "===", "!", "(", ")", "{", "}", "*", ",", "%20", "--", "-",
    ]
)  # fmt: skip
TEXTS = st.one_of(st.text(max_size=80), st.lists(PIECES, max_size=12).map("".join))


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(text=TEXTS, python=st.sampled_from([None, "3.7", "3.13"]))
@example(text="--", python="3.7")
@example(text="-e", python="3.7")
@example(text="pkg @ https://user:pw@[", python=None)
@example(text="-r base.txt -c base.txt -e lib/pkg numpy", python="3.7")
def test_any_text_is_read_or_refused(text: str, python: str | None) -> None:
    try:
        requirements = read_requirements(bundle_with(text.encode("utf-8", "surrogatepass")), python)
    except (RequirementsError, BundleError) as error:
        assert json.dumps([problem.as_json() for problem in error.problems])
        return
    written = install_file(requirements)
    for line in (*written.splitlines(), *vcs_lines(requirements)):
        assert line.isprintable()
        assert "\\" not in line
        assert "${" not in line
        assert not line.startswith("#")
    # No line of the user's makes two.
    assert len(written.splitlines()) == written.count("\n")


@settings(max_examples=200, deadline=None)
@given(content=st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    try:
        read_requirements(bundle_with(content), "3.8")
    except (RequirementsError, BundleError) as error:
        assert error.problems


NAMES = st.from_regex(r"[a-z][a-z0-9]{0,6}([._-][a-z0-9]{1,4})?", fullmatch=True).filter(
    lambda name: name not in ("python", "pytorch", "cpuonly")
)
VERSIONS = st.from_regex(r"[0-9]{1,2}(\.[0-9]{1,2}){0,2}(rc1|\.post2|\+cu101)?", fullmatch=True)
MARKERS = st.sampled_from(["", " ; python_version < '3.10'", ";sys_platform=='linux'", " ; os_name == 'nt'"])
INDEX_LINES = st.builds(
    lambda name, extras, version, marker: f"{name}{extras}{version}{marker}",
    NAMES,
    st.sampled_from(["", "[a]", "[b, a]"]),
    st.one_of(st.just(""), VERSIONS.map(lambda version: f"=={version}"), st.just(">=1.0, <3"), st.just(" (~=2.1)")),
    MARKERS,
)
ADDRESS_LINES = st.builds(
    lambda name, scheme, path, marker: f"{name} @ {scheme}://host.example/{path}{marker}",
    NAMES,
    st.sampled_from(["https", "git+https"]),
    st.sampled_from(["p-1.0.tar.gz", "owner/p.git", "owner/p.git@v1.0", "p.zip#subdirectory=python"]),
    st.sampled_from(["", " ; python_version < '3.10'"]),
)
LOCAL_LINES = st.sampled_from([f"./{PURE}", PURE, f"./{PURE}[a]", "../lib/pkg", "-e ../lib/pkg", "-r base.txt"])


@settings(max_examples=200, deadline=None)
@given(lines=st.lists(st.one_of(INDEX_LINES, ADDRESS_LINES, LOCAL_LINES), max_size=6))
def test_what_is_written_is_what_was_read(lines: list[str]) -> None:
    try:
        first = read_requirements(bundle_with("\n".join(lines).encode()), "3.8")
    except RequirementsError as error:
        # Two pins of one name: all else in these lines is right.
        codes = {problem.code for problem in error.problems}
        assert codes <= {"requirements.contradiction", "requirements.url"}, error
        return
    # The paths of the install file start at the model root, where the reader looks too.
    written = install_file(first)
    second = read_requirements(bundle_with(written.encode()), "3.8")
    assert install_file(second) == written
    installed = [line for line in first.lines if line.applies and line.kind != "vcs"]
    assert [_meaning(line) for line in second.lines if line.text in {line.text for line in installed}] == [
        _meaning(line) for line in installed
    ]
    by_git = vcs_lines(first)
    assert vcs_lines(read_requirements(bundle_with("\n".join(by_git).encode()), "3.8")) == by_git


def _meaning(line: Requirement) -> tuple[object, ...]:
    return line.kind, line.text, line.name, line.specifier, line.extras, line.marker, line.path


@settings(max_examples=200, deadline=None)
@given(line=INDEX_LINES)
def test_an_index_line_means_the_same_to_pip(line: str) -> None:
    (read,) = read_requirements(bundle_with(line.encode()), "3.8").lines
    meant, said = pip.build_install_req(line), Specification(read.text)
    assert said.name == meant.req.name
    assert said.specifier == meant.req.specifier
    assert said.extras == set(meant.extras)
    assert str(said.marker) == str(meant.marker)


@pytest.mark.parametrize("line", ["RUN rm -rf /", "COPY <<EOF /x", "EOF", "$(touch /tmp/x)", "`id`", "'; id #", "| sh"])
def test_lines_of_other_languages_do_not_come_through(line: str) -> None:
    try:
        written = install_file(read_requirements(bundle_with(f"{line}\n".encode()), "3.8"))
    except RequirementsError:
        return
    assert written in ("EOF\n",)
