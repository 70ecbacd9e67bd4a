"""The Python API: the jobs of the command line as functions. `from mdai_build import build, check` gets them from here.

Each takes the settings by name, as the options and `mdai-build.toml` have them, and gives a frozen value; a failure is
an exception, a `MdaiBuildError`. Nothing is printed, and nothing ends the process.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mdai_build.errors import MdaiBuildError
from mdai_build.pipeline.check import CheckedModel, check_model
from mdai_build.settings import load_settings

if TYPE_CHECKING:
    from mdai_build.pipeline.ask import Prediction
    from mdai_build.pipeline.serve import Outcome, Trial
    from mdai_build.report.values import BuildReport
    from mdai_build.smoke.request import Scope, SmokeRequest
    from mdai_build.smoke.result import Answer, Check

PathLike = Path | str
Tell = Callable[[str], None]


def _nobody(text: object) -> None:
    """Whom progress is told to where nobody asked."""


def check(model: PathLike, **settings: Any) -> CheckedModel:
    """Everything that can be known about a bundle without an engine; its code is read, never run.

    Args:
        model: a .zip, a .tar.gz or a folder.
        settings: by their names, such as `offline=True`; of what is not given, the environment, `mdai-build.toml` and
            the defaults decide.

    Raises:
        UsageError: a setting is unknown or has a value that it cannot have, or there is no such file.
        BundleError: the bundle, its config or its entry point is wrong.
        RequirementsError: its requirements cannot be met.
    """
    return check_model(Path(model), load_settings(settings), look_up=True)


def build(
    model: PathLike,
    *,
    tag: str | None = None,
    test: bool = True,
    tag_untested: bool = False,
    no_cache: bool = False,
    push: bool = False,
    provenance: PathLike | None = None,
    samples: PathLike | None = None,
    scope: Scope | None = None,
    out: PathLike | None = None,
    on_progress: Tell = _nobody,
    on_check: Callable[[Check], None] = _nobody,
    **settings: Any,
) -> BuildReport:
    """Checks a bundle, builds its image, tests it, and tags it if it passed.

    A failed smoke test is no exception: the report tells, its `exit_code` is 7 and its `image` None.

    Args:
        model: a .zip, a .tar.gz or a folder.
        tag: name of the image; default: `mdai-build/NAME:latest`.
        test: whether the image has to pass the smoke test before it gets its tag.
        tag_untested: whether an image that is not tested takes the tag even from a tested one.
        no_cache: whether every step is built anew.
        push: whether an image that passed is pushed to the registry that its tag names.
        provenance: a file for the statement of what the image was built from.
        samples: a folder of your own files to test with.
        scope: what one request of the test holds.
        out: folder for the pictures.
        on_progress: is told what goes on, a line at a time; what the builder prints too.
        on_check: is told each check of the smoke test as soon as it is decided.
        settings: by their names, such as `parent="local"`; see `check`.

    Raises:
        MdaiBuildError: something before the smoke test failed; see `errors` for its kinds.
    """
    from mdai_build.pipeline.build import BuildOptions, build_model

    options = BuildOptions(tag, test, tag_untested, no_cache, push, _path(provenance), _trial(samples, scope, out))
    return build_model(Path(model), load_settings(settings), options, on_progress, on_check)


def test(
    target: PathLike,
    *,
    python: str | None = None,
    samples: PathLike | None = None,
    scope: Scope | None = None,
    out: PathLike | None = None,
    on_progress: Tell = _nobody,
    on_check: Callable[[Check], None] = _nobody,
    **settings: Any,
) -> Outcome:
    """The smoke test of an image that exists; with `python`, of a bundle in that Python, without an engine.

    That it failed is no exception: `exit_code` of what is returned is 7 then, and `smoke.problems` say why.

    Args:
        target: an image, or with `python` a bundle.
        python: a Python of this machine that has the model's packages.
        samples: a folder of your own files to test with.
        scope: what one request holds.
        out: folder for the pictures.
        on_progress: is told what goes on.
        on_check: is told each check as soon as it is decided.
        settings: by their names; see `check`.

    Raises:
        MdaiBuildError: the image or the bundle cannot be tried at all.
    """
    from mdai_build.pipeline.serve import test_image, test_local

    trial, values = _trial(samples, scope, out), load_settings(settings)
    if python is not None:
        return test_local(Path(target), python, values, trial, on_progress, on_check)
    return test_image(str(target), values, trial, on_check)


# pytest takes a function of this name for one of a user's tests, wherever it is imported.
test.__test__ = False  # type: ignore[attr-defined]


def predict(
    target: PathLike,
    files: PathLike | Sequence[PathLike],
    *,
    python: str | None = None,
    scope: Scope | None = None,
    args: Mapping[str, str] | None = None,
    annotations: PathLike | None = None,
    label_classes: PathLike | None = None,
    out: PathLike | None = None,
    report: PathLike | None = None,
    on_progress: Tell = _nobody,
    on_answer: Callable[[SmokeRequest, Answer | None, Check | None], None] | None = None,
    **settings: Any,
) -> Prediction:
    """Sends files to a model, and gives what it answers.

    Args:
        target: an image, the address of a server (http://…), or with `python` a bundle.
        files: DICOM, JPEG or PNG files, folders, patterns, DICOMDIRs or zip archives.
        python: a Python of this machine that has the model's packages.
        scope: what one request holds; default: as the model's smoke.yaml says, else SERIES.
        args: arguments for the model.
        annotations: a JSON file of annotations.
        label_classes: a JSON or YAML file of the model card's classes.
        out: folder for outputs.json, outputs.msgpack, pictures and report.html.
        report: a file for the page, where there is no `out`.
        on_progress: is told what goes on.
        on_answer: is told each answer as it comes, with its request and its check; None where there is none. Outputs
            may be large: they are in `outputs` of the answer and are not kept in what is returned.
        settings: by their names; see `check`.

    Raises:
        UsageError: the files, or what goes with them, are wrong.
        MdaiBuildError: the model cannot be served.
    """
    from mdai_build.pipeline import ask
    from mdai_build.smoke.asked import Asked

    names = (files,) if isinstance(files, (str, Path)) else tuple(files)
    asked = Asked(tuple(map(str, names)), scope, dict(args or {}), _path(annotations), _path(label_classes))
    place = ask.Place(str(target), python)

    def answered(request: SmokeRequest, answer: Answer | None, check: Check | None) -> None:
        if on_answer is not None:
            on_answer(request, answer, check)

    return ask.predict(
        place, asked, load_settings(settings), _path(out), _path(report), None, on_progress, _nobody, answered
    )


def as_json(result: CheckedModel | BuildReport | Outcome | MdaiBuildError) -> Mapping[str, Any]:
    """What the command prints with `--json` for this result or failure, as JSON-ready values."""
    from mdai_build.report.document import failure_as_json, report_as_json, smoke_as_json
    from mdai_build.report.values import BuildReport

    if isinstance(result, MdaiBuildError):
        return failure_as_json(result)
    if isinstance(result, CheckedModel):
        from mdai_build.pipeline.check import summary

        return summary(result)
    if isinstance(result, BuildReport):
        return report_as_json(result)
    return smoke_as_json(result.target, result.smoke, result.pictures, result.warnings)


def _path(given: PathLike | None) -> Path | None:
    return None if given is None else Path(given)


def _trial(samples: PathLike | None, scope: Scope | None, out: PathLike | None) -> Trial:
    from mdai_build.pipeline.serve import Trial

    return Trial(_path(samples), scope, _path(out))
