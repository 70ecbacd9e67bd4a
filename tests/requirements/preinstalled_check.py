"""Run by each Python's own interpreter, in an environment that holds the preinstalled packages and nothing else.

Imports every package, decodes compressed DICOM through pylibjpeg, and answers one request with FastAPI. Prints `ok`.
Standard library and Python 3.7 only, apart from the packages under test.
"""

import asyncio
import importlib
import pathlib
import sys
import warnings

IMPORTED_AS = {
    "exceptiongroup": "exceptiongroup",
    "importlib-metadata": "importlib_metadata",
    "protobuf": "google.protobuf.descriptor_pb2",
    "pylibjpeg-libjpeg": "libjpeg",
    "pylibjpeg-openjpeg": "openjpeg",
    "pylibjpeg-rle": "rle",
    "typing-extensions": "typing_extensions",
}
LOSSLESS = ("MR_small_RLE.dcm", "MR_small_jp2klossless.dcm", "MR_small_jpeg_ls_lossless.dcm")


def import_all(names):
    for name in names:
        importlib.import_module(IMPORTED_AS.get(name, name))


def decode_pixels():
    import numpy
    import pydicom
    from pydicom.pixel_data_handlers import pylibjpeg_handler

    # pylibjpeg alone: another handler that can decode must not hide that it cannot.
    pydicom.config.pixel_data_handlers = [pylibjpeg_handler]
    folder = pathlib.Path(pydicom.__file__).parent / "data" / "test_files"
    plain = pydicom.dcmread(str(folder / "MR_small.dcm"))
    expected = numpy.frombuffer(plain.PixelData, "<i2").reshape(plain.Rows, plain.Columns)
    for name in LOSSLESS:
        decoded = pydicom.dcmread(str(folder / name)).pixel_array
        assert (decoded == expected).all(), name
    picture = pydicom.dcmread(str(folder / "SC_rgb_jpeg_dcmtk.dcm")).pixel_array
    assert picture.shape == (100, 100, 3), picture.shape
    # Ten bars of equal height; lossy, so to a few grey values.
    assert abs(float(picture.mean()) - 127.9) < 1, picture.mean()


def answer_request():
    import fastapi
    import msgpack

    app = fastapi.FastAPI()

    @app.get("/double")
    def double(value: int):
        return {"value": 2 * value}

    sent = []

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http",
        "path": "/double", "root_path": "", "query_string": b"value=21", "headers": [],
        "client": None, "server": None,
    }  # fmt: skip
    asyncio.run(app(scope, receive, send))
    assert sent[0]["status"] == 200, sent
    assert sent[1]["body"] == b'{"value":42}', sent
    assert msgpack.unpackb(msgpack.packb({"content": b"\x00", "text": "é"})) == {"content": b"\x00", "text": "é"}


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    import_all(sys.argv[1:])
    decode_pixels()
    answer_request()
    print("ok")
