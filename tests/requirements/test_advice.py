"""What is known of packages that install well and then do not work."""

from __future__ import annotations

import pytest
import yaml
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from mdai_build.config import ModelConfig, parse_config
from mdai_build.matrix import support_matrix
from mdai_build.requirements import advice, parse_resolved, read_requirements
from mdai_build.resources import resource


def config(cuda: str | None = None) -> ModelConfig:
    gpu = f"device_type: gpu\ncuda_version: '{cuda}'\n" if cuda else ""
    return parse_config(f"base_image: py38\n{gpu}", ".mdai/config.yaml").config


@pytest.mark.parametrize(
    ("resolved", "cuda", "codes"),
    [
        ("tensorflow==2.8.0 protobuf==4.24.4", None, ["clash"]),
        ("tensorflow==2.8.0 protobuf==3.20.1", None, []),
        ("tensorflow==2.12.0 protobuf==4.24.4", None, []),
        ("tensorflow-gpu==2.3.0 protobuf==4.24.4", "10.1", ["clash"]),
        ("tensorflow==2.1.0 h5py==3.8.0", None, ["clash"]),
        ("tensorflow==2.4.1 h5py==3.1.0", None, []),
        ("keras==2.3.1 tensorflow==1.15.0 h5py==3.8.0", None, ["clash"]),
        ("tensorflow==2.4.1 keras==2.13.1", None, ["clash"]),
        ("tensorflow==2.4.1 keras==2.4.3", None, []),
        ("tensorflow==2.8.0 keras==2.8.0", None, []),
        ("torchvision==0.4.2 pillow==9.5.0", None, ["clash"]),
        ("torchvision==0.5.0 pillow==9.5.0", None, []),
        ("imgaug==0.4.0 numpy==1.24.0", None, ["clash"]),
        ("imgaug==0.4.0 numpy==1.23.5", None, []),
        ("pandas==2.1.4 numpy==2.0.0", None, ["numpy-2"]),
        ("pandas==2.2.2 numpy==2.0.0", None, []),
        ("pandas==2.1.4 numpy==1.26.4", None, []),
        ("tensorflow==2.2.0", "11.0", ["tensorflow-cuda"]),
        ("tensorflow==2.2.0", "10.1", []),
        ("tensorflow==2.5.0", "11.0", ["tensorflow-cuda"]),
        ("tensorflow==2.8.0", "11.3", []),
        ("tensorflow==2.8.0", "11.8", []),
        ("tensorflow==2.15.1", "11.8", ["tensorflow-cuda"]),
        ("tensorflow==2.15.1 nvidia-cudnn-cu12==8.9.4.25", "11.8", []),
        ("tensorflow==2.2.0", None, []),
        ("tensorflow==2.99", "11.8", []),
        ("tensorflow-cpu==2.8.0", "11.3", ["without-cuda"]),
        ("torch==2.1.0", None, ["torch-cuda-on-cpu"]),
        ("torch==2.1.0+cu121", None, ["torch-cuda-on-cpu"]),
        ("torch==2.1.0+cpu", None, []),
        ("torch==2.1.0", "11.8", []),
        ("torch==2.1.0+cpu", "11.8", ["without-cuda"]),
        ("", "11.8", []),
    ],
)
def test_advice(bundle_of, resolved: str, cuda: str | None, codes: list[str]) -> None:
    requirements = read_requirements(bundle_of("numpy\n"), "3.8")
    found = advice(parse_resolved(resolved.replace(" ", "\n")), requirements, config(cuda))
    assert [problem.code for problem in found] == [f"requirements.{code}" for code in codes]
    assert all(problem.next_step for problem in found)


def test_the_line_to_change_is_told(bundle_of) -> None:
    requirements = read_requirements(bundle_of("# x\ntensorflow==2.8.0\nprotobuf\n"), "3.8")
    (problem,) = advice(parse_resolved("tensorflow==2.8.0\nprotobuf==4.24.4\n"), requirements, config())
    assert (problem.where.line, problem.where.source) == (3, "protobuf")
    assert problem.what == (
        'protobuf 4.24.4 would be installed, with which tensorflow 2.8.0 fails on import with "Descriptors cannot be '
        'created directly"'
    )
    assert problem.next_step == "write `protobuf<3.21`"


def test_all_that_numpy_2_breaks_is_one_warning(bundle_of) -> None:
    requirements = read_requirements(bundle_of("pandas\n"), "3.8")
    (problem,) = advice(parse_resolved("pandas==2.1.4\nnumpy==2.1.0\nscipy==1.12.0\n"), requirements, config())
    assert problem.where.line == 1
    assert "pandas 2.1.4" in problem.what and "scipy 1.12.0" in problem.what


def test_the_data_can_be_read() -> None:
    known = yaml.safe_load(resource("base_images", "advice.yaml").read_text(encoding="utf-8"))
    for row in known["clashes"]:
        assert SpecifierSet(row["versions"]) and SpecifierSet(row["at"])
        assert row["source"].startswith("https://")
    assert all(Version(first) for first in known["numpy_2"].values())
    assert {cuda for row in known["tensorflow_cuda"] for cuda in row["works"]} <= set(support_matrix().gpu)


@pytest.mark.parametrize(
    ("resolved", "told"),
    [
        ("torch==1.4.0+cu92\n", "CUDA 9.2"),
        ("torch==1.6.0+cu101\n", "CUDA 10.1"),
        ("torch==1.6.0\n", "CUDA 10.2"),
        ("torch==1.12.1\n", "CUDA 10.2"),
        ("torch==1.12.1+cu113\n", None),
        ("torch==1.13.1\n", None),
        ("torch==2.4.0\n", None),
    ],
)
def test_a_torch_whose_kernels_end_with_turing_is_told(bundle_of, resolved: str, told: str | None) -> None:
    requirements = read_requirements(bundle_of("numpy\ntorch\n"), "3.8")
    found = advice(parse_resolved(resolved), requirements, config("11.3"))
    assert [problem.code for problem in found] == (["requirements.torch-kernels"] if told else [])
    if told:
        assert told in found[0].what and "on Ampere (A100" in found[0].what and found[0].where.line == 2
        assert ("end with Turing (sm_75)" in found[0].what) is (told != "CUDA 9.2")
        assert "cu113" in found[0].next_step


def test_a_tensorflow_that_another_cudnn_serves_is_told(bundle_of) -> None:
    requirements = read_requirements(bundle_of("tensorflow\n"), "3.10")
    resolved = parse_resolved("tensorflow==2.15.0\n")
    assert advice(resolved, requirements, config("12.3"), "8") == ()
    assert advice(resolved, requirements, config("12.3"), None) == ()
    (problem,) = advice(resolved, requirements, config("12.3"), "9")
    assert problem.code == "requirements.tensorflow-cudnn" and "cuDNN 8" in problem.what
