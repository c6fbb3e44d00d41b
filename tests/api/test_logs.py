"""A log line is one line and one JSON object, whatever a stranger puts into what is logged."""

import json
import subprocess
import sys

HOSTILE = 'x\n{"level": "info", "event": "request", "status": 200}\r\n\x1b[2J\u2028\u202e"'
PROGRAM = """
import asyncio, logging, sys
from serving_api import logs
from serving_api.requests import RequestLog

hostile = sys.argv[1]

async def answer(scope, receive, send):
    await send({"type": "http.response.start", "status": 404, "headers": []})

async def nothing(*_arguments):
    return {"type": "http.disconnect"}

logs.configure("info")
headers = [(b"x-request-id", hostile.encode())]
scope = {"type": "http", "method": "GET" + hostile, "path": "/" + hostile, "headers": headers}
asyncio.run(RequestLog(answer)(scope, nothing, nothing))
logging.getLogger("serving_api.chat.relay").warning("call failed: %s", hostile, extra={"reason": hostile})
try:
    raise ValueError(hostile)
except ValueError:
    logging.getLogger("serving_api").exception("unexpected error")
"""


def test_neither_a_path_nor_what_a_model_server_says_writes_lines_of_its_own() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM, HOSTILE], capture_output=True, text=True, check=True)
    lines = [json.loads(line) for line in done.stderr.split("\n") if line]
    request = next(line for line in lines if line["event"] == "request")
    warning, error = (line for line in lines if line is not request)

    assert (request["path"], request["status"], request["method"]) == (f"/{HOSTILE}", 404, "OTHER")
    assert request["request_id"].replace("-", "").isalnum()
    assert warning["event"] == f"call failed: {HOSTILE}"
    assert "ValueError" in error["exception"]
