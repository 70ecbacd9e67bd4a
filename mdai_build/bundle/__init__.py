"""A path in, a `Bundle` out: safe members, the model root, the `.mdai` files; then its bytes on disk and a digest.

`read_bundle` finds out what an archive or a folder holds without writing anything; `unpack_bundle` puts it into a
store; `check_entry_point` reads mdai_deploy.py without importing it.
"""

from mdai_build.bundle.entry_point import check_entry_point
from mdai_build.bundle.forget import Forgotten, Keep, forget_bundles
from mdai_build.bundle.layout import SMOKE_FILE, missing_file
from mdai_build.bundle.model import Bundle, Limits, Member, UnpackedBundle, UnpackedFile
from mdai_build.bundle.names import shown, slug
from mdai_build.bundle.own_code import OwnCode
from mdai_build.bundle.read import read_bundle
from mdai_build.bundle.unpack import unpack_bundle
from mdai_build.bundle.weights import WEIGHT_SUFFIXES, check_weights

__all__ = [
    "SMOKE_FILE",
    "WEIGHT_SUFFIXES",
    "Bundle",
    "Forgotten",
    "Keep",
    "Limits",
    "Member",
    "OwnCode",
    "UnpackedBundle",
    "UnpackedFile",
    "check_entry_point",
    "check_weights",
    "forget_bundles",
    "missing_file",
    "read_bundle",
    "shown",
    "slug",
    "unpack_bundle",
]
