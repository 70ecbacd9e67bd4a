"""The command `mdai-build`, its subcommands, and what its exit codes are made from.

The rooms are imported inside the commands, so that `--help` answers at once.
"""

from __future__ import annotations

import difflib
import errno
import gc
import logging
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click
from click.shell_completion import CompletionItem

from mdai_build import __version__
from mdai_build.cli.asking import predict_command, profile_command
from mdai_build.cli.baking import bake_command
from mdai_build.cli.bases import base_commands
from mdai_build.cli.beginning import init_command
from mdai_build.cli.cleaning import clean_command
from mdai_build.cli.describing import COMPLETE_VARIABLE, completion_command, schema_command
from mdai_build.cli.developing import dev_command
from mdai_build.cli.examining import doctor_command
from mdai_build.cli.explaining import explain_command
from mdai_build.cli.github import annotate, on_github
from mdai_build.cli.inspecting import inspect_command
from mdai_build.cli.locking import lock_command
from mdai_build.cli.options import (
    cache_options,
    check_junit,
    check_report,
    check_sarif,
    engine_options,
    install_options,
    json_option,
    junit_option,
    look_up_option,
    model_argument,
    parent_options,
    print_file,
    print_json,
    print_json_text,
    provenance_option,
    read_settings,
    report_option,
    reproducible_option,
    sarif_option,
    silent,
    smoke_options,
    tell_report,
    untested_options,
    write_file,
)
from mdai_build.cli.parents import parents_command
from mdai_build.cli.serving import run_command, test_command
from mdai_build.cli.verifying import verify_command
from mdai_build.errors import BundleError, MdaiBuildError, Problem, UnavailableError, UsageError
from mdai_build.interrupts import ignore_interrupts, interruptible

if TYPE_CHECKING:
    from mdai_build.smoke import Scope

INTERRUPTED = 130


class _ReaderLeftError(Exception):
    """Nobody reads our output any more."""


class DefaultsToBuild(click.Group):
    """A group for which `mdai-build model.zip` is short for `mdai-build build model.zip`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Puts `build` before words that name no command."""
        own = {name for parameter in self.get_params(ctx) for name in parameter.opts}
        first = next((word for word in args if word not in own), None)
        if first is not None and first not in self.commands:
            close = difflib.get_close_matches(first, self.commands, n=1)
            if not first.startswith("-") and not Path(first).exists() and close:
                ctx.fail(f"no such command: {first!r}. Did you mean {close[0]!r}?")
            args.insert(args.index(first), "build")
        return super().parse_args(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """The commands; a shell offers files where no command begins so, since a model may stand there."""
        return [CompletionItem(incomplete, type="file"), *super().shell_complete(ctx, incomplete)]

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the command. click itself would call a closed pipe an error of the program, with exit code 1."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise _ReaderLeftError from None
        except MdaiBuildError as failure:
            annotate(failure.problems, failure.warnings)
            raise


class _Readable(logging.Formatter):
    """Lines of which a terminal obeys nothing: an error's words may be those of a model or a sample."""

    def format(self, record: logging.LogRecord) -> str:
        from mdai_build.report.text import clean

        return clean(super().format(record))


@click.group(cls=DefaultsToBuild, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "--version", message="mdai-build %(version)s")
@click.option("-v", "--verbose", is_flag=True, help="Show the commands that are run, with their output.")
def cli(verbose: bool) -> None:
    """Check, build and test MD.ai model bundles: archive in, tested image out.

    `mdai-build model.zip` is short for `mdai-build build model.zip`.

    \b
    Exit codes: 0 all good, 2 wrong usage, 3 the bundle is wrong, 4 its requirements cannot be met,
    5 engine, parent or network not available, 6 the build failed, 7 the smoke test failed,
    130 interrupted, 1 a bug in mdai-build.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Readable("%(message)s"))
    logging.basicConfig(level=logging.DEBUG if verbose else logging.WARNING, handlers=[handler], force=True)
    # Of the libraries' own chatter nothing helps a user.
    for name in ("docker", "urllib3", "filelock", "PIL", "pydicom"):
        logging.getLogger(name).setLevel(logging.WARNING)


@cli.command()
@model_argument
@click.option("--strict", is_flag=True, help="Exit with 3 where there are warnings too.")
@parent_options
@look_up_option
@json_option
@sarif_option
def check(model: Path, strict: bool, as_json: bool, sarif: Path | None, **options: Any) -> None:
    """Check a bundle without an engine: archive, config, entry point, requirements."""
    from mdai_build.pipeline.check import check_model, summary
    from mdai_build.report.sarif import sarif_text
    from mdai_build.report.terminal import print_checked

    settings = read_settings(options)
    check_sarif(sarif)
    try:
        checked = check_model(model, settings, look_up=True)
    except MdaiBuildError as failure:
        problems, warnings, code = failure.problems, failure.warnings, failure.exit_code
        write_file(sarif, lambda: sarif_text(model, problems, warnings, code))
        raise
    exit_code = BundleError.exit_code if strict and checked.warnings else 0
    found = summary(checked, exit_code)
    if as_json:
        print_json(found)
    else:
        print_checked(found, checked.warnings)
    write_file(sarif, lambda: sarif_text(model, (), checked.warnings, exit_code))
    annotate((), checked.warnings)
    sys.exit(exit_code)


@cli.command()
@model_argument
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="Write the whole build context to this folder instead."
)
@click.option("--plan", "show_plan", is_flag=True, help="Print the build plan as JSON instead of the Dockerfile.")
@parent_options
@look_up_option
@install_options
def render(model: Path, output: Path | None, show_plan: bool, **options: Any) -> None:
    """Print the Dockerfile, or write a folder that plain `docker build` builds."""
    from mdai_build.dockerfile import render_dockerfile
    from mdai_build.pipeline.check import check_model
    from mdai_build.pipeline.planning import plan_model, render_model
    from mdai_build.report.terminal import print_problems

    settings = read_settings(options)
    checked = check_model(model, settings, look_up=True)
    print_problems(checked.warnings, heading="warning")
    if output is not None:
        render_model(checked, settings, output, silent)
        words = ["docker build"]
        if settings.netrc or settings.logins:
            words.append(f"--secret id=netrc,src={shlex.quote(str(settings.netrc or 'NETRC-FILE'))}")
        if settings.wheels:
            words.append(f"--build-context mdai-wheels={shlex.quote(str(settings.wheels))}")
        click.echo(f"wrote the build context; build it with: {' '.join(words)} {shlex.quote(str(output))}", err=True)
        return
    _, plan = plan_model(checked, settings, silent)
    if show_plan:
        print_json_text(plan.as_json())
    else:
        print_file(render_dockerfile(plan).encode())


@cli.command()
@model_argument
@click.option("-t", "--tag", help="Name of the image; default: mdai-build/NAME:latest.")
@untested_options
@click.option("--no-cache", is_flag=True, help="Build every step anew, even where nothing changed.")
@reproducible_option
@provenance_option
@parent_options
@look_up_option
@install_options
@engine_options
@cache_options
@smoke_options
@report_option
@json_option
@junit_option
def build(
    model: Path,
    tag: str | None,
    no_test: bool,
    tag_untested: bool,
    no_cache: bool,
    push: bool,
    provenance: Path | None,
    samples: Path | None,
    scope: Scope | None,
    out: Path | None,
    report: Path | None,
    as_json: bool,
    junit: Path | None,
    **options: Any,
) -> None:
    """Check a bundle, build its image, test it, and tag it if it passed."""
    from mdai_build.cli.progress import Progress
    from mdai_build.pipeline.build import BuildOptions, build_model
    from mdai_build.pipeline.pages import page_of_failures, write_build_page
    from mdai_build.pipeline.serve import Trial
    from mdai_build.report.document import junit_xml, report_as_json
    from mdai_build.report.terminal import print_report

    settings = read_settings(options)
    check_junit(junit)
    check_report(report)
    with Progress() as progress, page_of_failures(str(model), report):
        built = build_model(
            model,
            settings,
            BuildOptions(
                tag,
                not (no_test or tag_untested),
                tag_untested,
                no_cache,
                push,
                provenance,
                Trial(samples, scope, out),
            ),
            progress,
            progress.tell_check,
        )
        if report is not None:
            progress.tell("writing the report")
            write_build_page(built, settings, report)
    if as_json:
        print_json(report_as_json(built))
    print_report(built, to_stderr=as_json)
    tell_report(report)
    write_file(junit, lambda: junit_xml(built))
    smoke = built.smoke
    annotate(smoke.problems if smoke else (), (*built.warnings, *(smoke.warnings if smoke else ())))
    sys.exit(built.exit_code)


@cli.command()
@model_argument
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@parent_options
@engine_options
def wheels(model: Path, folder: Path, **options: Any) -> None:
    """Fill FOLDER with all that a build of MODEL installs, for `build --wheels FOLDER` without a network."""
    from mdai_build.cli.progress import Progress
    from mdai_build.pipeline.files import collect_wheels

    settings = read_settings(options)
    with Progress() as progress:
        count = collect_wheels(model, settings, folder, progress)
    click.echo(f"{folder} holds {count} wheels; build without a network with: ", nl=False, err=True)
    click.echo(f"mdai-build build {model} --wheels {folder} --network none", err=True)


cli.add_command(bake_command)
cli.add_command(base_commands)
cli.add_command(test_command)
cli.add_command(predict_command)
cli.add_command(profile_command)
cli.add_command(run_command)
cli.add_command(dev_command)
cli.add_command(lock_command)
cli.add_command(inspect_command)
cli.add_command(explain_command)
cli.add_command(init_command)
cli.add_command(doctor_command)
cli.add_command(clean_command)
cli.add_command(parents_command)
cli.add_command(verify_command)
cli.add_command(schema_command)
cli.add_command(completion_command)


def main() -> NoReturn:
    """Runs the command and exits: every foreseen failure with its own code and message, never with a traceback."""
    with interruptible():
        try:
            with on_github():
                _run()
        except KeyboardInterrupt:  # while it was told of a failure
            sys.exit(INTERRUPTED)
        finally:
            ignore_interrupts()  # what is done is done, and the exit code says so
            if "mdai_build.scratch" in sys.modules:
                from mdai_build.scratch import remove_own_folders

                remove_own_folders()
            gc.freeze()  # else the interpreter's end goes twice through all that was imported, for a tenth of a second
    sys.exit(0)


def _run() -> None:
    as_json = "--json" in sys.argv
    try:
        cli(standalone_mode=False, prog_name="mdai-build", complete_var=COMPLETE_VARIABLE)
    except click.ClickException as error:
        wrong = UsageError(Problem("usage.words", error.format_message()))
        if as_json:
            _print_failure_as_json(wrong)
        error.show()
        sys.exit(wrong.exit_code)
    except MdaiBuildError as failure:
        _show_failure(failure, as_json)
        sys.exit(failure.exit_code)
    except _ReaderLeftError:
        _drop_output()
        sys.exit(INTERRUPTED)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        _drop_output()
        full = UnavailableError(
            Problem(
                "output.disk-full",
                f"there is no room left on the disk to write {error.filename or 'the output'}",
                next_step="free some disk space",
            )
        )
        _show_failure(full, as_json=False)
        sys.exit(full.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted; nothing was left behind", err=True)
        # CPython notes an interrupt that ends code given as text, as when a dataclass is made, and at its own end dies
        # of SIGINT though it was caught here; the next such code takes the note back (pythonrun.c, run_eval_code_obj).
        exec("")
        sys.exit(INTERRUPTED)


def _drop_output() -> None:
    """Nobody takes our output any more; the interpreter must not try to write the rest of it at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _show_failure(failure: MdaiBuildError, as_json: bool) -> None:
    from mdai_build.report.terminal import print_failure

    if as_json:
        _print_failure_as_json(failure)
    print_failure(failure)


def _print_failure_as_json(failure: MdaiBuildError) -> None:
    from mdai_build.report.document import failure_as_json

    print_json(failure_as_json(failure))
