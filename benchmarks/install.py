"""Measures the install step: uv against pip in the same build, with an empty cache mount and with a warm one.

The step is the one that installs a model's requirements on top of the preinstalled packages; its seconds are BuildKit's
own. uv and pip take turns, so that both meet the same noise of machine and network. Medians.
"""

from __future__ import annotations

import argparse
import re
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from results import write_section

from mdai_build.context import write_context, write_resolved
from mdai_build.dockerfile import render_dockerfile
from mdai_build.engine import connect
from mdai_build.engine.connection import Engine
from mdai_build.matrix import support_matrix
from mdai_build.pipeline.check import check_model
from mdai_build.pipeline.planning import plan_model
from mdai_build.settings import load_settings

REQUIREMENTS = "pillow\nscikit-image\npydicom\n"
DEPLOY = "class MDAIModel:\n    def predict(self, data):\n        return []\n"
_UV_SAYS = re.compile(r"(Resolved|Prepared|Installed) \d+ packages? in ([\d.]+)(ms|s)")
FLOORS = {"empty": 4, "warm": 8}


@contextmanager
def contexts(python: str) -> Iterator[dict[str, Path]]:
    """A build context of the same model for each installer."""
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder, "model")
        (model / ".mdai").mkdir(parents=True)
        (model / ".mdai" / "config.yaml").write_text(f"base_image: py{python.replace('.', '')}\n")
        (model / ".mdai" / "requirements.txt").write_text(REQUIREMENTS)
        (model / ".mdai" / "mdai_deploy.py").write_text(DEPLOY)
        made = {}
        for installer in ("uv", "pip"):
            options = {"parent": "local", "installer": installer, "cache_folder": Path(folder, "cache")}
            settings = load_settings(options)
            checked = check_model(model, settings, look_up=True)
            unpacked, plan = plan_model(checked, settings, lambda text: None)
            made[installer] = Path(folder, installer)
            write_context(plan, unpacked, made[installer], render=render_dockerfile)
            write_resolved(made[installer], checked.resolved_text)
        yield made


def install_seconds(engine: Engine, context: Path, cache: str) -> tuple[float, dict[str, float]]:
    """Seconds of the install step, and of what uv says it did, which is run anew with the cache mount of this name.

    It runs anew since a word of it differs each time. BuildKit gives a step that is run with `--no-cache-filter` an
    empty cache mount, whatever its name.
    """
    dockerfile = context / "Dockerfile"
    # Only the step that is measured: the stages before it stay cached.
    before, model = dockerfile.read_text(encoding="utf-8").split("FROM packages AS model", 1)
    model = re.sub(r"type=cache,id=[\w-]+", f"type=cache,id={cache}", model)
    model = model.replace("cd /requirements &&", f"cd /requirements && : {time.time_ns()} &&", 1)
    measured = context.parent / "Dockerfile.measured"
    measured.write_text(f"{before}FROM packages AS model{model}", encoding="utf-8")
    settings = load_settings({})
    words = ["buildx", "build", "--progress=plain", "--target=model", f"--file={measured}"]
    if settings.ca_bundle:
        words.append(f"--secret=id=ca-bundle,src={settings.ca_bundle}")
    words.append(f"--secret=id=resolved,src={context}/_mdai/resolved.txt")  # as `build` does; pip has no use for it
    command = engine.command(*words, "--output=type=cacheonly", str(context))
    done = subprocess.run(
        command, env=dict(engine.environment.values), capture_output=True, text=True, check=True, timeout=600
    )
    (vertex,) = set(re.findall(r"^#(\d+) \[model \d+/\d+\] RUN .*_install\.txt", done.stderr, re.M))
    (seconds,) = re.findall(rf"^#{vertex} DONE (\d+\.\d+)s$", done.stderr, re.M)
    parts = {word: float(value) / (1000 if unit == "ms" else 1) for word, value, unit in _UV_SAYS.findall(done.stderr)}
    return float(seconds), parts


def told(seconds: list[float], parts: list[dict[str, float]]) -> str:
    """Where the seconds of uv's step go: its own words, and what is left for bytecode and the container."""
    medians = {
        word: statistics.median(part.get(word, 0.0) for part in parts) for word in ("Resolved", "Prepared", "Installed")
    }
    rest = statistics.median(seconds) - sum(medians.values())
    return (
        f"resolve {medians['Resolved']:.2f}, download and unpack {medians['Prepared']:.2f}, "
        f"copy {medians['Installed']:.2f}, bytecode and container {rest:.2f} s"
    )


def empty_caches(engine: Engine, names: Iterable[str]) -> None:
    """Empties cache mounts, so that rounds are alike and nothing stays on the engine's disk."""
    steps = [f"RUN --mount=type=cache,id={name},target=/c find /c -mindepth 1 -delete\n" for name in names]
    dockerfile = f"FROM {support_matrix().local.cpu.image}\n" + "".join(steps)
    command = engine.command("buildx", "build", "--quiet", "--no-cache", "--output=type=cacheonly", "-")
    subprocess.run(
        command, input=dockerfile, env=dict(engine.environment.values), capture_output=True, text=True, check=True
    )


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--python", default="3.8")
    words.add_argument("--rounds", type=int, default=5)
    options = words.parse_args()
    engine = connect(load_settings().engine_folder)
    states = [(installer, state) for state in ("empty", "warm") for installer in ("uv", "pip")]
    times: dict[tuple[str, str], list[float]] = {each: [] for each in states}
    parts: dict[tuple[str, str], list[dict[str, float]]] = {each: [] for each in states}
    caches = {"uv": "mdai-benchmark-uv", "pip": "mdai-benchmark-pip"}
    with contexts(options.python) as made:
        for installer, context in made.items():
            install_seconds(engine, context, caches[installer])  # the stages before it
        for _ in range(options.rounds):
            empty_caches(engine, caches.values())
            for state in ("empty", "warm"):
                for installer, context in made.items():
                    seconds, of_uv = install_seconds(engine, context, caches[installer])
                    times[installer, state].append(seconds)
                    parts[installer, state].append(of_uv)
    empty_caches(engine, caches.values())
    rows = []
    for state, floor in FLOORS.items():
        uv, pip = (statistics.median(times[installer, state]) for installer in ("uv", "pip"))
        went = told(times["uv", state], parts["uv", state])
        factor = f"{pip / uv:.1f}"
        rows.append((f"{state} cache mount", f"at least {floor} times", f"{uv:.1f} s", f"{pip:.1f} s", factor, went))
        print(" | ".join(rows[-1]))
    head = ("pillow + scikit-image + pydicom", "floor", "uv", "pip", "times faster", "uv's seconds")
    write_section(f"The install step, Python {options.python}", head, rows)


if __name__ == "__main__":
    main()
