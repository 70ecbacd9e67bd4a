"""Tells a clear image from one with an opacity on its left or right half, and shows why with a heat map."""

import os
from io import BytesIO

import numpy as np
import pydicom
from PIL import Image

GRID = 16  # the classifier sees GRID x GRID mean brightnesses
CLASSES = ("clear", "left opacity", "right opacity")


class MDAIModel:
    def __init__(self):
        root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        with np.load(os.path.join(root, "weights.npz")) as weights:
            self.kernel = weights["kernel"]  # (classes, GRID * GRID)
            self.bias = weights["bias"]  # (classes,)

    def predict(self, data):
        outputs = []
        for file in data["files"]:
            if file["content_type"] == "application/dicom":
                uids, frames = read_dicom(file)
            elif file["content_type"] in ("image/jpeg", "image/png"):
                uids, frames = read_picture(file)
            else:
                continue
            for number, frame in enumerate(frames):
                output = self.classify(frame)
                output.update(uids)
                if len(frames) > 1:
                    output["frame_number"] = number
                outputs.append(output)
        return outputs

    def classify(self, frame):
        grid = np.asarray(Image.fromarray(frame).resize((GRID, GRID), Image.BOX)).ravel()
        scores = np.exp(self.kernel @ grid + self.bias)
        probabilities = scores / scores.sum()
        winner = int(probabilities.argmax())
        return {
            "type": "ANNOTATION",
            "class_index": winner,
            "probability": [
                {"class_index": index, "probability": float(probability)}
                for index, probability in enumerate(probabilities)
            ],
            "explanations": [
                {
                    "name": "Contributions",
                    "description": f"Red: what spoke for '{CLASSES[winner]}'.",
                    "content": heat_map(frame, self.kernel[winner] * grid),
                    "content_type": "image/png",
                }
            ],
        }


def read_dicom(file):
    """The UIDs and the frames of a DICOM file; a frame is (rows, columns), from 0 to 1, dense is bright."""
    ds = pydicom.dcmread(BytesIO(file["content"]))
    pixels = ds.pixel_array.astype(np.float32)
    if ds.SamplesPerPixel > 1:
        pixels = pixels.mean(axis=-1)
    if ds.PhotometricInterpretation == "MONOCHROME1":
        pixels = -pixels
    uids = {
        "study_uid": str(ds.StudyInstanceUID),
        "series_uid": str(ds.SeriesInstanceUID),
        "instance_uid": str(ds.SOPInstanceUID),
    }
    return uids, [stretch(frame) for frame in pixels.reshape(-1, ds.Rows, ds.Columns)]


def read_picture(file):
    """The same of a JPEG or PNG file, whose UIDs come beside it as tags."""
    tags = file["dicom_tags"]
    uids = {
        "study_uid": str(tags["StudyInstanceUID"]),
        "series_uid": str(tags["SeriesInstanceUID"]),
        "instance_uid": str(tags["SOPInstanceUID"]),
    }
    picture = Image.open(BytesIO(file["content"])).convert("L")
    return uids, [stretch(np.asarray(picture, dtype=np.float32))]


def stretch(frame):
    low, high = frame.min(), frame.max()
    return (frame - low) / max(high - low, np.float32(1e-6))


def heat_map(frame, contributions):
    """A PNG of the frame in grey with the positive contributions in red over it."""
    heat = stretch(contributions.clip(0, None).reshape(GRID, GRID).astype(np.float32))
    height, width = frame.shape
    heat = np.asarray(Image.fromarray(heat).resize((width, height), Image.BILINEAR))
    red = np.maximum(frame, heat)
    other = frame * (1 - heat)
    buffer = BytesIO()
    picture = np.stack([red, other, other], axis=-1) * 255
    # Packing hard would take longer than all the rest of a prediction.
    Image.fromarray(picture.astype(np.uint8)).save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()
