"""`python -m mdai_build.cli` is the command `mdai-build`."""

from mdai_build.cli.main import main

main()
