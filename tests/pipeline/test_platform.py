"""What is said where an engine's machine is of another architecture than the image."""

from __future__ import annotations

import pytest

from mdai_build.engine.connection import Engine
from mdai_build.engine.process import Environment
from mdai_build.pipeline.planning import emulation_warning
from mdai_build.settings import Settings


class Api:
    """As much of an engine as tells what its machine is."""

    def __init__(self, machine: str) -> None:
        self.machine = machine

    def info(self) -> dict[str, object]:
        return {"OSType": "linux", "Architecture": self.machine}


class Client:
    def __init__(self, machine: str) -> None:
        self.api = Api(machine)


def on(machine: str) -> Engine:
    return Engine(client=Client(machine), host="", version="28", environment=Environment({}))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("machine", "platform", "emulated"),
    [
        ("x86_64", "linux/amd64", False),
        ("aarch64", "linux/amd64", True),
        ("aarch64", "linux/arm64", False),
        ("x86_64", "linux/arm64", True),
    ],
)
def test_an_emulated_build_is_told(machine: str, platform: str, emulated: bool) -> None:
    found = emulation_warning(on(machine), Settings.model_validate({"platform": platform}))
    assert len(found) == emulated
    if emulated:
        own = "linux/arm64" if machine == "aarch64" else "linux/amd64"
        assert platform in found[0].what and f"--platform {own}" in (found[0].next_step or "")


def test_a_builder_elsewhere_may_be_of_any_kind() -> None:
    assert emulation_warning(on("aarch64"), Settings(builder="far-away")) == ()
