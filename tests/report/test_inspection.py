"""What an image is and holds, told to people and to machines; its bill of materials comes from a stranger."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from schema_checks import check_report

from mdai_build.engine.inspection import ImageDetails, Layer
from mdai_build.report.inspection import Inspection, inspection_as_json, print_inspection, read_sbom

HOSTILE = "\x1b[2J[red]not markup[/red]"
IMAGE = ImageDetails(
    id="sha256:00",
    tags=("lungs:1",),
    size_bytes=840_000_000,
    created="2026-01-01T00:00:00Z",
    platform="linux/amd64",
    labels=(("io.mdai-build.version", "0.1.0"),),
    environment=("PATH", "TOKEN"),
    user="",
    entry_point=("python", "main.py"),
    command=(),
    working_folder="/src",
    ports=("6324/tcp",),
    layers=(Layer("ADD rootfs", 456_000_000), Layer(f"RUN {HOSTILE}", 12)),
)
SBOM = {
    "bomFormat": "CycloneDX",
    "properties": [{"name": "mdai-build:removed", "value": "msgpack==1.0.4"}, {"name": "other", "value": "1"}],
    "components": [
        {"name": "uvicorn", "version": "0.33.0", "properties": [{"name": "mdai-build:group", "value": "server"}]},
        {
            "name": "numpy",
            "version": "1.24.0",
            "licenses": [{"license": {"name": "BSD License"}}, {"expression": "MIT"}],
            "properties": [
                {"name": "mdai-build:group", "value": "model"},
                {"name": "mdai-build:preinstalled", "value": "1.23.3"},
                {"name": "mdai-build:source", "value": f".mdai/numpy.whl {HOSTILE}"},
            ],
        },
    ],
}


def inspection(**changes: Any) -> Inspection:
    listed = read_sbom(json.dumps(SBOM).encode())
    assert listed is not None
    built = {"version": "0.1.0", "bundle": "lungs", "parent": "base-cpu", "parent_why": "asked for"}
    values = {"built": built, "sbom_file": "/sbom", "packages": listed[0], "removed": listed[1], "notes": (), **changes}
    return Inspection(reference="lungs", image=IMAGE, **values)


def test_json() -> None:
    told = inspection_as_json(inspection())
    check_report("inspect", told)
    assert told["packages"][1] == {
        "name": "numpy",
        "version": "1.24.0",
        "group": "model",
        "preinstalled": "1.23.3",
        "changed": True,
        "source": f".mdai/numpy.whl {HOSTILE}",
        "licences": ["BSD License", "MIT"],
    }
    assert told["packages"][0]["changed"] is False
    assert told["removed"] == ["msgpack==1.0.4"]
    assert told["runs"]["environment"] == ["PATH", "TOKEN"]
    assert told["layers"][0] == {"made_by": "ADD rootfs", "size_bytes": 456_000_000}
    assert json.loads(json.dumps(told)) == told


def test_tables(capsys: pytest.CaptureFixture[str]) -> None:
    print_inspection(inspection())
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "parent base-cpu: asked for" in lines
    assert "user root" in lines
    # The model's packages come first.
    numpy = lines.index("numpy 1.24.0 model preinstalled was 1.23.3, from .mdai/numpy.whl [red]not markup[/red]")
    assert lines[numpy + 1] == "uvicorn 0.33.0 server"
    assert "preinstalled and no longer there: msgpack==1.0.4" in lines
    assert "RUN [red]not markup[/red] 12 bytes" in lines


def test_an_image_of_someone_else(capsys: pytest.CaptureFixture[str]) -> None:
    found = inspection(built={}, sbom_file=None, packages=(), removed=(), notes=("it is not ours",))
    print_inspection(found)
    out = capsys.readouterr().out
    assert "it is not ours" in out and "built from" not in out and "package" not in out
    assert inspection_as_json(found)["built"] is None
    check_report("inspect", inspection_as_json(found))


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff", b"[]", b"{}", b'{"bomFormat": "CycloneDX", "components": 5}', b"[" * 100_000,
     b'{"bomFormat": "CycloneDX", "components": [{"version": "1"}]}'],
)  # fmt: skip
def test_what_is_no_bill_of_materials(content: bytes) -> None:
    assert read_sbom(content) is None


scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=5))
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["name", "value", "license", "id", "expression"]), inner, max_size=3)
    ),
)


@given(st.lists(st.dictionaries(st.sampled_from(["name", "version", "licenses", "properties"]), values), max_size=3))
def test_whatever_it_lists_can_be_told(components: list[dict[str, Any]]) -> None:
    listed = read_sbom(json.dumps({"bomFormat": "CycloneDX", "components": components}).encode())
    if listed is not None:
        json.dumps(inspection_as_json(inspection(packages=listed[0])))
