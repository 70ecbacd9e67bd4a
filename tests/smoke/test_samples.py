from __future__ import annotations

import hashlib
import io

import msgpack
import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.uid import UID, JPEGLosslessSV1

from mdai_build.smoke import phantom
from mdai_build.smoke.request import DICOM, Demand, SmokeRequest
from mdai_build.smoke.samples import NAMES, SERIES_SLICES, label_classes, synthetic_request, synthetic_requests


@pytest.fixture(scope="module")
def requests() -> dict[str, SmokeRequest]:
    return {request.name: request for request in synthetic_requests()}


def dicom_files(requests: dict[str, SmokeRequest]) -> list[tuple[str, pydicom.Dataset, bytes]]:
    return [
        (f"{name}: {file.name}", pydicom.dcmread(io.BytesIO(file.content)), file.content)
        for name, request in requests.items()
        for file in request.files
        if file.content_type == DICOM
    ]


def test_the_shapes_that_models_meet_are_all_there(requests: dict[str, SmokeRequest]) -> None:
    found = set()
    for _, ds, _ in dicom_files(requests):
        frames = int(ds.get("NumberOfFrames", 1))
        found.add((ds.Modality, ds.PhotometricInterpretation, frames > 1, ds.file_meta.TransferSyntaxUID.name))
    plain = "Explicit VR Little Endian"
    assert {
        ("CT", "MONOCHROME2", False, plain),
        ("CR", "MONOCHROME2", False, plain),
        ("DX", "MONOCHROME1", False, plain),
        ("MR", "MONOCHROME2", False, plain),
        ("MG", "MONOCHROME2", False, plain),
        ("US", "RGB", False, plain),
        ("US", "RGB", True, plain),
        ("US", "YBR_FULL_422", True, "JPEG Baseline (Process 1)"),
        ("CT", "MONOCHROME2", False, "Implicit VR Little Endian"),
        ("CT", "MONOCHROME2", False, "RLE Lossless"),
        ("CT", "MONOCHROME2", False, JPEGLosslessSV1.name),
        ("CT", "MONOCHROME2", False, "JPEG 2000 Image Compression (Lossless Only)"),
    } <= found
    kinds = {file.content_type for request in requests.values() for file in request.files}
    assert kinds == {"application/dicom", "image/jpeg", "image/png"}
    assert {request.scope for request in requests.values()} == {"INSTANCE", "SERIES", "STUDY"}


def test_every_file_is_valid_dicom(requests: dict[str, SmokeRequest]) -> None:
    needed = ["PatientID", "PatientName", "StudyInstanceUID", "StudyDate", "StudyTime", "AccessionNumber"]
    needed += ["SeriesInstanceUID", "SeriesNumber", "Modality", "InstanceNumber", "SOPClassUID", "SOPInstanceUID"]
    needed += ["Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"]
    needed += ["SamplesPerPixel", "PhotometricInterpretation", "PixelData"]
    for name, ds, content in dicom_files(requests):
        assert content[128:132] == b"DICM", name
        assert [keyword for keyword in needed if keyword not in ds] == [], name
        for keyword in ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"):
            assert UID(ds[keyword].value).is_valid, f"{name} {keyword}"
        assert ds.file_meta.MediaStorageSOPInstanceUID == ds.SOPInstanceUID, name
        assert ds.file_meta.MediaStorageSOPClassUID == ds.SOPClassUID, name
        assert len(content) % 2 == 0, name
        assert ds.HighBit == ds.BitsStored - 1, name


def test_every_file_decodes_to_what_its_attributes_say(requests: dict[str, SmokeRequest]) -> None:
    for name, ds, _ in dicom_files(requests):
        if ds.file_meta.TransferSyntaxUID == JPEGLosslessSV1:
            continue  # nothing here decodes it; see test_jpeg_lossless.py
        pixels = ds.pixel_array
        shape = (int(ds.Rows), int(ds.Columns)) + ((3,) if ds.SamplesPerPixel == 3 else ())
        if int(ds.get("NumberOfFrames", 1)) > 1:
            shape = (int(ds.NumberOfFrames), *shape)
        assert pixels.shape == shape, name
        assert pixels.max() < 2**ds.BitsStored, name
        assert len(np.unique(pixels)) > 100, f"{name} holds a picture"


def test_lossless_transfer_syntaxes_hold_the_same_pixels(requests: dict[str, SmokeRequest]) -> None:
    arrays = [
        pydicom.dcmread(io.BytesIO(requests[name].files[0].content)).pixel_array.astype(int)
        for name in ("ct", "ct-implicit", "ct-rle", "ct-jpeg2000")
    ]
    for other in arrays[1:]:
        np.testing.assert_array_equal(arrays[0], other)


def test_ct_is_in_hounsfield_units(requests: dict[str, SmokeRequest]) -> None:
    ds = pydicom.dcmread(io.BytesIO(requests["ct"].files[0].content))
    values = ds.pixel_array * float(ds.RescaleSlope) + float(ds.RescaleIntercept)
    assert ds.pixel_array.dtype == np.int16
    assert values[0, 0] == pytest.approx(-1000, abs=120)  # air
    assert values[333, 255] == pytest.approx(190, abs=120)  # the vertebra's inside
    assert values[250, 100] == pytest.approx(-860, abs=120)  # lung


def test_a_series_is_one_series_whose_positions_and_numbers_rise(requests: dict[str, SmokeRequest]) -> None:
    slices = [pydicom.dcmread(io.BytesIO(file.content)) for file in requests["ct-series"].files]
    assert len(slices) == SERIES_SLICES
    assert len({ds.SeriesInstanceUID for ds in slices}) == 1
    assert len({ds.SOPInstanceUID for ds in slices}) == SERIES_SLICES
    assert [ds.InstanceNumber for ds in slices] == list(range(1, SERIES_SLICES + 1))
    heights = [float(ds.ImagePositionPatient[2]) for ds in slices]
    assert np.diff(heights) == pytest.approx([slices[0].SliceThickness] * (SERIES_SLICES - 1))


def test_a_study_has_several_series(requests: dict[str, SmokeRequest]) -> None:
    files = requests["ct-study"].files
    assert len({file.study_uid for file in files}) == 1
    assert len({file.series_uid for file in files}) == 2


def test_an_instance_scoped_request_holds_one_file_and_never_several_frames(requests: dict[str, SmokeRequest]) -> None:
    for request in requests.values():
        if request.scope == "INSTANCE":
            assert [file.frames for file in request.files] == [1], request.name


def test_instances_are_told_apart_across_requests(requests: dict[str, SmokeRequest]) -> None:
    uids = [file.instance_uid for request in requests.values() for file in request.files]
    assert len(uids) == len(set(uids))


def test_thumbnails_carry_their_tags(requests: dict[str, SmokeRequest]) -> None:
    for name in ("jpeg", "png"):
        file = requests[name].files[0]
        tags = file.dicom_tags
        assert tags is not None
        assert tags["SOPInstanceUID"] == file.instance_uid
        assert all(isinstance(value, str) for value in tags.values())
        with Image.open(io.BytesIO(file.content)) as image:
            assert image.size == (int(tags["Columns"]), int(tags["Rows"]))


def test_the_body_is_what_the_document_says(requests: dict[str, SmokeRequest]) -> None:
    body = msgpack.unpackb(requests["jpeg"].body())
    assert set(body) == {"files", "annotations", "label_classes", "args"}
    assert set(body["files"][0]) == {"content", "content_type", "dicom_tags"}
    assert isinstance(body["files"][0]["content"], bytes)
    assert set(body["label_classes"][0]) == {"class_index", "label"}
    assert "dicom_tags" not in msgpack.unpackb(requests["ct"].body())["files"][0]


def test_the_bytes_are_the_same_every_time(requests: dict[str, SmokeRequest]) -> None:
    for name in ("ct", "cr", "us-clip", "png"):
        once = hashlib.sha256(requests[name].body())
        phantom.ct_slice.cache_clear()
        phantom.chest_radiograph.cache_clear()
        assert hashlib.sha256(synthetic_request(name).body()).digest() == once.digest(), name


def test_requests_of_one_scope() -> None:
    assert [request.name for request in synthetic_requests("STUDY")] == ["ct-study"]


def test_a_request_takes_what_is_given() -> None:
    request = synthetic_request("png", args={"threshold": "0.5"})
    assert msgpack.unpackb(request.body())["args"] == {"threshold": "0.5"}
    assert request.demand is Demand.EXPECTED
    with pytest.raises(KeyError):
        synthetic_request("pet")
    assert "png" in NAMES


def test_label_classes_cover_every_kind() -> None:
    labels = [entry["label"] for entry in label_classes()]
    assert {label["scope"] for label in labels} == {"INSTANCE", "SERIES", "STUDY"}
    assert {label["type"] for label in labels} == {"GLOBAL", "LOCAL"}
    assert [entry["class_index"] for entry in label_classes()] == list(range(len(labels)))
