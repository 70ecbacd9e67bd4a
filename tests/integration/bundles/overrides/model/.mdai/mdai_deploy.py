"""Asserts that the model sees the versions that it asked for."""

import fastapi
import msgpack
import numpy
import pydantic

assert msgpack.version == (1, 0, 8), msgpack.version
assert fastapi.__version__ == "0.68.0", fastapi.__version__
assert pydantic.VERSION == "1.8.2", pydantic.VERSION
assert numpy.__version__ == "1.26.4", numpy.__version__


class MDAIModel:
    def predict(self, data):
        return []
