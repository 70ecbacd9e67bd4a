"""Mistakes that show in the code, one at a time, and what looks like one and is none."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mdai_build.bundle import check_entry_point, read_bundle
from mdai_build.errors import Problem

Check = Callable[..., tuple[Problem, ...]]

SKELETON = """
import os
import numpy as np
import pydicom
from io import BytesIO

class MDAIModel:
    def __init__(self):
        {init}

    def predict(self, data):
        outputs = []
        for file in data["files"]:
            if file["content_type"] != "application/dicom":
                continue
            ds = pydicom.dcmread(BytesIO(file["content"]))
            image = ds.pixel_array
            {before}
            result = {{
                "type": "ANNOTATION",
                "study_uid": str(ds.StudyInstanceUID),
                "series_uid": str(ds.SeriesInstanceUID),
                "instance_uid": str(ds.SOPInstanceUID),
                "class_index": int(np.argmax(image)),
                {entries}
            }}
            outputs.append(result)
        return outputs
"""


def model(entries: str = "", before: str = "pass", init: str = "pass") -> str:
    return SKELETON.format(init=init, before=before.replace("\n", "\n" + " " * 12), entries=entries)


READ = 'ds = pydicom.dcmread(BytesIO(file["content"]))'
SKIP = 'if file["content_type"] != "application/dicom":\n                continue\n            ' + READ
ONLY_UIDS = (
    '"study_uid": str(ds.StudyInstanceUID),\n                "series_uid": str(ds.SeriesInstanceUID),\n'
    '                "instance_uid": str(ds.SOPInstanceUID),\n'
)


@pytest.mark.parametrize(
    ("source", "code", "words"),
    [
        (model('"data": {"mask": image > 5},'), "missing-cast", "`mask`"),
        (model('"data": {"mask": m},', "m = (image > 5).astype(int)"), "missing-cast", ".tolist()"),
        (model('"data": {"mask": m},', "m = np.zeros((2, 2))\nm[0] = 1"), "missing-cast", ".tolist()"),
        (model('"data": {"vertices": np.array([[1, 2]])},'), "missing-cast", "`vertices`"),
        (model('"data": {"x": image.min(), "y": 1},'), "missing-cast", "int(...)"),
        (model('"probability": np.float32(0.5),'), "missing-cast", "float(...)"),
        (model('"probability": [{"class_index": np.int64(0), "probability": 0.5}],'), "missing-cast", "int(...)"),
        (model().replace("int(np.argmax(image))", "scores.argmax()"), "missing-cast", "int(...)"),
        (model().replace("int(np.argmax(image))", "np.argmax(scores, axis=1)[0]"), "missing-cast", "int(...)"),
        (model().replace(ONLY_UIDS, ""), "missing-uid", "study_uid"),
        (
            model('"data": {"mask": m.tolist()},').replace('"instance_uid": str(ds.SOPInstanceUID),', ""),
            "missing-uid",
            "instance_uid",
        ),
        (model().replace("ds.SOPInstanceUID", "ds.SOPClassUID"), "swapped-uid", "SOPInstanceUID"),
        (model().replace("str(ds.StudyInstanceUID)", 'tags["SeriesInstanceUID"]'), "swapped-uid", "StudyInstanceUID"),
        (model().replace('"ANNOTATION"', '"annotation"'), "output-type", "`ANNOTATION`"),
        (model('"probabilty": 0.5,'), "output-key", "`probability`"),
        (model('"images": buffer.getvalue(),'), "images", "[image_buffer.getvalue()]"),
        (model('"images": [buffer],', "buffer = BytesIO()"), "images", ".getvalue()"),
        (model('"images": [buffer.get_value()],', "buffer = BytesIO()"), "get-value", "getvalue()"),
        (model().replace(SKIP, READ), "content-type", "continue"),
        (model(init='self.net = load("/home/me/net.h5")'), "absolute-path-in-code", "'net.h5'"),
        (model(init='self.net = load(os.path.join(root, "net.h5"))'), "missing-weights", "`net.h5`"),
        (model(init='self.threshold = float(input("threshold? "))'), "input", "data['args']"),
        ("from google.colab import drive\n" + model(), "notebook", "Drive"),
        (model(init="return 1"), "init-result", "self.name"),
        (model(init="r = urllib.request.urlopen(URL)"), "download", "without a network"),
        (model(init="r = requests.get(URL).content"), "download", "fetches something from the network"),
        (model(init='t = AutoTokenizer.from_pretrained("a/b")'), "download", "('a/b').save_pretrained(...)"),
        (model(init="n = torch.hub.load_state_dict_from_url(URL)"), "download", "downloads weights"),
        (model(init='n = resnet(weights="imagenet")'), "download", "downloads its weights"),
        (model('"probability": probs,', "probs = [0.1, 0.9]"), "value-type", "enumerate(probabilities)"),
        (model('"data": box,', "box = [1, 2, 3, 4]"), "value-type", '"width"'),
        (model('"data": {"mask": "/tmp/mask.png"},'), "value-type", "mask.tolist()"),
        (model('"data": {"vertices": [10, 10, 20, 20]},'), "value-type", "[[x, y], ...]"),
        (
            model().replace("return outputs", "text = json.dumps(outputs)\n        return text"),
            "predict-result",
            "itself",
        ),
        (model().replace('in data["files"]', "in data"), "request-key", 'in data["files"]'),
        (model().replace('BytesIO(file["content"])', "BytesIO(file)"), "bytes-as-file", 'BytesIO(file["content"])'),
        (model().replace('BytesIO(file["content"])', 'file["filename"]'), "request-key", 'BytesIO(file["content"])'),
        (model(before='name = data["label_classes"][0]["name"]'), "request-key", '["label"]["name"]'),
        (model().replace("return outputs", 'return {"outputs": outputs}'), "predict-result", "[output]"),
    ],
)
def test_a_mistake_that_shows_is_told_once_with_its_remedy(check: Check, source: str, code: str, words: str) -> None:
    (warning,) = check(source, "3.8")
    assert warning.code == f"bundle.{code}"
    assert words in f"{warning.what} {warning.next_step}"
    assert warning.where is not None and warning.where.line is not None


@pytest.mark.parametrize(
    "source",
    [
        model(),
        model('"data": {"mask": (image > 5).tolist()}, "probability": float(image.max()),'),
        model('"data": {"mask": m},', "m = (image > 5).astype(int)\nm = m.tolist()"),
        model('"data": {"mask": m},', "for m in masks:\n    pass"),
        model('"probability": statistics.mean(values),', "import statistics"),
        model('"probability": scores.max().item(), "frame_number": image.shape[0] - 1,'),
        model('"probability": probability,', "probability, other = np.max(a), np.max(b)"),
        model('"explanations": [{"name": "a", "content": b, "content_type": "image/png"}], "note": None,'),
        model().replace(ONLY_UIDS, "**uids,"),
        model(before="uids = uids_of(ds)\nresult.update(uids)").replace(ONLY_UIDS, ""),
        model().replace(ONLY_UIDS, "").replace("outputs.append(", 'result["study_uid"] = uid; outputs.append('),
        # A global label of a study needs no more.
        model().replace(ONLY_UIDS, '"study_uid": str(ds.StudyInstanceUID),'),
        model().replace(SKIP, f"try: {READ}\n            except OSError: continue"),
        model(init='np.load(os.path.join(root, "sub/weights.npz"))\n        torch.save(x, "/tmp/new.pth")'),
        model(init='torch.save(x, "new.pth")\n        ok = name.endswith("x.h5")'),
        model(init='hub.download("net.h5")\n        load("net.h5")'),
        model('"data": {"x": 1, "y": 2}, "video_frame_number": 3,').replace(
            '"instance_uid": str(ds.SOPInstanceUID),', ""
        ),
        model(before='name = data["label_classes"][0]["label"]["name"]'),
        model('"probability": p,', "p = 0.5") + "\n\ndef input():\n    return 1\n\nx = input()\n",
        model() + "\n\ndef main():\n    a = p.parse_args(); input()\n\nif __name__ == '__main__':\n    main()\n",
        model(init="return None"),
        model('"data": data_of,', "data_of = {}\ndata_of['mask'] = image.tolist()"),
        model(before='box = {"type": "bbox", "class_index": 1, "score": 3}'),
        model(before='label = {"type": "LOCAL", "scope": "INSTANCE", "id": 1}'),
    ],
)  # fmt: skip
def test_what_may_be_right_is_not_told(check: Check, source: str) -> None:
    assert check(source, "3.8", weights="sub/weights.npz") == ()


def test_of_a_helper_only_what_runs_as_it_is_imported_is_told(making, tmp_path) -> None:
    source = ("import options, train\n" + model()).encode()
    parse = b"import argparse\n\nargs = argparse.ArgumentParser().parse_args()\n"
    script = b"def main():\n    args = argparse.ArgumentParser().parse_args()\n"
    files = {**making.model, ".mdai/mdai_deploy.py": source, "lib/options.py": parse, "lib/train.py": script}
    (warning,) = check_entry_point(read_bundle(making.folder(tmp_path / "m", files)), "3.8")
    assert warning.code == "bundle.exits" and str(warning.where).startswith("lib/options.py:3")


def test_weights_may_lie_in_a_parent_of_the_author_s_own(check: Check) -> None:
    assert check(model(init='load("net.h5")'), None) == ()


def test_the_nearest_weights_of_the_bundle_are_named(check: Check) -> None:
    (warning,) = check(model(init='load("net.h5")'), "3.8", weights="Net.h5")
    assert "`Net.h5`" in warning.what and "capitals" in str(warning.next_step)
