"""docs/reference/ is what scripts/reference_pages.py makes of the code."""

from __future__ import annotations

import pytest
from reference_pages import FOLDER, commands, exit_codes, pages

from mdai_build.config import ModelConfig
from mdai_build.errors import MdaiBuildError
from mdai_build.settings import Settings
from mdai_build.smoke.smoke_file import Expect, Label, LabelClass, SmokeFile


@pytest.mark.parametrize(("name", "text"), pages().items())
def test_a_page_is_up_to_date(name: str, text: str) -> None:
    assert (FOLDER / name).read_text(encoding="utf-8") == text, "run: python scripts/reference_pages.py"


def test_nothing_else_is_in_the_folder() -> None:
    assert {path.name for path in FOLDER.iterdir()} == set(pages())


def test_every_command_has_its_heading_and_options() -> None:
    text = pages()["commands.md"]
    for path, command in commands():
        assert f"\n## {' '.join(path)}\n" in text
        for parameter in command.params:
            assert parameter.param_type_name == "argument" or f"`{parameter.opts[-1]}`" in text


def test_every_key_says_what_it_is() -> None:
    for model in (ModelConfig, Settings, SmokeFile, Label, LabelClass, Expect):
        for name, field in model.model_fields.items():
            assert field.description, f"{model.__name__}.{name} has no description"


def test_every_failure_has_its_exit_code_there() -> None:
    kinds = {kind.exit_code for kind in MdaiBuildError.__subclasses__()}
    assert kinds <= set(exit_codes()) and {0, 1, 130} <= set(exit_codes())
