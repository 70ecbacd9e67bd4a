"""Weights that are no weights: what git or a failed download left in their place."""

from __future__ import annotations

from collections.abc import Iterator

from mdai_build.bundle.model import Bundle
from mdai_build.bundle.names import shown
from mdai_build.errors import Location, Problem

WEIGHT_SUFFIXES = (
    *(".h5", ".hdf5", ".keras", ".pth", ".pt", ".ckpt", ".onnx", ".npz", ".npy", ".pkl", ".pickle", ".joblib", ".pb"),
    *(".tflite", ".safetensors", ".bin", ".nii", ".nii.gz", ".params", ".pdparams", ".cbm", ".model", ".engine"),
)
"""Endings of files that frameworks keep weights in."""
_LONGEST_PAGE = 64 * 1024
_QUICK_BYTES = 64 * 1024**2
"""Up to this size an archive is read once more for what is in it."""
_POINTER = b"version https://git-lfs"
_PAGES = (b"<!doctype html", b"<html")


def check_weights(bundle: Bundle) -> Iterator[Problem]:
    """A warning for each file of weights that is empty, a pointer of Git LFS, or a web page."""
    weights = [member for member in bundle.members if member.path.lower().endswith(WEIGHT_SUFFIXES)]
    for member in weights:
        if member.size == 0:
            where = Location(shown(member.path))
            yield Problem("bundle.empty-weights", f"`{shown(member.path)}` is empty", where, "weights", _COPY)
    # A tar has no index: whatever is asked of it costs reading all of it.
    if bundle.kind == "tar.gz" and sum(member.size for member in bundle.members) > _QUICK_BYTES:
        return
    small = {bundle.source.contents[m.path]: m for m in weights if 0 < m.size <= _LONGEST_PAGE}
    if small:
        for number, reader in bundle.source.stream(small):
            member = small[number]
            where = Location(shown(member.path))
            start = reader.read(len(_POINTER))
            if start == _POINTER:
                yield Problem(
                    "bundle.lfs-pointer",
                    f"`{shown(member.path)}` holds no weights, but a pointer of Git LFS",
                    where,
                    "the file itself",
                    "run `git lfs pull` in the folder that it comes from, and pack it anew",
                )
            elif start.lower().startswith(_PAGES):
                yield Problem(
                    "bundle.lfs-pointer",
                    f"`{shown(member.path)}` holds no weights, but a web page: a download went wrong",
                    where,
                    "the file itself",
                    _COPY,
                )


_COPY = "copy or download it again, and pack the model anew"
