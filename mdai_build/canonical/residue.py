"""What a build leaves behind that is no part of what was built: locks, caches, logs, and what installers note down.

Nothing that runs reads these; each names a time or a place of one build.
"""

from __future__ import annotations

import csv
import io
import posixpath
import re

# As a whole, and below.
_FOLDERS = (
    *(
        "var/cache/apt/",
        "var/cache/debconf/",
        "var/cache/ldconfig/",
        "var/cache/uv/",
        "var/lib/apt/lists/",
        "var/log/apt/",
    ),
    *("root/.cache/", "root/.conda/", "opt/conda/pkgs/"),
)
_FILES = re.compile(
    r"opt/conda/(?:.*/)?conda-meta/history"  # when conda was called, and how
    r"|(?:.*/)?[^/]+\.dist-info/uv_cache\.json"  # the time of a wheel's file
    r"|tmp/uv-[0-9a-f]+\.lock|opt/mdai/packages/\.lock"
    r"|var/log/(?:dpkg|alternatives|bootstrap)\.log"
    r"|etc/(?:hostname|hosts|resolv\.conf)"  # mounted by the engine while a step runs
)
_UV_CACHE = "uv_cache.json"


def is_residue(path: str) -> bool:
    """Whether a path of an image is left over from its build."""
    return path.startswith(_FOLDERS) or _FILES.fullmatch(path) is not None


def normal_text(path: str, content: bytes) -> bytes:
    """The content of a package's RECORD without the lines of residue, and of compiled files without their digest."""
    try:
        rows = [row for row in csv.reader(io.StringIO(content.decode())) if row]
    except (UnicodeDecodeError, csv.Error):
        return content
    kept = [[row[0], "", ""] if row[0].endswith(".pyc") else row for row in rows]
    kept = [row for row in kept if posixpath.basename(row[0]) != _UV_CACHE]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(sorted(kept))
    return text.getvalue().encode()
