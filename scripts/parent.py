"""Make the local parent images, which stand in for Google's where no registry can be reached.

Run with the project's virtual environment: `.venv/bin/python scripts/parent.py`. The recipe is base_images/local/: a
Debian root file system, and Conda at /opt/conda with a channel of the Python interpreters found on this machine. The
image carries the recipe's digest as a label, so that a second run does nothing. The one for GPUs is that image with a
few variables.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import debian
import engine
from rattler import Channel

RECIPE = Path(__file__).resolve().parent.parent / "base_images" / "local"
sys.path.insert(0, str(RECIPE))

import channel  # noqa: E402
import conda  # noqa: E402

IMAGE = "mdai-build/parent:local-cpu"
GPU_IMAGE = "mdai-build/parent:local-gpu"
LABEL = "io.mdai-build.recipe"
GOOGLE = "https://gcr.io/v2/"
SUITE = "bookworm"
BASE_PYTHON = "3.10"
# What the conda program itself imports.
CONDA_REQUIREMENTS = ["py-rattler==0.28.0", "PyYAML==6.0.3"]
TOOLS = {"mmdebstrap": "mmdebstrap", "patchelf": "patchelf", "strip": "binutils"}
# Left out of the root file system: documentation, and the drivers (with a whole compiler) behind libGL, which a
# container without a screen never loads.
UNPACKED_WITHOUT = [
    "/usr/share/doc/*",
    "/usr/share/info/*",
    "/usr/share/locale/*",
    "/usr/share/man/*",
    "/usr/lib/*/dri/*",
    "/usr/lib/*/libLLVM*",
    "/usr/lib/*/libz3*",
]


def pyenv_versions() -> Path:
    """The folder in which pyenv keeps its Pythons: where it says, at home, or beside the program that PATH finds."""
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    program = shutil.which("pyenv")
    if not os.environ.get("PYENV_ROOT") and not root.is_dir() and program:
        root = Path(program).resolve().parents[1]
    return root / "versions"


def interpreters() -> list[Path]:
    """The newest installation of each Python from 3.7 on that pyenv has on this machine."""
    newest: dict[tuple[int, int], tuple[int, Path]] = {}
    for folder in pyenv_versions().glob("3.*"):
        numbers = re.fullmatch(r"(\d+)\.(\d+)\.(\d+)", folder.name)
        if numbers and int(numbers[2]) >= 7 and (folder / "bin/python").exists():
            key, patch = (int(numbers[1]), int(numbers[2])), int(numbers[3])
            newest[key] = max(newest.get(key, (patch, folder)), (patch, folder))
    return [folder for _, folder in (newest[key] for key in sorted(newest))]


def recipe_digest(found: list[Path]) -> str:
    """SHA-256 over everything that decides what the image holds."""
    digest = hashlib.sha256("\0".join(str(folder) for folder in found).encode())
    for file in sorted([*RECIPE.glob("*"), Path(__file__)]):
        if file.is_file():
            digest.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()


def tool_environment(work: Path) -> dict[str, str]:
    """An environment in which the TOOLS are found; those that the system lacks are unpacked under `work`."""
    missing = [package for program, package in TOOLS.items() if shutil.which(program) is None]
    if not missing:
        return dict(os.environ)
    root = work / "tools"
    debian.unpack(missing, suite=debian.codename(), into=root, work=work / "apt", dependencies=True)
    libraries = ":".join(str(folder) for folder in root.glob("usr/lib/*-linux-gnu"))
    return {**os.environ, "PATH": f"{root}/usr/bin:{os.environ['PATH']}", "LD_LIBRARY_PATH": libraries}


def make_root_file_system(target: Path, environment: Mapping[str, str]) -> None:
    """A minimal Debian with the recipe's packages, as a tar archive."""
    listed = (line.strip() for line in (RECIPE / "packages.txt").read_text().splitlines())
    packages = ",".join(line for line in listed if line and not line.startswith("#"))
    program = shutil.which("mmdebstrap", path=environment["PATH"]) or "mmdebstrap"
    without = [f"--dpkgopt=path-exclude={shape}" for shape in UNPACKED_WITHOUT]
    mirror = debian.mirror(debian.codename())
    debian.run(
        [program, "--variant=minbase", f"--include={packages}", *without, SUITE, str(target), mirror],
        environment=environment,
    )


def make_conda(target: Path, found: list[Path], work: Path, environment: Mapping[str, str]) -> None:
    """The content of /opt/conda: base environment, conda program, channel, configuration."""
    if found:
        source, configured = str(work / "channel"), "file:///opt/conda/channel"
        channel.make_channel(found, work / "channel", work / "content", environment)
    else:
        source = configured = "conda-forge"
    wanted = [f"python={BASE_PYTHON}", "pip"]
    conda.create(target, wanted, [source], cache=work / "pkgs", final_prefix=conda.BASE)
    site = target / f"lib/python{BASE_PYTHON}/site-packages"
    install = [sys.executable, "-m", "uv", "pip", "install", "--target", str(site), "--python-version", BASE_PYTHON]
    debian.run([*install, "--only-binary", ":all:", *CONDA_REQUIREMENTS])
    shutil.copy(RECIPE / "conda.py", target / "bin/conda")
    (target / "bin/conda").chmod(0o755)
    shutil.copy(RECIPE / "activate", target / "bin/activate")
    (target / ".condarc").write_text(f"channels:\n  - {configured}\n")
    if found:
        shutil.copytree(work / "channel", target / "channel")


def conda_forge_answers() -> bool:
    address = f"{Channel('conda-forge').base_url}linux-64/repodata.json.zst"
    try:
        with urllib.request.urlopen(urllib.request.Request(address, method="HEAD"), timeout=10):
            return True
    except OSError:
        return False


def docker_environment() -> dict[str, str]:
    """The environment in which `docker` reaches an engine: the usual one, else the private one."""
    if engine.shortcoming() is None:
        return dict(os.environ)
    private = engine.private_engine(containerd_store=False)
    if private.answers():
        return {**os.environ, **private.client_environment()}
    raise debian.Unavailable("no engine answers; start one with `make engine`")


def make_parent() -> None:
    """Make the image unless it is there already.

    Raises:
        debian.Unavailable: no engine, no interpreters, no packages.
    """
    started = time.monotonic()
    environment = docker_environment()
    docker = shutil.which("docker", path=environment["PATH"]) or "docker"
    found = interpreters()
    digest = recipe_digest(found)
    inspect = [docker, "image", "inspect", "--format", f'{{{{index .Config.Labels "{LABEL}"}}}} {{{{.Size}}}}', IMAGE]
    if (engine.ask(inspect, environment) or "").startswith(digest):
        say(f"{IMAGE} is there and up to date")
        make_gpu_parent(environment)
        return
    if not found and not conda_forge_answers():
        raise debian.Unavailable(
            "no Python to put into the local parent image: conda-forge cannot be reached, and pyenv has none from 3.7 "
            f"on in {pyenv_versions()}\n"
            "  Next step: one of these, then the same command again.\n"
            "  - Where pyenv's Pythons are elsewhere: `export PYENV_ROOT=/path/to/pyenv`, in which `versions` is.\n"
            "  - `pyenv install 3.8 3.10`: the Pythons that your models ask for (the example of quickstart: 3.8).\n"
            "  - Where a proxy leads to conda-forge: `export HTTPS_PROXY=http://host:port`."
        )
    names = ", ".join(folder.name for folder in found)
    say(f"making {IMAGE} with Python {names}" if found else f"making {IMAGE} with conda-forge as its channel")
    with tempfile.TemporaryDirectory(prefix="mdai-build-parent-") as folder:
        work = Path(folder)
        context = work / "context"
        context.mkdir()
        tools = tool_environment(work)
        with ThreadPoolExecutor() as pool:
            root = pool.submit(make_root_file_system, context / "rootfs.tar", tools)
            make_conda(context / "conda", found, work, tools)
            root.result()
        build = [docker, "buildx", "build", "--load", "--tag", IMAGE, "--label", f"{LABEL}={digest}"]
        debian.run([*build, "--file", str(RECIPE / "Dockerfile"), str(context)], environment=environment)
    size = int((engine.ask(inspect, environment) or "0").split()[-1])
    say(f"{IMAGE} is ready: {size / 1e6:.0f} MB ({time.monotonic() - started:.0f} s)")
    make_gpu_parent(environment)


def make_gpu_parent(environment: Mapping[str, str]) -> None:
    """Make the image for GPUs from the one without, which must be there; a second or less."""
    docker = shutil.which("docker", path=environment["PATH"]) or "docker"
    with tempfile.TemporaryDirectory(prefix="mdai-build-parent-") as empty:
        build = [docker, "buildx", "build", "--load", "--tag", GPU_IMAGE, "--build-arg", f"PARENT={IMAGE}"]
        debian.run([*build, "--file", str(RECIPE / "gpu.Dockerfile"), empty], environment=environment)
    say(f"{GPU_IMAGE} is ready")


def google_answers() -> bool:
    """Whether the registry of Google's parent images can be reached."""
    try:
        with urllib.request.urlopen(GOOGLE, timeout=5):
            return True
    except urllib.error.HTTPError as answer:
        # The registry's own word for "log in".
        return answer.code == 401
    except OSError:
        return False


def say(text: str) -> None:
    print(f"parent: {text}", file=sys.stderr, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description="Make the local parent images.")
    parser.add_argument(
        "--unless-google-answers",
        action="store_true",
        help="make it only where Google's registry cannot be reached; prints which parent to use: gcp or local",
    )
    parser.add_argument("--only-gpu", action="store_true", help="make the one for GPUs alone, from the other one")
    options = parser.parse_args()
    try:
        if options.unless_google_answers:
            google = google_answers()
            if google:
                say("Google's registry answers: using its parent images")
            else:
                say("Google's registry cannot be reached: using the local parent image")
                make_parent()
            print("gcp" if google else "local")
        elif options.only_gpu:
            make_gpu_parent(docker_environment())
        else:
            make_parent()
    except (debian.Unavailable, conda.CondaError) as problem:
        say(str(problem))
        return engine.EXIT_UNAVAILABLE
    return 0


if __name__ == "__main__":
    sys.exit(main())
