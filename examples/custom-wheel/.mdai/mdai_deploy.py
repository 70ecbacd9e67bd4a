"""Scores the urgency of each image with an in-house wheel, and helper modules from sub-folders."""

import os
from io import BytesIO

import numpy as np
import pydicom
from frames import measure, read_frames  # preprocessing/frames.py
from triage_score import triage_score  # the wheel
from wording import describe  # .mdai/reporting/wording.py


class MDAIModel:
    def __init__(self):
        root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        with np.load(os.path.join(root, "weights.npz")) as weights:
            self.weights = weights["weights"]  # of brightness, contrast, edges
            self.bias = float(weights["bias"])

    def predict(self, data):
        outputs = []
        for file in data["files"]:
            if file["content_type"] != "application/dicom":
                continue
            ds = pydicom.dcmread(BytesIO(file["content"]))
            score = max(triage_score(measure(frame), self.weights, self.bias) for frame in read_frames(ds))
            outputs.append(
                {
                    "type": "ANNOTATION",
                    "study_uid": str(ds.StudyInstanceUID),
                    "series_uid": str(ds.SeriesInstanceUID),
                    "instance_uid": str(ds.SOPInstanceUID),
                    "class_index": 0,
                    "probability": score,
                    "note": describe(score),
                }
            )
        return outputs
