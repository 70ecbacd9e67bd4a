# The skeleton of the interface document, filled in with a few lines.
import os
from io import BytesIO

import cv2
import numpy as np
import pydicom
from PIL import Image
from postprocess import boxes


class MDAIModel:
    def __init__(self):
        modelpath = os.path.join(os.path.dirname(os.path.dirname(__file__)), "threshold.npy")

        self.threshold = np.load(modelpath)

    def predict(self, data):
        # Load the input files
        input_files = data["files"]

        # Load the input data arguments (if any)
        input_args = data["args"]

        # Load human annotations as input (if any)
        input_annotations = data["annotations"]

        # List for storing results for each instance
        outputs = []

        # Loop through the data points
        for file in input_files:
            # Check if the file type is dicom or any other format.
            if file["content_type"] != "application/dicom":
                continue

            # Read the dicom file (if using pydicom)
            ds = pydicom.dcmread(BytesIO(file["content"]))

            # Convert dicom to a numpy array of pixels
            image = ds.pixel_array

            if image.ndim > 2:
                continue
            image = cv2.normalize(image.astype(np.float32), None, 0, 1, cv2.NORM_MINMAX)
            image = cv2.GaussianBlur(image, (5, 5), 0)
            buffer = BytesIO()
            Image.fromarray((image * 255).astype(np.uint8)).save(buffer, format="PNG")

            for class_index, probability, box in boxes(image, float(self.threshold)):
                result = {
                    "type": "ANNOTATION",
                    "study_uid": str(ds.StudyInstanceUID),
                    "series_uid": str(ds.SeriesInstanceUID),
                    "instance_uid": str(ds.SOPInstanceUID),
                    "class_index": int(class_index),
                    "data": box,
                    "probability": float(probability) or [{"class_index": 0, "probability": float(probability)}],
                    "note": f"{len(input_args)} arguments, {len(input_annotations)} annotations",
                    "explanations": [
                        {
                            "name": "Blurred",
                            "description": "What the model saw",
                            "content": buffer.getvalue(),
                            "content_type": "image/png",
                        },
                    ],
                }

                # Add results to the list
                outputs.append(result)

        # Return list to be read by the MD.ai interface
        return outputs
