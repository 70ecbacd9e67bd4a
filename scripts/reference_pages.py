"""Write docs/reference/ from the code: `python scripts/reference_pages.py`.

A test holds the pages and the code together.
"""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click
from annotated_types import Ge, Gt
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from mdai_build import errors
from mdai_build.cli.main import INTERRUPTED, cli
from mdai_build.config import ModelConfig
from mdai_build.runtime.settings import VARIABLES
from mdai_build.settings import _OPTIONS, PREFIX, SETTINGS_FILE, Settings
from mdai_build.smoke.smoke_file import Expect, Label, LabelClass, SmokeFile

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "reference"
NOTE = "<!-- Written by `python scripts/reference_pages.py` from {source}. -->"
_SIZES = frozenset({"memory", "keep_bytes", "bundle_bytes"})
_OF_THE_MACHINE = {
    "cache_folder": "the user's cache folder, `mdai-build/`",
    "engine_folder": "the user's data folder, `mdai-build/engine/`",
    "ca_bundle": "this machine's own",
    "proxies": "those of the environment",
}


def pages() -> Mapping[str, str]:
    """The text of each page, by its name in docs/reference/."""
    texts: Mapping[str, Callable[[], Iterator[str]]] = {
        "commands.md": commands_page,
        "exit-codes.md": exit_codes_page,
        "config.md": config_page,
        "smoke.md": smoke_page,
        "settings.md": settings_page,
        "server.md": server_page,
    }
    return {name: "\n".join(text()) + "\n" for name, text in texts.items()}


# ---- commands ----


def commands(group: click.Group = cli, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command with the words that call it, groups before what is in them."""
    for name, command in group.commands.items():
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


def commands_page() -> Iterator[str]:
    yield from _begin("Commands", "the commands themselves")
    yield (
        "`mdai-build model.zip` is short for `mdai-build build model.zip`. Before a command, `-v` shows the commands "
        "that are run, and `--version` the version. Each command takes `--help`. An option that has a "
        "[setting](settings.md) of the same name overrides it. [Exit codes](exit-codes.md)."
    )
    yield ""
    listed = sorted(commands())
    yield from table(("command", "does"), ([f"[`{' '.join(p)}`](#{'-'.join(p)})", _first_line(c)] for p, c in listed))
    for path, command in listed:
        yield from _command(path, command)


def _command(path: tuple[str, ...], command: click.Command) -> Iterator[str]:
    # As below the group: click keeps the help option of a command as it was first asked for.
    context = click.Context(command, info_name=" ".join(("mdai-build", *path)), **cli.context_settings)
    usage = list(command.collect_usage_pieces(context))
    # The anchor's name is the command's words: what stands in the heading besides must not be in it.
    yield from ("", f"## {' '.join(path)}", "", "```text", " ".join((context.command_path, *usage)), "```", "")
    yield _text(command.help or "")
    options = [each for each in command.get_params(context) if isinstance(each, click.Option) and not each.hidden]
    options = [option for option in options if option.name != "help"]
    if options:
        yield ""
        yield from table(("option", "does"), ([_option(option, context), _does(option)] for option in options))


def _option(option: click.Option, context: click.Context) -> str:
    words = ", ".join(f"`{word}`" for word in (*option.secondary_opts, *reversed(option.opts)))
    if option.is_flag:
        return words
    metavar = option.make_metavar(context).strip("[]").replace("|", r"\|")
    return f"{words} `{metavar}`"


def _does(option: click.Option) -> str:
    text = _cell(option.help or "")
    if option.multiple and "epeat" not in text:
        text += " May be repeated."
    return f"{text} Default: {option.default}." if option.show_default else text


def _first_line(command: click.Command) -> str:
    return _cell((command.help or "").split("\n\n")[0])


def _text(text: str) -> str:
    """A docstring of click's as Markdown."""
    return inspect.cleandoc(text).replace("\b\n", "")


# ---- exit codes ----


def exit_codes() -> Mapping[int, str]:
    """What each exit code means, from the classes of failures."""
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    found: dict[int, str] = {0: "All is good."}
    for kind in kinds:
        if kind is not errors.MdaiBuildError:
            code = typing.cast("type[errors.MdaiBuildError]", kind).exit_code
            text = (kind.__doc__ or "").strip().splitlines()[0]
            found[code] = f"{found[code]} Or: {text[0].lower()}{text[1:]}" if code in found else text
    found[1] = "A bug in mdai-build; there is a traceback."
    found[INTERRUPTED] = (
        "Interrupted, by Ctrl-C or a signal, or nobody reads the output any more. Nothing is left behind."
    )
    return dict(sorted(found.items()))


_AFTERWARDS = {
    1: "report it",
    2: "correct the command or the settings",
    3: "the model's author mends it: the message names file and line",
    4: "the model's author mends it; or the index lacks something",
    5: "try again later, or `mdai-build doctor`: the model is not the cause",
    6: "read the log of the failed step, which is shown",
    7: "the model's author mends it: the message shows the model's traceback, or the wrong value",
}


def exit_codes_page() -> Iterator[str]:
    yield from _begin("Exit codes", "mdai_build/errors.py")
    rows = ([str(code), text, _AFTERWARDS.get(code, "")] for code, text in exit_codes().items())
    yield from table(("code", "means", "what then"), rows)
    yield ""
    yield (
        "`bake` ends with the lowest code of its models that is not 0. `--json` has the code too (`exit_code`), with "
        "all problems; [Messages](../errors.md) has each kind of them."
    )


# ---- files of the bundle ----


def config_page() -> Iterator[str]:
    yield from _begin("config.yaml", "mdai_build/config/model.py")
    yield (
        "The file `.mdai/config.yaml` (or `config.yml`) of a [bundle](../bundle.md). Values are read without regard to "
        "case; `11` is CUDA 11.0. A key that is not known is a warning, and a wrong value an error, each with its line."
    )
    yield ""
    yield from table(
        ("key", "values", "default", "means"), (_field(*each) for each in ModelConfig.model_fields.items())
    )
    yield from (
        "",
        "```yaml",
        "base_image: py310",
        "device_type: gpu",
        "cuda_version: 11.8",
        "env:",
        '  THRESHOLD: "0.5"',
    )
    yield "```"


def smoke_page() -> Iterator[str]:
    yield from _begin("smoke.yaml", "mdai_build/smoke/smoke_file.py")
    yield (
        "The file `.mdai/smoke.yaml` of a bundle: how the [smoke test](../smoke-test.md) and [predict](../predict.md) "
        "try the model. Every key may be left out."
    )
    yield ""
    parts = ((SmokeFile, ""), (LabelClass, "label_classes"), (Label, "label"), (Expect, "expect"))
    for model, name in parts:
        if name:
            yield from ("", f"## {name}", "", (model.__doc__ or "").strip(), "")
        yield from table(("key", "values", "default", "means"), (_field(*each) for each in model.model_fields.items()))
    yield from ("", "```yaml", "scope: SERIES", "samples: [samples/*.dcm]", "label_classes:", "  - class_index: 0")
    yield "    label: {name: Lung, type: LOCAL, scope: INSTANCE, annotation_mode: mask}"
    yield from ("expect:", "  min_outputs: 1", "```")


# ---- settings ----


def settings_page() -> Iterator[str]:
    yield from _begin("Settings", "mdai_build/settings.py")
    yield (
        "A setting comes from the first of these that has it: the command's option; the environment variable, which is "
        f"`{PREFIX}` and the name in capitals (`{PREFIX}INDEX_URL` for `index_url`); the file `{SETTINGS_FILE}` in the "
        "working folder or one above it; the default. In a variable, lists are apart by spaces, and maps are pairs "
        "`NAME=VALUE`. Sizes are written as `512m` or `4g`, times in seconds."
    )
    yield ""
    options = _options()
    headings = ("setting", "option", "default", "means")
    rows = (
        [
            f"`{name}`",
            f"`{options[name]}`" if name in options else "",
            _default(name, field),
            _description(field),
        ]
        for name, field in Settings.model_fields.items()
    )
    yield from table(headings, rows)


def _options() -> Mapping[str, str]:
    """The option of each setting that has one."""
    found: dict[str, str] = {}
    for _, command in commands():
        for parameter in command.params:
            if isinstance(parameter, click.Option) and parameter.name in Settings.model_fields:
                found.setdefault(str(parameter.name), parameter.opts[-1])
    assert all(found.get(name) == f"--{option}" for name, option in _OPTIONS.items())
    return found


# ---- the server ----


def server_page() -> Iterator[str]:
    yield from _begin("Variables of the server", "mdai_build/runtime/settings.py")
    yield (
        "What an operator can set of the server in an image, by environment variables. [Serving](../serving.md) tells "
        "how it is run."
    )
    yield ""
    rows = (
        [f"`{v.name}`", _machine_free(v.default), _cell(f"{v.meaning[0].upper()}{v.meaning[1:]}.")] for v in VARIABLES
    )
    yield from table(("variable", "default", "means"), rows)


def _machine_free(default: str) -> str:
    # The folder beside the runtime is `/opt/mdai/packages` in every image.
    return "`/opt/mdai/packages`" if default.startswith("/") and default.endswith("/packages") else f"`{default}`"


# ---- Markdown ----


def _begin(title: str, source: str) -> Iterator[str]:
    yield from (f"# {title}", "", NOTE.format(source=source), "")


def table(headings: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    headings = list(headings)
    for cells in (headings, ["---"] * len(headings), *rows):
        yield f"| {' | '.join(cells)} |"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", r"\|")


def _field(name: str, field: FieldInfo) -> list[str]:
    return [f"`{name}`", _values(field), _default(name, field), _description(field)]


def _description(field: FieldInfo) -> str:
    text = _cell(field.description or "")
    return f"{text[:1].upper()}{text[1:]}."


def _default(name: str, field: FieldInfo) -> str:
    if name in _OF_THE_MACHINE:
        return _OF_THE_MACHINE[name]
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if value is PydanticUndefined or value is None or value in ("", (), {}, []) or isinstance(value, BaseModel):
        return ""
    if isinstance(value, Mapping):
        return "" if not value else f"`{dict(value)}`"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if name in _SIZES:
        return f"`{value // 1024**3}g`"
    return f"`{', '.join(value) if isinstance(value, tuple) else f'{value:g}' if isinstance(value, float) else value}`"


def _values(field: FieldInfo) -> str:
    """What may stand there: allowed words, else the kind of value."""
    allowed = list(_literals(field.annotation))
    if allowed:
        words = ", ".join(f"`{value}`" for value in allowed)
        return f"a list of {words}" if str(field.annotation).startswith("list[") else words
    at_least = next((bound.ge for bound in field.metadata if isinstance(bound, Ge)), None)
    above = next((bound.gt for bound in field.metadata if isinstance(bound, Gt)), None)
    kind = _kind(field.annotation)
    return (
        f"{kind}, from {at_least}" if at_least is not None else f"{kind}, above {above}" if above is not None else kind
    )


def _literals(annotation: Any) -> Iterator[Any]:
    if typing.get_origin(annotation) is typing.Literal:
        yield from typing.get_args(annotation)
    for part in typing.get_args(annotation):
        yield from _literals(part)


_KINDS = (
    (r".*Mapping|dict\[str, str\]", "a map of names and text"),
    (r"list\[LabelClass\]|.*LabelClass\]", "a list, see below"),
    (r".*(Label|Expect)'?>?", "a map, see below"),
    (r"list\[dict.*", "a list of maps"),
    (r"list\[str\]", "a list of text"),
    (r"list\[int\]", "a list of numbers"),
    (r".*\bint\b.*", "a number"),
    (r".*\bstr\b.*", "text"),
)


def _kind(annotation: Any) -> str:
    text = re.sub(r"^<class '(.*)'>$", r"\1", str(annotation)).replace("typing.", "")
    return next(kind for pattern, kind in _KINDS if re.match(pattern, text))


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for page, content in pages().items():
        (FOLDER / page).write_text(content, encoding="utf-8")
