"""What to do about the errors that model code raises most, by the words in its traceback."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable

from mdai_build.requirements import package_of
from mdai_build.scratch import PREFIX

ROOT = rf"(?:/src/lib|/[^\s'\"]*{PREFIX}\w+/lib)/"
"""Where a model lies, as a pattern: in an image, and where `test --local` puts it."""


def _missing_module(name: str) -> str:
    top, _, rest = name.partition(".")
    package = package_of(top)
    if rest:
        return (
            f"the installed `{top}` has no `{rest}`: pin the version of {package} that you trained with in "
            f".mdai/requirements.txt"
        )
    return (
        f"add a line `{package}` to .mdai/requirements.txt, at the version that you trained with; "
        f"or if `{name}` is code of your own, its file to the archive"
    )


def _missing_element(keyword: str) -> str:
    from pydicom.datadict import keyword_dict

    if keyword in keyword_dict:
        return f'not every DICOM file has {keyword}: read it with ds.get("{keyword}"), or skip the file'
    same = [known for known in keyword_dict if known.lower() == keyword.lower()]
    near = same or difflib.get_close_matches(keyword, keyword_dict, n=1, cutoff=0.8)
    if near:
        return f"DICOM has no {keyword}: did you mean ds.{near[0]}?"
    return f"DICOM has no {keyword}: its names are those of the standard, such as ds.SOPInstanceUID"


_HINTS: tuple[tuple[str, str | Callable[[str], str]], ...] = (
    (
        r"SystemExit",
        "remove the call of exit(), quit() or sys.exit(), or of argparse, which exits on the server's own arguments",
    ),
    (
        r"EOFError: EOF when reading a line",
        'nobody answers input() in an image: write the value down, or take it from data["args"] in predict',
    ),
    (
        r"__init__\(\) should return None",
        "remove the value behind `return` in `__init__`: what predict needs is kept as self.name = value",
    ),
    (
        r"only (?:size-1|length-1|0-dimensional) arrays can be converted|only one element tensors can be converted",
        "float() and int() take one number, and this is an array of several: choose one, such as float(scores[0, 1])",
    ),
    (
        r"not supported between instances of '(?:float|int)' and 'str'|"
        r"not supported between instances of 'str' and '(?:float|int)'|can't multiply sequence by non-int",
        'one of the two is text: values of data["args"] are, so write float(data["args"][...]) around them',
    ),
    (
        r"(?:string|list) indices must be integers",
        'a text or a list is read like a dict; of the request, that is for file in data["files"]: file["content"]',
    ),
    (
        r"a bytes-like object is required, not 'dict'",
        'a file is a dict, and its bytes are in `content`: BytesIO(file["content"])',
    ),
    (
        r"too many indices for array: array is 2-dimensional, but 3",
        "a grey image has no axis for colours: its array is (rows, columns); ds.SamplesPerPixel tells the two apart",
    ),
    (
        r"ImportError: libGL\.so|libgthread-2\.0",
        "the image lacks a system library: use opencv-python-headless instead of opencv-python",
    ),
    (
        r"No module named '([\w.]+)'",
        _missing_module,
    ),
    (
        r"ImportError: cannot import name '(\w+)' from '([\w.]+)'",
        "the installed version of `{1}` has no `{0}`: pin the version that you trained with in .mdai/requirements.txt",
    ),
    (
        r"has no attribute 'get_value'",
        "the method of BytesIO is called `getvalue()`: image_buffer.getvalue()",
    ),
    (
        r"module 'numpy' has no attribute '(\w+)'|module 'np' has no attribute '(\w+)'",
        "numpy removed that name: use the plain Python type, or pin an older numpy in .mdai/requirements.txt",
    ),
    (
        r"numpy\.dtype size changed|compiled using NumPy 1\.x cannot be run|numpy\.core\.multiarray failed to import",
        "a requirement has brought a numpy that other packages were not built for: add a line `numpy<2` to "
        ".mdai/requirements.txt; what cannot do with that, pin to an earlier version",
    ),
    (
        r"module 'PIL\.Image' has no attribute '(\w+)'",
        "pillow 10 removed `Image.{0}`: use Image.LANCZOS or Image.Resampling, or pin `pillow<10` in "
        ".mdai/requirements.txt",
    ),
    (
        r"unsupported operand type\(s\) for \|: '(?:type|NoneType|_GenericAlias|ABCMeta)'|"
        r"TypeError: 'type' object is not subscriptable",
        "types written as `int | None` or `list[int]` need a newer Python: begin the file with "
        "`from __future__ import annotations`, or choose a newer base_image in config.yaml",
    ),
    (
        r"'dict' object has no attribute '(files|args|annotations|label_classes|content|content_type|dicom_tags)'",
        'the data is plain dicts and lists: write ["{0}"] for .{0}',
    ),
    (
        r"'(?:FileDataset|Dataset)' object has no attribute '(\w+)'",
        _missing_element,
    ),
    (
        r"'MDAIModel' object has no attribute '(\w+)'",
        "`self.{0}` is never set: look how `__init__` spells it, and whether it sets it in every case",
    ),
    (
        r"NameError: (?:global )?name '(\w+)' is not defined",
        "nothing is called `{0}` there: import it, or correct its spelling",
    ),
    (
        r"in _execute_child(?s:.)*PermissionError: [^'\n]*'(?:" + ROOT + r")?([^'\n]*)'",
        "`{0}` may not be executed: `chmod +x` it before you pack the archive, or start it by its interpreter",
    ),
    (
        r"in _execute_child(?s:.)*FileNotFoundError: [^'\n]*'([^'\n]*)'",
        "the image has no program `{0}`: use a package that does it in Python, or put the program into the archive",
    ),
    (
        r"FileNotFoundError: [^'\n]*'[^'\n]*\\[^'\n]*'",
        "a backslash separates folders on Windows alone: build the path with os.path.join(folder, name)",
    ),
    (
        r"FileNotFoundError: [^'\n]*'" + ROOT + r"\.mdai/([^'/]+)'",
        "there is no `.mdai/{0}`: if `{0}` lies beside .mdai, its folder is "
        "os.path.dirname(os.path.dirname(__file__)), with dirname twice; else put it into the archive",
    ),
    (
        r"FileNotFoundError: [^'\n]*'" + ROOT + r"([^']+)'",
        "the archive has no `{0}`: put it into the model folder before you pack it; capitals count",
    ),
    (
        rf"FileNotFoundError: [^'\n]*'(?:/src|/[^\s'\"]*{PREFIX}\w+)/([^'\n]+)'",
        "the server runs beside the model's folder, not in it: build the path of `{0}` from "
        "os.path.dirname(os.path.dirname(__file__))",
    ),
    (
        r"FileNotFoundError: .*'(/(?:home|Users|content|mnt|workspace|root)/[^']*)'",
        "`{0}` is a path of another machine: put the file into the archive and build its path from "
        "os.path.dirname(os.path.dirname(__file__))",
    ),
    (
        r"FileNotFoundError: [^'\n]*'([^'\n]+)'|OSError: [^'\n]*'([^'\n]+)', errno = 2|"
        r"No file or directory found at ([^\s:]+)|Load model from (\S+) failed:.*File doesn't exist",
        "put `{0}` into the archive, and build its path from os.path.dirname(os.path.dirname(__file__))",
    ),
    (
        r"Read-only file system: '([^'\n]*)'",
        "the image's file system is read-only: write to tempfile.gettempdir() instead of `{0}`",
    ),
    (
        r"PermissionError: [^'\n]*'([^'\n]*)'",
        "the model runs as a user without rights on `{0}`: write to tempfile.gettempdir()",
    ),
    (
        r"No CUDA GPUs are available|Found no NVIDIA driver|Torch not compiled with CUDA|"
        r"Attempting to deserialize object on a CUDA device",
        "this machine has no GPU: choose the device with torch.cuda.is_available() and load weights with map_location",
    ),
    (
        r"Can't get attribute|ModuleNotFoundError.*pickle|Ran out of input|invalid load key",
        "the weights were saved by other code, or are a Git LFS pointer: check the file that is in the archive",
    ),
    (
        r"InvalidDicomError|File is missing DICOM File Meta Information",
        'skip what is no DICOM: if file["content_type"] != "application/dicom": continue',
    ),
    (
        r"Unable to decode|no available handlers|missing (?:required )?dependencies|not able to decode|"
        r"Unable to decompress",
        "list pylibjpeg, pylibjpeg-libjpeg and pylibjpeg-openjpeg in .mdai/requirements.txt, at versions that fit "
        "your pydicom",
    ),
    (
        r"args['\"\]]*\[['\"](\w+)['\"]\](?s:.)*KeyError: '\1'",
        'read it with a default: data["args"].get("{0}", ...); to test with a value, set `args` in .mdai/smoke.yaml',
    ),
    (
        r"annotations['\"\]]*\[0\](?s:.)*IndexError",
        "images may come without annotations; to test with some, set `annotations` in .mdai/smoke.yaml",
    ),
    (
        r"KeyError: 'instances'",
        'the files of a request are in data["files"], each a dict with `content` and `content_type`: the model was '
        "written for an earlier interface",
    ),
    (
        r"KeyError: 'dicom_tags'",
        'only JPEG and PNG come with dicom_tags; of a DICOM file read ds = pydicom.dcmread(BytesIO(file["content"]))',
    ),
    (
        r"label_class[^\n]*\n(?:[ ~^]*\n)?KeyError: '(id|name|type|scope|short_name|description|annotation_mode)'",
        'a label class holds class_index and label, and the label its `{0}`: label_class["label"]["{0}"]',
    ),
    (
        r"\[['\"](\w*(?:name|path))['\"]\][^\n]*\n(?:[ ~^]*\n)?KeyError: '\1'",
        'files come as bytes, without a name: pydicom.dcmread(BytesIO(file["content"]))',
    ),
    (
        r"KeyError: '(annotations|args|label_classes)'",
        'read it with data.get("{0}"): it may be missing',
    ),
    (
        r"Name or service not known|Temporary failure in name resolution|Max retries exceeded|URLError|"
        r"Network is unreachable",
        "models run without a network: put what is downloaded into the archive (or, if yours is to have one, test it "
        "with `--test-network default`)",
    ),
    (
        r"MemoryError|DefaultCPUAllocator: can't allocate memory|Cannot allocate memory",
        "the model needs more memory than it was given: raise the limit (`--memory`), or load less at once",
    ),
)
# What our server writes before an error that has no traceback.
_PREAMBLE = re.compile(r"^The (model failed to load|model's predict failed|model's outputs [\w ]+): (?=\S)")
_TRACEBACK = "Traceback (most recent call last)"


def hint(text: str) -> str | None:
    """What mends the error that this traceback tells of, where that is known."""
    tail = text[-20_000:]
    for pattern, advice in _HINTS:
        if found := re.search(pattern, tail):
            groups = [group for group in found.groups() if group]
            return advice(*groups) if callable(advice) else advice.format(*groups)
    return None


def headline(text: str) -> str:
    """The line that matters most: the error that ends the last traceback, or the first line that says anything."""
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    if not lines:
        return ""
    starts = [index for index, line in enumerate(lines) if _TRACEBACK in line]
    for line in lines[starts[-1] + 1 :] if starts else ():
        if re.match(r"[A-Za-z_][\w.]*(: |$)", line):
            return line
    return _PREAMBLE.sub("", lines[0].strip())
