"""Sends a served model what it will meet, and checks every answer against the interface.

`plan` decides what to send, `samples` makes synthetic DICOM, `files` reads the user's own, `run` sends and measures,
`answers` holds an answer against what was sent. `gather` and `asked` are for what a user sends, `profile` for how fast
that is answered.
"""

from mdai_build.engine.target import Target, TargetState
from mdai_build.smoke.ask import ask
from mdai_build.smoke.failures import has_network, writes_refused
from mdai_build.smoke.plan import SmokePlan, make_smoke_plan
from mdai_build.smoke.request import Demand, Expectation, InputFile, Scope, SmokeRequest
from mdai_build.smoke.result import Answer, Check, SmokeResult
from mdai_build.smoke.run import run_smoke_test

__all__ = [
    "Answer",
    "Check",
    "Demand",
    "Expectation",
    "InputFile",
    "Scope",
    "SmokePlan",
    "SmokeRequest",
    "SmokeResult",
    "Target",
    "TargetState",
    "ask",
    "has_network",
    "make_smoke_plan",
    "run_smoke_test",
    "writes_refused",
]
