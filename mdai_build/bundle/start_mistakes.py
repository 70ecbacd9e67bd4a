"""Mistakes that keep a model from starting elsewhere than on its author's machine, as far as the code shows them."""

from __future__ import annotations

import ast
import difflib
import re
from collections.abc import Callable, Collection, Iterator, Mapping

from mdai_build.bundle.names import shown
from mdai_build.bundle.numpy_values import Nodes, bindings
from mdai_build.errors import Location, Problem

At = Callable[["ast.stmt | ast.expr"], Location]

WORK_FOLDER = "/src"
"""Where the server runs in an image; the bundle is in `lib` below (original.md, "The image")."""
_OPENS = re.compile(
    r"open|load|load_model|load_weights|load_learner|loadtxt|loadmat|genfromtxt|memmap|imread|read_\w+|readNet\w*"
    r"|InferenceSession|Booster|from_pretrained|model_from_json|SourceFileLoader"
)
_FETCHES_WEIGHTS = re.compile(r"(?:load_state_dict_from_url|hub\.load)$")
_FETCHES = re.compile(
    r"(?:urlopen|urlretrieve|requests\.get|wget\.download|gdown\.download|utils\.get_file|hf_hub_download"
    r"|snapshot_download|download_file_from_google_drive)$"
)
_ASKS_FOR_GPU = frozenset({"is_available", "device_count", "list_physical_devices", "is_built_with_cuda"})


def start_mistakes(
    tree: ast.Module, nodes: Nodes, at: At, files: Collection[str] | None, device: str | None
) -> Iterator[Problem]:
    """What keeps the model from starting. `files` are the bundle's, None where the image may hold more; `device` is
    config.yaml's `device_type`, None where it is not known."""
    yield from _relative_imports(tree, at)
    yield from ends_of_process(tree, at)
    yield from _notebook(nodes, at)
    yield from _downloads(nodes, at, files)
    if device == "cpu":
        yield from _gpu(nodes, at)
    if files is not None:
        yield from relative_paths(nodes, at, files)


def misspelled_init(model: str, functions: Mapping[str, ast.stmt], at: At) -> Problem | None:
    """A method of the class `model` that was meant as `__init__` and is never called."""
    if "__init__" in functions:
        return None
    near = difflib.get_close_matches("__init__", functions, n=1, cutoff=0.7)
    if not near:
        return None
    return Problem(
        "bundle.init-name",
        f"{model}.{shown(near[0])} is never called: the constructor is `__init__`, two underscores on each side",
        at(functions[near[0]]),
        "def __init__(self)",
        f"rename `{shown(near[0])}` to `__init__`",
    )


def _relative_imports(tree: ast.Module, at: At) -> Iterator[Problem]:
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.level:
            module = node.module or ", ".join(alias.name for alias in node.names)
            meant = f"from {node.module} import ..." if node.module else f"import {module}"
            yield Problem(
                "bundle.relative-import",
                "mdai_deploy.py is no part of a package, so that an import that begins with a dot fails",
                at(node),
                "every folder of the bundle is on sys.path: a module is imported by its own name",
                f"write `{shown(meant)}`",
            )


def _notebook(nodes: Nodes, at: At) -> Iterator[Problem]:
    """What Colab alone has."""
    for node in nodes:
        if not isinstance(node, ast.Import | ast.ImportFrom):
            continue
        names = [alias.name for alias in node.names]
        if isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{name}" for name in names]
        if any(f"{name}.".startswith("google.colab.") for name in names):
            yield Problem(
                "bundle.notebook",
                "`google.colab` is part of Colab's notebooks; no package has it",
                at(node),
                next_step="take out the import and what uses it; put files of your Drive into the model's folder",
            )
            return


def ends_of_process(tree: ast.Module, at: At, helper: bool = False) -> Iterator[Problem]:
    """What ends the server's process, or keeps it waiting: `exit()`, `input()`, and argparse, which reads the server's
    arguments as the model's.

    Of a helper, which may be a script for training too, only what runs as it is imported.
    """
    own_input = any("input" in _bound_by(part) for part in ast.walk(tree))
    for node in _run_at_start(tree, into_functions=not helper):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        if name == "input" and not own_input:
            yield Problem(
                "bundle.input",
                "`input()` waits for someone who types, and nobody does: it fails",
                at(node),
                "a model that asks for nothing",
                "write the value down, or take it from data['args'] in predict",
            )
            continue
        if name in ("exit", "quit", "sys.exit", "os._exit"):
            what, advice = f"`{name}()` ends the model's process", "raise an error that says what is wrong instead"
        elif name.endswith(".parse_args") and not node.args and not node.keywords:
            what = "`parse_args()` reads the arguments of the server, does not know them, and ends the process"
            advice = (
                "write the values down, or take them from data['args'] in predict; parse_args([]) gives the defaults"
            )
        else:
            continue
        yield Problem("bundle.exits", what, at(node), "a model that returns or raises", advice)


def _called_below_main(tree: ast.Module) -> set[str]:
    """The names that are used below `if __name__ == "__main__"` and nowhere else."""
    below: dict[str, int] = {}
    every: dict[str, int] = {}
    for node in ast.walk(tree):
        for part in ast.walk(node) if isinstance(node, ast.If) and _asks_for_main(node) else ():
            if isinstance(part, ast.Name):
                below[part.id] = below.get(part.id, 0) + 1
        if isinstance(node, ast.Name):
            every[node.id] = every.get(node.id, 0) + 1
    return {name for name, count in below.items() if every[name] == count}


def _asks_for_main(node: ast.If) -> bool:
    return "__name__" in {part.id for part in ast.walk(node.test) if isinstance(part, ast.Name)}


def _bound_by(node: ast.AST) -> list[str]:
    if isinstance(node, ast.FunctionDef):
        return [node.name]
    if isinstance(node, ast.alias):
        return [node.asname or node.name]
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        return [node.id]
    return [node.arg] if isinstance(node, ast.arg) else []


def _run_at_start(tree: ast.Module, into_functions: bool) -> Iterator[ast.AST]:
    """All nodes but those below `if __name__ == "__main__"`, and in functions that are called there alone."""
    below = _called_below_main(tree)
    scripts = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name in below]
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and _asks_for_main(node):
            waiting.extend(node.orelse)
            continue
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) and not into_functions:
            continue
        if node in scripts:
            continue
        yield node
        waiting.extend(ast.iter_child_nodes(node))


def _downloads(nodes: Nodes, at: At, files: Collection[str] | None) -> Iterator[Problem]:
    """What a model fetches when it is made or asked: an image runs without a network."""
    for node in nodes:
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        fetched = _fetched(node, name, files)
        if fetched is not None:
            yield Problem(
                "bundle.download",
                f"`{shown(name, 60)}` {fetched[0]}, and an image runs without a network",
                at(node),
                "everything that the model reads, in its folder",
                fetched[1],
            )
            return


def _fetched(call: ast.Call, name: str, files: Collection[str] | None) -> tuple[str, str] | None:
    """What a call fetches, as the end of a sentence, and how to do without; None where it fetches nothing."""
    words = {word.arg: getattr(word.value, "value", None) for word in call.keywords}
    first = getattr(call.args[0], "value", None) if call.args else None
    if words.get("pretrained") is True or "imagenet" in (words.get("weights"), words.get("encoder_weights")):
        return "downloads its weights", (
            "save the weights into the model's folder once, and load them from there "
            "(pretrained=False or weights=None, then load_state_dict or load_weights)"
        )
    if name.endswith(".from_pretrained") and isinstance(first, str) and not _holds(first, files):
        once = f"{shown(name, 60)}({shown(first, 60)!r}).save_pretrained(...)"
        return "downloads what it loads", f"save it into the model's folder once (`{once}`), and load it from there"
    if _FETCHES_WEIGHTS.search(name):
        return "downloads weights", "save the weights into the model's folder once, and load them from there"
    if _FETCHES.search(name):
        return (
            "fetches something from the network",
            "put what it fetches into the model's folder once, and read it from there",
        )
    return None


def _holds(path: str, files: Collection[str] | None) -> bool:
    inside = path.rstrip("/").removeprefix("./").removeprefix("lib/")
    return path.startswith("/") or files is None or any(f"{file}/".startswith(f"{inside}/") for file in files)


def _gpu(nodes: Nodes, at: At) -> Iterator[Problem]:
    if any(isinstance(node, ast.Attribute) and node.attr in _ASKS_FOR_GPU for node in nodes):
        return
    for node in nodes:
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        values = [*node.args, *(word.value for word in node.keywords if word.arg in ("device", "map_location"))]
        named = any(
            isinstance(value, ast.Constant)
            and isinstance(value.value, str)
            and re.fullmatch(r"cuda(:\d+)?", value.value)
            for value in values
        )
        if (name == "cuda" and isinstance(node.func, ast.Attribute)) or (named and name in ("to", "device", "load")):
            yield Problem(
                "bundle.gpu-on-cpu",
                "this needs a GPU, and config.yaml says `device_type: cpu`",
                at(node),
                next_step="write `device_type: gpu` in config.yaml; or let the code choose: "
                'device = "cuda" if torch.cuda.is_available() else "cpu"',
            )
            return


def relative_paths(nodes: Nodes, at: At, files: Collection[str]) -> Iterator[Problem]:
    """Paths that are right in the model's folder, and are looked for in the work folder."""
    calls = [node for node in nodes if isinstance(node, ast.Call)]
    if any(_name(call) in ("chdir", "getcwd", "cwd") for call in calls):
        return
    bound = bindings(nodes)
    folders = {path.rsplit("/", depth)[0] for path in files for depth in range(1, path.count("/") + 1)}
    told: set[str] = set()
    for call in calls:
        if not _OPENS.fullmatch(_name(call)):
            continue
        for given in call.args[:1]:
            node: ast.expr = given
            if isinstance(given, ast.Name) and len(bound.get(given.id, ())) == 1:
                node = bound[given.id][0] or given
            text = getattr(node, "value", None)
            if not isinstance(node, ast.Constant) or not isinstance(text, str):
                continue
            found = _meant(text, files, folders)
            if found is not None and text not in told:
                told.add(text)
                yield Problem(
                    "bundle.relative-path",
                    f"`{shown(text)}` is looked for in {WORK_FOLDER}, where the server runs; the model's folder is "
                    f"{WORK_FOLDER}/lib",
                    at(node),
                    "a path that begins at mdai_deploy.py",
                    f"write os.path.join(os.path.dirname(os.path.dirname(__file__)), {shown(found)!r})",
                )


def _meant(text: str, files: Collection[str], folders: Collection[str]) -> str | None:
    """The file or folder of the bundle that a path means; None where it is no relative path to one."""
    path = re.sub(r"^(\./)+", "", text.replace("\\", "/")).rstrip("/")
    if not path or path.startswith(("/", "lib/", "~")) or path == "lib":
        return None
    inside = re.sub(r"^(\.\./)+", "", path)
    for candidate in (inside, f".mdai/{inside}"):
        if candidate in files or ("/" in text and candidate in folders):
            return candidate
    return None


def _name(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else str(getattr(call.func, "id", ""))
