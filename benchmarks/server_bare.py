"""Baseline: unpack, predict, pack in one process; prints the seconds of each round as JSON.

usage: server_bare.py PACKAGES FOLDER_OF_MDAI_DEPLOY BODY ROUNDS
"""

import json
import sys
import time

packages, folder, body_path, rounds = sys.argv[1:]
sys.path[:0] = [packages, folder]

import mdai_deploy  # noqa: E402
import msgpack  # noqa: E402

with open(body_path, "rb") as file:  # noqa: PTH123
    body = file.read()
model = mdai_deploy.MDAIModel()
took = []
for _ in range(int(rounds) + 1):
    started = time.perf_counter()
    outputs = model.predict(msgpack.unpackb(body))
    msgpack.packb(outputs)
    took.append(time.perf_counter() - started)
    del outputs
print(json.dumps(took[1:]))
