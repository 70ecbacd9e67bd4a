"""Shows what is going on: live on a terminal, plain lines in a log, groups that fold on GitHub. On standard error."""

from __future__ import annotations

import re
import time
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from mdai_build.cli.github import github

if TYPE_CHECKING:
    from mdai_build.engine.steps import StepNow
    from mdai_build.smoke import Check

_WIDEST = 160
_WORDS = {"passed": "ok", "warning": "warning", "failed": "FAILED"}
_STEPS_SHOWN = 4
# The steps of our own Dockerfile that take their time; see templates/stages.
_WORDS_OF_STEPS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"^\[environment .* create --yes"), "making the conda environment"),
    (re.compile(r"^\[packages .*pip install"), "installing the preinstalled packages"),
    (re.compile(r"^\[server .*pip install"), "installing the server's packages"),
    (re.compile(r"^\[installer .*pip install"), "getting uv"),
    (
        re.compile(r"^\[(?:model|resolve|collect|wheels) .*pip (?:install|wheel|compile|download)"),
        "installing requirements.txt",
    ),
    (re.compile(r"^\[(?:tools|system) .*apt-get"), "installing system packages"),
    (re.compile(r"^\[model .*COPY (_mdai/weights/|\.) "), "copying the weights"),
    (re.compile(r"^\[model .*COPY _mdai/code/"), "copying the code"),
    (re.compile(r"^exporting"), "writing the image"),
    (re.compile(r"^importing cache"), "reading the build cache"),
)
_BAR = 20
_QUIET_SECONDS = 30
"""In a log, a step that takes longer than this says that it is still there."""


class Progress:
    """What the pipeline tells goes through here, while the `with` block lasts. Called with a text, it shows that."""

    def __init__(self) -> None:
        from mdai_build.report.text import clean, clean_line

        self._clean, self._clean_line = clean, clean_line
        self._console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True, emoji=False)
        self._live: Live | None = None
        self._begun = time.monotonic()
        self._last = ""
        self._printed = self._begun
        self._phase, self._phase_begun = "", self._begun
        self._steps: dict[str, StepNow] = {}
        utf8 = (self._console.encoding or "").lower().startswith("utf")
        self._spinner = Spinner("dots" if utf8 else "line")
        self._filled, self._empty = ("━", "─") if utf8 else ("#", "-")

    def __enter__(self) -> Progress:
        if self._console.is_terminal and not self._console.is_dumb_terminal and github() is None:
            self._live = Live(
                console=self._console,
                transient=True,
                refresh_per_second=8,
                get_renderable=self._view,
                redirect_stdout=False,
            )
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()
        if (on := github()) is not None:
            on.end_group()

    def __call__(self, text: str) -> None:
        """The same as `tell`: where steps of a build are told too, whoever tells is given this object."""
        self.tell(text)

    def tell(self, text: str) -> None:
        """A new step began, or the present one got further."""
        line = self._clean_line(text).strip()[:_WIDEST]
        is_step = any(step.name == text for step in self._steps.values())
        if not is_step:
            self._begin(line)
        if self._live is None and (line.partition(":")[0] != self._last.partition(":")[0] or not line.endswith("MiB")):
            self._print(line)
        self._last = line

    def step(self, now: StepNow) -> None:
        """A step of the build began, got further or ended."""
        known = self._steps.get(now.id)
        if not self._steps:
            self._phase, self._phase_begun = "building the image", time.monotonic()
            if (on := github()) is not None:
                on.group("build")
        self._steps[now.id] = now
        if self._live is not None or known is None:
            return
        if github() is not None:
            if now.line and now.line != known.line:
                # Not at the beginning of a line, where it could be taken for a command.
                self._console.print(f"           | {self._clean(now.line)}".replace("##[", "# #["))
        elif now.state == "running" and time.monotonic() - self._printed > _QUIET_SECONDS:
            self._print(f"still at {self._clean_line(now.name)[:60]}: {self._clean_line(now.line)[:_WIDEST]}")

    def tell_check(self, check: Check) -> None:
        """A check of the smoke test ended."""
        if self._phase != "smoke test":
            self._begin("smoke test")
        name = self._clean_line(check.name)
        self._last = name
        if self._live is None:
            self._print(f"smoke test: {name}: {_WORDS[check.outcome]}")

    def _begin(self, phase: str) -> None:
        """Something else than the steps of a build begins; of `name: how far` the name counts."""
        if (on := github()) is not None:
            on.end_group()
        self._steps.clear()
        if phase.partition(":")[0] != self._phase.partition(":")[0]:
            self._phase_begun = time.monotonic()
        self._phase = phase

    def _print(self, line: str) -> None:
        self._printed = time.monotonic()
        self._console.print(f"{self._printed - self._begun:7.1f} s  {line}")

    def _view(self) -> RenderableType:
        """What is on the screen now: no line is longer than the screen is wide, none stays when it is over."""
        width = max(20, self._console.width - 1)
        now = time.monotonic()
        steps = list(self._steps.values())
        header = self._phase or "starting"
        if steps:
            ended = [step for step in steps if step.state != "running"]
            cached = sum(step.state == "cached" for step in ended)
            header += f": {len(ended)} steps done" + (f", {cached} of them from the cache" if cached else "")
        elif self._phase == "smoke test" and self._last:
            header += f": {self._last}"
        seconds = f"  {now - self._phase_begun:.1f} s"
        self._spinner.text = Text(_cut(header, width - 2 - len(seconds)) + seconds)
        lines: list[RenderableType] = [self._spinner]
        running = [step for step in steps if step.state == "running"]
        for step in running[-_STEPS_SHOWN:]:
            lines += [Text(_cut(line, width), style=style) for line, style in self._lines_of(step, now, width)]
        return Group(*lines)

    def _lines_of(self, step: StepNow, now: float, width: int) -> list[tuple[str, str]]:
        lines = [(f"  {now - step.begun:6.1f} s  {_in_words(self._clean_line(step.name))}", "")]
        detail = self._clean_line(self._detail(step))
        if detail:
            lines.append((f"            {detail}", "dim"))
        return lines

    def _detail(self, step: StepNow) -> str:
        """What moves: bytes, packages, else the last line of its log."""
        from mdai_build.report.text import size

        if step.total_bytes:
            share = min(1.0, step.done_bytes / step.total_bytes)
            filled = round(share * _BAR)
            bar = self._filled * filled + self._empty * (_BAR - filled)
            return f"{bar} {size(step.done_bytes)} of {size(step.total_bytes)}"
        if step.done_bytes:
            return f"{step.line}: {size(step.done_bytes)}"
        packages = step.packages
        if packages is not None and packages.downloading:
            named = [f"{name} ({size(count)})" if count else name for name, count in packages.downloading]
            count = packages.downloaded + packages.seen
            of = f" of {packages.total}" if packages.total else ""
            return f"{count}{of} packages; {'fetching' if not packages.seen else 'now'} {', '.join(named[-3:])}"
        return step.line


def _in_words(step: str) -> str:
    """What a step does; as it stands in the Dockerfile where nothing shorter is known."""
    return next((words for pattern, words in _WORDS_OF_STEPS if pattern.search(step)), step)


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: max(0, width - 3)] + "..."
