"""The shapes of all reports for machines: what `--json` prints, command by command.

mypy holds the code that makes a report to its shape here, and the published JSON schemas are made from the same
(`report/schemas.py`). Sizes are bytes, times are wall seconds; null stands for what is not known or does not apply.

Nothing but types is in here, so that no command waits for these modules: others import them for type checkers only.
"""
