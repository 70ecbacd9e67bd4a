"""Does what the request's argument `do` says, so that one image shows every kind of answer."""

import os
import time


class MDAIModel:
    def __init__(self):
        if os.environ.get("FAIL_TO_LOAD"):
            raise ValueError("told not to load")

    def predict(self, data):
        answer = {"type": "NONE", "study_uid": "1.2.3"}
        args = data.get("args") or {}
        do = args.get("do", "answer")
        if do == "echo":
            file = data["files"][0]
            kinds = [type(value).__name__ for value in (file["content"], file["content_type"], do)]
            answer["note"] = " ".join(kinds)
            explanation = {"name": "echo", "description": "", "content": file["content"], "content_type": "text/plain"}
            answer["explanations"] = [explanation]
        elif do == "raise":
            raise KeyError("told to raise")
        elif do == "forget the type":
            del answer["type"]
        elif do == "return a set":
            answer["note"] = {"not", "serialisable"}
        elif do == "sleep":
            time.sleep(float(args["seconds"]))
        elif do == "die":
            os._exit(9)
        return [answer]
