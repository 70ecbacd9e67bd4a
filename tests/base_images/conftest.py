"""The local parent's recipe is no package: its programs lie beside each other, in the repo and in the image."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "base_images" / "local"))
