"""The jobs from end to end: each calls the rooms in their order. The command line is a thin layer above.

`check` needs no engine; `planning` says what a builder is asked for; `build` is the main job, `bake` the same for many
models; `serve` tries and serves what was built, or a model in a local Python; `ask` sends it a user's files; `develop`
tries it after each save; `pages` are about what these found.
Rooms that `check` does not need are imported where they are used, so that it answers at once.
"""
