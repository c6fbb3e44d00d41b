"""Opening the object store that the settings name."""

from datetime import timedelta
from pathlib import Path
from urllib.parse import unquote, urlsplit

from obstore.exceptions import BaseError
from obstore.store import LocalStore, S3Store

from llmops_resources.blobs.compose import Composer, not_to_be_opened
from llmops_resources.blobs.failures import disk_errors
from llmops_resources.blobs.values import check_key
from llmops_resources.blobs.versions import Blobs
from llmops_resources.errors import InvalidInput


def open_blobs(
    url: str,
    *,
    endpoint: str | None = None,
    access_key: str | None = None,
    secret_key: str | None = None,
    region: str | None = None,
) -> Blobs:
    """Open `file:///absolute/folder` (created if missing) or `s3://bucket/prefix`, the latter at `endpoint` if given.

    Without keys an S3 is asked with those of the machine's or the pod's role. Raises InvalidInput for another kind of
    address, Unavailable when the local folder cannot be made.
    """
    parts = urlsplit(url)
    path = unquote(parts.path)
    if parts.scheme == "file" and parts.netloc in {"", "localhost"} and path.startswith("/"):
        with disk_errors(Path(path)):
            Path(path).mkdir(parents=True, exist_ok=True)
        root = Path(path).resolve()
        return Blobs(LocalStore(root), f"file://{root}", root)
    if parts.scheme == "s3" and parts.netloc:
        prefix = check_key(path.strip("/")) if path.strip("/") else ""
        given = {"endpoint": endpoint, "access_key_id": access_key, "secret_access_key": secret_key}
        try:
            store = S3Store(
                parts.netloc,
                prefix=prefix or None,
                region=region or "us-east-1",
                client_options={"allow_http": bool(endpoint and endpoint.startswith("http://")), "timeout": "120s"},
                retry_config={"max_retries": 4, "retry_timeout": timedelta(seconds=30)},
                **{name: value for name, value in given.items() if value},  # type: ignore[arg-type]  # None is refused
            )
        except BaseError as error:
            raise not_to_be_opened(str(error).partition("\n")[0]) from error
        composer = Composer(parts.netloc, prefix, endpoint, access_key, secret_key, region or "us-east-1")
        return Blobs(store, f"s3://{parts.netloc}/{prefix}".rstrip("/"), composer=composer)
    raise InvalidInput(
        f"{url!r} is not an object store", remedy="Set OBJECT_STORE_URL to file:///folder or s3://bucket/prefix."
    )
