"""The failures of stores and disks, as errors of our tree."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError
from obstore.exceptions import BaseError, InvalidPathError
from obstore.exceptions import NotFoundError as ObstoreNotFound

from llmops_resources.errors import InvalidInput, NotFound, Unavailable


@contextmanager
def store_errors(key: str) -> Iterator[None]:
    """Turn what the store raises into our errors, and keep every other exception as it is."""
    try:
        yield
    except (FileNotFoundError, ObstoreNotFound):
        raise _not_found(key) from None
    except InvalidPathError as error:
        raise InvalidInput(f"{key!r} cannot be a name in the object store", remedy="Rename the file.") from error
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") in {"NoSuchKey", "404"}:
            raise _not_found(key) from None
        raise _unavailable(key, error) from error
    except (BaseError, BotoCoreError, OSError) as error:
        raise _unavailable(key, error) from error


def _not_found(key: str) -> NotFound:
    return NotFound(f"there is no object {key}", remedy="Check the name; it may have been deleted.")


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn a failing local disk into Unavailable."""
    try:
        yield
    except OSError as error:
        raise _unavailable(path.name, error) from error


def _unavailable(name: str, error: Exception) -> Unavailable:
    reason = str(error).partition("\n")[0]
    # 28 ENOSPC, 122 EDQUOT, 27 EFBIG: through obstore the number is only in the text
    full = any(f"os error {n})" in reason for n in (28, 122, 27)) or getattr(error, "errno", None) in {28, 122, 27}
    if full:
        return Unavailable(f"there is no room left to store {name}", remedy="Free disk space, then upload it again.")
    return Unavailable(
        f"the object store cannot be used: {reason[:300]}",
        remedy="Check OBJECT_STORE_URL, its credentials and that the store is up, then try again.",
    )
