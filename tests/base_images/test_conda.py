"""The local parent's conda, on a real channel: solved, fetched and linked by py-rattler."""

from __future__ import annotations

import asyncio
from pathlib import Path

import channel
import conda
import pytest
from rattler.index import index_fs

BUILT_AT = "/built/at/1.2.3"


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A channel with `tool` 1.2.3 and 2.0.0, which were built with the prefix BUILT_AT."""
    for version in ("1.2.3", "2.0.0"):
        content = tmp_path / version
        (content / "bin").mkdir(parents=True)
        (content / "bin/script").write_text(f"#!{BUILT_AT}/bin/python\n")
        (content / "bin/program").write_bytes(b"\x7fELF\0" + BUILT_AT.encode() + b"\0")
        (content / "bin/alias").symlink_to("script")
        package = channel.Package("tool", version, [], content, placeholder=BUILT_AT)
        (tmp_path / "channel" / package.subdir).mkdir(parents=True, exist_ok=True)
        channel.write(package, tmp_path / "channel")
    (tmp_path / "channel/noarch").mkdir()
    asyncio.run(index_fs(tmp_path / "channel", write_zst=False, write_shards=False))
    return tmp_path / "channel"


@pytest.fixture
def base(tmp_path: Path, tools: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installation whose configured channel is `tools`."""
    monkeypatch.setattr(conda, "BASE", tmp_path / "conda")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "conda").mkdir()
    (tmp_path / "conda/.condarc").write_text(f"channels: [{tools}]\n")
    return tmp_path / "conda"


def test_create_links_the_newest_match_under_its_own_prefix(base: Path) -> None:
    assert conda.main(["create", "--yes", "--name", "env", "tool"]) == 0

    prefix = base / "envs/env"
    assert (prefix / "conda-meta/tool-2.0.0-local_0.json").is_file()
    assert (prefix / "bin/script").read_text() == f"#!{prefix}/bin/python\n"
    assert (prefix / "bin/alias").readlink() == Path("script")


def test_the_prefix_inside_a_binary_stays(base: Path) -> None:
    """The linker merges version strings with the prefix's tail; replacing it would corrupt them."""
    assert conda.main(["create", "-y", "-n", "env", "tool=1.2"]) == 0

    assert BUILT_AT.encode() in (base / "envs/env/bin/program").read_bytes()


def test_create_replaces_an_environment(base: Path) -> None:
    for version in ("2.0", "1.2"):
        assert conda.main(["create", "-y", "-n", "env", f"tool={version}"]) == 0

    assert [path.name for path in (base / "envs/env/conda-meta").glob("tool-*")] == ["tool-1.2.3-local_0.json"]


def test_an_environment_can_be_made_for_another_place(tmp_path: Path, tools: Path) -> None:
    prefix = tmp_path / "staging"
    conda.create(prefix, ["tool"], [str(tools)], cache=tmp_path / "cache", final_prefix=Path("/opt/conda"))

    assert (prefix / "bin/script").read_text() == "#!/opt/conda/bin/python\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["tool=9"], "tool 9.*"),
        (["tool=="], "not a package specification"),
        (["-c", "/nowhere", "tool"], "cannot read the channels /nowhere"),
        (["--override-channels", "tool"], "no channel to take packages from"),
        (["--override-channels", "--offline", "-c", "conda-forge", "tool"], "no channel to take packages from"),
    ],
)
def test_what_cannot_be_made_is_said(
    base: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    assert conda.main(["create", "-y", "-n", "env", *words]) == 1

    assert said in capsys.readouterr().err


def test_a_folder_that_is_no_environment_is_left_alone(base: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").write_text("years of work")

    assert conda.main(["create", "-y", "-p", str(tmp_path / "mine"), "tool"]) == 1
    assert (tmp_path / "mine/thesis.txt").exists()


def test_the_users_channels_come_before_the_installations(base: Path, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home/.condarc").write_text("channels: [my-channel]\n")

    assert conda.configured_channels() == ["my-channel"]


@pytest.mark.parametrize("text", ["", "- conda-forge\n", "channels: [", "other: 1\n"])
def test_a_malformed_condarc_is_said(base: Path, capsys: pytest.CaptureFixture[str], text: str) -> None:
    (base / ".condarc").write_text(text)

    assert conda.main(["create", "-y", "-n", "env", "tool"]) == 1
    assert "channels" in capsys.readouterr().err


def test_clean_removes_the_cache_and_leaves_environments(base: Path) -> None:
    assert conda.main(["create", "-y", "-n", "env", "tool"]) == 0
    assert (base / "pkgs").exists()

    assert conda.main(["clean", "--all", "--force-pkgs-dirs", "--yes"]) == 0
    assert not (base / "pkgs").exists()
    assert (base / "envs/env/bin/script").exists()


def test_environments_are_listed(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    conda.main(["create", "-y", "-n", "env", "tool"])
    capsys.readouterr()

    assert conda.main(["env", "list"]) == 0
    assert str(base / "envs/env") in capsys.readouterr().out


@pytest.mark.parametrize(
    "words", [[], ["frobnicate"], ["create", "-y", "tool"], ["create", "-n", "a", "-p", "/b", "tool"]]
)
def test_words_that_conda_does_not_know_are_a_usage_error(words: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        conda.main(words)
    assert ended.value.code == 2


@pytest.mark.parametrize("words", [["-n", "missing", "python"], ["-n", "env", "no-such-command"], ["-n", "env"]])
def test_run_refuses_what_is_not_there(base: Path, capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    conda.main(["create", "-y", "-n", "env", "tool"])

    assert conda.main(["run", *words]) == 1
    assert "CondaError: no " in capsys.readouterr().err
