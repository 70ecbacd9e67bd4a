"""The normal form of a built image: what it holds, without how and when it came about.

Two builds of the same parts hold the same files, and yet differ: in times, in what an image store writes for a file
that is gone, in folders that a step touched and left as they were, in compiled Python. The normal form has none of it.
"""

from __future__ import annotations

from mdai_build.canonical.archive import ImageArchive, open_archive
from mdai_build.canonical.difference import Difference, compare
from mdai_build.canonical.image import EPOCH, NormalImage, normalise

__all__ = ["EPOCH", "Difference", "ImageArchive", "NormalImage", "compare", "normalise", "open_archive"]
