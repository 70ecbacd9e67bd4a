"""Check, build and test MD.ai model bundles: archive in, tested image out.

The rooms, in the order in which data passes through them: `bundle`, `config`, `requirements`, `parents`,
`plan`, `dockerfile`, `context`, `engine`, `smoke`, `report`; `cli` alone sees all of them. `runtime` is what
runs inside an image.
"""

__version__ = "0.1.0"
