"""Settings: where each comes from, and what is said of wrong ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from mdai_build.errors import UsageError
from mdai_build.settings import load_settings, parse_size, pins_file


def test_option_beats_environment_beats_file_beats_default(tmp_path: Path) -> None:
    (tmp_path / "mdai-build.toml").write_text('parent = "file"\nbuilder = "file"\nbuild_network = "host"\n')
    environment = {"MDAI_BUILD_PARENT": "environment", "MDAI_BUILD_BUILDER": "environment"}
    settings = load_settings({"parent": "option", "builder": None}, environment, tmp_path)
    assert (settings.parent, settings.builder, settings.build_network) == ("option", "environment", "host")
    assert settings.conda_channels == ("conda-forge",)


def test_the_settings_file_is_found_from_a_folder_below(tmp_path: Path) -> None:
    (tmp_path / "mdai-build.toml").write_text('parent = "local"\n')
    (tmp_path / "a" / "b").mkdir(parents=True)
    assert load_settings({}, {}, tmp_path / "a" / "b").parent == "local"


def test_lists_and_sizes_are_read_from_words(tmp_path: Path) -> None:
    settings = load_settings({"memory": "512m"}, {"MDAI_BUILD_CONDA_CHANNELS": "a, b c"}, tmp_path)
    assert settings.memory == 512 * 1024**2
    assert settings.conda_channels == ("a", "b", "c")


def test_proxies_and_certificates_come_from_the_machine(tmp_path: Path) -> None:
    bundle = tmp_path / "ca.pem"
    bundle.write_text("x")
    settings = load_settings({}, {"SSL_CERT_FILE": str(bundle), "HTTPS_PROXY": "http://proxy:3128"}, tmp_path)
    assert settings.ca_bundle == bundle
    assert settings.proxies == {"https_proxy": "http://proxy:3128"}


def test_every_wrong_setting_is_told_at_once_with_its_origin(tmp_path: Path) -> None:
    (tmp_path / "mdai-build.toml").write_text('parnt = "local"\n')
    with pytest.raises(UsageError) as caught:
        load_settings({"memory": "lots"}, {"MDAI_BUILD_BUILD_NETWORK": "bridge"}, tmp_path)
    told = {str(problem.where.key if problem.where else ""): str(problem) for problem in caught.value.problems}
    assert "option --memory" in told["memory"] and "lots" in told["memory"]
    assert "MDAI_BUILD_BUILD_NETWORK" in told["build_network"]
    assert "mdai-build.toml" in told["parnt"]
    assert "did you mean `parent`?" in [problem.next_step for problem in caught.value.problems]


def test_a_working_folder_that_is_gone_has_no_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert load_settings({}, {}).parent == "gcp"


def test_a_broken_settings_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "mdai-build.toml").write_text("parent = \n")
    with pytest.raises(UsageError, match=r"mdai-build\.toml"):
        load_settings({}, {}, tmp_path)


@pytest.mark.parametrize(
    ("text", "size"), [("512m", 512 << 20), ("4g", 4 << 30), ("1073741824", 1 << 30), ("1.5GiB", 3 << 29)]
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "m", "-1g", "0", "4x", "nan", "inf"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(ValueError, match="not a size"):
        parse_size(text)


DIGEST = f"sha256:{'a' * 64}"


def test_pairs_are_read_from_words_and_from_tables(tmp_path: Path) -> None:
    (tmp_path / "mdai-build.toml").write_text('[parent_mirrors]\n"gcr.io/" = "mirror.example/gcr/"\n')
    environment = {"MDAI_BUILD_PARENT_REPLACEMENTS": "base-cpu=ours.example/cpu:1 debian:12-slim=ours.example/d:1"}
    settings = load_settings({}, environment, tmp_path)
    assert settings.parent_mirrors == {"gcr.io/": "mirror.example/gcr/"}
    assert settings.parent_replacements == {"base-cpu": "ours.example/cpu:1", "debian:12-slim": "ours.example/d:1"}
    with pytest.raises(UsageError, match="NAME=VALUE"):
        load_settings({}, {"MDAI_BUILD_PARENT_MIRRORS": "gcr.io/"}, tmp_path)


def test_proxies_may_come_from_the_environment(tmp_path: Path) -> None:
    pairs = "https_proxy=http://proxy.example:3128 no_proxy=localhost,.example.org"
    assert load_settings({}, {"MDAI_BUILD_PROXIES": pairs}, tmp_path).proxies == {
        "https_proxy": "http://proxy.example:3128",
        "no_proxy": "localhost,.example.org",
    }


def test_pins_lie_beside_the_settings_file(tmp_path: Path) -> None:
    below = tmp_path / "below"
    below.mkdir()
    assert pins_file(below) == below / "parents.lock"
    (tmp_path / "mdai-build.toml").write_text('parent = "slim"\n')
    assert pins_file(below) == tmp_path / "parents.lock"
    (tmp_path / "parents.lock").write_text(f'[parent_pins]\n"debian:12-slim" = "{DIGEST}"\n')
    settings = load_settings({}, {}, below)
    assert (settings.parent, settings.parent_pins) == ("slim", {"debian:12-slim": DIGEST})


def test_a_pin_that_is_no_digest_is_told_with_its_file(tmp_path: Path) -> None:
    (tmp_path / "parents.lock").write_text('[parent_pins]\n"debian:12-slim" = "latest"\n')
    with pytest.raises(UsageError, match="a digest is") as caught:
        load_settings({}, {}, tmp_path)
    assert "parents.lock" in str(caught.value)


def test_a_platform_is_one_that_there_is(tmp_path: Path) -> None:
    assert load_settings({"platform": "linux/arm64"}, {}, tmp_path).platform == "linux/arm64"
    with pytest.raises(UsageError, match="platform"):
        load_settings({"platform": "windows/amd64"}, {}, tmp_path)


@pytest.mark.parametrize(
    "gpus", ["auto", "none", "all", "2", "device=0,2", "0,1", "device=GPU-3a23c669-1f69", "GPU-3a2"]
)
def test_gpus_as_docker_says_them(gpus: str) -> None:
    assert load_settings({"gpus": gpus}, {}).gpus == gpus


@pytest.mark.parametrize("gpus", ["0", "-1", "some", "device=", "all,1", "device=0 --privileged"])
def test_gpus_that_no_machine_has(gpus: str) -> None:
    with pytest.raises(UsageError, match="gpus: must be"):
        load_settings({"gpus": gpus}, {})


def test_a_registry_of_base_images_is_no_address() -> None:
    assert load_settings({"base_registry": "registry.example:5000/team"}, {}).base_registry
    for wrong in ("https://registry.example", "me:word@registry.example", "registry.example\nRUN true"):
        with pytest.raises(UsageError, match="base_registry: must be"):
            load_settings({"base_registry": wrong}, {})
