from __future__ import annotations

import pytest

from mdai_build.errors import Problem
from mdai_build.smoke import failures
from mdai_build.smoke.result import Check, SmokeResult

READ_ONLY = (
    "The model failed to load: OSError\n\nTraceback (most recent call last):\n  x\n"
    "OSError: [Errno 30] Read-only file system: '/src/lib/.mdai/cache.txt'\n"
)


def result(problem: Problem) -> SmokeResult:
    return SmokeResult((Check("x", "failed", 0.0, problem.what, (problem,)),))


@pytest.mark.parametrize(
    "problem", [failures.load_failed(READ_ONLY, ""), failures.refused("ct", READ_ONLY)], ids=["load", "predict"]
)
def test_a_model_that_writes_beside_its_code_is_told_apart(problem: Problem) -> None:
    warning = failures.writes_refused(result(problem))
    assert warning is not None and warning.passed
    (told,) = warning.problems
    assert "cache.txt" in told.what and "tempfile.gettempdir()" in str(told.next_step)


def test_what_else_fails_is_no_matter_of_writing() -> None:
    text = "x\n\nTraceback (most recent call last):\n  print('Read-only file system')\nValueError: 3\n"
    assert failures.writes_refused(result(failures.load_failed(text, ""))) is None
    assert failures.writes_refused(SmokeResult(())) is None


def test_one_wrong_place_is_told_without_repeating_it() -> None:
    place = "  outputs[0].class_index: expected an int\n"
    assert failures.invalid("ct", "The model's outputs are not valid:\n" + place).details is None
    assert failures.invalid("ct", "The model's outputs are not valid:\n" + place * 2).details is not None


TRACEBACK = """The model failed to load: KeyError: 'x'

Traceback (most recent call last):
  File "/src/lib/.mdai/mdai_deploy.py", line 9, in __init__
    self.net = helper.load()
  File "/src/lib/net/helper.py", line 3, in load
    return WEIGHTS["x"]
  File "/opt/conda/lib/python3.8/collections.py", line 70, in get
    raise KeyError(key)
KeyError: 'x'
"""


def test_the_last_line_of_the_models_own_code_is_named() -> None:
    where = failures.load_failed(TRACEBACK, "").where
    assert where is not None
    assert (where.file, where.line, where.source) == ("net/helper.py", 3, 'return WEIGHTS["x"]')
    local = TRACEBACK.replace("/src/lib", "/tmp/mdai-build-run-x_1/lib")
    raised = failures.refused("ct", local)
    assert raised.what == "`predict` failed on sample ct: KeyError: 'x'"
    assert raised.where is not None and (raised.where.file, raised.where.line) == ("net/helper.py", 3)
    assert failures.load_failed("While it loaded the model, the worker process ended", "").where is None


def test_an_error_without_a_place_in_the_model_s_code_is_no_end_of_its_process() -> None:
    told = failures.load_failed("The model failed to load: TypeError: 'Net' object is not callable\n", "")
    assert told.next_step == "correct what the error names in mdai_deploy.py"


def test_a_syntax_error_of_a_helper_is_named() -> None:
    text = (
        'Traceback (most recent call last):\n  File "/src/lib/helper.py", line 2\n    x = = 1\nSyntaxError: invalid\n'
    )
    where = failures.load_failed(text, "").where
    assert where is not None and (str(where), where.source) == ("helper.py:2", "x = = 1")


@pytest.mark.parametrize(
    ("violation", "advice"),
    [
        ("outputs[0].images[0]: expected bytes (found a value of type numpy.ndarray)", "buffer.getvalue()"),
        ("outputs[0].explanations[1].content: expected bytes (found Tensor)", "buffer.getvalue()"),
        ("outputs[0]: expected a dict (found list of 1)", "outputs.extend(...)"),
        ("outputs[0].probability: expected a probability from 0 to 1 (found 37.1)", "divided by 100"),
        ("outputs[0].probability: expected a probability from 0 to 1 (found nan)", "division by zero"),
        ("outputs[0].class_index: expected an int (found a value of type numpy.int64)", "int(...)"),
        ("outputs[0].explanations[0].content: expected bytes (found 'iVBORw0KGgo')", "no base64"),
        ("outputs[0].images[0]: must not be empty", "buffer.getvalue()"),
        ("outputs[0]: expected a dict (found 'type') (and 5 more)", "outputs.append(output)"),
        ("outputs: expected a list of dicts (found '[{...}]')", "without json.dumps()"),
        ("outputs: expected a list of dicts: `predict` has to end with `return outputs` (found None)", "every way"),
        (
            "outputs[0].study_uid: expected a string (found a value of type pydicom.dataelem.DataElement)",
            "str(ds.Study",
        ),
        (
            "outputs[0]: the key `study_uid` is missing: type ANNOTATION needs it",
            '"study_uid": str(ds.StudyInstanceUID)',
        ),
        ("outputs[0].class_index: expected an int (found 'sick')", "names.index(name)"),
        ("outputs[0].data: expected a dict (found list of 4)", '"width"'),
        ("outputs[0].data.mask: expected a list of rows (found '/tmp/mask.png')", "mask.tolist()"),
        ("outputs[0].data.vertices[0]: expected [x, y] (found list of 1)", "reshape(-1, 2)"),
        ('outputs[0].probability[0]: expected {"class_index": int, "probability": float} (found 0.1)', "enumerate("),
    ],
)
def test_what_mends_an_output(violation: str, advice: str) -> None:
    assert advice in str(failures.invalid("ct", f"The model's outputs are not valid:\n  {violation}\n").next_step)


class _Logs:
    url = ""

    def logs(self) -> str:
        return "[server] listening\n[model] x\x0c[server] forged\u2028[server] too\n"


def test_a_line_of_the_model_stays_one_line_of_the_log() -> None:
    assert failures.log_tail(_Logs(), 1) == "[model] x\x0c[server] forged\u2028[server] too"  # type: ignore[arg-type]
