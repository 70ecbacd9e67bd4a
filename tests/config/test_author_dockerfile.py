"""The author's own Dockerfile comes first, ours follows: its last stage needs a name, and no other may have ours."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mdai_build.config.author_dockerfile import (
    OUR_STAGES,
    check_author_dockerfile,
    final_image,
    name_last_stage,
    parent_images,
    read_stages,
)
from mdai_build.errors import BundleError
from mdai_build.matrix import Platform
from mdai_build.resources import resource

GOLDEN = Path(__file__).parents[1] / "dockerfile/golden"


@pytest.mark.parametrize(
    ("written", "named"),
    [
        ("FROM debian:12\nRUN true\n", "FROM debian:12 AS p\nRUN true\n"),
        ("from debian:12", "from debian:12 AS p\n"),
        (
            "FROM --platform=linux/amd64 debian:12  \r\nRUN true\r\n",
            "FROM --platform=linux/amd64 debian:12 AS p\nRUN true\n",
        ),
        ("FROM a AS one\nFROM b\nCOPY --from=one /x /x\n", "FROM a AS one\nFROM b AS p\nCOPY --from=one /x /x\n"),
        ("FROM a AS One\nRUN true\n", "FROM a AS One\nRUN true\n\nFROM one AS p\n"),
        ("FROM a\n# FROM b\nRUN echo FROM c\n", "FROM a AS p\n# FROM b\nRUN echo FROM c\n"),
        ("FROM a\nRUN psql \\\n  # why\n\n  FROM b\n", "FROM a AS p\nRUN psql \\\n  # why\n\n  FROM b\n"),
        ("FROM a\nRUN <<EOF\nFROM b\nEOF\n", "FROM a AS p\nRUN <<EOF\nFROM b\nEOF\n"),
        ("FROM a\nRUN cat <<-'X'\n\tFROM b\n\tX\n", "FROM a AS p\nRUN cat <<-'X'\n\tFROM b\n\tX\n"),
        ("FROM a\nRUN echo $((1<<3))\nFROM b\n3\n", "FROM a\nRUN echo $((1<<3))\nFROM b AS p\n3\n"),
        ("FROM a\nRUN cat <<EOF\nFROM b\n", "FROM a\nRUN cat <<EOF\nFROM b AS p\n"),
        ("FROM \\\n  a\n", "FROM \\\n  a AS p\n"),
        ("FROM a\nRUN true && \\\n", "FROM a AS p\nRUN true &&\n"),
    ],
)
def test_the_last_stage_gets_the_name(written: str, named: str) -> None:
    assert name_last_stage(written, "p") == named


def test_images_are_those_that_are_known_before_the_build() -> None:
    dockerfile = "ARG BASE=a\nFROM ${BASE} AS One\nFROM one\nFROM scratch\nFROM --platform=$BUILDPLATFORM b:1 AS two\n"
    assert parent_images(dockerfile) == ("a", "b:1")


@pytest.mark.parametrize(
    ("written", "image"),
    [
        (
            'ARG REGISTRY=r.example TAG="3.10"\nARG BASE=$REGISTRY/python:${TAG}-slim\nFROM $BASE\n',
            "r.example/python:3.10-slim",
        ),
        ("ARG TAG\nFROM python:${TAG:-3.10}\n", "python:3.10"),
        ("ARG A=\nARG B=b\nFROM ${A:-${B:-c}}${A:+x}${B:+-slim}\n", "b-slim"),
        ("FROM base-$TARGETARCH\n", "base-arm64"),
        ("FROM a AS one\nARG X=b\nFROM c$X\n", "c"),
        ("ARG A='x' \\\n  B=y\nFROM \"$A$B\"\n", "xy"),
    ],
)
def test_an_image_that_an_argument_names_is_known(written: str, image: str) -> None:
    assert parent_images(written, "linux/arm64")[-1] == image


@pytest.mark.parametrize(
    ("written", "image"),
    [
        ("ARG B=b\nFROM $B AS one\nFROM x AS two\nFROM One AS three\nCOPY --from=two /x /x\n", "b"),
        ("FROM x AS one\nFROM scratch\nCOPY --from=one / /\n", None),
    ],
)
def test_what_the_last_stage_stands_on(written: str, image: str | None) -> None:
    assert final_image(name_last_stage(written, "p")) == image


_BEFORE = ["FROM a\nRUN true", "FROM a AS b\nRUN true", "FROM a", "FROM a AS b", "FROM \\\n a"]


@pytest.mark.parametrize("after", ["", "\n", "\n# a comment", "\n  \n#\n\t\n", " \t\n# \\"])
@pytest.mark.parametrize("before", _BEFORE)
def test_what_follows_is_no_part_of_the_last_instruction(before: str, after: str) -> None:
    """BuildKit passes over comments and empty lines within an instruction that goes on."""
    text = name_last_stage(f"{before} \\{after}\n", "p") + "\nFROM p AS ours\nRUN whoami\n"
    assert [stage.name for stage in read_stages(text)][-2:] == ["p", "ours"]
    assert final_image(text) == "a"


def test_an_argument_without_a_value_names_no_image() -> None:
    with pytest.raises(BundleError, match="ARG that has no value") as failure:
        check_author_dockerfile("ARG BASE\nFROM a\nFROM $BASE\n")
    assert [problem.where and problem.where.line for problem in failure.value.problems] == [3]


def test_lines_that_end_otherwise_than_ours_are_refused() -> None:
    with pytest.raises(BundleError, match="continues its lines by ```"):
        check_author_dockerfile("# syntax=docker/dockerfile:1\n# ESCAPE = `\nFROM a\n")
    check_author_dockerfile("# escape=\\\nFROM a\n")
    check_author_dockerfile("# mine\n# escape=`\nFROM a\n")


@pytest.mark.parametrize("written", ["", "RUN true\n", "# FROM a\n", "FROM\n"])
def test_a_dockerfile_without_a_stage_is_refused(written: str) -> None:
    with pytest.raises(BundleError, match="no FROM"):
        check_author_dockerfile(written)


def test_a_stage_with_a_name_of_ours_cannot_be_copied_from() -> None:
    with pytest.raises(BundleError, match="`Server`") as failure:
        check_author_dockerfile("FROM a AS builder\nFROM b AS Server\nFROM c\nCOPY --from=server /x /x\n")
    (problem,) = failure.value.problems
    assert problem.where is not None and problem.where.line == 2
    check_author_dockerfile("FROM a AS server\nFROM b\nCOPY --from=server-side /x /x\n")


def test_our_names_are_those_of_the_templates() -> None:
    texts = [path.read_text(encoding="utf-8") for path in resource("templates").rglob("*.j2")]
    assert {name for text in texts for name in re.findall(r"^FROM .* AS (\S+)$", text, re.M)} == OUR_STAGES
    rendered = [path.read_text(encoding="utf-8") for path in GOLDEN.glob("*.Dockerfile")]
    assert {read_stages(text)[-1].name for text in rendered} == {"model", "lock", "wheels-folder", "mdai-base"}


@pytest.mark.parametrize(
    ("written", "code", "line"),
    [
        ("FROM python:3.10-alpine\n", "musl", 1),
        ("# mine\nFROM alpine:3 AS a\nRUN apk add python3\nFROM a\n", "musl", 2),
        ("FROM nvidia/cuda:11.8.0-runtime-ubuntu22.04\nRUN apt-get update\n", "no-python", 1),
        ("FROM registry.example:5000/library/debian@sha256:00\n", "no-python", 1),
        ("FROM python:3.10 AS b\nRUN python -V\nFROM ubuntu\nCOPY --from=b /x /x\n", "no-python", 3),
        ('FROM python:3.10\nRUN a\nentrypoint ["/start"]\n', "entrypoint", 3),
        ("FROM continuumio/miniconda3\nRUN conda create -n model python=3.8\n", "conda", 2),
        ("FROM continuumio/miniconda3\nCOPY a b\nRUN conda env create -f b\n", "conda", 3),
        ("ARG BASE=debian:12\nFROM ${BASE}\n", "no-python", 2),
        ("# syntax=docker/dockerfile:1.7-labs\nFROM a\n", "syntax", 1),
    ],
)
def test_what_a_dockerfile_seems_to_lack_is_told_with_its_line(written: str, code: str, line: int) -> None:
    (problem,) = check_author_dockerfile(written)
    assert problem.code == f"config.dockerfile-{code}"
    assert problem.where is not None and problem.where.line == line


@pytest.mark.parametrize(
    "written",
    [
        'FROM python:3.10-slim\nCMD ["bash"]\nUSER nobody\n',
        "FROM ubuntu:22.04\nRUN apt-get install -y python3-pip\n",
        'FROM python:3.10-alpine AS mine\nENTRYPOINT ["x"]\nFROM python:3.10\nCOPY --from=mine /x /x\n',
        "FROM continuumio/miniconda3\nRUN conda create -n m python=3.8\nENV A=1 PATH=/opt/conda/envs/m/bin:$PATH\n",
        "# syntax=docker/dockerfile:1.4\nARG BASE=python:3.10\nFROM ${BASE}\n",
    ],
)
def test_nothing_is_said_of_a_dockerfile_that_may_well_do(written: str) -> None:
    assert check_author_dockerfile(written) == ()


@pytest.mark.parametrize(
    ("written", "platform", "line"),
    [
        ("FROM --platform=linux/arm64 python:3.10\n", "linux/amd64", 1),
        ("ARG P=linux/arm64\nFROM --platform=$P python:3.10 AS a\nFROM a\n", "linux/amd64", 2),
        ("FROM --platform=linux/amd64 python:3.10\n", "linux/arm64", 1),
        ("FROM python:3.10 AS a\nFROM gcr.io/deeplearning-platform-release/base-cu113:latest\n", "linux/arm64", 2),
        ("FROM nvcr.io/nvidia/clara-train-sdk:v4.1\n", "linux/arm64", 1),
        ("FROM docker.io/nvidia/cuda:11.3.1-cudnn8-runtime-ubuntu20.04\n", "linux/arm64", 1),
    ],
)
def test_another_platform_than_the_image_is_for_is_told(written: str, platform: Platform, line: int) -> None:
    with pytest.raises(BundleError) as failure:
        check_author_dockerfile(written, platform)
    (problem,) = failure.value.problems
    assert (problem.code, problem.where and problem.where.line) == ("config.dockerfile-platform", line)
    assert platform in problem.what


@pytest.mark.parametrize("platform", ["linux/amd64", "linux/arm64"])
@pytest.mark.parametrize(
    "written",
    [
        "FROM --platform=$TARGETPLATFORM python:3.10\n",
        "FROM --platform=linux/s390x golang AS a\nFROM python:3.10\nCOPY --from=a /x /x\n",
        "FROM python:3.10\n",
        "FROM nvidia/cuda:11.8.0-cudnn8-runtime-ubuntu22.04\nRUN apt-get install python3\n",
    ],
)
def test_the_platform_that_is_built_for_is_no_problem(written: str, platform: Platform) -> None:
    assert check_author_dockerfile(written, platform) == ()


def test_platforms_are_told_apart_however_they_are_written() -> None:
    for name in ("amd64", "linux/x86_64", "Linux/AMD64"):
        assert check_author_dockerfile(f"FROM --platform={name} python:3.10\n") == ()
    assert check_author_dockerfile("FROM --platform=linux/arm64/v8 python:3.10\n", "linux/arm64") == ()


def test_an_image_of_another_platform_is_left_to_buildkit() -> None:
    dockerfile = "FROM --platform=linux/arm64 busybox AS tools\nFROM --platform=linux/amd64 python:3.10\n"
    assert parent_images(dockerfile) == ("python:3.10",)
