"""Every example answers every kind of input validly, and does what its README says."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pydicom
import pytest
import yaml
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    CTImageStorage,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
    RLELossless,
    UltrasoundMultiFrameImageStorage,
    generate_uid,
)

from mdai_build.runtime.contract import check_outputs

EXAMPLES = Path(__file__).parents[2] / "examples"
NAMES = sorted(path.parent.name for path in EXAMPLES.glob("*/.mdai"))


def make_dataset(pixels: np.ndarray, **tags: Any) -> Dataset:
    """A valid DICOM image of these pixels: (rows, columns), or (frames, rows, columns, 3) for colour."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPClassUID = tags.pop("SOPClassUID", CTImageStorage)
    ds.SOPInstanceUID = generate_uid()
    ds.PatientID = "example"
    ds.StudyInstanceUID = generate_uid()
    ds.SeriesInstanceUID = generate_uid()
    ds.Modality = "CT"
    colour = pixels.ndim == 4
    ds.Rows, ds.Columns = pixels.shape[-3:-1] if colour else pixels.shape[-2:]
    ds.SamplesPerPixel = 3 if colour else 1
    ds.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
    if colour:
        ds.PlanarConfiguration = 0
        ds.NumberOfFrames = len(pixels)
    ds.BitsAllocated = ds.BitsStored = pixels.dtype.itemsize * 8
    ds.HighBit = ds.BitsStored - 1
    ds.PixelRepresentation = 1 if pixels.dtype.kind == "i" else 0
    ds.PixelData = pixels.tobytes()
    for keyword, value in tags.items():
        setattr(ds, keyword, value)
    return ds


def dicom_file(ds: Dataset) -> dict[str, Any]:
    """The dataset as one entry of `files`."""
    buffer = BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    return {"content": buffer.getvalue(), "content_type": "application/dicom"}


def ct_series(volume: np.ndarray, spacing: float = 2.0) -> list[Dataset]:
    """Slices of Hounsfield units, `spacing` mm apart, in an order that is not that of their positions."""
    study, series = generate_uid(), generate_uid()
    slices = [
        make_dataset(
            (plane + 1024).astype(np.uint16),
            StudyInstanceUID=study,
            SeriesInstanceUID=series,
            InstanceNumber=number + 1,
            ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
            ImagePositionPatient=[0, 0, number * spacing],
            PixelSpacing=[1, 1],
            RescaleSlope=1,
            RescaleIntercept=-1024,
        )
        for number, plane in enumerate(volume)
    ]
    return slices[1::2] + slices[::2]


def disc(size: int = 96, row: float = 40, column: float = 56, radius: float = 14) -> np.ndarray:
    """True inside one disc."""
    y, x = np.mgrid[0:size, 0:size]
    return (y - row) ** 2 + (x - column) ** 2 < radius**2


def noisy_disc() -> np.ndarray:
    """A bright disc on a darker, noisy ground, from 0 to 4095."""
    noise = np.random.default_rng(1).normal(0, 100, (96, 96))
    return (1000 + 2000 * disc() + noise).clip(0, 4095).astype(np.uint16)


@pytest.fixture
def sample_requests() -> dict[str, dict[str, Any]]:
    """One request for each shape of input that a platform sends, by its name."""
    image = noisy_disc()
    radiograph = {"SOPClassUID": DigitalXRayImageStorageForPresentation, "Modality": "CR"}
    colour = np.repeat((image >> 4).astype(np.uint8)[..., None], 3, axis=-1)
    compressed = make_dataset(image)
    compressed.compress(RLELossless)
    tags = {name: generate_uid() for name in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")}
    pictures = []
    for name in ("JPEG", "PNG"):
        buffer = BytesIO()
        Image.fromarray(colour).save(buffer, format=name)
        content_type = f"image/{name.lower()}"
        pictures.append({"content": buffer.getvalue(), "content_type": content_type, "dicom_tags": tags})
    volume = np.where(disc(), -800, 40)[None].repeat(5, axis=0)
    files = {
        "CT series": [dicom_file(ds) for ds in ct_series(volume)],
        "CR": [dicom_file(make_dataset(image, **radiograph))],
        "MONOCHROME1": [dicom_file(make_dataset(4095 - image, PhotometricInterpretation="MONOCHROME1", **radiograph))],
        "colour, three frames": [
            dicom_file(
                make_dataset(
                    colour[None].repeat(3, axis=0),
                    SOPClassUID=UltrasoundMultiFrameImageStorage,
                    Modality="US",
                )
            )
        ],
        "RLE compressed": [dicom_file(compressed)],
        "blank": [dicom_file(make_dataset(np.zeros((64, 48), np.uint16)))],
        "JPEG and PNG": pictures,
        "unknown content type": [{"content": b"%PDF-", "content_type": "application/pdf"}],
    }
    return {
        name: {"files": entries, "annotations": [], "label_classes": [], "args": {}} for name, entries in files.items()
    }


def request_of(*datasets: Dataset, **args: str) -> dict[str, Any]:
    return {
        "files": [dicom_file(ds) for ds in datasets],
        "annotations": [],
        "label_classes": [],
        "args": args,
    }


def test_every_kind_of_output_and_every_documented_python_has_an_example() -> None:
    assert set(NAMES) >= {
        "classification",
        "segmentation",
        "detection",
        "image-output",
        "series",
        "custom-wheel",
    }
    configs = [yaml.safe_load((EXAMPLES / name / ".mdai/config.yaml").read_text()) for name in NAMES]
    assert {config["base_image"] for config in configs} >= {"py37", "py38", "py39", "py310"}


@pytest.mark.parametrize("name", NAMES)
def test_answers_every_kind_of_input_validly_with_the_uids_that_were_sent(
    name: str, load_model: Callable[[str], Any], sample_requests: dict[str, dict[str, Any]]
) -> None:
    model = load_model(name)
    for kind, request in sample_requests.items():
        outputs = model.predict(request)
        assert check_outputs(outputs) == [], kind
        sent: dict[str, set[str]] = {"study_uid": set(), "series_uid": set(), "instance_uid": set()}
        for file in request["files"]:
            if file["content_type"] == "application/dicom":
                tags = pydicom.dcmread(BytesIO(file["content"]))
            else:
                tags = file.get("dicom_tags", {})
            for key, tag in zip(sent, ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"), strict=True):
                sent[key].add(str(tags.get(tag)))
        for output in outputs:
            for key, uids in sent.items():
                assert output.get(key) is None or output[key] in uids, (kind, key)
        if kind not in ("JPEG and PNG", "unknown content type"):
            assert outputs, kind
    assert model.predict(sample_requests["unknown content type"]) == []


@pytest.mark.parametrize("name", NAMES)
def test_weights_are_small_and_made_by_the_script_beside_them(
    name: str, example_module: Callable[[str, str], ModuleType]
) -> None:
    made = example_module(name, "make_weights.py").make_weights()
    (file,) = (EXAMPLES / name).glob("weights.*")
    assert file.stat().st_size < 50_000
    kept = yaml.safe_load(file.read_text()) if file.suffix == ".json" else dict(np.load(file))
    assert kept.keys() == made.keys()
    for key, value in kept.items():
        if isinstance(value, list):
            assert value == made[key]
        else:
            np.testing.assert_allclose(value, made[key], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("clouded", "expected"), [(None, 0), ("left", 1), ("right", 2)])
def test_classification_sees_the_clouded_side(
    clouded: str | None, expected: int, load_model: Callable[[str], Any]
) -> None:
    y, x = np.mgrid[0:200, 0:240] / np.array([199, 239])[:, None, None]
    image = np.full((200, 240), 3000, np.uint16)
    lungs = {"left": ((x - 0.3) / 0.16) ** 2 + ((y - 0.5) / 0.38) ** 2 < 1}
    lungs["right"] = lungs["left"][:, ::-1]
    for side, lung in lungs.items():
        image[lung] = 2300 if side == clouded else 500
    (output,) = load_model("classification").predict(request_of(make_dataset(image)))
    assert output["class_index"] == expected
    assert sum(entry["probability"] for entry in output["probability"]) == pytest.approx(1)
    (explanation,) = output["explanations"]
    heat = np.asarray(Image.open(BytesIO(explanation["content"]))).astype(int)
    assert heat.shape == (200, 240, 3)
    if clouded:
        reddest = heat[..., 0] - heat[..., 1]
        assert reddest[lungs[clouded]].mean() > 2 * reddest[~lungs[clouded]].mean()


def test_segmentation_marks_the_disc(load_model: Callable[[str], Any]) -> None:
    model = load_model("segmentation")
    (output,) = model.predict(request_of(make_dataset(noisy_disc())))
    mask = np.array(output["data"]["mask"], dtype=bool)
    assert (mask & disc()).sum() / (mask | disc()).sum() > 0.9
    (strict,) = model.predict(request_of(make_dataset(noisy_disc()), threshold="0.999999"))
    assert np.sum(strict["data"]["mask"]) < mask.sum()


def test_detection_finds_the_nodule(load_model: Callable[[str], Any]) -> None:
    y, x = np.mgrid[0:96, 0:128]
    nodule = 1000 * np.exp(-((x - 90) ** 2 + (y - 30) ** 2) / (2 * 3.0**2))
    image = (nodule + np.random.default_rng(2).normal(500, 30, nodule.shape)).astype(np.uint16)
    model = load_model("detection")
    box, outline, centre = (output["data"] for output in model.predict(request_of(make_dataset(image))))
    assert abs(centre["x"] - 90) <= 1 and abs(centre["y"] - 30) <= 1
    assert box["x"] < 90 < box["x"] + box["width"] and box["y"] < 30 < box["y"] + box["height"]
    vertices = np.array(outline["vertices"])
    assert vertices.min(axis=0) == pytest.approx([box["x"], box["y"]], abs=1)
    assert vertices.max(axis=0) == pytest.approx([box["x"] + box["width"], box["y"] + box["height"]], abs=1.5)
    (nothing,) = model.predict(request_of(make_dataset(np.zeros((64, 64), np.uint16))))
    assert nothing["type"] == "NONE"


def test_image_output_sharpens_and_keeps_a_series_together(load_model: Callable[[str], Any]) -> None:
    slices = ct_series(np.where(disc(), 40, -800)[None].repeat(3, axis=0))
    outputs = load_model("image-output").predict(request_of(*slices))
    tags = [output["image_output_tags"] for output in outputs]
    assert len(tags) == 3 and all(each == tags[0] for each in tags)
    assert tags[0]["SeriesInstanceUID"] not in {output["series_uid"] for output in outputs}
    (picture,) = outputs[0]["images"]
    assert Image.open(BytesIO(picture)).size == (96, 96)


def test_series_measures_the_lung(load_model: Callable[[str], Any]) -> None:
    volume = np.full((10, 96, 96), 40)
    volume[2:6, disc()] = -780
    slices = ct_series(volume, spacing=5.0)
    summary, *labels = load_model("series").predict(request_of(*slices))
    litres = dict(part.rsplit(" ", 2)[:2] for part in summary["note"].split(", "))
    assert float(litres["lung"]) == pytest.approx(4 * disc().sum() * 5 / 1e6, abs=0.001)
    by_uid = {ds.SOPInstanceUID: ds.InstanceNumber - 1 for ds in slices}
    assert [by_uid[label["instance_uid"]] for label in labels] == list(range(10))
    assert [label["probability"] > 0 for label in labels] == [2 <= number < 6 for number in range(10)]


def test_custom_wheel_is_what_its_script_makes(
    example_module: Callable[[str, str], ModuleType], tmp_path: Path
) -> None:
    made = tmp_path / "made.whl"
    script = example_module("custom-wheel", "wheel/make_wheel.py")
    script.make_wheel(made)
    assert made.read_bytes() == Path(script.WHEEL).read_bytes()
    with zipfile.ZipFile(made) as wheel:
        assert wheel.testzip() is None


def test_gpu_says_what_it_computed_on(load_model: Callable[[str], Any]) -> None:
    (output,) = load_model("gpu").predict(request_of(make_dataset(noisy_disc())))
    assert output["note"].startswith("computed by ")
    if output["note"].startswith("computed by numpy"):
        assert "torch_backend: " in output["note"] and "cupy_backend: " in output["note"]
