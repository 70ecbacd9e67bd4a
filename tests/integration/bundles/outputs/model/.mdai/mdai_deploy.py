"""One output of every type, and every key that the schema knows."""

from io import BytesIO

import numpy as np
import pydicom
from PIL import Image
from pydicom.uid import generate_uid


class MDAIModel:
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
            study = {"study_uid": uids["study_uid"]}
            local = dict(uids, type="ANNOTATION")
            if int(ds.get("NumberOfFrames", 1)) > 1:
                local["frame_number"] = 0
            mask = np.zeros((ds.Rows, ds.Columns), np.uint8)
            mask[10:20, 10:20] = 1
            outputs += [
                dict(study, type="NONE", series_uid=None, probability=None, explanations=None, note=None),
                dict(study, type="TEXT", note={"input": "What is this?", "output": "An image."}),
                dict(uids, type="TEXT", note="read"),
                dict(study, type="ANNOTATION", class_index=2, probability=0.25),
                dict(local, class_index=3, data={"mask": mask.tolist()}),
                dict(local, class_index=4, data={"x": 1, "y": 2, "width": 3, "height": 4}),
                dict(local, class_index=5, data={"vertices": [[1, 2.5], [3, 4], [5, 1]]}),
                dict(local, class_index=8, data={"x": 5, "y": 6}),
                dict(uids, type="IMAGE", class_index=0, images=[png(ds)], image_output_tags={"PatientID": "new"}),
                dict(uids, type="DICOM", class_index=0, images=[dicom(ds)], note="a copy, blank"),
            ]
        return outputs


def png(ds):
    buffer = BytesIO()
    Image.new("L", (ds.Columns, ds.Rows)).save(buffer, format="PNG")
    return buffer.getvalue()


def dicom(ds):
    ds = pydicom.dcmread(BytesIO(to_bytes(ds)))
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    ds.SeriesInstanceUID = generate_uid()
    return to_bytes(ds)


def to_bytes(ds):
    buffer = BytesIO()
    pydicom.dcmwrite(buffer, ds, write_like_original=False)
    return buffer.getvalue()
