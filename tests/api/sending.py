"""A sender of uploads in chunks, small enough to read, for tests that disturb it."""

import base64
import hashlib
from typing import Any

import httpx


def digest(content: bytes) -> str:
    """The value of Content-Digest."""
    return f"sha-256=:{base64.b64encode(hashlib.sha256(content).digest()).decode()}:"


class Sender:
    """One upload of some files; `path` is the entry's, such as /catalog/models/{id}."""

    def __init__(self, api: httpx.Client, path: str, files: dict[str, bytes], **extra: str) -> None:
        self.api, self.files = api, list(files.values())
        announced = [{"name": name, "size": len(content)} | extra for name, content in files.items()]
        self.begun = api.post(f"{path}/uploads", json={"files": announced})
        assert self.begun.status_code == 200, self.begun.text
        self.state = self.begun.json()["data"]
        self.path = f"{path}/uploads/{self.state['id']}"

    def put(self, file: int, offset: int, content: bytes, **headers: str) -> httpx.Response:
        """Send one chunk as it stands."""
        return self.api.put(
            f"{self.path}/files/{file}",
            params={"offset": offset},
            content=content,
            headers={"Content-Digest": digest(content), **headers},
        )

    def offsets(self) -> list[int]:
        """Where the files stand, as the server says."""
        return [file["offset"] for file in self.api.get(self.path).json()["data"]["files"]]

    def send(self, file: int, size: int) -> httpx.Response:
        """Send the next `size` bytes of a file."""
        offset = self.offsets()[file - 1]
        return self.put(file, offset, self.files[file - 1][offset : offset + size])

    def send_all(self) -> None:
        """Send what is missing of every file, each in one chunk."""
        for number, offset in enumerate(self.offsets(), start=1):
            if offset < len(self.files[number - 1]):
                answer = self.put(number, offset, self.files[number - 1][offset:])
                assert answer.status_code == 200, answer.text

    def complete(self) -> httpx.Response:
        """Ask for the files to be published."""
        return self.api.post(f"{self.path}/complete")


def created(api: httpx.Client, kind: str, name: str = "entry", **more: Any) -> str:
    """The path of a new entry; `kind` is datasets or models."""
    body = {"name": name, "version": "1", "ownerTeam": "tests", **more}
    if kind == "models":
        body["type"] = "base"
    answer = api.post(f"/catalog/{kind}", json=body)
    assert answer.status_code == 200, answer.text
    return f"/catalog/{kind}/{answer.json()['data']['id']}"
