"""Baseline: unpack, predict, pack in one process; a round for each line on stdin, its seconds as a line on stdout.

usage: server_bare.py PACKAGES FOLDER_OF_MDAI_DEPLOY BODY
"""

import sys
import time

packages, folder, body_path = sys.argv[1:]
sys.path[:0] = [packages, folder]

import mdai_deploy  # noqa: E402
import msgpack  # noqa: E402

with open(body_path, "rb") as file:  # noqa: PTH123
    body = file.read()
model = mdai_deploy.MDAIModel()
for _ in sys.stdin:
    started = time.perf_counter()
    outputs = model.predict(msgpack.unpackb(body))
    msgpack.packb(outputs)
    print(time.perf_counter() - started, flush=True)
    del outputs
