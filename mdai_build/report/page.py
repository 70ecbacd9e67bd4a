"""The HTML report: one page that needs nothing but itself, rendered from `templates/report/`.

All that it shows may come from strangers: Jinja escapes every text, and the page's own policy (CSP) lets the browser
run this page's script, apply its style and show pictures that are in it, and nothing else.
"""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from mdai_build import __version__
from mdai_build.errors import MdaiBuildError, Problem
from mdai_build.report.text import clean, clean_line, duration, size
from mdai_build.report.writing import writing
from mdai_build.resources import resource

if TYPE_CHECKING:
    from mdai_build.report.charts import ProfileView
    from mdai_build.report.inspection import Inspection
    from mdai_build.report.values import BuildReport
    from mdai_build.report.views import SampleView
    from mdai_build.smoke.profile import ProfileResult
    from mdai_build.smoke.result import Check, SmokeResult

_FOLDER = ("templates", "report")
Facts = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class StepRow:
    """A step or a stage of a build, in wall seconds since the build began."""

    name: str
    start: float | None
    """None where it is not known; `end` is then how long it took."""
    end: float
    cached: bool


@dataclass(frozen=True)
class Page:
    """All that a report may show; what is empty has no section."""

    title: str
    passed: bool
    verdict: str
    facts: Facts = ()
    errors: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()
    steps: tuple[StepRow, ...] = ()
    """Of the build."""
    overrides: tuple[str, ...] = ()
    inspection: Inspection | None = None
    checks: tuple[Check, ...] = ()
    measured: Facts = ()
    samples: tuple[SampleView, ...] = ()
    profile: ProfileView | None = None


def page_of_build(report: BuildReport, inspection: Inspection | None, samples: Sequence[SampleView]) -> Page:
    """The page of a build; `inspection` is of the image that it made."""
    facts = [("parent", f"{report.parent.reference}: {report.parent.why}")]
    if report.image is not None:
        facts.insert(0, ("image", f"{report.image.reference}, {size(report.image.size_bytes)}"))
        facts.insert(1, ("identifier", report.image.id))
    if report.pushed is not None:
        facts.append(("pushed to", report.pushed.reference))
    facts.append(("took", duration(report.seconds_total)))
    if report.image is None:
        verdict = "the smoke test failed; no image was kept"
    else:
        verdict = ("built" if report.stages else "unchanged") + (" and tested" if report.smoke else ", not tested")
    # Where the builder did not tell when its steps ran, the stages stand in for them.
    steps = [StepRow(step.name, step.start, step.end, cached=False) for step in report.steps]
    steps = steps or [StepRow(stage.name, None, stage.seconds, stage.cached) for stage in report.stages]
    smoke = report.smoke
    return Page(
        title=report.image.reference if report.image else "build",
        passed=report.exit_code == 0,
        verdict=verdict,
        facts=tuple(facts),
        errors=smoke.problems if smoke else (),
        warnings=(*report.warnings, *(smoke.warnings if smoke else ())),
        steps=tuple(steps),
        overrides=report.overrides,
        inspection=inspection,
        checks=smoke.checks if smoke else (),
        measured=measured(smoke) if smoke else (),
        samples=tuple(samples),
    )


def page_of_test(
    target: str,
    smoke: SmokeResult,
    samples: Sequence[SampleView],
    inspection: Inspection | None = None,
    warnings: Sequence[Problem] = (),
) -> Page:
    """The page of a smoke test; `warnings` are those of the bundle."""
    return Page(
        title=target,
        passed=smoke.passed,
        verdict="the smoke test passed" if smoke.passed else "the smoke test failed",
        errors=smoke.problems,
        warnings=(*warnings, *smoke.warnings),
        inspection=inspection,
        checks=smoke.checks,
        measured=measured(smoke),
        samples=tuple(samples),
    )


def page_of_prediction(
    title: str, facts: Facts, smoke: SmokeResult, samples: Sequence[SampleView], warnings: Sequence[Problem] = ()
) -> Page:
    """The page of what a model says of a user's files; every request has its sample."""
    good = sum(sample.outcome != "failed" for sample in samples)
    told = {sample.name for sample in samples}
    failed = [check for check in smoke.checks if not check.passed and clean_line(check.name) not in told]
    return Page(
        title=title,
        facts=facts,
        passed=smoke.passed,
        verdict=f"{good} of {len(samples)} requests answered as the interface asks",
        errors=tuple(problem for check in failed for problem in check.problems),
        warnings=tuple(warnings),
        measured=measured(smoke),
        samples=tuple(samples),
    )


def page_of_profile(
    title: str, facts: Facts, view: ProfileView, profile: ProfileResult, warnings: Sequence[Problem] = ()
) -> Page:
    """The page of a profile."""
    return Page(
        title=title,
        facts=facts,
        passed=profile.passed,
        verdict=f"{view.count} answers measured",
        errors=profile.problems,
        warnings=tuple(warnings),
        profile=view,
    )


def page_of_failure(title: str, failure: MdaiBuildError) -> Page:
    """The page of what ended before there was anything to show."""
    return Page(title, False, failure.title, errors=failure.problems, warnings=failure.warnings)


def measured(smoke: SmokeResult) -> Facts:
    """What a smoke test measured, for people."""
    rows = (
        ("loads in", smoke.load_seconds and duration(smoke.load_seconds)),
        ("first answer", smoke.first_seconds and duration(smoke.first_seconds)),
        ("later answers", smoke.later_seconds and duration(smoke.later_seconds)),
        ("peak memory", smoke.peak_memory and size(smoke.peak_memory)),
        ("API version", smoke.api_version),
    )
    return tuple((name, str(value)) for name, value in rows if value)


def render_page(page: Page) -> str:
    """The page as HTML; the same page gives the same text, but for the time that it carries."""
    environment = Environment(
        loader=FileSystemLoader(resource(*_FOLDER)),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "clean": clean,
        "line": clean_line,
        "size": size,
        "duration": duration,
        "percent": _percent,
    }
    style, script = _own("style.css"), _own("script.js")
    policy = (
        f"default-src 'none'; img-src data:; style-src '{_digest(style)}'; script-src '{_digest(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    return environment.get_template("page.html.j2").render(
        page=page,
        style=style,
        script=script,
        policy=policy,
        version=__version__,
        created=time.strftime("%Y-%m-%d %H:%M:%S %z"),
        total=max((step.end for step in page.steps), default=0.0) or 1.0,
    )


def _own(name: str) -> Markup:
    return Markup(resource(*_FOLDER, name).read_text(encoding="utf-8"))


def _digest(text: str) -> str:
    """What a policy knows an inline script or style by (CSP Level 3, section 2.3.1)."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")


def _percent(value: float) -> str:
    return f"{100 * value:.2f}"


def write_page(page: Page, file: Path) -> None:
    """Writes the page; a reader never sees half of it.

    Raises:
        UsageError: it cannot be written there.
    """
    part = file.with_name(file.name + ".part")
    text = render_page(page)
    with writing(file):
        try:
            part.write_text(text, encoding="utf-8")
            part.replace(file)
        finally:
            part.unlink(missing_ok=True)
