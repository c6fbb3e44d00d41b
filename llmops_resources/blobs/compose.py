"""Putting objects of an S3 together on its own side: a multipart upload whose parts are copies of other objects.

See `UploadPartCopy` in the S3 API reference. The store's streaming client has no such call, so boto3 makes it. What a
process that dies in between leaves is an upload nobody can see; `abort_old` ends those.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property, partial
from itertools import count
from typing import Any, Final

from botocore.exceptions import ClientError

from llmops_resources.blobs.failures import store_errors

#: S3's own limits: every part but the last is at least so long, none is longer, and there are at most so many.
SMALLEST_PART: Final = 5 * 1024**2
LARGEST_PART: Final = 5 * 1024**3
MOST_PARTS: Final = 10_000
_AT_ONCE: Final = 8
_REFUSALS: Final = frozenset({"NotImplemented", "MethodNotAllowed", "AccessDenied", "AccessForbidden"})


class _RefusedError(Exception):
    """The store knows no such call, or does not let us make it."""


@contextmanager
def _unless_refused() -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") in _REFUSALS:
            raise _RefusedError from error
        raise


@dataclass(frozen=True)
class Composer:
    """Copies within one bucket; keys are relative to `prefix`, as those of `Objects` are."""

    bucket: str
    prefix: str
    endpoint: str | None
    access_key: str | None = field(repr=False)
    secret_key: str | None = field(repr=False)
    region: str

    @staticmethod
    def takes(sizes: Sequence[int]) -> bool:
        """Whether objects of these sizes in bytes can be the parts of one."""
        long_enough = all(size >= SMALLEST_PART for size in sizes[:-1])
        return 0 < len(sizes) <= MOST_PARTS and long_enough and all(0 < size <= LARGEST_PART for size in sizes)

    def compose(self, key: str, sources: Sequence[str]) -> bool:
        """Make the object `key` of the sources, one after another; it appears when it is whole.

        False when this store has no such copies, or does not allow them. Raises NotFound when a source is gone,
        Unavailable for whatever else the store says.
        """
        try:
            with store_errors(key), _unless_refused():
                self._compose(key, sources)
        except _RefusedError:
            return False
        return True

    def _compose(self, key: str, sources: Sequence[str]) -> None:
        where = {"Bucket": self.bucket, "Key": self._full(key)}
        if len(sources) == 1:
            self._client.copy_object(**where, CopySource={"Bucket": self.bucket, "Key": self._full(sources[0])})
            return
        upload = where | {"UploadId": self._client.create_multipart_upload(**where)["UploadId"]}
        try:
            with ThreadPoolExecutor(min(_AT_ONCE, len(sources))) as copiers:
                parts = list(copiers.map(partial(self._copy, upload), count(1), sources))
            self._client.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
        except BaseException:
            with suppress(Exception):  # what stays is for abort_old; the first failure is the one to tell
                self._client.abort_multipart_upload(**upload)
            raise

    def abort_old(self, prefix: str, before: datetime) -> int:
        """End the unfinished uploads below the prefix that began earlier; how many there were.

        None where listing them is not allowed: the bucket needs a lifecycle rule of its own then. Raises Unavailable.
        """
        ended = 0
        with suppress(_RefusedError), store_errors(prefix), _unless_refused():
            pages = self._client.get_paginator("list_multipart_uploads")
            for page in pages.paginate(Bucket=self.bucket, Prefix=self._full(prefix.strip("/") + "/")):
                for upload in page.get("Uploads", ()):
                    if upload["Initiated"] < before:
                        where = {"Bucket": self.bucket, "Key": upload["Key"], "UploadId": upload["UploadId"]}
                        self._client.abort_multipart_upload(**where)
                        ended += 1
        return ended

    def _copy(self, upload: dict[str, str], number: int, source: str) -> dict[str, Any]:
        place = {"Bucket": self.bucket, "Key": self._full(source)}
        done = self._client.upload_part_copy(**upload, PartNumber=number, CopySource=place)
        return {"PartNumber": number, "ETag": done["CopyPartResult"]["ETag"]}

    def _full(self, key: str) -> str:
        return f"{self.prefix}/{key}" if self.prefix else key

    @cached_property
    def _client(self) -> Any:
        from boto3.session import Session  # noqa: PLC0415  takes a moment, and most processes never compose
        from botocore.config import Config  # noqa: PLC0415

        return Session().client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name=self.region,
            config=Config(
                max_pool_connections=_AT_ONCE,
                connect_timeout=10,
                read_timeout=120,
                retries={"max_attempts": 4, "mode": "standard"},
                s3={"addressing_style": "path"} if self.endpoint else None,
            ),
        )
