"""Fixtures of an installation whose models lie in S3 and are served in a cluster."""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import boto3
import pytest
from moto.server import ThreadedMotoServer

from llmops_resources.settings import ServingBackend, Settings


@pytest.fixture(scope="module")
def store() -> Iterator[dict[str, Any]]:
    """Settings of an S3 that pods could read too."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint, keys = f"http://{host}:{port}", {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
    boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", **keys).create_bucket(Bucket="llmops")
    yield {"object_store_endpoint": endpoint, **keys}
    server.stop()


@pytest.fixture
def settings(settings: Settings, store: dict[str, Any]) -> Settings:
    return settings.model_copy(update={
        "serving_backend": ServingBackend.KUBERNETES, "use_gpu": False,
        "object_store_url": f"s3://llmops/{uuid4().hex}", **store})  # fmt: skip
