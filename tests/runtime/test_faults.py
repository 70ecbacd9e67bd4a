"""What strangers' code may do to its process, and what it costs: one answer that says what happened."""

from __future__ import annotations

import concurrent.futures
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

# Starts the real server: process death is what is tested.
pytestmark = pytest.mark.process

# 3.7 has its own ways to make memory files and to wait for children.
VERSIONS = pytest.mark.parametrize("version", ["3.7", "3.12"])

DEATHS = [
    ("os._exit(3)", "ended with exit code 3"),
    ("os.kill(os.getpid(), signal.SIGKILL)", "out of memory, perhaps"),
    ("os.kill(os.getpid(), signal.SIGTERM)", "ended by SIGTERM"),
    ("import ctypes; ctypes.string_at(0)", "segmentation fault in native code"),
    ("import ctypes; ctypes.string_at(0)", "mdai_deploy.py"),
    ("os.abort()", "SIGABRT"),
    ("os.closerange(0, 500)", "worker process"),
    ("os.closerange(3, 500)", "did model code close file descriptors?"),
    ("os.closerange(3, 500); self.files = [open('/dev/null', 'r+') for _ in range(50)]", "did model code close"),
]
FAILURES = [
    ("1 / 0", "ZeroDivisionError: division by zero"),
    ("raise KeyboardInterrupt", "KeyboardInterrupt"),
    ("raise GeneratorExit", "GeneratorExit"),
    ("raise type('Own', (BaseException,), {'__str__': lambda self: 1 / 0})()", "Own: <"),
    ("raise ValueError('x' * 10**7)", "The model's predict failed: ValueError: xxx"),
    ("def deeper(): return globals()['deeper']()\nglobals()['deeper'] = deeper; deeper()", "RecursionError"),
    ("outputs = None", "return outputs"),
    ("outputs[0]['note'] = object()", "outputs[0].note"),
    ("outputs = [outputs]", "outputs[0]: expected a dict"),
    ("loop = []; loop.append(loop); outputs[0]['explanations'] = loop", "outputs[0].explanations[0]"),
]


@VERSIONS
def test_a_worker_that_dies_costs_one_answer(version: str, serve: Any) -> None:
    server = serve(version=version).until_ready()
    for index, (do, said) in enumerate(DEATHS):
        response = server.post(do)
        assert response.status_code == 500, do
        assert said in response.text
        assert response.headers["mdai-failure"] == "worker"
        assert server.outputs(note=str(index))[0]["note"] == str(index)
    assert server.status()["worker_restarts"] == len(DEATHS)
    assert _zombies(server) == 0


@VERSIONS
def test_what_predict_raises_or_returns_costs_one_answer_and_no_restart(version: str, serve: Any) -> None:
    server = serve(version=version).until_ready()
    for do, said in FAILURES:
        response = server.post(do)
        assert response.status_code == 500, do
        assert said in response.text
        assert server.post().status_code == 200
    assert server.status()["worker_restarts"] == 0


def test_sys_exit_is_answered_and_then_obeyed(serve: Any) -> None:
    server = serve().until_ready()
    response = server.post("threading.Thread(target=time.sleep, args=(60,)).start(); sys.exit('enough')")
    assert response.status_code == 500
    assert "SystemExit: enough" in response.text
    assert server.post().status_code == 200
    assert server.status()["worker_restarts"] == 1


def test_a_forked_child_that_returns_does_not_answer_for_its_parent(serve: Any) -> None:
    server = serve().until_ready()
    for number in range(20):
        answer = server.outputs(
            "child = os.fork(); outputs[0]['note'] += ' child' if child == 0 else ''", note=str(number)
        )
        assert answer[0]["note"] == str(number)
    server.wait(lambda: _zombies(server) == 0)


SPEAKS = """
import json
frame = sys._getframe()
while "identity" not in frame.f_locals:
    frame = frame.f_back
message = {"event": "answer", "id": frame.f_locals["identity"], **json.loads(data["args"]["says"])}
path = "/dev/zero" if "zero" in message else "/proc/self/maps"
frame.f_locals["self"]._channel.send(message, os.open(path, os.O_RDONLY))
os._exit(1)
"""


@pytest.mark.parametrize(
    "says",
    [
        '{"step": "predict\\r\\nx-own: header"}',
        '{"step": 5}',
        '{"step": "predict", "peak_bytes": Infinity, "seconds": {"decode": NaN, "x": []}, "zero": 1}',
        '{"step": "done", "zero": 1}',
        '{"id": "another", "step": "done"}',
    ],
)
def test_a_model_that_speaks_in_the_workers_name_harms_itself_alone(says: str, serve: Any) -> None:
    server = serve().until_ready()
    response = server.post(SPEAKS, says=says)
    assert response.status_code == (200 if "done" in says and "another" not in says else 500)
    assert "x-own" not in response.headers
    server.wait(lambda: server.status()["worker_restarts"] == 1)
    assert server.outputs(note="mine")[0]["note"] == "mine"
    assert server.get("/metrics").status_code == 200


def test_processes_that_a_dead_worker_started_are_gone(serve: Any, tmp_path: Path) -> None:
    server = serve().until_ready()
    left = tmp_path / "left"
    spawn = (
        "import subprocess\n"
        "a = subprocess.Popen(['sleep', '600'])\n"
        "b = subprocess.Popen(['sh', '-c', 'sleep 600 & sleep 600'], start_new_session=True)\n"
        f"open({str(left)!r}, 'w').write('%d %d' % (a.pid, b.pid))\n"
        "time.sleep(0.2)\n"
        "os._exit(1)\n"
    )
    assert server.post(spawn).status_code == 500
    assert server.post().status_code == 200
    for pid in left.read_text().split():
        assert not Path(f"/proc/{pid}").exists()
    assert len(_children(server)) == 1


def test_orphans_of_a_living_worker_are_reaped(serve: Any) -> None:
    server = serve().until_ready()
    server.outputs("import subprocess; subprocess.run(['sh', '-c', '(sleep 0.1; true) & (sleep 0.1; true) &'])")
    server.wait(lambda: _children(server) == [server.status()["worker_pid"]])
    assert server.status()["worker_restarts"] == 0


@VERSIONS
def test_a_prediction_past_its_limit_is_stopped_and_says_where_it_was(version: str, serve: Any) -> None:
    server = serve(version=version, MDAI_PREDICT_TIMEOUT="0.5").until_ready()
    for do in ("while True: pass", "signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"):
        started = time.monotonic()
        response = server.post(do)
        assert time.monotonic() - started < 3
        assert response.status_code == 500
        assert "longer than 0.5 s (MDAI_PREDICT_TIMEOUT)" in response.text
        assert 'mdai_deploy.py", line 15 in predict' in response.text
    assert server.post("time.sleep(0.2)").status_code == 200


def test_those_who_wait_are_served_after_the_restart(serve: Any) -> None:
    server = serve().until_ready()
    with concurrent.futures.ThreadPoolExecutor(10) as pool:
        crash = pool.submit(server.post, "time.sleep(0.5); os._exit(1)")
        server.wait(lambda: server.status()["state"] == "busy")
        waiting = [pool.submit(server.outputs, note=str(number)) for number in range(8)]
        assert crash.result().status_code == 500
        assert [job.result()[0]["note"] for job in waiting] == [str(number) for number in range(8)]


def test_megabytes_of_print_reach_the_log_marked_and_nothing_waits(serve: Any) -> None:
    server = serve().until_ready()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        loud = pool.submit(
            server.post, "for i in range(60000): print('line', i, 'x' * 80)\nsys.stdout.write('y' * 10**6)"
        )
        while not loud.done():
            started = time.monotonic()
            assert server.get("/healthz").status_code == 200
            assert time.monotonic() - started < 1
        assert loud.result().status_code == 200
    server.wait_for_line("line 59999 ")
    lines = [line for line in server.log if " line " in line]
    assert len(lines) == 60000
    assert all(line.startswith("[model] line ") for line in lines)


def test_lines_are_in_the_log_as_they_are_printed(serve: Any) -> None:
    server = serve().until_ready()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        slow = pool.submit(server.post, "print('first \\ud800'); time.sleep(1); print('second', file=sys.stderr)")
        server.wait_for_line("[model] first \\ud800")
        assert not slow.done()
        assert slow.result().status_code == 200
    server.wait_for_line("[model] second")


# ---- loading ----

LOADING = [
    ("raise ValueError('no weights')", "ValueError: no weights"),
    ("def f(:", "SyntaxError"),
    ("import nonsense_of_ours", "No module named 'nonsense_of_ours'"),
    ("x = 1", "has no class MDAIModel"),
    ("class MDAIModel: pass", "no method predict"),
    ("class MDAIModel:\n    def __init__(self): import sys; sys.exit(3)", "SystemExit: 3"),
    ("class MDAIModel:\n    def __init__(self): import os; os._exit(3)", "ended with exit code 3"),
    ("class MDAIModel:\n    def __init__(self): import os; os.kill(os.getpid(), 9)", "out of memory, perhaps"),
    ("class MDAIModel:\n    def __init__(self): import ctypes; ctypes.string_at(0)", 'mdai_deploy.py", line 2'),
    ("import os; os.closerange(3, 500)\nclass MDAIModel:\n    predict = print", "close file descriptors?"),
]


@pytest.mark.parametrize(("model", "said"), LOADING)
def test_a_model_that_does_not_load_is_told_on_ready_and_not_tried_again(model: str, said: str, serve: Any) -> None:
    server = serve(model)
    server.wait(lambda: server.status()["state"] == "failed")
    ready = server.get("/ready")
    assert ready.status_code == 503
    assert said in ready.text
    response = server.post()
    assert response.status_code == 500
    assert said in response.text
    assert server.get("/healthz").status_code == 200
    status = server.status()
    assert said in status["reason"]
    assert status["worker_restarts"] == 0
    server.wait(lambda: server.status()["worker_pid"] is None)
    assert server.stop() == 0


def test_a_missing_entry_point_is_told(serve: Any) -> None:
    server = serve(MDAI_PATH=".other")
    server.wait(lambda: server.status()["state"] == "failed")
    assert "there is no file" in server.get("/ready").text


def test_a_model_that_loads_forever_is_given_up(serve: Any) -> None:
    server = serve("import time\ntime.sleep(60)", MDAI_LOAD_TIMEOUT="0.5")
    server.wait(lambda: server.status()["state"] == "failed")
    ready = server.get("/ready").text
    assert "0.5 s (MDAI_LOAD_TIMEOUT)" in ready
    assert 'mdai_deploy.py", line 2' in ready


def test_requests_before_the_model_is_loaded_wait_for_it(serve: Any) -> None:
    slow = "import time\ntime.sleep(1)\nclass MDAIModel:\n    def predict(self, data): return []"
    server = serve(slow)
    assert server.get("/healthz").status_code == 200
    assert server.get("/ready").status_code == 503
    assert server.post().content == b"\x90"


def test_a_worker_that_keeps_dying_between_requests_is_given_up(serve: Any) -> None:
    model = (
        "import os, threading\n"
        "class MDAIModel:\n"
        "    def __init__(self): threading.Timer(0.1, os._exit, (5,)).start()\n"
        "    def predict(self, data): return []\n"
    )
    server = serve(model)
    server.wait(lambda: server.status()["state"] == "failed")
    assert "3 times in a row" in server.get("/ready").text
    assert "exit code 5" in server.get("/ready").text
    assert server.status()["worker_restarts"] == 2


def test_sighup_loads_the_model_anew(serve: Any, tmp_path: Path) -> None:
    server = serve("raise ValueError('first')")
    server.wait(lambda: server.status()["state"] == "failed")
    deploy = tmp_path / "src" / "lib" / ".mdai" / "mdai_deploy.py"
    for note in ("second", "third"):
        deploy.write_text(
            "class MDAIModel:\n    def predict(self, data):\n"
            f"        return [{{'type': 'NONE', 'study_uid': '1', 'note': {note!r}}}]\n"
        )
        # Python tells sources apart by the second.
        os.utime(deploy, (time.time(), time.time() + len(note)))
        server.process.send_signal(signal.SIGHUP)
        server.wait(lambda note=note: server.post().status_code == 200 and server.outputs()[0]["note"] == note)


def test_sighup_does_not_wait_for_a_model_that_loads_forever(serve: Any, tmp_path: Path) -> None:
    server = serve("import time\nprint('loads')\ntime.sleep(600)")
    server.wait_for_line("loads")
    deploy = tmp_path / "src" / "lib" / ".mdai" / "mdai_deploy.py"
    deploy.write_text("class MDAIModel:\n    def predict(self, data): return []\n")
    server.process.send_signal(signal.SIGHUP)
    assert server.until_ready().post().content == b"\x90"
    assert not any("out of memory" in line for line in server.log)


def test_hostile_python_variables_reach_the_worker_alone(serve: Any, tmp_path: Path) -> None:
    (tmp_path / "shadow").mkdir()
    (tmp_path / "shadow" / "asyncio.py").write_text("raise SystemExit('shadowed')")
    (tmp_path / "shadow" / "msgpack.py").write_text("VERSION = 'of the model'")
    server = serve(PYTHONPATH=str(tmp_path / "shadow")).until_ready()
    assert server.outputs("import msgpack; outputs[0]['note'] = msgpack.VERSION")[0]["note"] == "of the model"


def test_a_worker_that_cannot_start_says_why(serve: Any) -> None:
    server = serve(PYTHONHOME="/nonsense")
    server.wait(lambda: server.status()["state"] == "failed")
    assert "encodings" in server.get("/ready").text


def test_a_worker_that_cannot_be_started_is_tried_again(serve: Any, tmp_path: Path) -> None:
    """Its interpreter is gone for a while, which fails as a lack of processes or open files would."""
    python = tmp_path / "python"
    server = serve(alias=python).until_ready()
    python.rename(tmp_path / "away")
    assert server.post("os._exit(1)").status_code == 500
    server.wait(lambda: "cannot be started" in server.get("/ready").text)
    (tmp_path / "away").rename(python)
    assert server.post().status_code == 200


def test_a_killed_server_takes_its_worker_along(serve: Any) -> None:
    server = serve().until_ready()
    worker = server.status()["worker_pid"]
    server.stop(signal.SIGKILL)
    server.wait(lambda: not Path(f"/proc/{worker}").exists() or _state(worker) == "Z")


def _children(server: Any) -> list[int]:
    pid = server.process.pid
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _zombies(server: Any) -> int:
    return sum(_state(child) == "Z" for child in _children(server))


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return ""
