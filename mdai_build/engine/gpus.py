"""GPUs for a container, or for a process of this machine: what is asked for, and in whose words."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from docker.types import DeviceRequest

from mdai_build.errors import Location, Problem, UnavailableError
from mdai_build.matrix import support_matrix

# Of dockerd where no container toolkit is installed, of newer ones that look for CDI, and of the toolkit itself.
_REFUSED = re.compile(
    r"(?i)could not select device driver|no known GPU vendor|nvidia-container-(?:cli|runtime)"
    r"|invoking the NVIDIA Container Runtime Hook directly|CDI device injection failed|unresolvable CDI devices"
)
_DRIVER_TOO_OLD = re.compile(r"unsatisfied condition: (?P<what>cuda>=(?P<cuda>\d+\.\d+))")
# What a container needs to compute, and to be asked about it; the engine's own choice depends on its version.
_CAPABILITIES = ["gpu", "compute", "utility"]


@dataclass(frozen=True)
class GpuRequest:
    """Which GPUs are asked for."""

    count: int | None = None
    """How many; None: all."""
    ids: tuple[str, ...] = ()
    """Indices or UUIDs; with these, no count."""
    required: bool = True
    """Whether to do without is a failure."""

    def as_device_request(self) -> DeviceRequest:
        """In the words of the engine (Docker Engine API, `DeviceRequest`)."""
        if self.ids:
            return DeviceRequest(device_ids=list(self.ids), capabilities=[_CAPABILITIES])
        return DeviceRequest(count=-1 if self.count is None else self.count, capabilities=[_CAPABILITIES])

    @property
    def visible_devices(self) -> str | None:
        """The value of CUDA_VISIBLE_DEVICES for a process; None: leave it as it is."""
        if self.ids:
            return ",".join(self.ids)
        return None if self.count is None else ",".join(map(str, range(self.count)))


def gpu_request(setting: str, wanted: bool) -> GpuRequest | None:
    """What the setting `gpus` asks for, of a model that wants a GPU or does not; None: no GPU."""
    if setting == "none" or (setting == "auto" and not wanted):
        return None
    if setting in ("auto", "all"):
        return GpuRequest(required=setting == "all")
    if setting.isdigit():
        return GpuRequest(count=int(setting))
    return GpuRequest(ids=tuple(setting.removeprefix("device=").split(",")))


def refusal(said: str) -> str | None:
    """Why an engine gives no GPU, in one line, if that is what its words mean."""
    if not _REFUSED.search(said):
        return None
    if found := _DRIVER_TOO_OLD.search(said):
        # The toolkit compares what the driver itself can run, and knows of no compatibility within a major version.
        row = support_matrix().gpu.get(found["cuda"])
        least = f", which driver {row.driver} and newer have" if row else ""
        return f"the driver of its machine is too old: the image asks for {found['what']}{least}"
    if "could not select device driver" in said or "no known GPU vendor" in said:
        return "it has no GPU to give, or lacks NVIDIA's container toolkit"
    return " ".join(said.split())[-300:]


def gpu_refused(reason: str, said: str) -> UnavailableError:
    """GPUs that were asked for cannot be had."""
    return UnavailableError(
        Problem(
            code="engine.no-gpu",
            what=f"the engine gives the container no GPU: {reason}",
            where=Location("settings", key="gpus"),
            expected="a machine with an NVIDIA GPU, its driver, and nvidia-container-toolkit set up for the engine",
            next_step="see whether `docker run --rm --gpus all IMAGE nvidia-smi` works; without --gpus the smoke test "
            "runs without the GPU and says so",
            details=said,
        )
    )


def no_gpu_here() -> str | None:
    """Why processes of this machine have no GPU; None: there is one."""
    if Path("/dev/dxg").exists() or any(re.fullmatch(r"nvidia\d+", path.name) for path in Path("/dev").glob("nvidia*")):
        return None
    return "this machine has no NVIDIA GPU (no /dev/nvidia0)"
