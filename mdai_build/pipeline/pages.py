"""Pages about builds and smoke tests: engine and smoke -> report."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from mdai_build.errors import MdaiBuildError
from mdai_build.settings import Settings

if TYPE_CHECKING:
    from mdai_build.pipeline.serve import Outcome
    from mdai_build.report.inspection import Inspection
    from mdai_build.report.values import BuildReport
    from mdai_build.report.views import SampleView
    from mdai_build.smoke.result import SmokeResult

PAGE = "report.html"


def write_build_page(report: BuildReport, settings: Settings, file: Path) -> None:
    """Writes the page of a build, with what is in its image."""
    from mdai_build.report.page import page_of_build, write_page

    inspection = _inspected(report.image.id, settings) if report.image else None
    write_page(page_of_build(report, inspection, _views(report.smoke)), file)


def write_test_page(target: str, outcome: Outcome, settings: Settings, file: Path, *, is_image: bool) -> None:
    """Writes the page of a smoke test; of an image, with what is in it."""
    from mdai_build.report.page import page_of_test, write_page

    inspection = _inspected(target, settings) if is_image else None
    write_page(page_of_test(target, outcome.smoke, _views(outcome.smoke), inspection, outcome.warnings), file)


@contextlib.contextmanager
def page_of_failures(title: str, file: Path | None) -> Iterator[None]:
    """Writes the page of a failure in the block too; it stays one."""
    try:
        yield
    except MdaiBuildError as failure:
        if file is not None:
            from mdai_build.report.page import page_of_failure, write_page

            with contextlib.suppress(OSError, MdaiBuildError):
                write_page(page_of_failure(title, failure), file)
        raise


def _inspected(image: str, settings: Settings) -> Inspection | None:
    """What is in an image; None where the engine does not tell, which is no reason to have no page."""
    from mdai_build.pipeline.inspect import inspect_image

    with contextlib.suppress(MdaiBuildError):
        return inspect_image(image, settings)
    return None


def _views(smoke: SmokeResult | None) -> tuple[SampleView, ...]:
    """The samples that were answered, in the order in which they were sent."""
    from mdai_build.report.frames import Budget
    from mdai_build.report.views import sample_view

    if smoke is None:
        return ()
    budget = Budget()
    checks = {check.name: check for check in smoke.checks}
    return tuple(
        sample_view(answer.request, answer, checks.get(answer.request.name), budget) for answer in smoke.answers
    )
