"""The committed table of results, one section a benchmark."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

RESULTS = Path(__file__).resolve().parent / "results.md"


def write_section(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Puts a table under its own heading, in place of an earlier one, with the conditions that it was made in."""
    lines = (head, ["---"] * len(head), *rows)
    conditions = (
        f"{os.cpu_count()} cores; load average of the last minutes {os.getloadavg()[1]:.1f}, own share included.\n\n"
    )
    section = f"## {title}\n\n{conditions}" + "".join("| " + " | ".join(line) + " |\n" for line in lines)
    text = RESULTS.read_text(encoding="utf-8") if RESULTS.exists() else "# Results\n"
    earlier = re.compile(rf"^## {re.escape(title)}\n.*?(?=^## |\Z)", re.MULTILINE | re.DOTALL)
    RESULTS.write_text(earlier.sub("", text).rstrip() + "\n\n" + section, encoding="utf-8")
