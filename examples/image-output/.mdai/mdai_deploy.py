"""Returns images: a sharpened copy of every frame, to be kept as a new series of the same study."""

import os
from io import BytesIO

import numpy as np
import pydicom
from PIL import Image
from pydicom.uid import generate_uid


class MDAIModel:
    def __init__(self):
        root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        with np.load(os.path.join(root, "weights.npz")) as weights:
            self.kernel = weights["kernel"]  # (size, size), sums to 1

    def predict(self, data):
        outputs = []
        for file in data["files"]:
            if file["content_type"] != "application/dicom":
                continue
            ds = pydicom.dcmread(BytesIO(file["content"]))
            outputs.append(
                {
                    "type": "IMAGE",
                    # These three tell which input the images belong to ...
                    "study_uid": str(ds.StudyInstanceUID),
                    "series_uid": str(ds.SeriesInstanceUID),
                    "instance_uid": str(ds.SOPInstanceUID),
                    "class_index": 0,
                    "note": f"sharpened with a {len(self.kernel)} pixel wide kernel",
                    "images": [png(self.sharpen(frame)) for frame in read_frames(ds)],
                    # ... and these are written into the images when they become a dataset. The new series'
                    # UID is made from the old one, so that all slices of a series end in the same new series.
                    "image_output_tags": {
                        "PatientID": str(ds.get("PatientID", "")),
                        "StudyInstanceUID": str(ds.StudyInstanceUID),
                        "SeriesInstanceUID": str(generate_uid(entropy_srcs=["sharpened", ds.SeriesInstanceUID])),
                    },
                }
            )
        return outputs

    def sharpen(self, frame):
        """The frame convolved with the kernel, edges repeated."""
        size, (rows, columns) = len(self.kernel), frame.shape
        padded = np.pad(frame, size // 2, mode="edge")
        return sum(self.kernel[y, x] * padded[y : y + rows, x : x + columns] for y in range(size) for x in range(size))


def read_frames(ds):
    """The frames of a DICOM file as (frames, rows, columns), from 0 to 1, dense is bright."""
    pixels = ds.pixel_array.astype(np.float32)
    if ds.SamplesPerPixel > 1:
        pixels = pixels.mean(axis=-1)
    if ds.PhotometricInterpretation == "MONOCHROME1":
        pixels = -pixels
    pixels -= pixels.min()
    return pixels.reshape(-1, ds.Rows, ds.Columns) / max(pixels.max(), 1e-6)


def png(frame):
    buffer = BytesIO()
    Image.fromarray((frame.clip(0, 1) * 255).astype(np.uint8)).save(buffer, format="PNG")
    return buffer.getvalue()
