"""Baseline: a minimal FastAPI server that does everything in its event loop.

usage: server_event_loop.py PACKAGES FOLDER_OF_MDAI_DEPLOY PORT
"""

import sys

packages, folder, port = sys.argv[1:]
sys.path[:0] = [packages, folder]

import mdai_deploy  # noqa: E402
import msgpack  # noqa: E402
import uvicorn  # noqa: E402
from fastapi import FastAPI, Request, Response  # noqa: E402

app = FastAPI()
model = mdai_deploy.MDAIModel()


@app.get("/healthz")
@app.get("/ready")
async def healthz():
    return Response()


@app.post("/inference")
async def inference(request: Request):
    outputs = model.predict(msgpack.unpackb(await request.body()))
    return Response(msgpack.packb(outputs), media_type="application/msgpack")


uvicorn.run(app, host="127.0.0.1", port=int(port), log_level="warning", timeout_keep_alive=600)
