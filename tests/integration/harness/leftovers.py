"""What a run left in the engine, on an engine that others may be using at the same time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import docker

from mdai_build.engine.container import OWNER_LABEL

TITLE_LABEL = "org.opencontainers.image.title"
RECIPE_LABEL = "io.mdai-build.recipe"


@dataclass(frozen=True)
class EngineState:
    """The labels of all that an engine holds, by kind and id."""

    things: Mapping[tuple[str, str], Mapping[str, str]]

    def leftovers(self, before: EngineState, title: str, process: int) -> list[str]:
        """What came since `before` and may be of the run with this process id, of a bundle with this name.

        Whatever is not marked as another run's counts, so that an unmarked leftover cannot hide.
        """
        return [
            f"{kind} {name} {dict(labels)}"
            for (kind, name), labels in self.things.items()
            if (kind, name) not in before.things and not _of_others(labels, title, process)
        ]


def _of_others(labels: Mapping[str, str], title: str, process: int) -> bool:
    if OWNER_LABEL in labels:
        return not labels[OWNER_LABEL].endswith(f":{process}")
    if TITLE_LABEL in labels:
        return labels[TITLE_LABEL] != title
    return RECIPE_LABEL in labels  # the parent image, which somebody has made meanwhile


def engine_state(client: docker.DockerClient) -> EngineState:
    """What the engine holds now, dangling images and stopped containers included."""
    listed: dict[str, list[dict[str, Any]]] = {
        "container": client.api.containers(all=True),
        "image": client.api.images(all=True),
        "volume": client.api.volumes()["Volumes"] or [],
        "network": client.api.networks(),
    }
    return EngineState(
        {
            (kind, each.get("Id") or each["Name"]): each.get("Labels") or {}
            for kind, entries in listed.items()
            for each in entries
        }
    )
