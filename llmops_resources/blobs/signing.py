"""Links to single objects, good for a while and for whoever holds them: what a pod without credentials works with.

The protocol is S3's query string authentication:
https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final, Literal

import obstore
from obstore.store import S3Store

from llmops_resources.blobs.failures import store_errors
from llmops_resources.blobs.objects import Objects
from llmops_resources.blobs.values import check_key
from llmops_resources.errors import InvalidInput

LONGEST: Final = timedelta(days=7)  # what S3 allows


def sign(store: Objects, method: Literal["GET", "PUT"], keys: Sequence[str], lifetime: timedelta) -> list[str]:
    """A link for each key, good for `lifetime` but at most LONGEST; nothing is asked of the store.

    Raises InvalidInput for a store that is a folder.
    """
    if not isinstance(store.store, S3Store):
        raise InvalidInput(
            f"{store.base} is a folder of one machine, which pods elsewhere cannot reach",
            remedy="Set OBJECT_STORE_URL=s3://bucket/prefix.",
        )
    if not keys:
        return []
    with store_errors(keys[0]):
        return list(obstore.sign(store.store, method, [check_key(key) for key in keys], min(lifetime, LONGEST)))
