"""`make bench`: every benchmark, one after the other; the tables go to results.md."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent

for words in (
    ["command_line.py"],
    ["preflight.py"],
    ["install.py"],
    ["build.py"],
    ["bake.py"],
    ["bases.py"],
    ["develop.py"],
    ["server.py", "--python", "3.8"],
    ["server.py", "--python", "3.12"],
):
    subprocess.run([sys.executable, str(HERE / words[0]), *words[1:]], check=True)
