"""The only door to object storage: a local folder or any S3, through one interface.

An object becomes visible whole or not at all. A *version folder* (`datasets/{id}/{version}`) is published by writing
its `manifest.json` last, with create-only semantics: a folder without a manifest does not exist for readers. Uploads
are drafts first, in a staging folder or where nobody sees them, and a *claim* naming the content digest is taken before
files are put into place, so two racing uploads can never mix their bytes:

    with Draft(blobs, prefix) as draft:
        files = [draft.add(name, chunks, max_bytes=limit) for name, chunks in uploads]
        manifest = draft.publish(files)

Not covered: encryption at rest, and listing by anything but prefix.
"""

from llmops_resources.blobs.ahead import read_ahead
from llmops_resources.blobs.drafts import Draft
from llmops_resources.blobs.objects import Objects
from llmops_resources.blobs.opening import open_blobs
from llmops_resources.blobs.pieces import Gathered, Lost, Piece, Slot, slot, store
from llmops_resources.blobs.values import Manifest, StoredFile, StoredObject, check_key
from llmops_resources.blobs.versions import Blobs

__all__ = [
    "Blobs",
    "Draft",
    "Gathered",
    "Lost",
    "Manifest",
    "Objects",
    "Piece",
    "Slot",
    "StoredFile",
    "StoredObject",
    "check_key",
    "open_blobs",
    "read_ahead",
    "slot",
    "store",
]
