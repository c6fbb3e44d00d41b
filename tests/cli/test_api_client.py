"""The client against a real HTTP server that answers what the platform would."""

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from llmops_cli.api import Api, Refused
from llmops_cli.references import find_version
from llmops_resources.errors import InvalidInput, Unavailable
from tests.loopback import listening

ENTRIES = [
    {"name": "helper-old", "version": "1"},
    {"name": "helper", "version": "2"},
    {"name": "helper", "version": "1"},
]


class Server(BaseHTTPRequestHandler):
    seen: list[dict[str, Any]] = []  # noqa: RUF012 - one list for the whole server is meant

    def log_message(self, *_arguments: object) -> None:
        """Silence."""

    def answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        if path.endswith("/catalog/models"):
            page = 1 if "cursor=second" in query else 0
            headers = {} if page else {"X_Next_Cursor": "second"}
            self.answer(200, envelope(ENTRIES[2:] if page else ENTRIES[:2]), **headers)
        elif path.endswith("/refused"):
            problem = {"path": "a.b", "problem": "is wrong", "remedy": "Make it right."}
            data = {"kind": "validation_failed", "remedy": "Correct it.", "errors": [problem]}
            self.answer(422, envelope(data, "fail", "one field is wrong. Correct it."))
        elif path.endswith("/headers"):
            self.answer(200, envelope(dict(self.headers)))
        else:
            self.answer(404, b"<html>not ours</html>")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path.endswith("/chat"):
            texts = ("Hel", "lo\u2028you")  # model servers escape neither that nor other ends of lines
            events = [{"choices": [{"delta": {"content": text}}]} for text in texts]
            stream = "".join(f"data: {json.dumps(event, ensure_ascii=False)}\n\n" for event in events)
            stream += {"dies": f"data: {DIED}\n\n", "ends": ""}.get(self.path.split("/")[-2], "data: [DONE]\n\n")
            self.answer(200, stream.encode(), Content_Type="text/event-stream")
        elif self.path.endswith("/busy/stream"):
            self.answer(503, envelope({"remedy": "Wait."}, "fail", "the route is not healthy. Wait."))
        else:
            self.answer(200, envelope({"bytes": len(body), "has": b"hello file" in body}))


DIED = json.dumps({"status": "fail", "message": "the model died. Ask again.", "data": {"remedy": "Ask again."}})


def envelope(data: Any, status: str = "success", message: str = "") -> bytes:
    return json.dumps({"status": status, "message": message, "data": data}).encode()


@pytest.fixture
def address() -> Iterator[str]:
    with listening(Server) as port:
        yield f"http://localhost:{port}"


def test_a_refusal_carries_the_message_once_the_remedy_and_the_wrong_fields(address: str) -> None:
    with Api(address) as api, pytest.raises(Refused) as caught:
        api.get("/refused")
    assert (caught.value.status, caught.value.message, caught.value.remedy) == (
        422,
        "one field is wrong.",
        "Correct it.",
    )
    assert caught.value.details[0]["path"] == "a.b"


def test_an_answer_that_is_not_of_the_platform_is_named_as_such(address: str) -> None:
    with Api(address) as api, pytest.raises(Refused, match="not of this platform"):
        api.get("/elsewhere")


def test_nobody_listening_is_unavailable_with_the_command_that_helps() -> None:
    with Api("http://localhost:9") as api, pytest.raises(Unavailable) as caught:
        api.get("/anything")
    assert "llmops up" in caught.value.remedy


def test_a_list_is_followed_over_its_pages_and_names_are_matched_exactly(address: str) -> None:
    with Api(address) as api:
        assert list(api.everything("/catalog/models")) == ENTRIES
        assert find_version(api, "models", "helper") == ENTRIES[1]
        assert find_version(api, "models", "helper", "1") == ENTRIES[2]
        assert find_version(api, "models", "help") is None


def test_the_user_and_roles_travel_as_headers_only_when_given(address: str) -> None:
    with Api(address, user="kim", roles="viewer,operator") as api:
        headers = {name.lower(): value for name, value in api.get("/headers").items()}
    assert (headers["x-user-id"], headers["x-user-roles"]) == ("kim", "viewer,operator")
    with Api(address) as api:
        assert "x-user-id" not in {name.lower() for name in api.get("/headers")}


def test_an_upload_counts_every_byte_of_the_files(address: str, tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_bytes(b"hello file" * 50_000)
    counted: list[int] = []
    with Api(address) as api:
        answer = api.upload("/catalog/datasets/1/upload", [file], counted.append)
    assert answer["has"]
    assert sum(counted) == 500_000
    assert len(counted) > 2  # in pieces, not at once


def test_a_file_that_is_not_there_is_told_before_anything_is_sent(address: str, tmp_path: Path) -> None:
    with Api(address) as api, pytest.raises(InvalidInput, match=r"missing\.csv"):
        api.upload("/catalog/datasets/1/upload", [tmp_path / "missing.csv"], lambda _count: None)


def test_a_stream_is_read_event_by_event_and_a_refused_one_is_refused(address: str) -> None:
    with Api(address) as api:
        events = list(api.stream("/serve/x/chat", {"messages": []}))
        assert [event["choices"][0]["delta"]["content"] for event in events] == ["Hel", "lo\u2028you"]
        with pytest.raises(Refused, match="not healthy") as caught:
            list(api.stream("/serve/busy/stream", {}))
    assert caught.value.remedy == "Wait."


@pytest.mark.parametrize(("route", "told"), [("dies", "the model died."), ("ends", "broke off before its end")])
def test_a_stream_that_fails_in_its_middle_is_no_answer(address: str, route: str, told: str) -> None:
    with Api(address) as api, pytest.raises(Refused, match=told) as caught:
        for event in api.stream(f"/serve/{route}/chat", {}):
            assert event["choices"]
    assert caught.value.remedy == "Ask again."
