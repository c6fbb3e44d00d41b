"""Settings of an S3 that cannot work are found out when its client is loaded, without asking the store."""

import pytest

from llmops_resources.blobs import open_blobs
from llmops_resources.errors import InvalidInput

KEYS = {"access_key": "key", "secret_key": "secret"}


@pytest.fixture(autouse=True)
def no_other_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither this machine's own keys nor its role."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")


def _load(**settings: str) -> None:
    composer = open_blobs("s3://bucket/prefix", **settings).composer
    assert composer is not None
    composer.load()


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({**KEYS, "endpoint": "minio:9000"}, "minio:9000"),
        ({**KEYS, "endpoint": "http://no host"}, "no host"),
        ({**KEYS, "region": "no region!"}, "no region!"),
        ({"access_key": "key"}, "SecretAccessKey"),
        ({"secret_key": "secret"}, "AccessKeyId"),
        ({}, "no credentials for s3://bucket"),
    ],
)
def test_settings_that_cannot_work_are_told_when_the_client_is_loaded(settings: dict[str, str], told: str) -> None:
    with pytest.raises(InvalidInput, match=told) as refused:
        _load(**settings)
    assert "AWS_" in refused.value.remedy


def test_a_profile_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(InvalidInput, match="nobody"):
        _load(**KEYS)


def test_a_store_that_is_down_is_no_reason_not_to_start() -> None:
    _load(**KEYS, endpoint="http://127.0.0.1:1")


def test_the_s3_of_the_cloud_needs_no_endpoint() -> None:
    _load(**KEYS)


def test_the_keys_of_a_role_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "of-the-role")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "of-the-role")
    _load()
