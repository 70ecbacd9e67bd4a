from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mdai_build.bundle import check_entry_point, read_bundle
from mdai_build.errors import BundleError, Problem

MODEL = "class MDAIModel:\n    def predict(self, data):\n        return []\n"
Check = Callable[..., tuple[Problem, ...]]


@pytest.mark.parametrize(
    "source",
    [
        MODEL,
        "\ufeff" + MODEL,
        MODEL.replace("\n", "\r\n"),
        "from model import MDAIModel\n",
        "from model import Net as MDAIModel\n",
        "from model import *\n",
        "MDAIModel = make()\n",
        "globals()['MDAIModel'] = object\n",
        "try:\n    import a\nexcept ImportError:\n    " + MODEL.replace("\n", "\n    "),
        "class MDAIModel(Base):\n    pass\n",
        "@wrapped\nclass MDAIModel:\n    pass\n",
        "class MDAIModel(metaclass=Meta):\n    pass\n",
        "class MDAIModel:\n    predict = other\n",
        "class MDAIModel:\n    def predict(self, *args):\n        return []\n",
        "class MDAIModel:\n    def predict(self, data, threshold=0.5, *, more=1):\n        return []\n",
        "class MDAIModel:\n    @staticmethod\n    def predict(data):\n        return []\n",
        "class MDAIModel:\n    @torch.no_grad()\n    def predict(self):\n        return []\n",
        MODEL + "    def __init__(self, path='w.h5'):\n        pass\n",
        MODEL + "regex = '\\d'\nx = ds.get_value()\nwith open('/tmp/x') as f: pass\n",
    ],
)
def test_what_may_be_right_is_not_complained_about(check: Check, source: str) -> None:
    assert check(source) == ()


@pytest.mark.parametrize(
    ("source", "code", "line", "advice"),
    [
        ("", "no-model-class", None, "class MDAIModel:"),
        ("x = 1\nclass MdaiModel:\n    predict = f\n", "no-model-class", 2, "rename `MdaiModel` to `MDAIModel`"),
        ("class Net:\n    def predict(self, data): return []\n", "no-model-class", 1, "rename `Net` to `MDAIModel`"),
        ("class MDAIModel:\n    pass\n", "no-predict", 1, "add `def predict"),
        ("class MDAIModel:\n    def Predict(self, data): ...\n", "no-predict", 2, "rename `Predict` to `predict`"),
        (
            "class MDAIModel:\n    x = 1\ndef predict(self, data): ...\n",
            "no-predict",
            1,
            "indent `def predict` of line 3",
        ),
        ("class MDAIModel:\n    def predict(self): return []\n", "predict-arguments", 2, "add `data` to"),
        ("class MDAIModel:\n    def predict(data): return []\n", "predict-arguments", 2, "add `self` to"),
        (
            "class MDAIModel:\n    @staticmethod\n    def predict(): return []\n",
            "predict-arguments",
            3,
            "add `data` to",
        ),
        ("class MDAIModel:\n    def predict(): return []\n", "predict-arguments", 2, "`self` and `data`"),
        ("class MDAIModel:\n    def predict(self, a, b): return a\n", "predict-arguments", 2, "data['args']"),
        ("class MDAIModel:\n    def predict(self, a, *, b): return a\n", "predict-arguments", 2, "data['args']"),
        (MODEL + "    def __init__(self, path): ...\n", "init-arguments", 4, "default values"),
    ],
)
def test_what_the_interface_asks_for_is_told_when_it_is_missing(
    check: Check, source: str, code: str, line: int | None, advice: str
) -> None:
    with pytest.raises(BundleError) as failure:
        check(source)
    (problem,) = failure.value.problems
    assert problem.code == f"bundle.{code}"
    assert problem.where is not None and problem.where.line == line
    assert problem.where.file == ".mdai/mdai_deploy.py"
    assert problem.where.source == (source.split("\n")[line - 1] if line else None)
    assert problem.expected
    assert advice in (problem.next_step or "")


def test_the_class_of_another_file_is_found(making, tmp_path) -> None:
    files = {**making.model, "net.py": making.deploy.replace(b"MDAIModel", b"Net")}
    files[".mdai/mdai_deploy.py"] = b"from net import Net\n"
    with pytest.raises(BundleError) as failure:
        check_entry_point(read_bundle(making.folder(tmp_path / "m", files)), "3.8")
    assert "`from net import Net as MDAIModel`" in str(failure.value.problems[0].next_step)


def test_an_object_is_no_class(check: Check) -> None:
    with pytest.raises(BundleError) as failure:
        check(MODEL.replace("MDAIModel", "Net") + "\nMDAIModel = Net()\n")
    (problem,) = failure.value.problems
    assert problem.code == "bundle.no-model-class" and "`MDAIModel = Net`" in str(problem.next_step)


def test_several_errors_are_told_at_once(check: Check) -> None:
    with pytest.raises(BundleError) as failure:
        check(
            "class MDAIModel:\n    def __init__(self, a): ...\n    def predict(self): return 1\nw = '/home/me/w.h5'\n"
        )
    assert len(failure.value.problems) == 2
    with pytest.raises(BundleError) as renamed:
        check("class MdaiModel:\n    def __init__(self, a): ...\n    def predict(self): return 1\n")
    assert len(renamed.value.problems) == 3
    assert [warning.code for warning in failure.value.warnings] == ["bundle.absolute-path-in-code"]


@pytest.mark.parametrize(
    ("source", "line", "column", "advice"),
    [
        ("print 'x'\n", 1, 1, "this is Python 2"),
        ("x = f(\n", 1, 6, None),
        ("def f():\nreturn 1\n", 2, 1, "indentation"),
        ("class A:\n\tx = 1\n        y = 2\n", 3, None, "spaces only"),
        ("!pip install numpy\n", 1, 1, "command of a notebook"),
        ("%matplotlib inline\n", 1, 1, "command of a notebook"),
        ("<<<<<<< HEAD\n", 1, 1, "merge conflict"),
    ],
)
def test_a_syntax_error_has_its_line_and_column(
    check: Check, source: str, line: int, column: int | None, advice: str | None
) -> None:
    with pytest.raises(BundleError, match="not valid Python") as failure:
        check(source)
    (problem,) = failure.value.problems
    assert problem.where is not None
    assert problem.where.line == line
    assert column is None or problem.where.column == column
    assert advice is None or advice in (problem.next_step or "")


@pytest.mark.parametrize(
    "source", ["(" * 10_000, "-" * 100_000 + "1", "1" + "+1" * 100_000, "x = 1\0", "a" + ".b" * 50_000]
)
def test_sources_that_break_parsers_are_refused(check: Check, source: str) -> None:
    """Some Pythons can read some of these; what they find is then no model."""
    with pytest.raises(BundleError, match=r"not valid Python|no class MDAIModel"):
        check(source)


@pytest.mark.parametrize("source", [b"\xff\xfe\0a", b"# coding: no-such\n", b"# coding: hex\n", b"x = '\xe9'\n"])
def test_a_file_that_is_no_text_is_refused(check: Check, source: bytes) -> None:
    with pytest.raises(BundleError, match="not readable as text"):
        check(source)


def test_a_declared_encoding_is_respected(check: Check) -> None:
    assert check(b"# -*- coding: latin-1 -*-\n# \xe9\n" + MODEL.encode()) == ()


@pytest.mark.parametrize(
    ("source", "python"), [("if (x := 1): pass\n", "3.7"), ("match x:\n    case 1: pass\n", "3.9")]
)
def test_grammar_newer_than_the_bundle_s_python_is_an_error(check: Check, source: str, python: str) -> None:
    assert check(MODEL + source, "3.10") == ()
    with pytest.raises(BundleError, match=f"not valid Python {python}") as failure:
        check(MODEL + source, python)
    assert "newer base_image" in (failure.value.problems[0].next_step or "")


def test_grammar_newer_than_our_own_python_is_a_warning(check: Check) -> None:
    newer = f"3.{sys.version_info[1] + 1}"
    (warning,) = check("some grammar of the future\n", newer)
    assert warning.code == "bundle.entry-point-unread"
    with pytest.raises(BundleError):
        check("some grammar of the future\n", f"3.{sys.version_info[1]}")


@pytest.mark.parametrize(
    ("source", "code", "line", "column"),
    [
        ("import io\nb = io.BytesIO()\nx = 'é'; b.get_value()\n", "get-value", 6, 10),
        ("from io import BytesIO\nwith BytesIO() as b:\n    b.get_value()\n", "get-value", 6, 5),
        ("w = '/home/me/weights.h5'\n", "absolute-path-in-code", 4, 5),
        ("w = 'C:\\\\Users\\\\me\\\\w.pt'\n", "absolute-path-in-code", 4, 5),
        ("w = '/content/drive/w.pt'\n", "absolute-path-in-code", 4, 5),
    ],
)
def test_slips_that_fail_at_run_time_are_warned_of(
    check: Check, source: str, code: str, line: int, column: int
) -> None:
    (warning,) = check(MODEL + source)
    assert warning.code == f"bundle.{code}"
    assert warning.where is not None
    assert (warning.where.line, warning.where.column) == (line, column)
    assert warning.next_step


@pytest.mark.parametrize(
    ("body", "found"),
    [("yield 1", "a generator"), ("self.x = data", "never returns a value"), ("return", "never returns a value")],
)
def test_a_predict_that_gives_no_list_is_warned_of(check: Check, body: str, found: str) -> None:
    (warning,) = check(f"class MDAIModel:\n    def predict(self, data):\n        {body}\n")
    assert found in warning.what
    (warning,) = check("class MDAIModel:\n    async def predict(self, data):\n        return []\n")
    assert "a coroutine" in warning.what


def test_a_missing_file_is_told_with_what_was_meant(making, tmp_path: Path) -> None:
    files = {path: content for path, content in making.model.items() if "deploy" not in path}
    folder = making.folder(tmp_path / "model", {**files, ".mdai/MDAI_Deploy.py": b""})
    with pytest.raises(BundleError, match=r"there is no \.mdai/mdai_deploy\.py") as failure:
        check_entry_point(read_bundle(folder))
    assert failure.value.problems[0].next_step == "rename `.mdai/MDAI_Deploy.py` to `mdai_deploy.py`"


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.text() | st.binary() | st.lists(st.sampled_from([*MODEL.split(" "), "\n", "(", ":", "@", "\t"])).map(" ".join)
)
def test_no_source_breaks_the_check(making, tmp_path_factory, source: str | bytes) -> None:
    content = source if isinstance(source, bytes) else source.encode("utf-8", "surrogatepass")
    folder = making.folder(tmp_path_factory.mktemp("x"), {**making.model, ".mdai/mdai_deploy.py": content})
    try:
        check_entry_point(read_bundle(folder))
    except BundleError as failure:
        for problem in failure.problems:
            assert problem.where is not None
            assert problem.where.source is None or problem.where.source.isprintable()
