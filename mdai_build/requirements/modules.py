"""Which package holds an imported module, and which imports of a model nothing in its requirements brings.

The two names differ for many packages, and an import that works on the author's machine is the commonest reason why a
model does not load elsewhere. Told is only what is sure: as soon as a requirement may bring more than is known here,
nothing is.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from types import MappingProxyType

from packaging.utils import canonicalize_name

from mdai_build.bundle import Bundle, OwnCode, shown
from mdai_build.bundle.layout import ENTRY_POINT
from mdai_build.errors import Location, Problem
from mdai_build.requirements.model import REQUIREMENTS_FILE, Requirements
from mdai_build.requirements.preinstalled import preinstalled

# Packages whose module is called otherwise. OpenCV's other package needs libraries of a desktop.
_OTHERWISE: Mapping[str, str] = MappingProxyType(
    {
        "Crypto": "pycryptodome",
        "PIL": "pillow",
        "absl": "absl-py",
        "attr": "attrs",
        "bs4": "beautifulsoup4",
        "cc3d": "connected-components-3d",
        "cv2": "opencv-python-headless",
        "dateutil": "python-dateutil",
        "dotenv": "python-dotenv",
        "fitz": "pymupdf",
        "gdcm": "python-gdcm",
        "google": "protobuf",
        "libjpeg": "pylibjpeg-libjpeg",
        "openjpeg": "pylibjpeg-openjpeg",
        "openslide": "openslide-python",
        "pkg_resources": "setuptools",
        "pywt": "pywavelets",
        "skimage": "scikit-image",
        "sklearn": "scikit-learn",
        "yaml": "pyyaml",
    }
)
# What these packages bring of the modules below, beside their own; of no other package is that known.
_BROUGHT: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        **dict.fromkeys(("h5py", "nibabel", "numpy", "pandas", "pillow", "pydicom", "pyyaml"), frozenset[str]()),
        **dict.fromkeys(("onnxruntime", "scipy", "simpleitk", "torch", "tqdm"), frozenset[str]()),
        **dict.fromkeys(("opencv-contrib-python", "opencv-python", "opencv-python-headless"), frozenset({"cv2"})),
        **dict.fromkeys(("joblib", "requests"), frozenset[str]()),
        "matplotlib": frozenset({"PIL"}),
        "monai": frozenset({"torch"}),
        "onnxruntime-gpu": frozenset({"onnxruntime"}),
        "scikit-image": frozenset({"PIL", "matplotlib", "scipy"}),
        "scikit-learn": frozenset({"joblib", "scipy"}),
        **dict.fromkeys(("tensorflow", "tensorflow-cpu"), frozenset({"h5py", "requests", "scipy", "tensorflow"})),
        "timm": frozenset({"torch", "torchvision", "yaml"}),
        "torchvision": frozenset({"PIL", "requests", "torch"}),
    }
)
MODULE_PACKAGES = frozenset({*_OTHERWISE.values(), *_BROUGHT})
"""The packages that are known here."""
# Modules of which it is known what brings them.
_TOLD = frozenset(
    {
        *("PIL", "SimpleITK", "cv2", "h5py", "joblib", "matplotlib", "monai", "nibabel", "onnxruntime", "pandas"),
        *("requests", "scipy", "skimage", "sklearn", "tensorflow", "timm", "torch", "torchvision", "tqdm", "yaml"),
    }
)
# Modules that come along with the packages above or with what is preinstalled, under names that do not say so.
_ALONG = frozenset(
    {
        *("absl", "astunparse", "certifi", "charset_normalizer", "coloredlogs", "contourpy", "cycler", "dateutil"),
        *("filelock", "flatbuffers", "fsspec", "functorch", "gast", "google", "huggingface_hub", "idna", "imageio"),
        *("jinja2", "keras", "kiwisolver", "lazy_loader", "libjpeg", "markdown", "markupsafe", "mpl_toolkits"),
        *("mpmath", "networkx", "openjpeg", "opt_einsum", "packaging", "pip", "pkg_resources", "pylab", "pyparsing"),
        *("pytz", "pywt", "rich", "rle", "safetensors", "setuptools", "six", "sympy", "tensorboard", "termcolor"),
        *("threadpoolctl", "tifffile", "torchgen", "triton", "typing_extensions", "tzdata", "urllib3", "wheel"),
        *("werkzeug", "wrapt", "yaml"),
    }
)


def package_of(module: str) -> str:
    """The name under which the package that holds this top-level module is installed."""
    return _OTHERWISE.get(module, module.replace("_", "-"))


def missing_imports(bundle: Bundle, requirements: Requirements, python: str | None) -> tuple[Problem, ...]:
    """A warning for each module that the model's code imports and that nothing installs.

    `python` is None where the parent image brings packages of its own: then nothing is known.
    """
    if python is None or not bundle.has(ENTRY_POINT):
        return ()
    names = [line.name for line in requirements.lines if line.applies]
    known = [canonicalize_name(name) for name in names if name is not None]
    if len(known) < len(names) or not _BROUGHT.keys() >= set(known):
        return ()
    there = {module for package in known for module in _BROUGHT[package]}
    there |= {module for module in _TOLD if canonicalize_name(package_of(module)) in known}
    installed = {*known, *(canonicalize_name(pin.name) for pin in preinstalled(python))}
    problems = []
    for module, (path, line, source) in _imports(bundle).items():
        where = Location(path, line, source.find(module) + 1 or None, source=source)
        if module in _TOLD and module not in there:
            problems.append(
                Problem(
                    "requirements.missing-import",
                    f"`{module}` is imported, and nothing in requirements.txt brings it",
                    where,
                    next_step=f"add a line `{package_of(module)}` to {REQUIREMENTS_FILE}, at the version that you "
                    f"trained with",
                )
            )
        elif module not in _TOLD | _ALONG and canonicalize_name(package_of(module)) not in installed:
            problems.append(
                Problem(
                    "requirements.missing-module",
                    f"`{module}` is imported; the bundle has no file of that name, and nothing in requirements.txt has",
                    where,
                    next_step=f"if it is code of your own, put it into the model's folder; if it is a package, add a "
                    f"line `{package_of(module)}` to {REQUIREMENTS_FILE}, at the version that you trained with",
                )
            )
    return tuple(problems)


def _imports(bundle: Bundle) -> dict[str, tuple[str, int, str]]:
    """The modules that the entry point and what it imports of the bundle import, and where each is first."""
    own = OwnCode(bundle)
    found: dict[str, tuple[str, int, str]] = {}
    for module in own.modules():
        lines = module.source.text.splitlines()
        for name, number in module.imports:
            if not own.has(name) and name not in sys.stdlib_module_names:
                source = lines[number - 1] if number <= len(lines) else ""
                found.setdefault(name, (module.source.file, number, shown(source)))
    return found
