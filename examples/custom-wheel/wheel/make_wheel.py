"""Packs triage_score/ as a wheel beside requirements.txt: `python make_wheel.py`. The same bytes every time.

A pure Python wheel is a zip of the package and of three text files about it (PEP 427), so the standard
library is all it takes; for anything bigger use `pip wheel` or `python -m build`.
"""

import base64
import hashlib
import os
import zipfile

HERE = os.path.dirname(os.path.abspath(__file__))
NAME, VERSION = "triage_score", "0.1.0"
WHEEL = os.path.join(os.path.dirname(HERE), ".mdai", f"{NAME}-{VERSION}-py3-none-any.whl")


def members():
    """The content of each file of the wheel, by its path."""
    with open(os.path.join(HERE, NAME, "__init__.py"), "rb") as file:
        contents = {f"{NAME}/__init__.py": file.read()}
    info = f"{NAME}-{VERSION}.dist-info"
    contents[f"{info}/METADATA"] = f"Metadata-Version: 2.1\nName: {NAME}\nVersion: {VERSION}\n".encode()
    contents[f"{info}/WHEEL"] = b"Wheel-Version: 1.0\nGenerator: make_wheel\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    record = "".join(f"{path},{digest(content)},{len(content)}\n" for path, content in contents.items())
    contents[f"{info}/RECORD"] = (record + f"{info}/RECORD,,\n").encode()
    return contents


def digest(content):
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


def make_wheel(path=WHEEL):
    with zipfile.ZipFile(path, "w") as wheel:
        for name, content in members().items():
            # A ZipInfo of its own carries a fixed date; the current one would change the bytes.
            wheel.writestr(zipfile.ZipInfo(name, date_time=(2020, 1, 1, 0, 0, 0)), content)


if __name__ == "__main__":
    make_wheel()
