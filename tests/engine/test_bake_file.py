"""The bake file, as buildx reads it."""

from __future__ import annotations

import json
from pathlib import Path

from mdai_build.engine import BuildRequest, bake_file


def test_a_target_for_each_model_with_all_that_it_was_asked_for() -> None:
    request = BuildRequest(
        context=Path("/contexts/lungs"),
        secrets=(("netrc", Path("/home/me/netrc")),),
        contexts=(("mdai-wheels", Path("/wheels")),),
        proxies=(("http_proxy", "http://me:secret@proxy"),),
        network="none",
        labels=(("io.mdai-build.content", "sha256:00"),),
        cache_from=("type=registry,ref=host/cache",),
    )
    told = json.loads(bake_file({"1-lungs": request, "2-heart": BuildRequest(context=Path("/contexts/heart"))}))
    assert told["group"]["default"]["targets"] == ["1-lungs", "2-heart"]
    assert told["target"]["1-lungs"] == {
        "context": "/contexts/lungs",
        "dockerfile": "Dockerfile",
        "contexts": {"mdai-wheels": "/wheels"},
        "secret": ["id=netrc,src=/home/me/netrc"],
        "args": {"http_proxy": None},
        "labels": {"io.mdai-build.content": "sha256:00"},
        "network": "none",
        "cache-from": ["type=registry,ref=host/cache"],
        "output": ["type=docker,compression=uncompressed"],
    }


def test_no_path_is_taken_for_a_template() -> None:
    told = json.loads(bake_file({"1-m": BuildRequest(context=Path("/a${HOME}/b%{if}/c$d%"))}))
    assert told["target"]["1-m"]["context"] == "/a$${HOME}/b%%{if}/c$d%"
