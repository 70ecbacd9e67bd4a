"""What a model answered, in files for machines: JSON and msgpack, written answer by answer."""

from __future__ import annotations

import base64
import json
import math
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any

import msgpack

from mdai_build.report.document import FORMAT
from mdai_build.report.writing import writing
from mdai_build.scratch import temporary_folder

if TYPE_CHECKING:
    from mdai_build.documents.smoke import RequestDocument
    from mdai_build.smoke.request import SmokeRequest
    from mdai_build.smoke.result import Answer, Check

JSON_FILE, MSGPACK_FILE = "outputs.json", "outputs.msgpack"
_PART = ".part"
_SEPARATORS = (",", ":")


class OutputsWriter(AbstractContextManager["OutputsWriter"]):
    """Writes one document while answers come: to a folder as JSON and as msgpack, to a stream as JSON.

    Of several gigabytes of masks it never holds more than one answer. Files get their names, and the stream anything at
    all, once the document is complete.
    """

    def __init__(self, target: str, count: int, folder: Path | None, stream: IO[str] | None) -> None:
        """`count` requests are to come; `folder` and `stream` are where the document goes."""
        self._count = count
        self._folder = folder
        self._stream = stream
        self._written = 0
        self._file: IO[str] | None = None
        self._packed: IO[bytes] | None = None
        self._packer = msgpack.Packer(use_bin_type=True, autoreset=True)
        self._target = target

    def __enter__(self) -> OutputsWriter:
        if self._folder is not None:
            with writing(self._folder):
                self._folder.mkdir(parents=True, exist_ok=True)
                self._file = (self._folder / (JSON_FILE + _PART)).open("w+", encoding="utf-8")
                self._packed = (self._folder / (MSGPACK_FILE + _PART)).open("wb")
        elif self._stream is not None:
            self._file = tempfile.TemporaryFile("w+", encoding="utf-8", dir=temporary_folder())
        self._text(f'{{\n  "format": {FORMAT},\n  "target": {json.dumps(self._target)},\n  "requests": [')
        pack = self._packer.pack
        self._pack(self._packer.pack_map_header(3) + pack("format") + pack(FORMAT) + pack("target"))
        self._pack(pack(self._target) + pack("requests") + self._packer.pack_array_header(self._count))
        return self

    def write(self, request: SmokeRequest, answer: Answer | None, check: Check | None) -> None:
        """The next request's entry; None stands for an answer, or a check, that there is not."""
        entry = _entry(request, answer, check)
        outputs = answer.outputs if answer is not None else ()
        self._text(",\n" if self._written else "\n")
        head = json.dumps(entry, ensure_ascii=False, indent=2).replace("\n", "\n    ")
        # An output is a line: a mask is not taken apart number by number.
        self._text(f'    {head.removesuffix("}").rstrip()},\n      "outputs": [')
        for number, output in enumerate(outputs):
            self._text((",\n        " if number else "\n        ") + json_text(output))
        self._text(("\n      " if outputs else "") + "]\n    }")
        self._pack(self._packer.pack_map_header(len(entry) + 1))
        for name, value in (*entry.items(), ("outputs", list(outputs))):
            self._pack(self._packer.pack(name) + self._packer.pack(value))
        self._written += 1

    def finish(self, exit_code: int) -> tuple[Path, ...]:
        """Ends the document; the files that it is in."""
        if self._written != self._count:
            raise ValueError(f"{self._count} requests announced, {self._written} written")
        self._text(f'\n  ],\n  "exit_code": {exit_code}\n}}\n')
        if self._stream is not None and self._file is not None:
            self._file.seek(0)
            shutil.copyfileobj(self._file, self._stream)
        self._close()
        if self._folder is None:
            return ()
        paths = []
        for name in (JSON_FILE, MSGPACK_FILE):
            (self._folder / (name + _PART)).replace(self._folder / name)
            paths.append(self._folder / name)
        return tuple(paths)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()
        if self._folder is not None:
            for name in (JSON_FILE, MSGPACK_FILE):
                (self._folder / (name + _PART)).unlink(missing_ok=True)

    def _close(self) -> None:
        for file in (self._file, self._packed):
            if file is not None:
                file.close()

    def _text(self, text: str) -> None:
        if self._file is not None:
            self._file.write(text)

    def _pack(self, content: bytes) -> None:
        if self._packed is not None:
            self._packed.write(content)


def _entry(request: SmokeRequest, answer: Answer | None, check: Check | None) -> RequestDocument:
    return {
        "name": request.name,
        "scope": request.scope,
        "files": [
            {"name": file.name, "series_uid": file.series_uid, "instance_uid": file.instance_uid}
            for file in request.files
        ],
        "seconds": round(check.seconds, 4) if check else None,
        "valid": bool(answer and answer.valid),
        "message": check.message if check else "not sent",
        "problems": [problem.as_json() for problem in check.problems] if check else [],
    }


def json_text(value: Any) -> str:
    """A value from msgpack as strict JSON on one line: bytes as `{"base64": "…"}`, what is not finite as null."""
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=_SEPARATORS)
    except (TypeError, ValueError):
        return json.dumps(_plain(value), ensure_ascii=False, separators=_SEPARATORS)


def _plain(value: Any) -> Any:
    if isinstance(value, (bytes, bytearray)):
        return {"base64": base64.b64encode(value).decode("ascii")}
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return dict(_plain_items(value))
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    return value if isinstance(value, (str, int, bool)) or value is None else str(value)


def _plain_items(value: Mapping[Any, Any]) -> Iterator[tuple[str, Any]]:
    for key, entry in value.items():
        yield key if isinstance(key, str) else str(key), _plain(entry)
