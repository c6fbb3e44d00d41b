"""Uploads through HTTP: whole and in chunks, of data sets and models, and everything a sender may get wrong."""

import hashlib
import io
import socket
import threading
from datetime import timedelta

import httpx
import pytest

from llmops_resources.catalog.uploads import sessions
from llmops_resources.database import Actor
from llmops_resources.platform import Platform
from tests.api.conftest import serving
from tests.api.sending import Sender, created, digest
from tests.model_files import model_files

CSV = b"question,answer\n" + b"".join(b"What is %d?,It is %d.\n" % (n, n) for n in range(200))
STRANGE_NAMES = ["../../etc/passwd.csv", "a\x00b.csv", "evil\u202evsc.csv", "a\\b.csv", "..", "", "x" * 300 + ".csv"]


def _left(platform: Platform) -> list[str]:
    return [entry.key for prefix in ("datasets", "models", "staging") for entry in platform.blobs.list(prefix)]


def test_a_model_uploaded_in_one_request_is_stored_under_its_prefix_with_a_checksum_of_every_file(
    api: httpx.Client, platform: Platform
) -> None:
    path, files = created(api, "models"), model_files()
    answer = api.post(f"{path}/upload", files=[("files", item) for item in files.items()])
    assert answer.status_code == 200, answer.text
    stored = answer.json()["data"]
    assert stored["storageUri"].endswith(f"/models/{stored['id']}/1/")
    assert {file["path"]: file["sha256"] for file in stored["files"]} == {
        name: hashlib.sha256(content).hexdigest() for name, content in files.items()
    }
    evidence = api.get(f"{path}/evidence").json()["data"]
    assert [(found["kind"], found["passed"]) for found in evidence] == [("airlock", True)]
    again = api.post(f"{path}/upload", files=[("files", item) for item in files.items()])
    assert again.json()["data"]["digest"] == stored["digest"]
    assert len(api.get(f"{path}/evidence").json()["data"]) == 1
    assert not [key for key in _left(platform) if key.startswith("staging/")]


def test_a_model_that_the_airlock_refuses_leaves_nothing_and_every_reason_is_listed(
    api: httpx.Client, platform: Platform
) -> None:
    path, files = created(api, "models"), model_files()
    del files["tokenizer.json"]
    files["model.safetensors"] = files["model.safetensors"][:-100]
    answer = api.post(f"{path}/upload", files=[("files", item) for item in files.items()])
    assert answer.status_code == 422
    problems = {problem["path"] for problem in answer.json()["data"]["errors"]}
    assert {"tokenizer.json", "model.safetensors"} <= problems
    assert _left(platform) == []
    assert api.get(path).json()["data"]["digest"] is None


@pytest.mark.parametrize("name", ["code.py", "weights.pkl", "model.gguf", "archive.zip", "deep/down/config.json"])
def test_a_file_that_no_model_has_is_refused_before_its_bytes_are_sent(api: httpx.Client, name: str) -> None:
    path = created(api, "models")
    begun = api.post(f"{path}/uploads", json={"files": [{"name": name, "size": 10}]})
    whole = api.post(f"{path}/upload", files={"files": (name, b"x" * 10)})
    for answer in (begun, whole):
        assert answer.status_code == 422, answer.text
        assert answer.json()["data"]["errors"][0]["remedy"]


@pytest.mark.parametrize("kind", ["datasets", "models"])
@pytest.mark.parametrize("name", STRANGE_NAMES)
def test_a_name_that_hides_something_is_refused_and_nothing_is_stored(
    api: httpx.Client, platform: Platform, kind: str, name: str
) -> None:
    path = created(api, kind)
    begun = api.post(f"{path}/uploads", json={"files": [{"name": name, "size": 10}]})
    assert begun.status_code == 422, begun.text
    escaped = name.encode().replace(b"\\", b"\\\\")
    head = b'--b\r\nContent-Disposition: form-data; name="files"; filename="%s"\r\n\r\n' % escaped
    form = head + b"x,y\n1,2\n\r\n--b--\r\n"
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    whole = api.post(f"{path}/upload", content=form, headers=headers)
    assert whole.status_code in {400, 415, 422}, whole.text
    assert _left(platform) == []


def test_a_name_beyond_the_basic_plane_is_fine_for_a_data_set(api: httpx.Client) -> None:
    sender = Sender(api, created(api, "datasets"), {"데이터 😀.csv": CSV})
    sender.send_all()
    assert sender.complete().json()["data"]["files"][0]["path"] == "part-0001.csv"


def test_a_data_set_in_chunks_is_invisible_until_complete_and_then_the_same_as_one_sent_whole(
    api: httpx.Client,
) -> None:
    path = created(api, "datasets", "chunked")
    sender = Sender(api, path, {"pairs.csv": CSV})
    assert sender.state["chunkSize"] == 16 * 1024**2
    while sender.offsets()[0] < len(CSV):
        assert sender.send(1, 1000).status_code == 200
        assert api.get(path).json()["data"]["digest"] is None
        assert api.get(f"{path}/preview").status_code == 409
    stored = sender.complete().json()["data"]
    whole = api.post(f"{created(api, 'datasets', 'whole')}/upload", files={"files": ("pairs.csv", CSV)})
    assert stored["digest"] == whole.json()["data"]["digest"]
    assert api.get(f"{path}/validation").json()["data"]["state"]["status"] == "queued"
    assert sender.complete().json()["data"]["digest"] == stored["digest"]
    actions = [entry["action"] for entry in api.get("/audit/logs").json()["data"]]
    assert {"dataset.upload.begin", "dataset.upload.complete", "dataset.upload"} <= set(actions)


def test_a_model_in_chunks_passes_the_same_airlock(api: httpx.Client, platform: Platform) -> None:
    sender = Sender(api, created(api, "models"), model_files(300_000))
    for number, content in enumerate(sender.files, start=1):
        while sender.offsets()[number - 1] < len(content):
            assert sender.send(number, 100_000).status_code == 200
    stored = sender.complete().json()["data"]
    assert {file["path"] for file in stored["files"]} == set(model_files())
    assert not [key for key in _left(platform) if key.startswith("staging/")]


def test_pickled_weights_are_kept_for_conversion_and_not_published(api: httpx.Client, platform: Platform) -> None:
    import torch

    sink = io.BytesIO()
    torch.save({"model.embed_tokens.weight": torch.zeros(64, 32)}, sink)
    files = model_files()
    del files["model.safetensors"]
    sender = Sender(api, path := created(api, "models"), files | {"pytorch_model.bin": sink.getvalue()})
    sender.send_all()
    answer = sender.complete()
    assert answer.status_code == 200, answer.text
    assert "converted" in answer.json()["message"]
    assert api.get(path).json()["data"]["digest"] is None
    assert any(key.endswith("/pytorch_model.bin") for key in _left(platform))


def test_a_wrong_offset_is_a_conflict_that_names_the_right_one(api: httpx.Client) -> None:
    sender = Sender(api, created(api, "datasets"), {"pairs.csv": CSV})
    assert sender.put(1, 0, CSV[:100]).status_code == 200
    for offset in (50, 101, 10**15):
        answer = sender.put(1, offset, CSV[100:200])
        assert answer.status_code == 409
        assert "offset 100" in answer.json()["data"]["remedy"]
    assert sender.offsets() == [100]


def test_the_same_chunk_again_is_harmless(api: httpx.Client, platform: Platform) -> None:
    sender = Sender(api, created(api, "datasets"), {"pairs.csv": CSV})
    for _ in range(3):
        assert sender.put(1, 0, CSV[:100]).json()["data"]["files"][0]["offset"] == 100
    assert len(_left(platform)) == 1


@pytest.mark.parametrize(
    "header", ["", "sha-256=:AAAA:", "md5=:1B2M2Y8AsgTpgAmY7PhCfg==:", "sha-256=abc", digest(b"other bytes")]
)
def test_a_missing_or_wrong_digest_is_refused_and_nothing_advances(
    api: httpx.Client, platform: Platform, header: str
) -> None:
    sender = Sender(api, created(api, "datasets"), {"pairs.csv": CSV})
    answer = sender.put(1, 0, CSV[:100], **{"Content-Digest": header})
    assert answer.status_code == 400
    assert sender.offsets() == [0]
    assert _left(platform) == []


def test_a_chunk_past_the_announced_end_and_an_empty_one_are_refused(api: httpx.Client, platform: Platform) -> None:
    sender = Sender(api, created(api, "datasets"), {"pairs.csv": CSV})
    assert sender.put(1, 0, CSV + b"more").status_code == 400
    assert sender.put(1, 0, b"").status_code == 400
    assert sender.put(2, 0, CSV).status_code == 404
    assert sender.offsets() == [0]
    assert _left(platform) == []


def test_of_many_writers_of_one_chunk_one_wins_and_the_others_conflict(api: httpx.Client, platform: Platform) -> None:
    sender = Sender(api, created(api, "datasets"), {"pairs.csv": CSV})
    contents = [bytes([65 + n]) * 1000 for n in range(6)]
    statuses: list[int] = []
    together = threading.Barrier(len(contents))

    def write(content: bytes) -> None:
        together.wait()
        statuses.append(sender.put(1, 0, content).status_code)

    writers = [threading.Thread(target=write, args=(content,)) for content in contents]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert sorted(statuses) == [200] + [409] * 5
    assert len(_left(platform)) == 1
    chunk = api.get(sender.path).json()["data"]["chunks"][0]
    assert chunk["sha256"] in {hashlib.sha256(content).hexdigest() for content in contents}


def test_completing_too_early_names_the_file_and_offset_that_are_missing(api: httpx.Client) -> None:
    sender = Sender(api, created(api, "datasets"), {"a.csv": CSV, "b.csv": CSV})
    sender.put(1, 0, CSV)
    answer = sender.complete()
    assert answer.status_code == 409
    assert "file 2 at offset 0" in answer.json()["data"]["remedy"]


def test_the_same_files_again_take_up_the_open_upload_and_others_begin_a_new_one(api: httpx.Client) -> None:
    path = created(api, "datasets")
    first = Sender(api, path, {"pairs.csv": CSV})
    first.put(1, 0, CSV[:500])
    again = Sender(api, path, {"pairs.csv": CSV})
    assert (again.path, again.offsets()) == (first.path, [500])
    assert again.state["chunks"][0]["sha256"] == hashlib.sha256(CSV[:500]).hexdigest()
    assert Sender(api, path, {"pairs.csv": CSV + b"x"}).path != first.path
    assert [upload["files"][0]["size"] for upload in api.get(f"{path}/uploads").json()["data"]] == [
        len(CSV) + 1,
        len(CSV),
    ]


def test_a_file_that_differs_from_its_announced_digest_is_refused_and_the_upload_ends(
    api: httpx.Client, platform: Platform
) -> None:
    path = created(api, "datasets")
    sender = Sender(api, path, {"pairs.csv": CSV}, sha256=hashlib.sha256(b"another").hexdigest())
    sender.send_all()
    assert sender.complete().status_code == 422
    assert api.get(sender.path).json()["data"]["status"] == "refused"
    assert _left(platform) == []


def test_content_that_the_checks_refuse_ends_the_upload_and_leaves_nothing(
    api: httpx.Client, platform: Platform
) -> None:
    path = created(api, "datasets")
    sender = Sender(api, path, {"pairs.csv": b"a,b\n1,2\n1,2,3\n"})
    sender.send_all()
    assert sender.complete().status_code == 422
    assert sender.complete().status_code == 409
    assert _left(platform) == []
    mended = Sender(api, path, {"pairs.csv": CSV})
    mended.send_all()
    assert mended.complete().status_code == 200


def test_bytes_that_the_machine_lost_are_asked_for_again(api: httpx.Client, platform: Platform) -> None:
    sender = Sender(api, created(api, "datasets"), {"pairs.csv": CSV})
    for _ in range(3):
        sender.send(1, 1000)
    sender.send_all()
    (whole,) = (platform.settings.home / "objects" / "staging").rglob("*.whole")
    with whole.open("r+b") as file:  # as a power cut may leave it
        file.seek(1500)
        file.write(bytes(100))
    with serving(platform) as started_again:
        lost = started_again.post(f"{sender.path}/complete")
    assert lost.status_code == 409
    assert "from byte 1,000" in lost.json()["message"]
    assert sender.offsets() == [1000]
    sender.send_all()
    stored = sender.complete().json()["data"]["files"]
    assert [file["sha256"] for file in stored] == [hashlib.sha256(CSV).hexdigest()]
    assert [entry.key.rsplit("/", 1)[-1] for entry in platform.blobs.list("staging")] == []


def test_a_cancelled_upload_is_gone_and_takes_nothing_more(api: httpx.Client, platform: Platform) -> None:
    sender = Sender(api, created(api, "datasets"), {"pairs.csv": CSV})
    sender.put(1, 0, CSV[:100])
    assert api.delete(sender.path).json()["data"]["status"] == "cancelled"
    assert sender.put(1, 100, CSV[100:]).status_code == 409
    assert sender.complete().status_code == 409
    assert _left(platform) == []


def test_an_abandoned_upload_is_ended_by_the_sweep_and_a_live_one_is_left_alone(
    api: httpx.Client, platform: Platform
) -> None:
    sender = Sender(api, created(api, "datasets"), {"pairs.csv": CSV})
    sender.put(1, 0, CSV[:100])
    system = Actor("system:sweep")
    with platform.transaction(system) as tx:
        assert sessions.abandon(tx, timedelta(hours=1)) == []
    with platform.transaction(system) as tx:
        assert [str(upload_id) for upload_id in sessions.abandon(tx, timedelta(seconds=-1))] == [sender.state["id"]]
    assert sender.put(1, 100, CSV[100:]).status_code == 409


def test_an_upload_of_another_version_or_kind_is_not_found(api: httpx.Client) -> None:
    sender = Sender(api, created(api, "datasets", "one"), {"pairs.csv": CSV})
    upload = sender.path.rpartition("/")[2]
    for other in (created(api, "datasets", "two"), sender.path.split("/uploads")[0].replace("datasets", "models")):
        assert api.get(f"{other}/uploads/{upload}").status_code == 404
        assert api.post(f"{other}/uploads/{upload}/complete").status_code == 404


def test_a_viewer_may_not_upload(api: httpx.Client) -> None:
    path, viewer = created(api, "models"), {"X-User-Id": "vera", "X-User-Roles": "viewer"}
    assert api.post(f"{path}/upload", files={"files": ("config.json", b"{}")}, headers=viewer).status_code == 403
    begin = {"files": [{"name": "config.json", "size": 2}]}
    assert api.post(f"{path}/uploads", json=begin, headers=viewer).status_code == 403


BAD_FORMS = {
    "no boundary": ("multipart/form-data", b"--b\r\n", 400),
    "a boundary of 71 characters": (f"multipart/form-data; boundary={'b' * 71}", b"", 400),
    "another type": ("application/json", b"{}", 415),
    "bytes that are no form": ("multipart/form-data; boundary=b", b"hello", 400),
    "no last boundary": (
        "multipart/form-data; boundary=b",
        b'--b\r\nContent-Disposition: form-data; name="files"; filename="a.csv"\r\n\r\n' + CSV,
        400,
    ),
    "no file name": (
        "multipart/form-data; boundary=b",
        b'--b\r\nContent-Disposition: form-data; name="files"\r\n\r\nx\r\n--b--\r\n',
        400,
    ),
    "another field": (
        "multipart/form-data; boundary=b",
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\nx\r\n--b--\r\n',
        400,
    ),
    "endless headers": ("multipart/form-data; boundary=b", b"--b\r\n" + b"X-A: 1\r\n" * 100_000, 400),
    "one endless header": ("multipart/form-data; boundary=b", b"--b\r\nX-A: " + b"1" * 1_000_000, 400),
    "a doubled header": (
        "multipart/form-data; boundary=b",
        b'--b\r\nContent-Disposition: form-data; name="files"; filename="a.csv"\r\n'
        b'Content-Disposition: form-data; name="files"; filename="b.csv"\r\n\r\nx\r\n--b--\r\n',
        400,
    ),
    "no parts": ("multipart/form-data; boundary=b", b"--b--\r\n", 400),
    "5,000 files": (
        "multipart/form-data; boundary=b",
        b'--b\r\nContent-Disposition: form-data; name="files"; filename="a.csv"\r\n\r\na\n1\n\r\n' * 5000,
        400,
    ),
}


@pytest.mark.parametrize("case", BAD_FORMS)
def test_an_abused_form_is_refused_in_words_and_leaves_nothing(
    api: httpx.Client, platform: Platform, case: str
) -> None:
    content_type, body, status = BAD_FORMS[case]
    answer = api.post(f"{created(api, 'datasets')}/upload", content=body, headers={"Content-Type": content_type})
    assert answer.status_code == status, answer.text
    assert answer.json()["data"]["remedy"]
    assert _left(platform) == []


def test_a_body_shorter_than_its_content_length_stores_nothing(api: httpx.Client, platform: Platform) -> None:
    sender = Sender(api, created(api, "datasets"), {"pairs.csv": CSV})
    with socket.create_connection((api.base_url.host, api.base_url.port or 80)) as connection:
        target = f"{api.base_url.path.rstrip('/')}{sender.path}/files/1?offset=0"
        head = (
            f"PUT {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(CSV)}\r\n"
            f"Content-Digest: {digest(CSV)}\r\n\r\n"
        )
        connection.sendall(head.encode() + CSV[:1000])
    assert sender.offsets() == [0]
    sender.send_all()
    assert sender.complete().status_code == 200
    assert not [key for key in _left(platform) if key.startswith("staging/")]


def test_a_body_that_stalls_is_ended_in_words_and_stores_nothing(platform: Platform) -> None:
    platform.settings.upload_stall_seconds = 0.5
    with serving(platform) as api:
        sender = Sender(api, created(api, "datasets"), {"pairs.csv": CSV})
        with socket.create_connection((api.base_url.host, api.base_url.port or 80)) as connection:
            target = f"{api.base_url.path.rstrip('/')}{sender.path}/files/1?offset=0"
            head = (
                f"PUT {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(CSV)}\r\n"
                f"Content-Digest: {digest(CSV)}\r\n\r\n"
            )
            connection.sendall(head.encode() + CSV[:1000])
            connection.settimeout(20)
            answer = b""
            while b"0.5 seconds" not in answer and (piece := connection.recv(4096)):
                answer += piece
        assert b" 400 " in answer.split(b"\r\n")[0]
        assert b"0.5 seconds" in answer
        assert sender.offsets() == [0]
    assert _left(platform) == []


def test_a_body_longer_than_its_content_length_is_cut_at_it(api: httpx.Client) -> None:
    sender = Sender(api, created(api, "datasets"), {"pairs.csv": CSV})
    with socket.create_connection((api.base_url.host, api.base_url.port or 80)) as connection:
        target = f"{api.base_url.path.rstrip('/')}{sender.path}/files/1?offset=0"
        head = (
            f"PUT {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n"
            f"Content-Digest: {digest(CSV)}\r\n\r\n"
        )
        connection.sendall(head.encode() + CSV)
        connection.settimeout(10)
        assert b" 400 " in connection.recv(4096)
    assert sender.offsets() == [0]


def test_more_than_the_limit_is_refused_by_what_is_announced_and_by_what_arrives(
    api: httpx.Client, platform: Platform
) -> None:
    platform.settings.max_upload_bytes = 1000
    path = created(api, "datasets")
    assert api.post(f"{path}/uploads", json={"files": [{"name": "a.csv", "size": 1001}]}).status_code == 413
    assert api.post(f"{path}/upload", files={"files": ("a.csv", CSV)}).status_code == 413
    assert _left(platform) == []
