"""A small neural network that runs on the GPU through torch or cupy, or says why it had to use the CPU."""

import os
from io import BytesIO

import numpy as np
import pydicom
from backend import BACKEND, relu

GRID = 32  # the network sees GRID x GRID pixels of a frame


class MDAIModel:
    def __init__(self):
        root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        with np.load(os.path.join(root, "weights.npz")) as weights:
            self.hidden = BACKEND.to_device(weights["hidden"])  # (GRID * GRID, units)
            self.output = BACKEND.to_device(weights["output"])  # (units, 1)

    def predict(self, data):
        outputs = []
        for file in data["files"]:
            if file["content_type"] != "application/dicom":
                continue
            ds = pydicom.dcmread(BytesIO(file["content"]))
            frames = BACKEND.to_device(read_grids(ds))
            scores = BACKEND.to_host(relu(frames @ self.hidden) @ self.output)
            outputs.append(
                {
                    "type": "ANNOTATION",
                    "study_uid": str(ds.StudyInstanceUID),
                    "series_uid": str(ds.SeriesInstanceUID),
                    "instance_uid": str(ds.SOPInstanceUID),
                    "class_index": 0,
                    "probability": float(1 / (1 + np.exp(-scores.max()))),
                    "note": BACKEND.note,
                }
            )
        return outputs


def read_grids(ds):
    """GRID x GRID samples of each frame as (frames, GRID * GRID), mean 0 and deviation 1."""
    pixels = ds.pixel_array.astype(np.float32)
    if ds.SamplesPerPixel > 1:
        pixels = pixels.mean(axis=-1)
    if ds.PhotometricInterpretation == "MONOCHROME1":
        pixels = -pixels
    rows = np.linspace(0, ds.Rows - 1, GRID).astype(int)
    columns = np.linspace(0, ds.Columns - 1, GRID).astype(int)
    grids = pixels.reshape(-1, ds.Rows, ds.Columns)[:, rows[:, None], columns].reshape(-1, GRID * GRID)
    deviation = grids.std(axis=1, keepdims=True)
    return (grids - grids.mean(axis=1, keepdims=True)) / np.maximum(deviation, np.float32(1e-6))
