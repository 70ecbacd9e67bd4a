from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mdai_build.bundle.names import UnsafeNameError, folded, left_out_part, safe_path, shown, slug


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("a", "a"),
        ("./a/b", "a/b"),
        ("a//b/", "a/b"),
        ("a/./b", "a/b"),
        ("./", ""),
        ("...", "..."),
        ("a/..b", "a/..b"),
        (" a ", " a "),
        ("模型/权重.h5", "模型/权重.h5"),
        ("👨‍⚕️.png", "👨‍⚕️.png"),
    ],
)
def test_safe_names_become_plain_posix_paths(name: str, path: str) -> None:
    assert safe_path(name) == path


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("", "empty-name"),
        ("/etc/passwd", "absolute-path"),
        ("//a", "absolute-path"),
        ("C:/a", "absolute-path"),
        ("c:a", "absolute-path"),
        ("..", "parent-path"),
        ("a/../b", "parent-path"),
        ("a/../../b", "parent-path"),
        ("a\\..\\b", "backslash"),
        ("a\0b", "control-character"),
        ("a\nb", "control-character"),
        ("a\x1b[2Jb", "control-character"),
        ("a\x85b", "control-character"),
        ("gpj.\u202epy", "control-character"),
        ("a\udcffb", "name-encoding"),
        ("a" * 256, "long-name"),
        ("é" * 128, "long-name"),
        ("a/" * 2048 + "a", "long-name"),
    ],
)
def test_unsafe_names_are_refused_with_their_own_code(name: str, code: str) -> None:
    with pytest.raises(UnsafeNameError) as failure:
        safe_path(name)
    assert failure.value.code == code


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.text() | st.lists(st.sampled_from(["..", ".", "", "/", "a", "\\", "C:", "é", "\0"])).map("/".join))
def test_a_safe_path_never_leaves_its_folder(name: str) -> None:
    try:
        path = safe_path(name)
    except UnsafeNameError:
        return
    assert not path.startswith("/")
    assert not {"", ".", ".."} & set(path.split("/")) or path == ""
    assert path == "" or safe_path(path) == path
    assert "\0" not in path and "\\" not in path


@pytest.mark.parametrize(
    ("path", "part"),
    [
        ("__MACOSX/model/._a", "__MACOSX"),
        ("model/.git/config", "model/.git"),
        ("model/.DS_Store", "model/.DS_Store"),
        ("model/lib/__pycache__/a.pyc", "model/lib/__pycache__"),
        ("model/._weights.h5", "model/._weights.h5"),
        ("model/.gitignore", None),
        ("model/.github/a", None),
        ("model/my__pycache__/a", None),
    ],
)
def test_what_tools_leave_behind_is_left_out(path: str, part: str | None) -> None:
    assert left_out_part(path) == part


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.text())
def test_shown_text_is_harmless_in_a_terminal(text: str) -> None:
    assert shown(text).isprintable()
    shown(text).encode("utf-8")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("My Model (v2)", "my-model-v2"),
        ("Lunge_Röntgen", "lunge-rontgen"),
        ("Straße", "strasse"),
        ("模型", "model-c98e118e"),
        ("肺 CT", "ct-9504a4b9"),
        ("", "model"),
        ("-..-", "model"),
        ("x" * 300, "x" * 100),
    ],
)
def test_a_slug_reads_like_the_name(name: str, expected: str) -> None:
    assert slug(name) == expected


def test_names_that_lose_letters_stay_apart() -> None:
    assert len({slug(name) for name in ("肺", "心", "肺 CT", "心 CT", "model", "CT", "Łódź", "ódz")}) == 8
    # A folder's name as macOS spells it.
    assert slug("Łódź") == slug(unicodedata.normalize("NFD", "Łódź"))


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.text())
def test_every_slug_fits_an_image_name(name: str) -> None:
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", slug(name))


def test_folded_names_are_those_that_other_file_systems_cannot_keep_apart() -> None:
    assert folded("Model.PY") == folded("model.py")
    assert folded("e\u0301") == folded("é")
    assert folded("a") != folded("b")


def test_a_path_leaves_room_for_the_folders_above_it() -> None:
    long = "/".join(["d" * 200] * 17)
    assert safe_path(f"{long}/{'f' * 167}") == f"{long}/{'f' * 167}"
    with pytest.raises(UnsafeNameError, match="or 3584 in all"):
        safe_path(f"{long}/{'f' * 168}")


def test_a_path_is_no_deeper_than_a_stack() -> None:
    assert safe_path("d/" * 127 + "f")
    with pytest.raises(UnsafeNameError, match="lies too deep"):
        safe_path("d/" * 128 + "f")
