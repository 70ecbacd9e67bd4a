"""Writes pixels as DICOM files (and JPEG, PNG) in memory: valid, complete, and the same bytes every time."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    JPEG2000,
    UID,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    RLELossless,
    generate_uid,
)

from mdai_build.smoke import jpeg_lossless
from mdai_build.smoke.request import JPEG, PNG, InputFile

CT_IMAGE = UID("1.2.840.10008.5.1.4.1.1.2")
COMPUTED_RADIOGRAPHY = UID("1.2.840.10008.5.1.4.1.1.1")
DIGITAL_XRAY = UID("1.2.840.10008.5.1.4.1.1.1.1")
MR_IMAGE = UID("1.2.840.10008.5.1.4.1.1.4")
DIGITAL_MAMMOGRAPHY = UID("1.2.840.10008.5.1.4.1.1.1.2")
ULTRASOUND = UID("1.2.840.10008.5.1.4.1.1.6.1")
ULTRASOUND_MULTIFRAME = UID("1.2.840.10008.5.1.4.1.1.3.1")

_DATE, _TIME = "20240115", "103000"
_THUMBNAIL_KEYWORDS = (
    "PatientID",
    "PatientName",
    "PatientSex",
    "PatientAge",
    "StudyInstanceUID",
    "StudyDate",
    "StudyDescription",
    "SeriesInstanceUID",
    "SeriesNumber",
    "SeriesDescription",
    "SOPInstanceUID",
    "SOPClassUID",
    "InstanceNumber",
    "Modality",
    "BodyPartExamined",
    "ViewPosition",
    "PhotometricInterpretation",
    "Rows",
    "Columns",
    "PixelSpacing",
    "ImagerPixelSpacing",
)


@dataclass(frozen=True)
class Place:
    """Where an instance stands: its study, its series, its number. UIDs follow from the names."""

    study: str
    series: str
    number: int = 1
    series_number: int = 1

    @property
    def study_uid(self) -> str:
        return synthetic_uid("study", self.study)

    @property
    def series_uid(self) -> str:
        return synthetic_uid("series", self.study, self.series)

    @property
    def instance_uid(self) -> str:
        return synthetic_uid("instance", self.study, self.series, str(self.number))


def synthetic_uid(*names: str) -> str:
    """A valid UID that is always the same for the same names."""
    return str(generate_uid(entropy_srcs=["mdai-build synthetic", *names]))


def dataset(sop_class: UID, place: Place, modality: str, attributes: Mapping[str, Any]) -> Dataset:
    """The patient, study, series, equipment and SOP common modules (DICOM PS3.3 C.7, C.12) and `attributes`."""
    ds = Dataset()
    common: dict[str, Any] = {
        "SpecificCharacterSet": "ISO_IR 100",
        "ImageType": ["ORIGINAL", "PRIMARY"],
        "SOPClassUID": sop_class,
        "SOPInstanceUID": place.instance_uid,
        "StudyDate": _DATE,
        "SeriesDate": _DATE,
        "AcquisitionDate": _DATE,
        "ContentDate": _DATE,
        "StudyTime": _TIME,
        "SeriesTime": _TIME,
        "AcquisitionTime": _TIME,
        "ContentTime": _TIME,
        "AccessionNumber": "SYNTHETIC",
        "Modality": modality,
        "Manufacturer": "mdai-build",
        "ManufacturerModelName": "phantom",
        "InstitutionName": "mdai-build synthetic samples",
        "ReferringPhysicianName": "",
        "StudyDescription": "Synthetic sample, not a patient",
        "SeriesDescription": place.series,
        "PatientName": "Phantom^Synthetic",
        "PatientID": "mdai-build",
        "PatientBirthDate": "19700101",
        "PatientSex": "O",
        "PatientAge": "054Y",
        "SoftwareVersions": "1",
        "StudyInstanceUID": place.study_uid,
        "SeriesInstanceUID": place.series_uid,
        "StudyID": "1",
        "SeriesNumber": place.series_number,
        "InstanceNumber": place.number,
    }
    for keyword, value in {**common, **attributes}.items():
        setattr(ds, keyword, value)
    return ds


def set_pixels(ds: Dataset, pixels: npt.NDArray[Any], bits_stored: int, photometric: str) -> None:
    """Fills the image pixel module (DICOM PS3.3 C.7.6.3) from (rows, columns), or (frames, rows, columns, 3)."""
    colour = photometric == "RGB"
    if pixels.ndim == (4 if colour else 3):
        ds.NumberOfFrames = len(pixels)
    ds.SamplesPerPixel = 3 if colour else 1
    ds.PhotometricInterpretation = photometric
    if colour:
        ds.PlanarConfiguration = 0
    rows, columns = pixels.shape[-3:-1] if colour else pixels.shape[-2:]
    ds.Rows, ds.Columns = rows, columns
    ds.BitsAllocated = 8 * pixels.itemsize
    ds.BitsStored = bits_stored
    ds.HighBit = bits_stored - 1
    ds.PixelRepresentation = int(pixels.dtype.kind == "i")
    data = np.ascontiguousarray(pixels, dtype=pixels.dtype.newbyteorder("<")).tobytes()
    ds.PixelData = data + b"\0" * (len(data) % 2)
    ds["PixelData"].VR = "OB" if pixels.itemsize == 1 else "OW"


def write(ds: Dataset, transfer_syntax: UID = ExplicitVRLittleEndian) -> bytes:
    """The bytes of a DICOM file (PS3.10) with the pixels in that transfer syntax.

    RLE is encoded by pydicom, JPEG baseline and JPEG 2000 by Pillow, lossless JPEG by us.
    """
    ds.file_meta = FileMetaDataset()
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    # Our own, so that the bytes do not change with pydicom's version.
    ds.file_meta.ImplementationClassUID = UID(synthetic_uid("implementation"))
    ds.file_meta.ImplementationVersionName = "MDAI_BUILD"
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    if transfer_syntax == RLELossless:
        ds.compress(RLELossless, encoding_plugin="pydicom", generate_instance_uid=False)
    elif transfer_syntax in (JPEGBaseline8Bit, JPEG2000Lossless, JPEG2000, JPEGLosslessSV1):
        _compress(ds, transfer_syntax)
    ds.file_meta.TransferSyntaxUID = transfer_syntax
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # pydicom's notes on values that the standard allows
        ds.save_as(
            buffer,
            implicit_vr=transfer_syntax == ImplicitVRLittleEndian,
            little_endian=True,
            enforce_file_format=True,
        )
    return buffer.getvalue()


def _compress(ds: Dataset, transfer_syntax: UID) -> None:
    frames = [_encode(frame, transfer_syntax) for frame in _frames(ds)]
    raw_size = len(ds.PixelData)
    ds.PixelData = encapsulate(frames)
    ds["PixelData"].VR = "OB"
    ds["PixelData"].is_undefined_length = True
    if transfer_syntax == JPEGBaseline8Bit:
        ds.LossyImageCompression = "01"
        ds.LossyImageCompressionRatio = round(raw_size / sum(map(len, frames)), 1)
        ds.LossyImageCompressionMethod = "ISO_10918_1"
        if ds.SamplesPerPixel == 3:
            ds.PhotometricInterpretation = "YBR_FULL_422"  # what Pillow's JPEG holds (PS3.5 8.2.1)


def _frames(ds: Dataset) -> list[npt.NDArray[Any]]:
    pixel = np.dtype("<u2" if ds.BitsAllocated == 16 else "u1")
    shape: Sequence[int] = (ds.Rows, ds.Columns) + ((3,) if ds.SamplesPerPixel == 3 else ())
    frames = int(ds.get("NumberOfFrames", 1))
    return list(np.frombuffer(ds.PixelData, pixel, frames * int(np.prod(shape))).reshape(frames, *shape))


def _encode(frame: npt.NDArray[Any], transfer_syntax: UID) -> bytes:
    if transfer_syntax == JPEGLosslessSV1:
        return jpeg_lossless.encode(frame)
    buffer = io.BytesIO()
    image = Image.fromarray(frame)
    if transfer_syntax == JPEGBaseline8Bit:
        image.save(buffer, "JPEG", quality=92, subsampling="4:2:2")
    else:
        image.save(buffer, "JPEG2000", irreversible=transfer_syntax == JPEG2000, no_jp2=True)
    return buffer.getvalue()


def as_input(name: str, ds: Dataset, transfer_syntax: UID = ExplicitVRLittleEndian) -> InputFile:
    """The dataset as a DICOM file of a request."""
    # pydicom decodes lossless JPEG by plugins alone, which this machine need not have.
    shown_as = write(ds) if transfer_syntax == JPEGLosslessSV1 else None
    return InputFile.of_dicom(name, write(ds, transfer_syntax), ds, shown_as)


def as_picture(name: str, ds: Dataset, pixels: npt.NDArray[np.uint8], content_type: str) -> InputFile:
    """Pixels, (rows, columns) or (rows, columns, 3), as a JPEG or PNG file with the tags of `ds` beside it."""
    buffer = io.BytesIO()
    image = Image.fromarray(pixels)
    if content_type == JPEG:
        image.save(buffer, "JPEG", quality=92)
    elif content_type == PNG:
        image.save(buffer, "PNG")
    else:
        raise ValueError(f"no picture of type {content_type}")
    return InputFile(
        name=name,
        stored=buffer.getvalue(),
        content_type=content_type,
        study_uid=str(ds.StudyInstanceUID),
        series_uid=str(ds.SeriesInstanceUID),
        instance_uid=str(ds.SOPInstanceUID),
        rows=pixels.shape[0],
        columns=pixels.shape[1],
        dicom_tags=thumbnail_tags(ds),
    )


def thumbnail_tags(ds: Dataset) -> dict[str, str]:
    """`dicom_tags`: the tags that identify and describe an image, by keyword, as text."""
    tags = {}
    for keyword in _THUMBNAIL_KEYWORDS:
        if keyword in ds:
            value = ds[keyword].value
            tags[keyword] = "\\".join(map(str, value)) if ds[keyword].VM > 1 else str(value)
    return tags
