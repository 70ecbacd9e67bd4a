"""Writes docs/errors.md from mdai_build/error_pages.toml."""

from __future__ import annotations

from pathlib import Path

from mdai_build.error_pages import PAGE, errors_page

if __name__ == "__main__":
    Path(__file__).resolve().parents[1].joinpath(PAGE).write_text(errors_page(), encoding="utf-8")
