"""The synthetic samples: valid DICOM in the shapes that models meet, for when the user brings no files.

What each modality must hold: DICOM PS3.3 A.2 (CR), A.3 (CT), A.4 (MR), A.6 and A.7 (ultrasound), A.26 (DX), A.27 (MG).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.uid import (
    UID,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    RLELossless,
)

from mdai_build.smoke import dicom, phantom
from mdai_build.smoke.ahead import MadeAhead
from mdai_build.smoke.dicom import Place
from mdai_build.smoke.request import JPEG, PNG, Demand, InputFile, Scope, SmokeRequest

SERIES_SLICES = 16
_MR_SLICES = 8
_CT_SPACING = 0.78125  # mm between pixel centres: a field of view of 400 mm over 512 pixels
_CT_THICKNESS = 5.0
_LABEL_KINDS = (
    ("Finding", "GLOBAL", "INSTANCE", None),
    ("Series finding", "GLOBAL", "SERIES", None),
    ("Exam finding", "GLOBAL", "STUDY", None),
    ("Segmentation", "LOCAL", "INSTANCE", "mask"),
    ("Box", "LOCAL", "INSTANCE", "bbox"),
    ("Outline", "LOCAL", "INSTANCE", "freeform"),
    ("Polygon", "LOCAL", "INSTANCE", "polygon"),
    ("Line", "LOCAL", "INSTANCE", "line"),
    ("Location", "LOCAL", "INSTANCE", "location"),
    ("Other finding", "GLOBAL", "INSTANCE", None),
)


def label_classes() -> tuple[dict[str, Any], ...]:
    """Label classes of every kind, as a model's card on the interface might list them."""
    classes = []
    for index, (name, kind, scope, mode) in enumerate(_LABEL_KINDS):
        label = {
            "id": f"L_{index:06d}",
            "name": name,
            "type": kind,
            "scope": scope,
            "annotation_mode": mode,
            "short_name": name[:6],
            "description": "",
            "parent_id": None,
        }
        classes.append({"class_index": index, "label": label})
    return tuple(classes)


def _ct(
    place: Place,
    position: float,
    transfer_syntax: UID,
    signed: bool = True,
    thickness: float = _CT_THICKNESS,
) -> InputFile:
    """One axial slice, in Hounsfield units = stored value - 1024."""
    stored = np.clip(np.rint(phantom.ct_slice(position, seed=round(100 * position))) + 1024, 0, 4095)
    height = -100.0 + thickness * place.number
    attributes = {
        "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
        "BodyPartExamined": "CHEST",
        "SliceThickness": thickness,
        "KVP": 120,
        "DataCollectionDiameter": 500,
        "ConvolutionKernel": "STANDARD",
        "PatientPosition": "HFS",
        "AcquisitionNumber": 1,
        "ImagePositionPatient": [-200.0, -200.0, height],
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "FrameOfReferenceUID": dicom.synthetic_uid("frame of reference", place.study),
        "PositionReferenceIndicator": "",
        "SliceLocation": height,
        "PixelSpacing": [_CT_SPACING, _CT_SPACING],
        "WindowCenter": 40,
        "WindowWidth": 400,
        "RescaleIntercept": -1024,
        "RescaleSlope": 1,
        "RescaleType": "HU",
    }
    ds = dicom.dataset(dicom.CT_IMAGE, place, "CT", attributes)
    if signed:
        dicom.set_pixels(ds, stored.astype(np.int16), 16, "MONOCHROME2")
    else:  # JPEG 2000 as Pillow writes it knows no sign
        dicom.set_pixels(ds, stored.astype(np.uint16), 16, "MONOCHROME2")
    return dicom.as_input(f"{place.series}/{place.number:03d}.dcm", ds, transfer_syntax)


def _ct_series(study: str, series: str, series_number: int, step: int = 1) -> tuple[InputFile, ...]:
    """A series from the lung bases upwards; `step` 2 leaves out every second slice."""
    return tuple(
        _ct(
            Place(study, series, number=number + 1, series_number=series_number),
            position=(number * step + 0.5) / SERIES_SLICES,
            transfer_syntax=ExplicitVRLittleEndian,
            thickness=_CT_THICKNESS * step,
        )
        for number in range(SERIES_SLICES // step)
    )


def _radiograph(place: Place, modality: str, photometric: str) -> tuple[Dataset, npt.NDArray[np.float64]]:
    """A frontal chest radiograph without pixels, and its picture from 0 to 1, bone bright."""
    picture = phantom.chest_radiograph()
    attributes: dict[str, Any] = {
        "BodyPartExamined": "CHEST",
        "ViewPosition": "PA",
        "PatientOrientation": ["L", "F"],
        "KVP": 110,
        "ImagerPixelSpacing": [0.4, 0.4],
        "PixelSpacing": [0.4, 0.4],
        "WindowCenter": 2048,
        "WindowWidth": 4096,
        "RescaleIntercept": 0,
        "RescaleSlope": 1,
        "RescaleType": "US",
        "BurnedInAnnotation": "NO",
    }
    if modality == "DX":
        attributes |= {
            "ImageType": ["ORIGINAL", "PRIMARY", ""],
            "PresentationIntentType": "FOR PRESENTATION",
            "PixelIntensityRelationship": "LOG",
            "PixelIntensityRelationshipSign": -1,
            "PresentationLUTShape": "INVERSE" if photometric == "MONOCHROME1" else "IDENTITY",
            "LossyImageCompression": "00",
            "ImageLaterality": "U",
            "DetectorType": "DIRECT",
        }
    sop_class = dicom.DIGITAL_XRAY if modality == "DX" else dicom.COMPUTED_RADIOGRAPHY
    return dicom.dataset(sop_class, place, modality, attributes), picture


def _xray(place: Place, modality: str, photometric: str, syntax: UID = ExplicitVRLittleEndian) -> InputFile:
    ds, picture = _radiograph(place, modality, photometric)
    shown = 1 - picture if photometric == "MONOCHROME1" else picture
    dicom.set_pixels(ds, np.rint(shown * 4095).astype(np.uint16), 12, photometric)
    return dicom.as_input(f"{place.series}.dcm", ds, syntax)


def _mr_series() -> tuple[InputFile, ...]:
    """T1-weighted slices of 12 bits; MR has no rescale."""
    files = []
    for number in range(_MR_SLICES):
        place = Place("mr-series", "t1", number=number + 1)
        attributes: dict[str, Any] = {
            "ImageType": ["ORIGINAL", "PRIMARY", "M", "SE"],
            "BodyPartExamined": "HEAD",
            "ScanningSequence": "SE",
            "SequenceVariant": "NONE",
            "ScanOptions": "",
            "MRAcquisitionType": "2D",
            "SliceThickness": 8.0,
            "RepetitionTime": 500.0,
            "EchoTime": 12.0,
            "EchoTrainLength": 1,
            "MagneticFieldStrength": 1.5,
            "PatientPosition": "HFS",
            "ImagePositionPatient": [-97.5, -120.0, 8.0 * number],
            "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
            "FrameOfReferenceUID": dicom.synthetic_uid("frame of reference", place.study),
            "PositionReferenceIndicator": "",
            "SliceLocation": 8.0 * number,
            "PixelSpacing": [0.9375, 0.9375],
            "WindowCenter": 1800,
            "WindowWidth": 3600,
        }
        ds = dicom.dataset(dicom.MR_IMAGE, place, "MR", attributes)
        picture = phantom.brain_slice((number + 1) / (_MR_SLICES + 1), seed=number)
        dicom.set_pixels(ds, np.rint(picture * 3600).astype(np.uint16), 12, "MONOCHROME2")
        files.append(dicom.as_input(f"t1/{place.number:03d}.dcm", ds))
    return tuple(files)


def _mammogram() -> tuple[InputFile, ...]:
    place = Place("mg", "mg")
    attributes: dict[str, Any] = {
        "ImageType": ["ORIGINAL", "PRIMARY", ""],
        "PresentationIntentType": "FOR PRESENTATION",
        "BodyPartExamined": "BREAST",
        "ViewPosition": "CC",
        "ImageLaterality": "L",
        "PatientOrientation": ["A", "R"],
        "PatientSex": "F",
        "OrganExposed": "BREAST",
        "DetectorType": "DIRECT",
        "ImagerPixelSpacing": [0.2, 0.2],
        "PixelIntensityRelationship": "LOG",
        "PixelIntensityRelationshipSign": -1,
        "PresentationLUTShape": "IDENTITY",
        "RescaleIntercept": 0,
        "RescaleSlope": 1,
        "RescaleType": "US",
        "LossyImageCompression": "00",
        "BurnedInAnnotation": "NO",
        "BreastImplantPresent": "NO",
        "WindowCenter": 2048,
        "WindowWidth": 4096,
    }
    ds = dicom.dataset(dicom.DIGITAL_MAMMOGRAPHY, place, "MG", attributes)
    dicom.set_pixels(ds, np.rint(phantom.mammogram() * 4095).astype(np.uint16), 12, "MONOCHROME2")
    return (dicom.as_input("mg.dcm", ds),)


def _thumbnail(place: Place, content_type: str) -> InputFile:
    ds, picture = _radiograph(place, "CR", "MONOCHROME2")
    pixels = np.rint(picture[::2, ::2] * 255).astype(np.uint8)
    dicom.set_pixels(ds, pixels, 8, "MONOCHROME2")
    suffix = "jpg" if content_type == JPEG else "png"
    return dicom.as_picture(f"{place.series}.{suffix}", ds, pixels, content_type)


def _ultrasound(place: Place, frames: int, transfer_syntax: UID) -> InputFile:
    """A colour Doppler clip, or a still when `frames` is 1."""
    clip = phantom.ultrasound_clip(frames)
    region = Dataset()
    for keyword, value in {
        "RegionSpatialFormat": 1,
        "RegionDataType": 1,
        "RegionFlags": 0,
        "RegionLocationMinX0": 0,
        "RegionLocationMinY0": 0,
        "RegionLocationMaxX1": clip.shape[2] - 1,
        "RegionLocationMaxY1": clip.shape[1] - 1,
        "PhysicalUnitsXDirection": 3,
        "PhysicalUnitsYDirection": 3,
        "PhysicalDeltaX": 0.05,
        "PhysicalDeltaY": 0.05,
    }.items():
        setattr(region, keyword, value)
    attributes: dict[str, Any] = {
        "ImageType": ["ORIGINAL", "PRIMARY", "VASCULAR", "0011"],
        "SequenceOfUltrasoundRegions": [region],
        "LossyImageCompression": "00",
    }
    if frames > 1:
        attributes |= {"FrameTime": 40.0, "FrameIncrementPointer": 0x00181063}
    sop_class = dicom.ULTRASOUND_MULTIFRAME if frames > 1 else dicom.ULTRASOUND
    ds = dicom.dataset(sop_class, place, "US", attributes)
    dicom.set_pixels(ds, clip if frames > 1 else clip[0], 8, "RGB")
    return dicom.as_input(f"{place.series}.dcm", ds, transfer_syntax)


def _ct_slice(name: str, syntax: UID, signed: bool = True) -> tuple[InputFile, ...]:
    return (_ct(Place(name, name), 0.5, syntax, signed),)


def _study() -> tuple[InputFile, ...]:
    return _ct_series("ct-study", "axial", 1, step=2) + _ct_series("ct-study", "axial-repeat", 2, step=2)


_EXPECTED, _UNUSUAL = Demand.EXPECTED, Demand.UNUSUAL
_SAMPLES: tuple[tuple[str, Scope, Demand, Callable[[], tuple[InputFile, ...]]], ...] = (
    ("ct", "INSTANCE", _EXPECTED, lambda: _ct_slice("ct", ExplicitVRLittleEndian)),
    ("cr", "INSTANCE", _EXPECTED, lambda: (_xray(Place("cr", "cr"), "CR", "MONOCHROME2"),)),
    ("dx-monochrome1", "INSTANCE", _EXPECTED, lambda: (_xray(Place("dx", "dx"), "DX", "MONOCHROME1"),)),
    ("ct-series", "SERIES", _EXPECTED, lambda: _ct_series("ct-series", "axial", 1)),
    ("ct-study", "STUDY", _EXPECTED, _study),
    ("mg", "INSTANCE", _EXPECTED, _mammogram),
    ("mr-series", "SERIES", _EXPECTED, _mr_series),
    ("ct-implicit", "INSTANCE", _EXPECTED, lambda: _ct_slice("ct-implicit", ImplicitVRLittleEndian)),
    ("ct-rle", "INSTANCE", _EXPECTED, lambda: _ct_slice("ct-rle", RLELossless)),
    ("ct-jpeg2000", "INSTANCE", _EXPECTED, lambda: _ct_slice("ct-jpeg2000", JPEG2000Lossless, signed=False)),
    ("ct-jpeg-lossless", "INSTANCE", _EXPECTED, lambda: _ct_slice("ct-jpeg-lossless", JPEGLosslessSV1)),
    ("us-still", "INSTANCE", _UNUSUAL, lambda: (_ultrasound(Place("us", "us"), 1, ExplicitVRLittleEndian),)),
    ("us-clip", "SERIES", _UNUSUAL, lambda: (_ultrasound(Place("clip", "clip"), 6, ExplicitVRLittleEndian),)),
    ("us-clip-jpeg", "SERIES", _UNUSUAL, lambda: (_ultrasound(Place("jpeg", "jpeg"), 6, JPEGBaseline8Bit),)),
    ("jpeg", "INSTANCE", _EXPECTED, lambda: (_thumbnail(Place("thumbnail", "jpeg"), JPEG),)),
    ("png", "INSTANCE", _EXPECTED, lambda: (_thumbnail(Place("thumbnail", "png"), PNG),)),
)

NAMES: tuple[str, ...] = tuple(name for name, *_ in _SAMPLES)


def synthetic_request(name: str, **given: Any) -> SmokeRequest:
    """The synthetic request of that name (see `NAMES`); `given` replaces fields of it, such as `args`."""
    for sample, scope, demand, _ in _SAMPLES:
        if sample == name:
            fields = {"label_classes": label_classes(), **given}
            return SmokeRequest(name=name, scope=scope, files=_files(name), demand=demand, **fields)
    raise KeyError(name)


@functools.cache
def _files(name: str) -> tuple[InputFile, ...]:
    """The same for every model; where many are tested by one process, making them would take longest."""
    return next(make() for sample, *_, make in _SAMPLES if sample == name)


def synthetic_requests(scope: Scope | None = None, **given: Any) -> Sequence[SmokeRequest]:
    """All synthetic requests, or those of one scope; `given` replaces fields of them.

    They take a second to make, which goes on while the first are sent.
    """
    names = [name for name, its_scope, *_ in _SAMPLES if scope in (None, its_scope)]
    return MadeAhead(functools.partial(synthetic_request, name, **given) for name in names)
