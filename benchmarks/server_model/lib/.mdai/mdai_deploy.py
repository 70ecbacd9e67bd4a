"""A model for the server's benchmarks: as little work of its own as a mask of every slice needs."""

import ctypes
import os
import time

SIDE = 512
THRESHOLD = bytes(int(value > 127) for value in range(256))


class MDAIModel:
    def predict(self, data):
        what = data["args"].get("do", "masks")
        if what == "masks":
            return [self.segment(number, file["content"]) for number, file in enumerate(data["files"])]
        if what == "hold":
            # A PyDLL call keeps the GIL, as a long computation in C would.
            ctypes.PyDLL(None).usleep(int(float(data["args"]["seconds"]) * 1e6))
        elif what == "crash":
            ctypes.string_at(0)
        elif what == "exit":
            os._exit(3)
        elif what == "raise":
            raise ValueError("on purpose")
        elif what == "hang":
            time.sleep(3600)
        elif what == "numpy-like":
            return [{"type": "ANNOTATION", "study_uid": "1", "class_index": 1.0}]
        elif what == "close":
            os.closerange(3, 1000)
        return [{"type": "NONE", "study_uid": "1.2", "note": data["args"].get("note", "")}]

    def segment(self, number, content):
        pixels = content[-SIDE * SIDE :].translate(THRESHOLD)
        mask = [list(pixels[start : start + SIDE]) for start in range(0, SIDE * SIDE, SIDE)]
        return {
            "type": "ANNOTATION",
            "study_uid": "1.2",
            "series_uid": "1.2.3",
            "instance_uid": f"1.2.3.{number}",
            "class_index": 0,
            "data": {"mask": mask},
        }
