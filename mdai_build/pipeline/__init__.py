"""The jobs from end to end: each calls the rooms in their order. The command line is a thin layer above.

`check` needs no engine; `build` is the main job; `serve` tries and serves what was built, or a model in a local Python.
Rooms that `check` does not need are imported where they are used, so that it answers at once.
"""
