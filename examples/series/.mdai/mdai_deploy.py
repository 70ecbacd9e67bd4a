"""Measures tissues in a CT series: a volume for the series, and for each slice how much of it is lung.

On the interface the model's scope is SERIES; class 0 is a series-scoped label, class 1 an instance-scoped.
"""

import json
import os
from collections import defaultdict
from io import BytesIO

import numpy as np
import pydicom


class MDAIModel:
    def __init__(self):
        root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        with open(os.path.join(root, "weights.json")) as file:
            weights = json.load(file)
        self.names = weights["names"]
        self.mean = np.array(weights["mean"], dtype=np.float32)  # of each tissue, in Hounsfield units
        self.deviation = np.array(weights["deviation"], dtype=np.float32)
        # config.yaml sets this one; any name of weights.json will do.
        self.lung = self.names.index(os.environ.get("LUNG_CLASS_NAME", "lung"))

    def predict(self, data):
        series, others = defaultdict(list), {}
        for file in data["files"]:
            if file["content_type"] != "application/dicom":
                continue
            ds = pydicom.dcmread(BytesIO(file["content"]))
            if ds.get("Modality") == "CT":
                series[str(ds.SeriesInstanceUID)].append(ds)
            else:
                others[str(ds.SeriesInstanceUID)] = str(ds.StudyInstanceUID)

        outputs = [
            {"type": "NONE", "study_uid": study, "series_uid": uid, "note": "not a CT series"}
            for uid, study in others.items()
        ]
        for slices in series.values():
            outputs += self.measure(sorted(slices, key=position))
        return outputs

    def measure(self, slices):
        """The outputs of one series, whose slices come in order of position."""
        tissues = [self.classify(hounsfield(ds)) for ds in slices]
        voxels = np.array([np.bincount(tissue.ravel(), minlength=len(self.names)) for tissue in tissues])
        litres = voxels.sum(axis=0) * voxel_volume(slices) / 1e6
        fractions = voxels[:, self.lung] / voxels.sum(axis=1)

        uids = {"study_uid": str(slices[0].StudyInstanceUID), "series_uid": str(slices[0].SeriesInstanceUID)}
        note = ", ".join(f"{name} {volume:.3f} l" for name, volume in zip(self.names, litres))
        outputs = [{"type": "ANNOTATION", "class_index": 0, "note": note, **uids}]
        for ds, fraction in zip(slices, fractions):
            outputs.append(
                {
                    "type": "ANNOTATION",
                    "instance_uid": str(ds.SOPInstanceUID),
                    "class_index": 1,
                    "probability": float(fraction),
                    **uids,
                }
            )
        return outputs

    def classify(self, image):
        """The most likely tissue of each pixel: one Gaussian a tissue."""
        distance = (image[..., None] - self.mean) / self.deviation
        return (distance**2 + 2 * np.log(self.deviation)).argmin(axis=-1)


def position(ds):
    """Where a slice lies along the normal of its plane, in mm; its number where it has no position."""
    if "ImagePositionPatient" not in ds or "ImageOrientationPatient" not in ds:
        return float(ds.get("InstanceNumber") or 0)
    orientation = np.array(ds.ImageOrientationPatient, dtype=float)
    return float(np.dot(np.cross(orientation[:3], orientation[3:]), np.array(ds.ImagePositionPatient, dtype=float)))


def voxel_volume(slices):
    """In cubic millimetres. The spacing of slices is measured: the tag with that name is often wrong."""
    height, width = slices[0].get("PixelSpacing", (1.0, 1.0))
    gaps = np.abs(np.diff([position(ds) for ds in slices]))
    depth = np.median(gaps) if len(gaps) else float(slices[0].get("SliceThickness") or 1.0)
    return float(height) * float(width) * float(depth)


def hounsfield(ds):
    return ds.pixel_array * np.float32(ds.get("RescaleSlope", 1)) + np.float32(ds.get("RescaleIntercept", 0))
