"""Engines of the benchmarks' own, which they may empty: private ones beside the engine that is in use."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import platformdirs

ROOT = Path(__file__).resolve().parent.parent
PARENT = "mdai-build/parent:local-cpu"


class Engine:
    """A private engine on one of the two image stores, with the local parent and nothing else."""

    def __init__(self, store: str) -> None:
        self.store = store
        folder = platformdirs.user_data_path("mdai-build") / "benchmark-engine"
        self._options = ["--private", *(["--containerd-store"] if store == "containerd" else [])]
        self.environment = {**os.environ, "MDAI_BUILD_ENGINE_FOLDER": str(folder)}
        self._script("start")
        real = folder.with_name(folder.name + "-containerd") if store == "containerd" else folder
        self.environment |= {
            "DOCKER_HOST": f"unix://{real / 'docker.sock'}",
            "DOCKER_CONFIG": str(real / "config"),
            "PATH": f"{real / 'bin'}:{os.environ['PATH']}",
        }
        if not self.output("docker", "images", "-q", PARENT):
            self.run(sys.executable, str(ROOT / "scripts" / "parent.py"))

    def _script(self, command: str) -> None:
        words = [sys.executable, str(ROOT / "scripts" / "engine.py"), command, *self._options]
        subprocess.run(words, check=True, env=self.environment)

    def run(self, *words: str | Path, folder: Path | None = None, **variables: str) -> None:
        """Runs a command against this engine; what it prints is shown if it fails."""
        done = subprocess.run(
            [*map(str, words)],
            env={**self.environment, **variables},
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            print(done.stdout[-8000:], file=sys.stderr)
            raise SystemExit(f"failed: {' '.join(map(str, words))}")

    def output(self, *words: str) -> str:
        """What a command prints."""
        done = subprocess.run(words, env=self.environment, stdout=subprocess.PIPE, text=True, check=True)
        return done.stdout.strip()

    def take_parent(self, other: Engine) -> None:
        """Has the very parent image that another engine holds: each engine makes one with times of its own."""
        with subprocess.Popen(["docker", "save", PARENT], env=other.environment, stdout=subprocess.PIPE) as saved:
            subprocess.run(["docker", "load", "--quiet"], env=self.environment, stdin=saved.stdout, check=True)

    def empty(self) -> None:
        """Removes the build cache and every image but the parent."""
        # By name: images inherit the labels by which one could tell the parent.
        for image in set(self.output("docker", "images", "--all", "--format", "{{.Repository}}:{{.Tag}}").split()):
            if "<none>" not in image and not image.startswith(PARENT.partition(":")[0]):
                self.run("docker", "image", "rm", "--force", image)
        self.run("docker", "image", "prune", "--force")
        self.run("docker", "buildx", "prune", "--all", "--force")

    def tidy(self) -> None:
        """Removes what the last build replaced, so that a gigabyte a round does not fill the disk."""
        self.run("docker", "image", "prune", "--force")
        self.run("docker", "buildx", "prune", "--force", "--keep-storage", "24GB")

    def stop(self) -> None:
        """Ends the engine; its data stays for the next time."""
        self._script("stop")
