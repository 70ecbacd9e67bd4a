"""What published models do inside an image; each assertion is one thing that must keep working."""

import os
import subprocess
import sys
import tempfile
from io import BytesIO

import pydicom
from helper_below import names

ENVIRONMENT = {
    "PLAIN": "value",
    "SPACES": "  two  words  ",
    "QUOTES": 'it\'s "quoted"',
    "DOLLAR": "$HOME ${PATH} $$ $(id) `id`",
    "BACKSLASH": "C:\\new\\table\\",
    "HASH": "# no comment #",
    "UNICODE": "Größe 磁共振 ✓",
    "INSTRUCTION": 'x" Y=z \\ && touch /src/injected',
    "EQUALS": "a=b=c",
    "EMPTY": "",
    "NUMBER": "42",
    "BRACES": "{{ plan }} {% if x %}",
    "MDAI_PATH": ".mdai",
}


class MDAIModel:
    def __init__(self):
        for name, value in ENVIRONMENT.items():
            assert os.environ[name] == value, (name, os.environ[name])
        assert not os.path.exists("/src/injected")
        assert "Y" not in os.environ

        assert os.getcwd() == "/src"
        by_work_folder = open("./lib/weights.bin", "rb").read()
        root = os.path.dirname(os.path.dirname(__file__))
        by_own_place = open(os.path.join(root, "weights.bin"), "rb").read()
        assert by_work_folder == by_own_place == b"forty-two weights\n"
        assert os.path.realpath(root) == "/src/lib"

        counted = subprocess.check_output([os.path.join(root, "scripts", "count.sh"), "./lib/weights.bin"])
        assert int(counted) == len(by_own_place)

        lib = [path for path in sys.path if path.startswith("/src/lib")]
        assert lib[:2] == ["/src/lib", "/src/lib/.mdai"], sys.path
        assert os.getuid() != 0
        assert sys.version_info[:2] == (3, 8)

    def predict(self, data):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "image.dcm")
            outputs = []
            for file in data["files"]:
                if file["content_type"] != "application/dicom":
                    continue
                with open(path, "wb") as copy:
                    copy.write(file["content"])
                ds = pydicom.dcmread(path, stop_before_pixels=True)
                same = pydicom.dcmread(BytesIO(file["content"]), stop_before_pixels=True)
                assert ds.SOPInstanceUID == same.SOPInstanceUID
                outputs.append({"type": "TEXT", "study_uid": str(ds.StudyInstanceUID), "note": ", ".join(names())})
            return outputs
