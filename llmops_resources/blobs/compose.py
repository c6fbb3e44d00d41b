"""Multipart uploads of an S3, step by step: parts that are sent, or copied from other objects on the store's own side.

See `CreateMultipartUpload` and `UploadPartCopy` in the S3 API reference. The store's streaming client has no such
calls, so boto3 makes them. What a process that dies leaves is an upload nobody can see; `abort_old` ends those.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property, partial
from itertools import count
from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from llmops_resources.blobs.failures import store_errors
from llmops_resources.errors import InvalidInput

#: S3's own limits: every part but the last is at least so long, none is longer, and there are at most so many.
SMALLEST_PART: Final = 5 * 1024**2
LARGEST_PART: Final = 5 * 1024**3
MOST_PARTS: Final = 10_000
_AT_ONCE: Final = 8
_CONNECTIONS: Final = 32  # kept open, for uploads at once of one process
_REFUSALS: Final = frozenset({"NotImplemented", "MethodNotAllowed", "AccessDenied", "AccessForbidden"})


Part = dict[str, Any]  # PartNumber and ETag, as S3 wants them back


@dataclass(frozen=True)
class Unfinished:
    """A multipart upload under way: which object it will be, and the name S3 gave it."""

    key: str
    id: str


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


def not_to_be_opened(reason: str) -> InvalidInput:
    """The error of settings no client can be made of."""
    return InvalidInput(
        f"the object store cannot be opened: {reason}",
        remedy="Check OBJECT_STORE_ENDPOINT, AWS_REGION, AWS_PROFILE, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.",
    )


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

    def load(self) -> None:
        """Load the client of S3 (30 MB, a fifth of a second) and find out whether it can be made of the settings.

        The store is not asked: one that is down may come back. Raises InvalidInput.
        """
        try:
            credentials = self.access_key or self._session.get_credentials()
            _ = self._client
        except (BotoCoreError, ValueError) as error:
            raise not_to_be_opened(str(error)) from error
        if credentials is None:
            raise InvalidInput(
                f"there are no credentials for s3://{self.bucket}",
                remedy="Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give the machine or pod a role.",
            )

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
        if len(sources) == 1:
            self._client.copy_object(**self._where(key), CopySource=self._where(sources[0]))
            return
        upload = self._begin(key)
        try:
            with ThreadPoolExecutor(min(_AT_ONCE, len(sources))) as copiers:
                parts = list(copiers.map(partial(self._copy, upload), count(1), sources))
            self._finish(upload, parts)
        except BaseException:
            self.abort(upload)
            raise

    def begin(self, key: str) -> Unfinished:
        """Begin an upload of the object `key`, of which nothing is seen before `finish`. Raises Unavailable."""
        with store_errors(key):
            return self._begin(key)

    def send_part(self, upload: Unfinished, number: int, content: bytes | bytearray) -> Part:
        """Store the part of this number, from 1 on; S3 checks it against the digest sent along. Raises Unavailable."""
        with store_errors(upload.key):
            done = self._client.upload_part(**self._named(upload), PartNumber=number, Body=content)
        return {"PartNumber": number, "ETag": done["ETag"]}

    def finish(self, upload: Unfinished, parts: Sequence[Part]) -> None:
        """Make the object of its parts, in place of what was there. Raises Unavailable."""
        with store_errors(upload.key):
            self._finish(upload, parts)

    def abort(self, upload: Unfinished) -> None:
        """Drop the parts. Never raises: what stays when the store cannot be reached is for `abort_old`."""
        with suppress(Exception):
            self._client.abort_multipart_upload(**self._named(upload))

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

    def _begin(self, key: str) -> Unfinished:
        return Unfinished(key, self._client.create_multipart_upload(**self._where(key))["UploadId"])

    def _finish(self, upload: Unfinished, parts: Sequence[Part]) -> None:
        self._client.complete_multipart_upload(**self._named(upload), MultipartUpload={"Parts": list(parts)})

    def _copy(self, upload: Unfinished, number: int, source: str) -> Part:
        done = self._client.upload_part_copy(
            **self._named(upload), PartNumber=number, CopySource=self._where(source)
        )
        return {"PartNumber": number, "ETag": done["CopyPartResult"]["ETag"]}

    def _where(self, key: str) -> dict[str, str]:
        return {"Bucket": self.bucket, "Key": self._full(key)}

    def _named(self, upload: Unfinished) -> dict[str, str]:
        return self._where(upload.key) | {"UploadId": upload.id}

    def _full(self, key: str) -> str:
        return f"{self.prefix}/{key}" if self.prefix else key

    @cached_property
    def _session(self) -> Any:
        from boto3.session import Session  # noqa: PLC0415  takes a moment, and most processes never compose

        return Session()

    @cached_property
    def _client(self) -> Any:
        from botocore.config import Config  # noqa: PLC0415

        return self._session.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name=self.region,
            config=Config(
                max_pool_connections=_CONNECTIONS,
                connect_timeout=10,
                read_timeout=120,
                retries={"max_attempts": 4, "mode": "standard"},
                # the SHA-256 of a part is in its signature; CRC32 trailers are beyond many stores
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
                s3={"payload_signing_enabled": True} | ({"addressing_style": "path"} if self.endpoint else {}),
            ),
        )
