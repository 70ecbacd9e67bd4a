"""Where in a tree the model is: the folder that holds `.mdai/`, and the main files in it.

Interface document: `.mdai/` lies at the archive's top or in one folder at its top; `config.yaml` may be called
`config.yml` (original.md, "The bundle").
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from mdai_build.bundle.names import shown
from mdai_build.errors import BundleError, Location, Problem

MDAI = ".mdai"
CONFIG_NAMES = ("config.yaml", "config.yml")
ENTRY_POINT = f"{MDAI}/mdai_deploy.py"
SMOKE_FILE = f"{MDAI}/smoke.yaml"
"""What the smoke test should send, if the author says so."""
_MAIN_NAMES = ("mdai_deploy.py", "requirements.txt", *CONFIG_NAMES)
_EXPECTED = "a folder named .mdai, at the top or inside one folder at the top, with config.yaml and mdai_deploy.py"
_ARCHIVES = (".zip", ".tar.gz", ".tgz", ".tar", ".7z", ".rar")


def find_root(files: Collection[str], folders: Collection[str], origin: Path) -> str:
    """The model root: the path of the folder that holds `.mdai/`, or "" for the top itself.

    Raises:
        BundleError: there is none, or more than one, or it lies too deep.
    """
    holders = sorted(
        {folder[: -len(MDAI)].rstrip("/") for folder in folders if folder == MDAI or folder.endswith(f"/{MDAI}")},
        key=lambda holder: (holder.count("/") + bool(holder), holder),
    )
    if holders and not holders[0]:
        return ""
    shallow = [holder for holder in holders if "/" not in holder]
    if len(shallow) == 1:
        return shallow[0]
    if shallow:
        raise _refused(
            "two-models",
            f"it holds more than one model: .mdai is in {_listed(shallow)}",
            origin,
            "give each model its own archive",
        )
    if holders:
        raise _refused(
            "too-deep",
            f".mdai lies too deep, in {_listed(holders)}",
            origin,
            f"pack `{shown(holders[0].rpartition('/')[2])}` itself, not the folders around it",
        )
    raise _refused("no-mdai", *_what_is_there(files, folders, origin))


def _refused(code: str, what: str, origin: Path | str, next_step: str) -> BundleError:
    return BundleError(Problem(f"bundle.{code}", what, Location(str(origin)), _EXPECTED, next_step))


def _what_is_there(files: Collection[str], folders: Collection[str], origin: Path) -> tuple[str, Path, str]:
    """Why there may be no `.mdai`, for the mistakes that are seen most."""
    if not files:
        return "it is empty: there are no files in it", origin, "put the model folder, with its .mdai, in it"
    for path in files:
        if path.rpartition("/")[2] == MDAI:
            return (
                f"`{shown(path)}` is a file; it must be a folder",
                origin,
                "make a folder of that name and put config.yaml and mdai_deploy.py in it",
            )
    for folder in sorted(folders):
        name = folder.rpartition("/")[2]
        if name.lower().strip("._- ") == "mdai":
            return f"there is no .mdai, but `{shown(folder)}`", origin, f"rename `{shown(name)}` to `.mdai`"
    for path in sorted(files):
        folder, _, name = path.rpartition("/")
        if name in _MAIN_NAMES:
            return (
                f"there is no .mdai folder, but `{shown(path)}`",
                origin,
                f"put the files beside `{name}` into a folder named .mdai, and that into the model folder"
                if folder
                else "you may have packed what is inside .mdai: pack the folder around .mdai instead",
            )
    inner = [path for path in files if path.lower().endswith(_ARCHIVES)]
    if len(inner) == 1 and len(files) <= 3:
        return (
            f"there is no .mdai, but another archive in it, `{shown(inner[0])}`",
            origin,
            f"unpack it and give `{shown(inner[0].rpartition('/')[2])}` instead",
        )
    top = sorted({path.split("/")[0] for path in files})
    return (
        f"there is no .mdai folder in it; at its top: {_listed(top)}",
        origin,
        "names that start with a dot are hidden, and some tools leave them out: pack the whole folder, for "
        "instance with `zip -r model.zip model`",
    )


def _listed(names: Iterable[str], limit: int = 8) -> str:
    every = [f"`{shown(name, 60)}`" for name in names]
    return ", ".join(every[:limit]) + (f" and {len(every) - limit} more" if len(every) > limit else "")


def find_config(paths: Collection[str], origin: Path) -> str:
    """The path of the config file under the model root; `paths` are relative to it.

    Raises:
        BundleError: there is no config file, or there are two; a missing mdai_deploy.py is told along with it.
    """
    found = [f"{MDAI}/{name}" for name in CONFIG_NAMES if f"{MDAI}/{name}" in paths]
    if len(found) == 1:
        return found[0]
    problems = [_two_configs() if found else missing_file(f"{MDAI}/config.yaml", paths, "bundle.no-config")]
    if ENTRY_POINT not in paths:
        problems.append(missing_file(ENTRY_POINT, paths, "bundle.no-entry-point"))
    raise BundleError(problems)


def _two_configs() -> Problem:
    return Problem(
        "bundle.two-configs",
        "there are a config.yaml and a config.yml; which one counts is not clear",
        Location(MDAI),
        "one of them",
        "remove the one that you do not mean",
    )


def missing_file(path: str, paths: Collection[str], code: str) -> Problem:
    """The problem that a main file is not there, with the file that may have been meant for it."""
    folder, _, name = path.rpartition("/")
    beside = sorted(other[len(folder) + 1 :] for other in paths if other.startswith(f"{folder}/"))
    near = _nearest(name, beside)
    elsewhere = sorted(other for other in paths if other.rpartition("/")[2] == name)
    if near is not None and near.endswith(".ipynb"):
        next_step = f"a notebook cannot be imported: jupyter nbconvert --to script {shown(f'{folder}/{near}')}"
    elif near is not None:
        next_step = f"rename `{shown(f'{folder}/{near}')}` to `{name}`"
    elif elsewhere:
        next_step = f"move `{shown(elsewhere[0])}` into {folder}/"
    else:
        next_step = f"add `{path}`; in {folder}/ there is {_listed(beside) if beside else 'nothing'}"
    return Problem(code, f"there is no {path}", Location(path), f"a file {name} in {folder}/", next_step)


def _nearest(name: str, names: Collection[str]) -> str | None:
    folded = {other.lower(): other for other in names if "/" not in other and other not in _MAIN_NAMES}
    near = difflib.get_close_matches(name.lower(), folded, n=1, cutoff=0.75)
    return folded[near[0]] if near else None


def beside_warning(beside: Collection[str], root: str, origin: Path) -> Iterator[Problem]:
    """A warning for what lies beside the model's folder, if anything does."""
    if beside:
        yield Problem(
            "bundle.beside-model",
            f"left out, as it is not inside `{shown(root)}`, the folder that holds .mdai: {_listed(sorted(beside))}",
            Location(str(origin)),
            next_step=f"move what the model needs into `{shown(root)}`",
        )
