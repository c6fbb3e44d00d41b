"""The same tests against a local folder and against a server that speaks the S3 protocol."""

from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import boto3
import pytest
from moto.server import ThreadedMotoServer

from llmops_resources.blobs import Blobs, open_blobs


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    yield endpoint
    server.stop()


@pytest.fixture(scope="session")
def s3_bucket(s3_endpoint: str) -> str:
    client = boto3.client(
        "s3", endpoint_url=s3_endpoint, aws_access_key_id="test", aws_secret_access_key="test", region_name="us-east-1"
    )
    client.create_bucket(Bucket="llmops")
    return "llmops"


@pytest.fixture(params=["folder", "s3"])
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Blobs]:
    """Opens the same store again each time it is called."""
    if request.param == "folder":
        return lambda: open_blobs((tmp_path / "objects").as_uri())
    bucket, endpoint = request.getfixturevalue("s3_bucket"), request.getfixturevalue("s3_endpoint")
    prefix = uuid4().hex
    return lambda: open_blobs(
        f"s3://{bucket}/{prefix}", endpoint=endpoint, access_key="test", secret_key="test", region="us-east-1"
    )


@pytest.fixture
def blobs(open_store: Callable[[], Blobs]) -> Blobs:
    return open_store()
