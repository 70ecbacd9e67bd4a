"""What the pages tell people to type is what the commands take; each is run by a test, or the page says why not."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from doc_blocks import README, ROOT, Block, blocks, pages, spans, words
from reference_pages import commands, exit_codes

from mdai_build.cli.main import cli
from mdai_build.config import parse_config
from mdai_build.settings import PREFIX, Settings, load_settings
from mdai_build.smoke.smoke_file import parse_smoke_file

PAGES = pages()
BLOCKS = [block for page in PAGES for block in blocks(page)]
COMMANDS = [block for block in BLOCKS if block.has_commands]
NOT_RUN = {
    "needs a GPU",
    "needs a cluster",
    "pulls gigabytes from Google's registry",
    "it sets up the machine that the tests run on",
    "it is what runs the tests",
}
"""The reasons there are. A new one is a decision."""
MOST_NOT_RUN = 8
OTHERS_OPTIONS = {
    *("--build-context", "--build-arg", "--driver-opt", "--find-links", "--from", "--index-url", "--link", "--mount"),
    *("--no-build", "--platform", "--secret", "--chown", "--read-only", "--cap-drop", "--security-opt", "--tmpfs"),
    *("--publish", "--rm", "--parallel", "--strict", "--pull", "--only"),
}
"""Options of docker, pip and others that the pages speak of."""


def parse(line_words: list[str], whole: bool = True) -> None:
    """Sees to it that the command line tool takes these words; files need not exist.

    Raises:
        click.UsageError: it does not.
    """
    if line_words[:1] in (["-v"], ["--verbose"]):
        line_words = line_words[1:]
    if line_words in ([], ["--help"], ["--version"]):
        return
    if line_words[0] not in cli.commands:
        line_words = ["build", *line_words]
    command: click.Command = cli
    context = click.Context(cli, info_name="mdai-build")
    while isinstance(command, click.Group):
        if not line_words:
            return
        found = command.get_command(context, line_words[0])
        if found is None:
            raise click.UsageError(f"no such command: {line_words[0]}")
        command, line_words = found, line_words[1:]
        context = click.Context(command, parent=context)
    values, left, _ = command.make_parser(context).parse_args(list(line_words))
    if left and left != ["--help"]:
        raise click.UsageError(f"unexpected: {left}")
    for parameter in command.get_params(context):
        value = values.get(str(parameter.name))
        if whole and parameter.required and parameter.value_is_missing(value):
            raise click.UsageError(f"missing: {parameter.name}")
        if isinstance(value, str) and not isinstance(parameter.type, click.Path):
            parameter.type_cast_value(context, value)


def lines() -> Iterator[tuple[str, str]]:
    for block in COMMANDS:
        for command in block.commands():
            yield block.place, command.line


def ours(line: str) -> list[str] | None:
    """The words behind `mdai-build`, where the line calls it."""
    # What a pipe or `&&` joins to it is another command.
    found = re.search(r"(?:^|[\s/(])mdai-build(?=\s|$)(.*)", line)
    return words(found[1]) if found else None


@pytest.mark.parametrize(("place", "line"), [pair for pair in lines() if ours(pair[1]) is not None])
def test_a_command_of_a_page_is_one_that_there_is(place: str, line: str) -> None:
    try:
        parse(ours(line) or [])
    except click.UsageError as error:
        pytest.fail(f"{place}: {line}: {error.format_message()}")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_sentence_says_of_commands_options_and_settings_is_right(page: Path) -> None:
    known = {
        word for _, command in commands() for each in command.params for word in (*each.opts, *each.secondary_opts)
    }
    known |= {"--help", "--version", "--verbose"} | OTHERS_OPTIONS
    for span in spans(page):
        if span.startswith("mdai-build "):
            try:
                parse([word for word in words(span)[1:] if word not in ("…", "...", "[", "]")], whole=False)
            except click.UsageError as error:
                pytest.fail(f"{page.name}: `{span}`: {error.format_message()}")
        elif span.startswith("--") and page.name not in ("errors.md", "commands.md"):
            assert span.split()[0].split("=")[0] in known, f"{page.name}: `{span}`"
        for variable in re.findall(rf"\b{PREFIX}(\w+)", span):
            assert variable.lower() in Settings.model_fields, f"{page.name}: `{span}`"


def test_a_wrong_command_would_be_found() -> None:
    for wrong in (["check"], ["check", "model/", "--fast"], ["profile", "IMAGE", "-n", "many"], ["bases", "list", "x"]):
        with pytest.raises(click.UsageError):
            parse(wrong)


@pytest.mark.parametrize("block", COMMANDS, ids=lambda block: block.place)
def test_a_command_is_run_or_the_page_says_why_not(block: Block) -> None:
    assert block.runs or block.run_by or block.reason, f"{block.place} has no mark: see scripts/doc_blocks.py"
    if block.reason:
        assert block.reason in NOT_RUN
    if block.run_by:
        test = (ROOT / block.run_by).read_text(encoding="utf-8")
        for module in re.findall(r"^from harness\.(\w+) import", test, re.M):
            test += (ROOT / "tests" / "integration" / "harness" / f"{module}.py").read_text(encoding="utf-8")
        for command in block.commands():
            line = ours(command.line)
            if line:
                name = next(word for word in (*line[:1], "build") if word in cli.commands)
                assert f'"{name}"' in test, f"{block.place}: {block.run_by} runs no `{name}`"


def test_few_commands_are_not_run() -> None:
    left = [f"{block.place}: {block.reason}" for block in COMMANDS if block.reason]
    assert len(left) <= MOST_NOT_RUN, "\n".join(left)
    assert sum(block.runs for block in COMMANDS) > 2 * len(left)


def test_every_command_is_told_of_in_the_readme() -> None:
    told = {words(span)[1] for span in spans(README) if len(words(span)) > 1 and words(span)[0] == "mdai-build"}
    assert set(cli.commands) - told == {"build", "wheels"} - told


def test_targets_of_make_are_there() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
    called = [span for page in PAGES for span in spans(page) if re.match(r"make [a-z]", span)]
    called += [line for _, line in lines() if line.startswith("make ")]
    assert called
    for line in called:
        assert words(line)[1] in targets, line


def test_the_readme_has_every_exit_code() -> None:
    rows = re.findall(r"^\| (\d+) \| (.+) \|$", README.read_text(encoding="utf-8"), re.M)
    assert {int(code) for code, _ in rows} == set(exit_codes())


@pytest.mark.parametrize("block", [b for b in BLOCKS if not b.has_commands], ids=lambda block: block.place)
def test_files_that_a_page_shows_can_be_read(block: Block, tmp_path: Path) -> None:
    assert block.language, f"{block.place}: name its language, such as `text`"
    if block.language == "python" and block.page.name != "errors.md":
        ast.parse(block.text, feature_version=(3, 7))
    if block.title == "mdai-build.toml":
        text = block.text.replace("/etc/ssl/certs/company.pem", __file__)
        (tmp_path / "mdai-build.toml").write_text(text, encoding="utf-8")
        load_settings({}, {}, tmp_path)
    if block.language == "yaml" and "smoke" in (block.title or block.page.name):
        parse_smoke_file(block.text)
    if block.language == "yaml" and "config" in (block.title or block.page.name):
        assert not parse_config(block.text).warnings
