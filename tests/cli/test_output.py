"""Where the output goes can fail too, and is then told as what it is."""

from __future__ import annotations

import json
import logging
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mdai_build.cli.main import cli
from mdai_build.cli.options import print_file, print_json
from mdai_build.interrupts import SIGNALS

Run = Callable[..., tuple[int, str, str]]
EXAMPLE = Path(__file__).resolve().parents[2] / "examples/classification"


@pytest.mark.process  # only a real standard output can be full
def test_a_full_disk_is_no_bug_of_ours(tmp_path: Path) -> None:
    words = ["render", str(EXAMPLE), "--cache-folder", str(tmp_path / "cache")]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "mdai_build.cli", *words],
            cwd=tmp_path,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 5
    assert "no room left on the disk" in done.stderr
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr


def test_json_holds_nothing_that_a_terminal_obeys(capsys: pytest.CaptureFixture[str]) -> None:
    value = {"text": "\x1b[2J \x9b31m \x7f \u202eevil \u2066 \u200f \ufeff \u2028 \udcff é 日本 😀", "key\u202e": [1]}
    print_json(value)
    printed = capsys.readouterr().out
    assert json.loads(printed) == value
    assert not set(printed) - {"\n"} & set("\x1b\x9b\x7f\u202e\u2066\u200f\ufeff\u2028\udcff")
    assert "é 日本 😀" in printed


def test_a_file_is_printed_to_the_byte_but_for_a_terminal(
    capsysbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    content = b"RUN echo '\x1b[2J\xff'\n"
    print_file(content)
    assert capsysbinary.readouterr().out == content
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    print_file(content)
    assert capsysbinary.readouterr().out == "RUN echo '\ufffd'\n".encode()


def test_a_terminal_obeys_nothing_of_a_logged_line(capsys: pytest.CaptureFixture[str]) -> None:
    cli(["-v", "schema"], standalone_mode=False)
    logging.getLogger("mdai_build.report.pictures").info("%s was not drawn", "\x1b]0;x\x07name\x1b[2J\u202e")
    assert capsys.readouterr().err == "name\\u202e was not drawn\n"


@pytest.mark.process  # the interpreter's own end decides
def test_an_interrupt_has_its_exit_code_wherever_it_comes(tmp_path: Path) -> None:
    """Also inside of code that is given as text, as while a module with dataclasses is imported."""
    (tmp_path / "interrupted.py").write_text(
        "import importlib\n"
        "command = importlib.import_module('mdai_build.cli.main')\n"
        "command.cli = lambda **_: exec('raise KeyboardInterrupt')\n"
        "command.main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "interrupted"], cwd=tmp_path, stderr=subprocess.PIPE, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (130, "interrupted; nothing was left behind\n")


@pytest.mark.parametrize("words, code", [(("--version",), 0), (("check", "model.zip"), 3)])
def test_a_signal_behind_the_end_changes_no_exit_code(run: Run, words: tuple[str, ...], code: int) -> None:
    Path("model.zip").write_text("none")
    assert run(*words)[0] == code
    assert {signal.getsignal(number) for number in SIGNALS} == {signal.SIG_IGN}


def test_an_interrupt_while_a_failure_is_told_has_its_exit_code_too(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    Path("model.zip").write_text("none")
    monkeypatch.setattr("mdai_build.cli.main._show_failure", interrupted)
    assert run("check", "model.zip")[0] == 130
