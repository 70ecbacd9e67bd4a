"""A build plan laid out as a build context on disk, sharing unchanged bytes with the store and with earlier builds.

    DIR/Dockerfile
    DIR/_mdai/pins/          exact versions: preinstalled packages, the server's own, uv
    DIR/_mdai/runtime/       what runs in the image
    DIR/_mdai/requirements/  the requirements file and the files that it names, wheels for instance
    DIR/_mdai/weights/       large members of the bundle
    DIR/_mdai/code/          all others

A file is linked, not copied, where the file system can; a context that is laid out again keeps what did not change.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from filelock import FileLock, Timeout

from mdai_build.bundle import Bundle, UnpackedBundle
from mdai_build.dockerfile import render_dockerfile
from mdai_build.errors import Location, Problem, UnavailableError, UsageError
from mdai_build.matrix import support_matrix
from mdai_build.plan import BuildPlan
from mdai_build.requirements import CONSTRAINT_FILE
from mdai_build.resources import resource, runtime_folder

GENERATED = "_mdai"
WEIGHTS = f"{GENERATED}/weights"
MARKER = ".mdai-build-context"
# Of what is in the image, whatever the umask here: the server runs as another user than the one who owns it.
_FILE_MODE, _FOLDER_MODE = 0o644, 0o755
SHARED_FROM = 1024**2
"""Bytes from which on a file of a user's folder is shared with the build context; a smaller one is copied."""
_KEPT_SECONDS = 7 * 24 * 3600


def write_context(
    plan: BuildPlan,
    unpacked: UnpackedBundle | None,
    folder: Path,
    ca_bundle: Path | None = None,
    share: bool = True,
    render: Callable[[BuildPlan], str] = render_dockerfile,
) -> None:
    """Makes `folder` the build context of a plan: adds and replaces what differs, removes what does not belong.

    `ca_bundle` is the file for a plan whose `ca_bundle` is "file". With `share` the bundle's files are hard links to
    where they are already, but for small ones of a user's folder, since editors write into them; without, copies, for a
    folder that its user may edit. `render` gives the Dockerfile. A base image has no bundle.

    Raises:
        BundleError: a file of the bundle's folder changed since it was read.
        UsageError: `folder` holds something that is no build context of ours.
        UnavailableError: the disk is full or `folder` cannot be written.
    """
    _check_folder(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / MARKER).touch()
        wanted = set(_lay_out(plan, unpacked, folder, ca_bundle, share, render))
        _remove_others(folder, wanted | {MARKER})
        for path in _empty_folders(plan, unpacked) if unpacked else ():
            (folder / path).mkdir(parents=True, exist_ok=True)
        for place, _, _ in os.walk(folder / GENERATED):
            Path(place).chmod(_FOLDER_MODE)
        if unpacked:
            unpacked.bundle.source.check_unchanged(0)
    except OSError as error:
        raise UnavailableError(
            Problem(
                code="context.cannot-write",
                what=f"the build context cannot be written: {error.strerror or error}",
                where=Location(str(error.filename or folder)),
                next_step="free some disk, or choose another place: render -o for a folder of yours, else the setting "
                "cache_folder",
            )
        ) from error


def write_resolved(folder: Path, text: str) -> Path:
    """Puts what the requirements came to (`requirements.resolved_file`) beside a build context's files, until the next
    `write_context`.

    No instruction reads it from there: it is meant as the secret that `BuildPlan.takes_resolved` speaks of.
    """
    file = folder / GENERATED / "resolved.txt"
    file.write_text(text, encoding="utf-8")
    return file


def _lay_out(
    plan: BuildPlan,
    unpacked: UnpackedBundle | None,
    folder: Path,
    ca_bundle: Path | None,
    share: bool,
    render: Callable[[BuildPlan], str],
) -> Iterator[str]:
    generated = {"Dockerfile": render(plan).encode(), **dict(generated_files(plan))}
    if plan.ca_bundle == "file" and ca_bundle is not None:
        generated[f"{GENERATED}/ca-bundle.crt"] = ca_bundle.read_bytes()
    for path, content in generated.items():
        _write_if_different(folder / path, content)
        yield path
    smallest = SHARED_FROM if unpacked and unpacked.bundle.kind == "folder" else 0
    for path, source in _linked_files(plan, unpacked) if unpacked else ():
        shared = share and source.stat().st_size >= smallest
        _place(source, folder / path, shared)
        yield path


def generated_files(plan: BuildPlan) -> Iterator[tuple[str, bytes]]:
    """What a build context holds beside the Dockerfile and the files of a bundle: path and content."""
    # An empty file of our own: a .dockerignore of the bundle must not reach the build.
    yield "Dockerfile.dockerignore", b""
    yield f"{GENERATED}/requirements/_install.txt", plan.requirements_text.encode()
    yield f"{GENERATED}/requirements/{CONSTRAINT_FILE}", plan.constraints_text.encode()
    yield (
        f"{GENERATED}/requirements/_vcs.txt",
        "".join(f"{line}\n" for line in plan.vcs_requirements).encode(),
    )
    if plan.lock_preferences is not None:
        yield f"{GENERATED}/requirements/_preferences.txt", plan.lock_preferences.encode()
    yield f"{GENERATED}/requirements/_ahead.txt", plan.ahead_text.encode()
    yield f"{GENERATED}/requirements/_uv.toml", _uv_settings(plan).encode()
    pins = resource("base_images")
    pythons = [
        f"py{python.replace('.', '')}" for python in ([plan.python] if plan.python else support_matrix().pythons)
    ]
    names = ("uv.txt", *(f"{kind}/{python}.txt" for kind in ("preinstalled", "server") for python in pythons))
    # A folder of wheels is its owner's: what came as sources was built there, and has hashes of its own.
    hashes = {} if plan.wheels else _hashes(pins / "hashes.txt")
    for name in names:
        yield f"{GENERATED}/pins/{name}", _hashed(pins / name, hashes)
    runtime = runtime_folder()
    for file in sorted(runtime.rglob("*.py")):
        yield f"{GENERATED}/runtime/mdai_runtime/{file.relative_to(runtime).as_posix()}", file.read_bytes()


def _hashes(file: Path) -> dict[str, list[str]]:
    lines = (line.split() for line in file.read_text(encoding="utf-8").splitlines() if not line.startswith("#"))
    return {pin: hashes for pin, *hashes in lines}


def _hashed(file: Path, hashes: dict[str, list[str]]) -> bytes:
    """The pins of a file, each with the hashes that its package may have, which both installers then ask for."""
    lines = (line.split("#")[0].strip() for line in file.read_text(encoding="utf-8").splitlines())
    return "".join(" --hash=".join((line, *hashes.get(line, ()))) + "\n" for line in lines if line).encode()


def _uv_settings(plan: BuildPlan) -> str:
    """uv's settings for the requirements: it reads this file in place of any that a bundle brings."""
    needs: dict[str, list[str]] = {}
    for package, requirement in plan.build_requirements:
        needs.setdefault(package, []).append(requirement)
    lines = [f"{json.dumps(package)} = {json.dumps(requirements)}\n" for package, requirements in needs.items()]
    return "".join(("[extra-build-dependencies]\n", *lines)) if lines else ""


def _linked_files(plan: BuildPlan, unpacked: UnpackedBundle) -> Iterator[tuple[str, Path]]:
    sources = {file.path: file.source for file in unpacked.files}
    for path in plan.weights:
        yield f"{WEIGHTS}/{path}", sources[path]
    for path in plan.code:
        yield f"{GENERATED}/code/{path}", sources[path]
    for path in plan.requirement_files:
        yield f"{GENERATED}/requirements/{path}", sources[path]
    if plan.workspace:
        for path in sources:
            if path.startswith("workspace/"):
                yield f"{GENERATED}/{path}", sources[path]
    if plan.author_dockerfile is not None:
        # The author's COPY instructions name files relative to the model root.
        for path in sources:
            if path not in ("Dockerfile", "Dockerfile.dockerignore") and PurePosixPath(path).parts[0] != GENERATED:
                yield path, sources[path]


def _empty_folders(plan: BuildPlan, unpacked: UnpackedBundle) -> Iterator[str]:
    for path in unpacked.bundle.empty_folders:
        yield f"{GENERATED}/code/{path}"
        if plan.workspace and path.startswith("workspace/"):
            yield f"{GENERATED}/{path}"
        if plan.author_dockerfile is not None and PurePosixPath(path).parts[0] != GENERATED:
            yield path


def _check_folder(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        what = "it is a file, not a folder"
    elif folder.is_dir() and any(folder.iterdir()) and not (folder / MARKER).is_file():
        what = "it holds files that are not ours"
    else:
        return
    raise UsageError(
        Problem(
            code="context.folder-in-use",
            what=f"the build context cannot go there: {what}",
            where=Location(str(folder)),
            expected="a new or an empty folder, or an earlier build context",
        )
    )


def _write_if_different(target: Path, content: bytes) -> None:
    with contextlib.suppress(OSError):
        if not target.is_symlink() and target.read_bytes() == content:
            return
    _make_room(target)
    target.write_bytes(content)
    target.chmod(_FILE_MODE)


def _place(source: Path, target: Path, share: bool) -> None:
    real = source.resolve()
    if target.is_file() and not target.is_symlink():
        same = target.samefile(real)
        if same if share else not same and _equal(real, target):
            return
    _make_room(target)
    if share:
        with contextlib.suppress(OSError):  # another file system, or one that does not link
            os.link(real, target)
            return
    shutil.copy2(real, target)


def _equal(one: Path, other: Path) -> bool:
    """Whether two files have one mode and one content."""
    first, second = one.stat(), other.stat()
    if (first.st_mode, first.st_size) != (second.st_mode, second.st_size):
        return False
    with one.open("rb") as left, other.open("rb") as right:
        while part := left.read(SHARED_FROM):
            if part != right.read(SHARED_FROM):
                return False
    return True


def _make_room(target: Path) -> None:
    if target.is_dir() and not target.is_symlink():
        shutil.rmtree(target)
    else:
        target.unlink(missing_ok=True)
    for parent in reversed(target.parents):
        if parent.is_symlink() or parent.is_file():
            parent.unlink()
            break
    target.parent.mkdir(parents=True, exist_ok=True)


def _remove_others(folder: Path, wanted: set[str]) -> None:
    for place, folders, files in os.walk(folder, topdown=False):
        for name in files:
            path = Path(place, name)
            if path.relative_to(folder).as_posix() not in wanted:
                path.unlink()
        for name in folders:
            path = Path(place, name)
            if path.is_symlink():
                path.unlink()
            else:
                with contextlib.suppress(OSError):
                    path.rmdir()


@contextmanager
def context_folder(contexts: Path, bundle: Bundle, on_wait: Callable[[], None]) -> Iterator[Path]:
    """The place of a bundle's build context below `contexts`, for one build at a time.

    One folder an origin, so that BuildKit is sent only what changed. `on_wait` is called when another build of the same
    bundle has to end first.
    """
    key = hashlib.sha256(str(bundle.origin.resolve()).encode("utf-8", "surrogateescape")).hexdigest()[:16]
    contexts.mkdir(parents=True, exist_ok=True)
    forget_contexts(contexts)
    folder = contexts / f"{bundle.name}-{key}"
    lock = FileLock(f"{folder}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        on_wait()
        lock.acquire()
    try:
        Path(lock.lock_file).touch()  # the time of the last use
        yield folder
    finally:
        lock.release()


def forget_contexts(contexts: Path, older_than: float = _KEPT_SECONDS, dry_run: bool = False) -> int:
    """Removes contexts that no build used for so many seconds, and gives the bytes that this frees.

    A bundle at a path that never comes again leaves one each. Those of builds that are going on stay. What is linked to
    from elsewhere, as the bundle's own files are, frees nothing.
    """
    freed = 0
    for lock_file in contexts.glob("*.lock"):
        try:
            if time.time() - lock_file.stat().st_mtime < older_than:
                continue
            with FileLock(lock_file, timeout=0):
                folder = lock_file.with_suffix("")
                freed += _bytes_of(folder)
                if not dry_run:
                    shutil.rmtree(folder, ignore_errors=True)
                    lock_file.unlink(missing_ok=True)
        except (OSError, Timeout):  # in use, or another run removes it too
            continue
    return freed


def _bytes_of(folder: Path) -> int:
    statuses = (Path(place, name).lstat() for place, _, names in os.walk(folder) for name in names)
    return sum(status.st_size for status in statuses if status.st_nlink == 1)
