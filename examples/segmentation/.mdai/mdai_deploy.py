"""Marks the bright structure of each image with a mask: a pixel classifier on brightness and surroundings."""

import os
from io import BytesIO

import numpy as np
import pydicom

RADIUS = 4  # of the square that is a pixel's surroundings


class MDAIModel:
    def __init__(self):
        root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        with np.load(os.path.join(root, "weights.npz")) as weights:
            self.kernel = weights["kernel"]  # (features,)
            self.bias = float(weights["bias"])

    def predict(self, data):
        # The arguments of a run are strings, and optional.
        threshold = float((data.get("args") or {}).get("threshold", 0.5))
        outputs = []
        for file in data["files"]:
            if file["content_type"] != "application/dicom":
                continue
            ds = pydicom.dcmread(BytesIO(file["content"]))
            frames = read_frames(ds)
            for number, frame in enumerate(frames):
                probability = self.segment(frame)
                mask = probability > threshold
                output = {
                    "type": "ANNOTATION",
                    "study_uid": str(ds.StudyInstanceUID),
                    "series_uid": str(ds.SeriesInstanceUID),
                    "instance_uid": str(ds.SOPInstanceUID),
                    "class_index": 0,
                    "data": {"mask": mask.astype(np.uint8).tolist()},
                    "probability": float(probability[mask].mean()) if mask.any() else 0.0,
                }
                if len(frames) > 1:
                    output["frame_number"] = number
                outputs.append(output)
        return outputs

    def segment(self, frame):
        """The probability of each pixel to belong to the structure."""
        mean = box_mean(frame)
        deviation = np.sqrt(np.maximum(box_mean(frame**2) - mean**2, 0))
        features = np.stack([frame, mean, deviation], axis=-1)
        return 1 / (1 + np.exp(-(features @ self.kernel + self.bias)))


def read_frames(ds):
    """The frames of a DICOM file as (frames, rows, columns), each from 0 to 1, dense is bright."""
    pixels = ds.pixel_array.astype(np.float32)
    if ds.SamplesPerPixel > 1:
        pixels = pixels.mean(axis=-1)
    if ds.PhotometricInterpretation == "MONOCHROME1":
        pixels = -pixels
    pixels = pixels.reshape(-1, ds.Rows, ds.Columns)
    low = pixels.min(axis=(1, 2), keepdims=True)
    high = pixels.max(axis=(1, 2), keepdims=True)
    return (pixels - low) / np.maximum(high - low, 1e-6)


def box_mean(frame):
    """The mean of the square around each pixel, from a summed-area table, edges repeated."""
    size = 2 * RADIUS + 1
    padded = np.pad(frame, ((RADIUS + 1, RADIUS), (RADIUS + 1, RADIUS)), mode="edge")
    sums = padded.astype(np.float64).cumsum(axis=0).cumsum(axis=1)
    squares = sums[size:, size:] - sums[size:, :-size] - sums[:-size, size:] + sums[:-size, :-size]
    return squares / size**2
