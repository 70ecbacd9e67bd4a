from __future__ import annotations

import pytest

from mdai_build.smoke.failures import kind_of
from mdai_build.smoke.hints import headline, hint

TRACEBACK = """The model's predict failed: second line

Traceback (most recent call last):
  File "/src/lib/.mdai/mdai_deploy.py", line 9, in predict
    raise ValueError("first line
ValueError: first line
second line
"""


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (TRACEBACK, "ValueError: first line"),
        ("Traceback (most recent call last):\n  File x\nKeyboardInterrupt\n", "KeyboardInterrupt"),
        ("Traceback (most recent call last):\n  x\na.b.CustomError: text\n", "a.b.CustomError: text"),
        ("The model failed to load: there is no file x\n", "there is no file x"),
        ("something else\nmore", "something else"),
        ("", ""),
        ("\n\n", ""),
        (
            "Traceback (most recent call last):\nKeyError: 1\n\nDuring handling ...\n\n"
            "Traceback (most recent call last):\n  x\nOSError: 2\n",
            "OSError: 2",
        ),
    ],
)
def test_the_line_that_matters(text: str, line: str) -> None:
    assert headline(text) == line


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ModuleNotFoundError: No module named 'cv2'", "`opencv-python-headless` to .mdai/requirements.txt"),
        ("ModuleNotFoundError: No module named 'segmentation_models'", "`segmentation-models` to"),
        ("ModuleNotFoundError: No module named 'sklearn.externals'", "pin the version of scikit-learn"),
        ("ValueError: numpy.dtype size changed, may indicate binary", "`numpy<2`"),
        ("AttributeError: module 'PIL.Image' has no attribute 'ANTIALIAS'", "`Image.ANTIALIAS`"),
        ("TypeError: unsupported operand type(s) for |: 'type' and 'NoneType'", "from __future__ import annotations"),
        ("TypeError: 'type' object is not subscriptable", "from __future__ import annotations"),
        ("AttributeError: 'dict' object has no attribute 'files'", '["files"]'),
        ("AttributeError: 'FileDataset' object has no attribute 'SOPInstanceUid'", "did you mean ds.SOPInstanceUID?"),
        ("AttributeError: 'FileDataset' object has no attribute 'PixelSpaceing'", "did you mean ds.PixelSpacing?"),
        ("AttributeError: 'MDAIModel' object has no attribute 'modle'", "`self.modle` is never set"),
        ("NameError: name 'cv2' is not defined", "nothing is called `cv2`"),
        ("AttributeError: 'FileDataset' object has no attribute 'RescaleSlope'", 'ds.get("RescaleSlope")'),
        ("in _execute_child\nPermissionError: [Errno 13] Permission denied: '/src/lib/run.sh'", "`run.sh` may not be"),
        (
            "in _execute_child\nFileNotFoundError: [Errno 2] No such file or directory: 'dcmdump'",
            "no program `dcmdump`",
        ),
        ("FileNotFoundError: [Errno 2] No such file or directory: '/src/lib/a/w.h5'", "the archive has no `a/w.h5`"),
        ("FileNotFoundError: [Errno 2] x: '/tmp/mdai-build-run-8_a/lib/w.h5'", "the archive has no `w.h5`"),
        ("OSError: Unable to open file (name = 'w.h5', errno = 2, error message", "`w.h5` into the archive"),
        ("OSError: No file or directory found at w.h5", "`w.h5` into the archive"),
        ("Load model from w.onnx failed:Load model w.onnx failed. File doesn't exist", "`w.onnx` into the archive"),
        ("ImportError: libGL.so.1: cannot open shared object file", "opencv-python-headless"),
        ("ImportError: cannot import name 'A' from 'b.c' (x.py)", "`b.c` has no `A`"),
        ("AttributeError: '_io.BytesIO' object has no attribute 'get_value'", "getvalue()"),
        ("AttributeError: module 'numpy' has no attribute 'bool'", "older numpy"),
        ("FileNotFoundError: [Errno 2] No such file or directory: '/home/me/w.h5'", "another machine"),
        ("FileNotFoundError: [Errno 2] No such file or directory: 'w.h5'", "`w.h5` into the archive"),
        ("OSError: [Errno 30] Read-only file system: '/src/x'", "tempfile"),
        ("PermissionError: [Errno 13] Permission denied: '/src/x'", "tempfile"),
        ("RuntimeError: No CUDA GPUs are available", "is_available"),
        ("pydicom.errors.InvalidDicomError: File is missing DICOM File Meta Information", "content_type"),
        ("RuntimeError: Unable to decode the pixel data", "pylibjpeg"),
        ("SystemExit: 2", "exit()"),
        ("x = input_args[\"t\"]\nKeyError: 't'", "smoke.yaml"),
        ('x = data["annotations"][0]\nIndexError: list index out of range', "annotations"),
        ("KeyError: 'instances'", 'data["files"]'),
        ("KeyError: 'dicom_tags'", "only JPEG and PNG"),
        ("KeyError: 'annotations'", 'data.get("annotations")'),
        ("n = data['label_classes'][0]['name']\nKeyError: 'name'", 'label_class["label"]["name"]'),
        ("pydicom.dcmread(file['filename'])\n    ~~~~^^^^\nKeyError: 'filename'", 'BytesIO(file["content"])'),
        ("EOFError: EOF when reading a line", "input()"),
        ("TypeError: __init__() should return None, not 'list'", "behind `return`"),
        ("TypeError: only size-1 arrays can be converted to Python scalars", "float(scores[0, 1])"),
        ("TypeError: '>' not supported between instances of 'float' and 'str'", 'float(data["args"]'),
        ("TypeError: string indices must be integers", 'data["files"]'),
        ("TypeError: a bytes-like object is required, not 'dict'", 'BytesIO(file["content"])'),
        ("IndexError: too many indices for array: array is 2-dimensional, but 3 were indexed", "grey"),
        (r"FileNotFoundError: [Errno 2] No such file or directory: '/src/lib\\w.h5'", "os.path.join"),
        ("FileNotFoundError: [Errno 2] No such file or directory: '/src/lib/.mdai/w.h5'", "twice"),
        ("FileNotFoundError: [Errno 2] No such file or directory: '/src/w.h5'", "path of `w.h5`"),
        ("RuntimeError: handlers are available, they are missing required dependencies: GDCM", "pylibjpeg"),
        ("urllib.error.URLError: <urlopen error>", "without a network"),
        ("MemoryError", "--memory"),
    ],
)
def test_known_errors_have_a_remedy(text: str, words: str) -> None:
    advice = hint(text)
    assert advice is not None and words in advice


def test_unknown_errors_have_none() -> None:
    assert hint("ValueError: something of its own") is None


@pytest.mark.parametrize(
    ("step", "text", "kind"),
    [
        ("predict", "The model's predict failed: ValueError: the worker process was killed", "raised"),
        ("predict", "The model's predict failed: SystemExit: 3", "died"),
        ("worker", "During this request the worker process ended", "died"),
        ("outputs", "The model's outputs are not valid:", "invalid"),
        ("encode", "The model's outputs cannot be serialised", "invalid"),
        ("request", "The request is not valid", "request"),
        ("of-the-future", "text", "raised"),
        ("", "The model's outputs are not valid:", "invalid"),
        ("", "Traceback", "raised"),
    ],
)
def test_what_a_500_is_about(step: str, text: str, kind: str) -> None:
    assert kind_of(step, text) == kind
