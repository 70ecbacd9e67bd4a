"""Measures whole builds, from a changed file to an image, on both image stores. Wall seconds, medians.

The model: 1 GiB of incompressible weights, Python 3.8, pillow and scikit-image, in a zip that only stores. Beside ours

- by hand: the BuildKit Dockerfile that an expert would write, over the folder as it lies there, unpacked;
- copied: the folder copied and built by the classic builder, as the existing system does (one round, since it is slow).

All start from the same parent, in the same run, in turns.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy
from engines import PARENT, ROOT, Engine
from results import write_section

TAG = "mdai-build-benchmark"
WEIGHTS = ("encoder.bin", "decoder.bin")
DEPLOY = """
class MDAIModel:
    def predict(self, data):
        return []
# 0
"""
REQUIREMENTS = "pillow==10.2.0\nscikit-image==0.21.0\n"
# Two or three builders take turns, and none may get a set that it had: five rounds of two take each in another order.
ADDED = ("4.66.1", "4.66.2", "4.66.3", "4.66.4", "4.66.5")
BY_HAND = """
FROM {parent} AS packages
ARG SSL_CERT_FILE=/run/ca.crt
RUN --mount=type=bind,source=ca.crt,target=/run/ca.crt conda create --yes --name mdai-env python=3.8 pip && \\
    conda clean --all --yes
ENV PATH=/opt/conda/envs/mdai-env/bin:$PATH
ARG PIP_CERT=/run/ca.crt UV_CACHE_DIR=/var/cache/uv UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1
RUN --mount=type=bind,source=ca.crt,target=/run/ca.crt --mount=type=bind,source=pins,target=/pins \\
    --mount=type=cache,target=/root/.cache/pip pip install --quiet --target /opt/uv --no-deps -r /pins/uv.txt
RUN --mount=type=bind,source=ca.crt,target=/run/ca.crt --mount=type=bind,source=pins,target=/pins \\
    --mount=type=cache,target=/var/cache/uv \\
    /opt/uv/bin/uv pip install --python /opt/conda/envs/mdai-env/bin/python \\
    -r /pins/preinstalled.txt -r /pins/server.txt
FROM packages
WORKDIR /src
COPY{link} model/weights/ /src/lib/weights/
COPY model/.mdai/requirements.txt /requirements.txt
RUN --mount=type=bind,source=ca.crt,target=/run/ca.crt --mount=type=cache,target=/var/cache/uv \\
    /opt/uv/bin/uv pip install --python /opt/conda/envs/mdai-env/bin/python -r /requirements.txt
COPY{link} runtime/ /opt/mdai/runtime/
COPY{link} model/.mdai/ /src/lib/.mdai/
"""
COPIED = """
FROM {parent}
COPY ca.crt /run/ca.crt
ENV SSL_CERT_FILE=/run/ca.crt PIP_CERT=/run/ca.crt
RUN conda create --yes --name mdai-env python=3.8 pip
ENV PATH=/opt/conda/envs/mdai-env/bin:$PATH
COPY pins/ /pins/
RUN pip install -r /pins/preinstalled.txt -r /pins/server.txt
WORKDIR /src
COPY lib/.mdai/requirements.txt /src/
RUN pip install -r requirements.txt
COPY lib/ /src/lib/
"""


class Model:
    """The model's folder, and the zip made from it."""

    def __init__(self, folder: Path, megabytes: int) -> None:
        self.folder = folder / "model"
        self.zip = folder / "model.zip"
        self._megabytes = megabytes
        self._added = 0
        (self.folder / ".mdai").mkdir(parents=True)
        (self.folder / "weights").mkdir()
        (self.folder / ".mdai" / "config.yaml").write_text("base_image: py38\n")
        (self.folder / ".mdai" / "mdai_deploy.py").write_text(DEPLOY)
        (self.folder / ".mdai" / "requirements.txt").write_text(REQUIREMENTS)
        self.change_weights()

    def change_weights(self) -> None:
        size = self._megabytes * 2**20 // len(WEIGHTS)
        for name in WEIGHTS:
            content = numpy.random.default_rng(time.time_ns()).bytes(size)
            (self.folder / "weights" / name).write_bytes(content)

    def change_code(self) -> None:
        deploy = self.folder / ".mdai" / "mdai_deploy.py"
        deploy.write_text(deploy.read_text() + f"# {time.time_ns()}\n")

    def toggle_requirement(self) -> None:
        file = self.folder / ".mdai" / "requirements.txt"
        self._added = (self._added + 1) % len(ADDED)
        file.write_text(f"{REQUIREMENTS}# {time.time_ns()}\ntqdm=={ADDED[self._added]}\n")

    def pack(self) -> None:
        """A new zip, written beside and moved, as any tool does."""
        half = self.zip.with_suffix(".half")
        with zipfile.ZipFile(half, "w", zipfile.ZIP_STORED) as archive:
            for path in sorted(self.folder.rglob("*")):
                if path.is_file():
                    archive.write(path, path.relative_to(self.folder.parent))
        half.replace(self.zip)


class Bench:
    """One model on one engine, built in three ways."""

    def __init__(self, engine: Engine, folder: Path, megabytes: int) -> None:
        self.engine = engine
        self.model = Model(folder, megabytes)
        self.model.pack()
        self._cache = folder / "cache"
        self._hand = folder / "hand"
        self._copied = folder / "copied"
        pins = ROOT / "base_images"
        for place in (self._hand, self._copied):
            (place / "pins").mkdir(parents=True)
            shutil.copy(pins / "uv.txt", place / "pins")
            shutil.copy(pins / "preinstalled" / "py38.txt", place / "pins" / "preinstalled.txt")
            # In one environment with the preinstalled packages, as by hand one would.
            server = (pins / "server" / "py38.txt").read_text().splitlines()
            names = {line.split("==")[0] for line in (pins / "preinstalled" / "py38.txt").read_text().splitlines()}
            kept = [line for line in server if line.split("==")[0] not in names]
            (place / "pins" / "server.txt").write_text("\n".join(kept) + "\n")
        shutil.copytree(ROOT / "mdai_build" / "runtime", self._hand / "runtime", ignore=shutil.ignore_patterns("*.pyc"))
        # On overlay2 a linked copy is written twice, and again when the layer below changes: an expert knows.
        dockerfile = BY_HAND.format(parent=PARENT, link=" --link" if engine.store == "containerd" else "")
        # The model's folder is a link, which a context does not follow: it is a context of its own, as it lies there.
        dockerfile = dockerfile.replace(" model/", " --from=model ")
        (self._hand / "Dockerfile").write_text(dockerfile)
        # No secret: the engines that hash the whole image below a step with one would make this one slow.
        shutil.copy("/etc/ssl/certs/ca-certificates.crt", self._hand / "ca.crt")

    def ours(self, *words: str, of: Path | None = None) -> None:
        self.engine.run(
            *(sys.executable, "-m", "mdai_build.cli", "build", of or self.model.zip, "--parent", "local"),
            *("--tag", f"{TAG}/ours", "--cache-folder", self._cache, *(words or ("--tag-untested",))),
        )

    def ours_of_folder(self) -> None:
        self.ours(of=self.model.folder)

    def by_hand(self) -> None:
        self.engine.run(
            *("docker", "buildx", "build", "--load", "--provenance=false"),
            *("--build-context", f"model={self.model.folder}", "--tag", f"{TAG}/hand", str(self._hand)),
        )

    def copied(self) -> None:
        lib = self._copied / "lib"
        shutil.rmtree(lib, ignore_errors=True)
        shutil.copytree(self.model.folder, lib)
        shutil.copy(self._hand / "ca.crt", self._copied)
        (self._copied / "Dockerfile").write_text(COPIED.format(parent=PARENT))
        self.engine.run(*("docker", "build", "--tag", f"{TAG}/copied", str(self._copied)), DOCKER_BUILDKIT="0")

    def overhead(self) -> float:
        """Bytes of our image that are neither the parent, nor packages of the model, nor the model."""
        history = self.engine.output(
            "docker", "history", "--no-trunc", "--human=false", "--format", "{{.Size}}\t{{.CreatedBy}}", f"{TAG}/ours"
        )
        steps = [line.split("\t", 1) for line in history.splitlines()]
        parent = self.engine.output("docker", "history", "--quiet", PARENT).splitlines()
        theirs = ("for tool in micromamba", "_install.txt", "/pins/preinstalled", "_mdai/code/", " . /src/lib/")
        own = steps[: len(steps) - len(parent)]
        return sum(float(size) for size, step in own if "sbom.py" in step or not any(word in step for word in theirs))

    def waterfall(self) -> list[tuple[str, ...]]:
        """The steps of one build of ours: what it is, from when on, and how long, in seconds."""
        told = json.loads(
            self.engine.output(
                *(sys.executable, "-m", "mdai_build.cli", "build", str(self.model.zip), "--parent", "local"),
                *("--tag", f"{TAG}/ours", "--cache-folder", str(self._cache), "--tag-untested", "--json"),
            )
        )
        before = min(step["start"] for step in told["steps"]) if told["steps"] else 0.0
        spent = max(step["end"] for step in told["steps"]) - before if told["steps"] else 0.0
        rows = [
            (step["name"][:70], f"{step['start']:.2f}", f"{step['end'] - step['start']:.2f}") for step in told["steps"]
        ]
        return [
            *rows,
            ("beside BuildKit: checking, unpacking, asking the engine", "", f"{told['seconds_total'] - spent:.2f}"),
        ]

    def forget(self) -> None:
        """Makes the next build a cold one."""
        self.engine.empty()
        shutil.rmtree(self._cache, ignore_errors=True)


def seconds(action: Callable[[], None]) -> float:
    begun = time.perf_counter()
    action()
    return time.perf_counter() - begun


def measure(bench: Bench, rounds: int, chosen: list[str], no_copied: bool) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []

    def nothing() -> None:
        pass

    def row(
        what: str,
        change: Callable[[], None],
        ours: Callable[[], None] = bench.ours,
        times: int = rounds,
        others: bool = True,
        copied: bool = True,
    ) -> None:
        if chosen and what not in chosen:
            return
        taken: dict[str, list[float]] = {"ours": [], "by hand": [], "copied": []}
        for number in range(times):
            for name, action in (("ours", ours), ("by hand", bench.by_hand), ("copied", bench.copied)):
                if (name != "ours" and not others) or (name == "copied" and (number > 0 or not copied or no_copied)):
                    continue
                change()
                if change is not nothing:
                    bench.model.pack()
                taken[name].append(seconds(action))
                bench.engine.tidy()
        medians = {name: statistics.median(values) if values else None for name, values in taken.items()}
        hand = medians["by hand"]
        shown = [f"{value:.2f} s" if value is not None else "" for value in medians.values()]
        ratio = f"{medians['ours'] / hand:.2f}" if hand and medians["ours"] else ""
        rows.append((what, shown[0], ratio, *shown[1:]))
        print(" | ".join(rows[-1]), flush=True)

    def cold() -> None:
        bench.forget()

    containerd = bench.engine.store == "containerd"
    row("cold", cold, times=1 if rounds == 1 else 3, copied=not containerd)
    for first in (bench.ours, bench.by_hand):
        first()
    row("nothing", nothing)
    row("one line of code, new zip", bench.model.change_code, copied=not containerd)
    bench.ours_of_folder()
    row("one line of code, folder", bench.model.change_code, bench.ours_of_folder, copied=False)
    row("one requirement added", bench.model.toggle_requirement, copied=not containerd)
    row("weights changed", bench.model.change_weights, copied=not containerd)
    verdict = "one line of code to the smoke test's verdict"
    bench.ours()  # the weights that changed last were changed for another
    row(verdict, bench.model.change_code, lambda: bench.ours("--json"), others=False)
    if not chosen:
        bench.model.change_weights()
        bench.model.pack()
        title = f"Where the seconds of changed weights go, image store {bench.engine.store}"
        write_section(title, ("step", "from, s", "seconds"), bench.waterfall())
        bench.engine.tidy()
        rows.append(("image beyond parent, packages and model", f"{bench.overhead() / 2**20:.1f} MiB", "", "", ""))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--megabytes", type=int, default=1024, help="of weights")
    parser.add_argument("--store", choices=["overlay2", "containerd"], action="append")
    parser.add_argument("--no-copied", action="store_true", help="leave out the classic builder")
    parser.add_argument("--only", action="append", default=[], help="a row's name; nothing is written then")
    options = parser.parse_args()
    for store in options.store or ["overlay2", "containerd"]:
        engine = Engine(store)
        try:
            with tempfile.TemporaryDirectory(prefix="mdai-build-bench-") as folder:
                rows = measure(
                    Bench(engine, Path(folder), options.megabytes), options.rounds, options.only, options.no_copied
                )
        finally:
            engine.stop()
        if not options.only:
            title = f"Builds with {options.megabytes} MiB of weights, image store {store}"
            write_section(title, ("change", "ours", "ours / by hand", "by hand", "copied"), rows)


if __name__ == "__main__":
    main()
