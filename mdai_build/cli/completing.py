"""What a shell offers when a word is completed. It comes in a moment or not at all, and never with an error."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path

import click
from click.shell_completion import CompletionItem

_ARCHIVES = (".zip", ".tar.gz", ".tgz")


def bundles(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Archives and folders of models; where there is none, or a folder that may hold some, all files."""
    files = CompletionItem(incomplete, type="file")
    folder, _, begin = incomplete.rpartition("/")
    place = Path(f"{folder}/" if "/" in incomplete else ".").expanduser()
    found = []
    with contextlib.suppress(OSError):
        for entry in sorted(place.iterdir()):
            if not entry.name.startswith(begin) or (entry.name.startswith(".") and not begin):
                continue
            if entry.is_dir() and not (entry / ".mdai").is_dir():
                return [files]
            if entry.is_dir() or entry.name.endswith(_ARCHIVES):
                found.append(CompletionItem(incomplete[: len(incomplete) - len(begin)] + entry.name))
    return found or [files]


def images(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Images that we built, of the engine that answers; with --local, bundles."""
    from mdai_build.engine import connect
    from mdai_build.errors import MdaiBuildError
    from mdai_build.plan import LABEL_PREFIX
    from mdai_build.settings import load_settings

    if context.params.get("local"):
        return bundles(context, parameter, incomplete)
    with contextlib.suppress(MdaiBuildError, OSError):
        tags = connect(load_settings({}).engine_folder).tags_labelled(f"{LABEL_PREFIX}version")
        return _beginning(tags, incomplete)
    return []


def parents(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The words for parents; any image is one too."""
    return _beginning(("gcp", "slim", "local"), incomplete)


def parent_names(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The names under which parents are pinned."""
    from mdai_build.errors import MdaiBuildError
    from mdai_build.pipeline.parents import list_parents
    from mdai_build.settings import load_settings

    with contextlib.suppress(MdaiBuildError):
        return _beginning((parent.name for parent in list_parents(load_settings({}))), incomplete)
    return []


def cuda_versions(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Those that config.yaml takes."""
    from mdai_build.config.model import CUDA_VERSIONS

    return _beginning(CUDA_VERSIONS, incomplete)


def python_versions(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Those that config.yaml takes."""
    from mdai_build.config.model import BASE_IMAGES

    return _beginning((f"{name[2]}.{name[3:]}" for name in BASE_IMAGES if name.startswith("py")), incomplete)


def message_numbers(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The numbers of messages, in whatever case."""
    from mdai_build.error_pages import error_pages

    pages = error_pages().values()
    return [CompletionItem(p.number, help=p.title) for p in pages if p.number.startswith(incomplete.upper())]


def schema_names(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The names of schemas."""
    from mdai_build.report.schemas import NAMES

    return _beginning(NAMES, incomplete)


def _beginning(words: Iterable[str], incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(word) for word in dict.fromkeys(words) if word.startswith(incomplete)]
