"""Writes docs/schemas/*.json from the code; a test holds them to it."""

from __future__ import annotations

from pathlib import Path

from mdai_build.report.schemas import NAMES, schema_text

FOLDER = Path(__file__).resolve().parents[1] / "docs/schemas"


def main() -> None:
    """Writes every schema, and removes what is none any more."""
    FOLDER.mkdir(exist_ok=True)
    for file in FOLDER.glob("*.json"):
        file.unlink()
    for name in NAMES:
        (FOLDER / f"{name}.json").write_text(schema_text(name), encoding="utf-8")


if __name__ == "__main__":
    main()
