"""What is installed, written down: valid by the CycloneDX schema, the same bytes each time, on every Python."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from mdai_build.runtime import sbom

VERSIONS = ["3.7", "3.8", "3.9", "3.10", "3.11", "3.12", "3.13"]
SCRIPT = Path(sbom.__file__)
WHEEL_HASH = "a" * 64


def install(
    folder: Path, name: str, version: str, *headers: str, origin: Any = None, record: str = "x.py,sha256=q,1"
) -> Path:
    place = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    place.mkdir(parents=True)
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}", *headers]
    (place / "METADATA").write_text("\n".join(lines) + "\n\nA body with Name: other\n", encoding="utf-8")
    (place / "RECORD").write_text(record + "\n")
    if origin is not None:
        (place / "direct_url.json").write_text(origin if isinstance(origin, str) else json.dumps(origin))
    return place


@pytest.fixture
def image(tmp_path: Path) -> dict[str, Path]:
    """Folders as an image has them, with a package of every kind."""
    model, server, prefix = tmp_path / "site", tmp_path / "server", tmp_path / "env"
    install(model, "Typing_Extensions", "4.1", "License-Expression: PSF-2.0", "Summary: Backports")
    install(
        model, "numpy", "1.24.0", "Classifier: License :: OSI Approved :: BSD License", "License: long\n        text"
    )
    install(model, "pydicom", "2.3.0", "License: MIT", "Classifier: License :: OSI Approved :: MIT License")
    wheel = {
        "url": "file:///requirements/.mdai/my-1.0-py3-none-any.whl",
        "archive_info": {"hash": f"sha256={WHEEL_HASH}"},
    }
    install(model, "my", "1.0", origin=wheel)
    git = {"url": "https://me:secret@host/tool.git", "vcs_info": {"vcs": "git", "commit_id": "c" * 40}}
    install(model, "tool", "0.1", origin=git)
    (model / "old-0.9.egg-info").write_text("Metadata-Version: 1.0\nName: old\nVersion: 0.9\nLicense: UNKNOWN\n")
    # What a package of a stranger may have; none of it may stop the build.
    install(model, "odd", "1", "License: " + "long " * 500, origin=["no", "map"], record="\x00")
    install(model, "cut", "1", origin='{"url": ')
    (model / "empty-1.dist-info").mkdir()
    install(server, "uvicorn", "0.33.0", "License: BSD-3-Clause")
    install(server, "numpy", "2.0")
    meta = prefix / "conda-meta"
    meta.mkdir(parents=True)
    python = {"name": "python", "version": "3.8.18", "build": "h1_0", "subdir": "linux-64", "fn": "python.conda"}
    (meta / "python.json").write_text(json.dumps({**python, "license": "Python-2.0", "md5": "b" * 32, "sha256": 5}))
    (meta / "pip.json").write_text(json.dumps({"name": "pip", "version": "1", "files": ["lib/pip-1.dist-info/RECORD"]}))
    (meta / "broken.json").write_text("{")
    pins = tmp_path / "pins.txt"
    pins.write_text("# made by hand\nnumpy==1.23.3\npydicom==2.3.0\nmsgpack==1.0.4\n")
    return {"model": model, "server": server, "prefix": prefix, "pins": pins}


def described(image: dict[str, Path]) -> dict[str, Any]:
    pins = sbom.read_pins(str(image["pins"]))
    return sbom.describe([str(image["model"])], str(image["prefix"]), str(image["server"]), pins)


def component(document: dict[str, Any], name: str, group: str = "model") -> dict[str, Any]:
    (found,) = (c for c in document["components"] if (c["name"], c["bom-ref"].split(":")[0]) == (name, group))
    return {**found, "properties": {p["name"].removeprefix("mdai-build:"): p["value"] for p in found["properties"]}}


def test_it_is_valid_by_the_schema(image: dict[str, Path]) -> None:
    document = described(image)
    assert len(document["components"]) == 11
    assert JsonStrictValidator(SchemaVersion.V1_5).validate_str(json.dumps(document)) is None
    # The validator itself refuses what is wrong.
    document["components"][0]["type"] = "nonsense"
    assert JsonStrictValidator(SchemaVersion.V1_5).validate_str(json.dumps(document)) is not None


def test_what_it_says_of_packages(image: dict[str, Path]) -> None:
    document = described(image)
    numpy = component(document, "numpy")
    assert numpy["purl"] == "pkg:pypi/numpy@1.24.0"
    assert numpy["licenses"] == [{"license": {"name": "BSD License"}}]
    assert (numpy["properties"]["group"], numpy["properties"]["preinstalled"]) == ("model", "1.23.3")
    assert component(document, "numpy", "server")["version"] == "2.0"
    assert component(document, "Typing_Extensions")["purl"] == "pkg:pypi/typing-extensions@4.1"
    assert component(document, "Typing_Extensions")["licenses"] == [{"expression": "PSF-2.0"}]
    assert component(document, "pydicom")["licenses"] == [{"license": {"id": "MIT"}}]
    assert component(document, "my")["hashes"] == [{"alg": "SHA-256", "content": WHEEL_HASH}]
    assert component(document, "my")["properties"]["source"] == ".mdai/my-1.0-py3-none-any.whl"
    assert component(document, "tool")["properties"]["source"] == f"git+https://host/tool.git@{'c' * 40}"
    assert "secret" not in json.dumps(document)
    assert "licenses" not in component(document, "old")
    assert component(document, "python", "conda")["hashes"] == [{"alg": "MD5", "content": "b" * 32}]
    assert document["properties"] == [{"name": "mdai-build:removed", "value": "msgpack==1.0.4"}]


def test_a_digest_of_files_is_of_the_packages_own(tmp_path: Path) -> None:
    package = 'a.py,sha256=x,1\n"odd,name.py",sha256=y,2'
    first = install(tmp_path / "1", "a", "1", record=f"{package}\na-1.dist-info/INSTALLER,sha256=i,2")
    second = install(tmp_path / "2", "a", "1", record=f"__pycache__/a.pyc,,\n{package}\n../../bin/a,sha256=b,3")
    third = install(tmp_path / "3", "a", "1", record=package.replace("=y", "=z"))
    digests = [sbom.installed_files(str(place / "RECORD")) for place in (first, second, third)]
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.process
@pytest.mark.parametrize("version", VERSIONS)
def test_every_python_writes_it(version: str, python_of: Callable[[str], str], tmp_path: Path) -> None:
    """Of its own packages, twice the same bytes, and without a trace beside the script."""
    outputs = [tmp_path / "one" / "sbom.json", tmp_path / "two" / "sbom.json"]
    for output in outputs:
        subprocess.run([python_of(version), "-I", "-B", str(SCRIPT), str(output)], check=True)
    first, second = (output.read_bytes() for output in outputs)
    assert first == second
    document = json.loads(first)
    assert any(component["name"] == "pip" for component in document["components"])
    assert JsonStrictValidator(SchemaVersion.V1_5).validate_str(first.decode()) is None
