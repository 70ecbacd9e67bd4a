"""Finds the most nodule-like spot of each image: its bounding box, its outline and its centre."""

import os
from io import BytesIO

import numpy as np
import pydicom
from skimage.feature import match_template
from skimage.measure import block_reduce, find_contours, label, regionprops

# The classes of the model; on the interface they are a Bounding Box, a Polygon and a Location label.
BOX, OUTLINE, CENTRE = 0, 1, 2
SIZE = 128  # larger images are reduced to about this many pixels, in which a nodule is as wide as the template


class MDAIModel:
    def __init__(self):
        root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        with np.load(os.path.join(root, "weights.npz")) as weights:
            self.template = weights["template"]
            self.threshold = float(weights["threshold"])

    def predict(self, data):
        outputs = []
        for file in data["files"]:
            if file["content_type"] != "application/dicom":
                continue
            ds = pydicom.dcmread(BytesIO(file["content"]))
            uids = {
                "study_uid": str(ds.StudyInstanceUID),
                "series_uid": str(ds.SeriesInstanceUID),
                "instance_uid": str(ds.SOPInstanceUID),
            }
            frames = read_frames(ds)
            for number, frame in enumerate(frames):
                for output in self.detect(frame):
                    output.update(uids)
                    if len(frames) > 1:
                        output["frame_number"] = number
                    outputs.append(output)
        return outputs

    def detect(self, frame):
        """A box, an outline and a location of the best spot, or one empty answer."""
        step = max(1, min(frame.shape) // SIZE)
        small = block_reduce(frame, (step, step), np.mean)
        similarity = match_template(small, self.template, pad_input=True, mode="edge")
        regions = regionprops(label(similarity > self.threshold), intensity_image=similarity)
        if not regions:
            return [{"type": "NONE", "note": "nothing looks like a nodule"}]
        best = max(regions, key=lambda region: region.intensity_max)

        top, left, bottom, right = best.bbox
        # The frame of zeros closes the outline of a region that touches the border.
        outline = find_contours(np.pad(best.image.astype(float), 1), 0.5)[0] - 1
        row, column = best.centroid
        shapes = {
            BOX: {
                "x": int(left * step),
                "y": int(top * step),
                "width": int((right - left) * step),
                "height": int((bottom - top) * step),
            },
            OUTLINE: {
                "vertices": [[float((left + x + 0.5) * step), float((top + y + 0.5) * step)] for y, x in outline]
            },
            CENTRE: {"x": int((column + 0.5) * step), "y": int((row + 0.5) * step)},
        }
        probability = float(np.clip(best.intensity_max, 0, 1))
        return [
            {"type": "ANNOTATION", "class_index": index, "data": shape, "probability": probability}
            for index, shape in shapes.items()
        ]


def read_frames(ds):
    """The frames of a DICOM file as (frames, rows, columns), from 0 to 1, dense is bright."""
    pixels = ds.pixel_array.astype(np.float32)
    if ds.SamplesPerPixel > 1:
        pixels = pixels.mean(axis=-1)
    if ds.PhotometricInterpretation == "MONOCHROME1":
        pixels = -pixels
    pixels -= pixels.min()
    return pixels.reshape(-1, ds.Rows, ds.Columns) / max(pixels.max(), 1e-6)
