"""`python -m mdai_build.cli` is the command `mdai-build`."""

from mdai_build.cli import main

main()
