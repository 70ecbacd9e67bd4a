#!/opt/conda/bin/python
"""The `conda` of the local parent image: the commands that image recipes use, on py-rattler's solver and linker.

conda itself is on no package index; py-rattler is the same ecosystem's solver, package cache and linker as a library.
Inside the image this file is /opt/conda/bin/conda; `scripts/parent.py` calls `create` from the host to make the base
environment.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

import yaml
from rattler import Channel, Gateway, MatchSpec, VirtualPackage, install, solve
from rattler.exceptions import (
    FetchRepoDataError,
    GatewayError,
    InstallerError,
    InvalidMatchSpecError,
    LinkError,
    SolverError,
)

BASE = Path("/opt/conda")


class CondaError(Exception):
    """What the user asked for cannot be done; printed without a traceback, exit code 1."""


def create(
    prefix: Path,
    specs: Sequence[str],
    channels: Sequence[str],
    *,
    cache: Path,
    final_prefix: Path | None = None,
) -> None:
    """Solve `specs` against `channels` and link the result into `prefix`, replacing the environment that is there.

    Args:
        prefix: folder of the environment.
        specs: conda match specifications, such as `python=3.8`.
        channels: names, URLs or folders, the first one preferred.
        cache: folder for package and repodata caches.
        final_prefix: where the environment will lie in the end, if elsewhere.

    Raises:
        CondaError: nothing satisfies the specifications, a channel cannot be read, or a package cannot be linked.
    """
    if (prefix / "conda-meta").exists():
        shutil.rmtree(prefix)
    elif prefix.exists() and any(prefix.iterdir()):
        raise CondaError(f"{prefix} exists and is no conda environment: remove it, or choose another name")
    try:
        wanted = [MatchSpec(spec) for spec in specs]
        asyncio.run(_solve_and_link(prefix, wanted, channels, cache, final_prefix))
    except InvalidMatchSpecError as problem:
        raise CondaError(f"not a package specification: {problem}") from problem
    except SolverError as problem:
        raise CondaError(f"no set of packages in {', '.join(channels)} satisfies this:\n{problem}") from problem
    except (GatewayError, FetchRepoDataError) as problem:
        raise CondaError(f"cannot read the channels {', '.join(channels)}: {problem}") from problem
    except (InstallerError, LinkError) as problem:
        raise CondaError(f"cannot make {prefix}: {problem}") from problem


async def _solve_and_link(
    prefix: Path, specs: list[MatchSpec], channels: Sequence[str], cache: Path, final_prefix: Path | None
) -> None:
    records = await solve(
        [Channel(channel) for channel in channels],
        specs,
        gateway=Gateway(cache_dir=cache / "cache"),
        virtual_packages=VirtualPackage.detect(),
    )
    await install(
        records,
        prefix,
        cache_dir=cache,
        show_progress=False,
        execute_link_scripts=True,
        alternative_target_prefix=final_prefix,
    )


def configured_channels() -> list[str]:
    """The channels of `.condarc`, the user's before the installation's.

    Raises:
        CondaError: the file is not a YAML map with a list `channels`.
    """
    for file in (Path.home() / ".condarc", BASE / ".condarc"):
        if not file.exists():
            continue
        try:
            channels = yaml.safe_load(file.read_text(encoding="utf-8"))["channels"]
        except (yaml.YAMLError, KeyError, TypeError) as problem:
            raise CondaError(f"{file} is not a YAML map with the key `channels`") from problem
        return [str(channel) for channel in channels]
    return []


def prefix_of(options: argparse.Namespace) -> Path:
    """The folder that `-n` or `-p` names."""
    if options.prefix:
        return Path(options.prefix).absolute()
    return BASE if options.name == "base" else BASE / "envs" / str(options.name)


def run_create(options: argparse.Namespace) -> None:
    channels = list(options.channel)
    if not options.override_channels:
        channels += [channel for channel in configured_channels() if channel not in channels]
    if options.offline:
        channels = [channel for channel in channels if channel.startswith(("file:", "/", "."))]
    if not channels:
        raise CondaError(
            "no channel to take packages from: name one with -c, or drop --override-channels and --offline"
        )
    prefix = prefix_of(options)
    create(prefix, options.packages, channels, cache=BASE / "pkgs")
    print(f"environment location: {prefix}")
    for name in sorted(path.name.removesuffix(".json") for path in (prefix / "conda-meta").glob("*.json")):
        print(f"  {name}")


def run_env(options: argparse.Namespace) -> None:
    print("# conda environments:\n#")
    print(f"{'base':<20} {BASE}")
    for environment in sorted((BASE / "envs").glob("*/conda-meta")):
        print(f"{environment.parent.name:<20} {environment.parent}")


def run_info(options: argparse.Namespace) -> None:
    if options.base:
        print(BASE)
    elif options.envs:
        run_env(options)
    else:
        print(f"       conda version : {version()}\n    base environment : {BASE}")
        print(f"            channels : {', '.join(configured_channels())}\n       package cache : {BASE / 'pkgs'}")


def run_clean(options: argparse.Namespace) -> None:
    shutil.rmtree(BASE / "pkgs", ignore_errors=True)


def run_run(options: argparse.Namespace) -> None:
    prefix = prefix_of(options)
    if not (prefix / "conda-meta").exists():
        raise CondaError(f"no environment at {prefix}; `conda env list` names those there are")
    path = f"{prefix / 'bin'}:{os.environ.get('PATH', os.defpath)}"
    environment = {**os.environ, "PATH": path, "CONDA_PREFIX": str(prefix), "CONDA_DEFAULT_ENV": prefix.name}
    command = shutil.which(options.command[0], path=path) if options.command else None
    if command is None:
        raise CondaError(f"no command {' '.join(options.command[:1])!r} in {prefix} or on PATH")
    os.execve(command, options.command, environment)


def run_config(options: argparse.Namespace) -> None:
    print(f"channels: {configured_channels()}")


def version() -> str:
    return f"{metadata.version('py-rattler')} (py-rattler, in the local parent image of mdai-build)"


def parser() -> argparse.ArgumentParser:
    """The command line: conda's own words for what is here, everything else refused."""
    top = argparse.ArgumentParser(prog="conda", description=__doc__.splitlines()[0])
    top.add_argument("-V", "--version", action="version", version=f"conda {version()}")
    commands = top.add_subparsers(required=True, metavar="command")
    target = argparse.ArgumentParser(add_help=False)
    where = target.add_mutually_exclusive_group(required=True)
    where.add_argument("-n", "--name")
    where.add_argument("-p", "--prefix")
    # conda asks before it acts and shows progress; this one does neither.
    quiet = argparse.ArgumentParser(add_help=False)
    quiet.add_argument("-y", "--yes", action="store_true")
    quiet.add_argument("-q", "--quiet", action="store_true")

    made = commands.add_parser("create", parents=[target, quiet], help="make an environment")
    made.add_argument("-c", "--channel", action="append", default=[])
    made.add_argument("--override-channels", action="store_true")
    made.add_argument("--offline", action="store_true")
    made.add_argument("packages", nargs="+", help="such as python=3.8")
    made.set_defaults(run=run_create)

    environments = commands.add_parser("env", help="list environments")
    environments.add_argument("action", choices=["list"])
    environments.set_defaults(run=run_env)

    info = commands.add_parser("info", help="show this installation")
    info.add_argument("--base", action="store_true")
    info.add_argument("-e", "--envs", action="store_true")
    info.set_defaults(run=run_info)

    clean = commands.add_parser("clean", parents=[quiet], help="remove the package cache")
    for short, long in (
        ("-a", "--all"),
        ("-f", "--force-pkgs-dirs"),
        ("-p", "--packages"),
        ("-t", "--tarballs"),
    ):
        clean.add_argument(short, long, action="store_true")
    clean.set_defaults(run=run_clean)

    config = commands.add_parser("config", help="show the channels; settings are accepted and change nothing")
    config.add_argument("--show", nargs="*")
    for action in ("--set", "--add", "--append", "--prepend", "--remove"):
        config.add_argument(action, nargs=2)
    config.set_defaults(run=run_config)

    inside = commands.add_parser("run", parents=[target], help="run a command in an environment")
    inside.add_argument("--no-capture-output", "--live-stream", action="store_true")
    inside.add_argument("command", nargs=argparse.REMAINDER)
    inside.set_defaults(run=run_run)
    return top


def main(words: Sequence[str] | None = None) -> int:
    options = parser().parse_args(words)
    try:
        options.run(options)
    except CondaError as problem:
        print(f"CondaError: {problem}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # The solver's own threads may still want the interpreter while it ends, and would then abort the process.
    os._exit(code)
