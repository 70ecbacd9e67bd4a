from __future__ import annotations

import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mdai_build.config import ModelConfig, parse_config
from mdai_build.errors import BundleError, Problem


def problems(text: str) -> list[Problem]:
    with pytest.raises(BundleError) as failure:
        parse_config(text)
    for problem in failure.value.problems:
        assert problem.where is not None
        assert problem.where.file == ".mdai/config.yaml"
        assert problem.expected or problem.next_step
    return list(failure.value.problems)


def only(text: str) -> Problem:
    (problem,) = problems(text)
    return problem


def codes(found: tuple[Problem, ...]) -> list[str]:
    return [problem.code.removeprefix("config.") for problem in found]


def test_the_document_s_example() -> None:
    parsed = parse_config("base_image: py37\ndevice_type: gpu\ncuda_version: 10.1\n")
    assert parsed.config == ModelConfig(base_image="py37", device_type="gpu", cuda_version="10.1")
    assert parsed.warnings == ()


def test_defaults() -> None:
    config = parse_config("base_image: py310").config
    assert (config.device_type, config.cuda_version, dict(config.env), config.clara_version) == ("cpu", None, {}, None)
    assert parse_config("base_image: py310\ndevice_type: gpu").config.cuda_version == "11.0"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10.0", "10.0"),
        ("10", "10.0"),
        ("10.1", "10.1"),
        ("11", "11.0"),
        ("11.0", "11.0"),
        ("11.00", "11.0"),
        ("'11'", "11.0"),
        ('"11.3"', "11.3"),
        ("11.3", "11.3"),
        ("11.30", "11.3"),
        ("'11.30'", "11.3"),
        ("V11.8", "11.8"),
        ("12.1", "12.1"),
        ("12.4", "12.4"),
    ],
)
def test_cuda_versions_in_every_form_that_yaml_gives_them(text: str, expected: str) -> None:
    config = parse_config(f"base_image: py38\ndevice_type: gpu\ncuda_version: {text}").config
    assert config.cuda_version == expected


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("9", "10.0"),
        ("11.1", "11.0"),
        ("12", "12.1"),
        ("13.0", "12.4"),
        ("11.3.1", "11.3"),
        ("cu113", "11.3"),
        ("CUDA 11.8", "11.8"),
        ("1_1", None),
        ("yes", None),
        ("[11.0]", None),
        ("{a: 1}", None),
        ("٣", None),
    ],
)
def test_other_cuda_versions_are_told_with_the_nearest(text: str, meant: str | None) -> None:
    problem = only(f"base_image: py38\ndevice_type: gpu\ncuda_version: {text}")
    assert problem.code == "config.wrong-value"
    assert problem.where is not None and (problem.where.line, problem.where.key) == (3, "cuda_version")
    assert "10.0, 10.1, 11.0, 11.3, 11.8" in (problem.expected or "")
    if meant is not None:
        assert problem.next_step == f"did you mean `{meant}`?"


@pytest.mark.parametrize("image", ["py37", "py38", "py39", "py310", "py311", "py312", "py313", "custom"])
def test_every_base_image_in_any_case(image: str) -> None:
    for text in (image, image.upper(), image.title(), f"'{image}'", f" {image} # comment"):
        config = parse_config(f"base_image: {text}").config
        assert config.base_image == image
    assert config.python == (None if image == "custom" else f"3.{image[3:]}")


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("3.8", "py38"),
        ("python3.10", "py310"),
        ("py3.9", "py39"),
        ("python 3.7.12", "py37"),
        ("py38-gpu", "py38"),
        ("nvida", "nvidia"),
        ("ubuntu", None),
        ("py36", None),
        ("2.7", None),
        ("python3.14", None),
        ("true", None),
    ],
)
def test_other_base_images_are_told_with_the_nearest(text: str, meant: str | None) -> None:
    problem = only(f"base_image: {text}")
    assert f"`base_image` is `{text}`" in problem.what
    assert (problem.next_step == f"did you mean `{meant}`?") is (meant is not None)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("base_image: py38\ndevice_type gpu\n", 2),
        ("base_image: py38\ndevice_type gpu\n\nenv:\n  A: b\n", 2),
        ("base_image: 'py38\ndevice_type: gpu\n\n", 1),
        ("base_image: py38\nenv: {A: b\n", 2),
    ],
)
def test_what_is_seen_too_late_is_told_where_it_began(text: str, line: int) -> None:
    (problem,) = problems(text)
    assert problem.where is not None and problem.where.line == line
    assert problem.where.source == text.split("\n")[line - 1]


def test_all_errors_are_told_at_once_in_the_order_of_their_lines() -> None:
    text = "device_type: tpu\nenv:\n  1A: x\n  B:\nbase_image: py27\ncuda_version: 9\nbase_image: py38\n"
    found = problems(text)
    assert [problem.where.line for problem in found if problem.where] == [1, 3, 4, 5, 6, 7]
    assert codes(tuple(found)) == [
        "wrong-value",
        "env-name",
        "env-value",
        "wrong-value",
        "wrong-value",
        "duplicate-key",
    ]
    first = found[0].where
    assert first is not None and (first.column, first.source) == (14, "device_type: tpu")


@pytest.mark.parametrize(
    ("text", "code", "advice"),
    [
        ("", "empty", "base_image: py310"),
        (" \n\n", "empty", "base_image: py310"),
        ("# only a comment\n", "empty", "base_image: py310"),
        ("- base_image: py38\n", "not-a-map", "remove the `-`"),
        ("base_image:py38", "not-a-map", "write `base_image: py38`"),
        ("base_image = py38", "not-a-map", "write `base_image: py38`"),
        ("base_image\uff1apy38", "not-a-map", "write `base_image: py38`"),
        ("just text", "not-a-map", None),
        (" base_image: py38\ndevice_type: gpu", "yaml", "same indentation"),
        ("base_image: py38\nenv:\n  A: *.txt", "yaml", "into quotes"),
        ("device_type: cpu", "no-base-image", "add the line"),
        ("base_image:", "no-base-image", "add the line"),
        ("base-image: py38", "no-base-image", "rename `base-image`"),
        ("baseimage: py38", "no-base-image", "rename `baseimage`"),
        ("base_image: py38\nbase_image: py38", "duplicate-key", "remove one"),
        ("base_image: py38\nBASE_IMAGE: py38", "duplicate-key", "remove one"),
        ("base_image: py38\n\tdevice_type: gpu", "yaml", "replace the tab"),
        ("base_image: py38\nenv:\n\tA: b", "yaml", "replace the tab"),
        ("base_image: py38\n  device_type: gpu", "yaml", "left edge"),
        ("base_image: 'py38", "yaml", "close it"),
        ("env: {A: 1", "yaml", "close it"),
        ("base_image: @x", "yaml", "into quotes"),
        ("base_image: *x", "yaml", "into quotes"),
        ('base_image: "\\UFFFFFFFF"', "yaml", None),
        ("base_image: py38\x07", "character", "remove it"),
        ("base_image: py38\n---\nbase_image: py39", "two-documents", "remove the line"),
        ("base_image: !!python/object/apply:os.system ['true']", "tag", "remove the tag"),
        ("base_image: !env HOME", "tag", "remove the tag"),
        ("!!map {base_image: py38}", "tag", "remove the tag"),
        ("base_image: py38\n<<: {A: 1}", "merge", "write the keys out"),
        ("base_image: py38\n? [a]\n: 1", "key", None),
        ("base_image: py38\nenv: [A=1]", "env-shape", "remove the `-`"),
        ("config:\n  base_image: py38", "no-base-image", "left edge"),
        ("base_image py38\ndevice_type cpu", "not-a-map", "write `base_image: py38`"),
        ("base_image: py38\ndevice_type: cuda", "wrong-value", "`gpu`"),
        ("base_image: nvidia/cuda:11.0-base", "wrong-value", "base_image: custom"),
        ("base_image: py38\nenv: A=1", "env-shape", None),
        ("base_image: " + "[" * 5000, "too-deep", None),
        ("base_image: py38\n#" + "x" * 70_000, "too-large", None),
        ("base_image: py38\nx: [" + "1," * 12_000 + "]", "too-large", None),
    ],
)
def test_yaml_traps_each_have_their_own_words(text: str, code: str, advice: str | None) -> None:
    problem = only(text)
    assert problem.code == f"config.{code}"
    assert advice is None or advice in (problem.next_step or "")
    assert "Traceback" not in str(problem)


def test_aliases_that_explode_are_refused_at_once() -> None:
    laughs = ['a0: &a0 ["lol"]'] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    start = time.monotonic()
    assert only("\n".join(laughs) + "\nbase_image: py38").code == "config.aliases"
    assert time.monotonic() - start < 1


def test_a_few_aliases_are_fine() -> None:
    config = parse_config("base_image: &b py38\nenv:\n  A: *b\n  B: &x y\n  C: *x").config
    assert dict(config.env) == {"A": "py38", "B": "y", "C": "y"}


def test_a_value_that_holds_itself_is_refused() -> None:
    assert codes(tuple(problems("base_image: py38\nenv: &e\n  A: *e"))) == ["env-value"]
    assert codes(tuple(problems("&a\nbase_image: *a"))) == ["wrong-value"]


def test_unknown_keys_are_warned_of_with_the_nearest() -> None:
    first, second = parse_config("base_image: py38\ncudaversion: 11.0\nauthor: me").warnings
    assert (first.code, first.next_step) == ("config.unknown-key", "did you mean `cuda_version`?")
    assert second.next_step is None and "`author`" in second.what


def test_keys_in_another_case_are_read_with_a_warning() -> None:
    parsed = parse_config("Base_Image: py38\nENV:\n  A: b")
    assert parsed.config.base_image == "py38"
    assert dict(parsed.config.env) == {"A": "b"}
    assert codes(parsed.warnings) == ["key-case", "key-case"]


def test_empty_optional_values_count_as_absent() -> None:
    parsed = parse_config("base_image: py38\ndevice_type:\ncuda_version: ~\nenv:\nclara_version: null")
    assert parsed.config == ModelConfig(base_image="py38")
    assert codes(parsed.warnings) == ["no-value"] * 3


@pytest.mark.parametrize("version", ["11.0", "nonsense"])
def test_a_cuda_version_for_a_cpu_is_a_warning(version: str) -> None:
    parsed = parse_config(f"base_image: py38\ncuda_version: {version}")
    assert parsed.config.cuda_version is None
    assert codes(parsed.warnings) == ["no-effect"]
    assert "device_type: gpu" in (parsed.warnings[0].next_step or "")


@pytest.mark.parametrize("base_image", ["custom", "nvidia\nclara_version: 4.1.0"])
@pytest.mark.parametrize("version", ["11.0", "12.6", "nonsense"])
def test_a_cuda_version_for_a_parent_that_brings_its_own_is_a_warning_alone(base_image: str, version: str) -> None:
    parsed = parse_config(f"base_image: {base_image}\ndevice_type: gpu\ncuda_version: {version}")
    assert parsed.config.cuda_version is None
    assert codes(parsed.warnings) == ["no-effect"]
    assert parse_config(f"base_image: {base_image}\ndevice_type: gpu").config.cuda_version is None


def test_clara() -> None:
    assert parse_config("base_image: nvidia\nclara_version: 4.1.0").config.clara_version == "4.1.0"
    parsed = parse_config("base_image: NVIDIA")
    assert parsed.config.clara_version == "4.1.0"
    assert codes(parsed.warnings) == ["no-clara-version"]
    for wrong in ("4.1", "4.0.0", "v4.1.0", "[4.1.0]"):
        assert only(f"base_image: nvidia\nclara_version: {wrong}").next_step == "did you mean `4.1.0`?"
    assert codes(parse_config("base_image: py38\nclara_version: 4.1.0").warnings) == ["no-effect"]


def test_environment_values_are_what_the_author_wrote() -> None:
    text = """
base_image: py38
env:
  B: true
  A: 1.10
  N: 0x1F
  OCTAL: 010
  UNDER: 1_000
  DATE: 2024-01-01
  QUOTED: "null"
  EMPTY: ""
  SPACES: "  a  "
  HASH: a#b
  YES: yes
  UNICODE: é
  folded: a
    b
"""
    env = parse_config(text).config.env
    assert dict(env) == {
        "B": "true",
        "A": "1.10",
        "N": "0x1F",
        "OCTAL": "010",
        "UNDER": "1_000",
        "DATE": "2024-01-01",
        "QUOTED": "null",
        "EMPTY": "",
        "SPACES": "  a  ",
        "HASH": "a#b",
        "YES": "yes",
        "UNICODE": "é",
        "folded": "a b",
    }
    assert list(env)[:2] == ["B", "A"]


@pytest.mark.parametrize(
    ("entry", "code", "found"),
    [
        ("1A: x", "env-name", "`1A`"),
        ("A-B: x", "env-name", "`A-B`"),
        ("A B: x", "env-name", "`A B`"),
        ("'': x", "env-name", "``"),
        ("'A=B': x", "env-name", "`A=B`"),
        ("é: x", "env-name", "`é`"),
        ("? |\n    A\n  : x", "env-name", "`A\\n`"),
        ("A:", "env-value", "no value"),
        ("A: ~", "env-value", "no value"),
        ("A: [1]", "env-value", "is a list"),
        ("A: {b: c}", "env-value", "is a map"),
        ("A: |\n    x\n    y", "env-value", "line break"),
        ('A: "x\\ny"', "env-value", "line break"),
        ('A: "x\\u2028y"', "env-value", "line break"),
        ('A: "x\\0"', "env-value", "U+0000"),
        ('A: "x\\e[31m"', "env-value", "U+001B"),
        ('A: "\\ud800"', "env-value", "U+D800"),
        ("MDAI_PATH: x", "env-reserved", "set by the image itself"),
        ("A: 1\n  A: 2", "duplicate-key", "`env.A` is given twice"),
    ],
)
def test_environment_that_no_image_can_hold_is_refused(entry: str, code: str, found: str) -> None:
    problem = only(f"base_image: py38\nenv:\n  {entry}\n")
    assert problem.code == f"config.{code}"
    assert found in problem.what


def test_a_value_that_no_line_of_a_dockerfile_holds_is_refused() -> None:
    assert parse_config("base_image: py38\nenv: {A: '" + "x" * 59_000 + "'}\n").config.env
    for value in ("x" * 60_000, "$" * 31_000, "\u00e9" * 30_001):
        with pytest.raises(BundleError, match="too long for a line of a Dockerfile"):
            parse_config(f"base_image: py38\nenv: {{A: '{value}'}}\n")


@pytest.mark.parametrize(
    ("entry", "code"),
    [
        ("PATH: /x", "env-important"),
        ("LD_PRELOAD: /x", "env-important"),
        ("MDAI_TOKEN: x", "env-reserved"),
        ("A: $HOME/x", "env-reference"),
        ("A: ${HOME}", "env-reference"),
    ],
)
def test_environment_that_may_do_harm_is_warned_of(entry: str, code: str) -> None:
    parsed = parse_config(f"base_image: py38\nenv:\n  {entry}\n")
    assert codes(parsed.warnings) == [code]
    assert len(parsed.config.env) == 1


def test_a_config_is_frozen_and_json_ready() -> None:
    config = parse_config("base_image: py38\nenv:\n  A: b").config
    with pytest.raises(TypeError):
        config.env["A"] = "c"  # type: ignore[index]
    assert config.model_dump(mode="json")["env"] == {"A": "b"}
    assert ModelConfig.model_validate_json(config.model_dump_json()) == config
    assert "base_image" in ModelConfig.model_json_schema()["required"]


def test_a_byte_order_mark_and_windows_line_ends_mean_nothing() -> None:
    assert parse_config("\ufeffbase_image: py38\r\ndevice_type: gpu\r\n").config.device_type == "gpu"


KEYS = st.sampled_from(["base_image", "device_type", "cuda_version", "env", "clara_version", "x", "<<", "? a", "-"])
VALUES = st.sampled_from(
    ["py38", "gpu", "11", "{A: b}", "[a]", "*a", "&a b", "!!x y", "'", '"', "|", "\t", ""]
) | st.text(max_size=5)
LINES = st.lists(st.tuples(st.sampled_from(["", " ", "  ", "\t"]), KEYS, st.sampled_from([": ", ":", " "]), VALUES))


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.text() | LINES.map(lambda lines: "\n".join("".join(line) for line in lines)))
def test_no_text_raises_anything_else(text: str) -> None:
    try:
        config = parse_config(text).config
    except BundleError as failure:
        for problem in failure.problems:
            assert problem.where is not None
            assert problem.where.source is None or problem.where.source.isprintable()
            assert all(character.isprintable() or character == "\n" for character in problem.what)
    else:
        assert config.base_image
