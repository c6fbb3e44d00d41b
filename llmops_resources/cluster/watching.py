"""Following a kind of object: the list, then the stream of changes, over dropped connections and forgotten places."""

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Final

from llmops_resources.cluster.values import Change, ChangeKind, Object
from llmops_resources.errors import Unavailable

LONGEST_LINE: Final = 16 * 1024**2
PATIENCE: Final = 10  # failures in a row
PAUSE: Final = 0.2


class Gone(Exception):
    """The server has forgotten the version that we want to go on from."""


class Idle(Exception):
    """Nothing was said for a while."""


class Lines:
    """The lines of a response that may never end."""

    def __init__(self, response: Any) -> None:
        self._response = response

    def __iter__(self) -> Iterator[bytes]:
        """Lines without their end. Raises Idle at the read timeout; any other end of the connection is an end."""
        from urllib3.exceptions import HTTPError, ReadTimeoutError  # noqa: PLC0415

        rest = b""
        try:
            for chunk in self._response.stream(amt=None, decode_content=False):
                *whole, rest = (rest + chunk).split(b"\n")
                yield from whole
                if len(rest) > LONGEST_LINE:
                    return
        except ReadTimeoutError:
            raise Idle from None
        except (HTTPError, OSError):
            return

    def close(self) -> None:
        """Give the connection up."""
        self._response.close()


def follow(
    listing: Callable[[], tuple[list[Object], str]],
    stream: Callable[[str], Lines],
    sleep: Callable[[float], None],
) -> Iterator[Change | None]:
    """What `listing` gives, then what streams from its version say; see `Cluster.watch`."""
    known: dict[str, Object] = {}
    while True:
        found, version = listing()
        now = {thing["metadata"]["name"]: thing for thing in found}
        for name in [name for name in known if name not in now]:
            yield Change(ChangeKind.DELETED, known.pop(name))
        for thing in found:
            yield Change(ChangeKind.PRESENT, thing)
        known = now
        with suppress(Gone):
            for change in _changes(version, stream, sleep):
                if change is not None:
                    _remember(known, change.kind, change.object)
                yield change
        sleep(PAUSE)


def _changes(
    version: str, stream: Callable[[str], Lines], sleep: Callable[[float], None]
) -> Iterator[Change | None]:
    """Stream after stream, each from where the last one ended, until the server has forgotten that. Raises Gone."""
    failures = 0
    while True:
        try:
            for kind, thing in _events(stream(version)):
                version, failures = thing["metadata"]["resourceVersion"], 0
                if kind is not None:
                    yield Change(kind, thing)
            failures += 1  # the server ended the stream, as it does now and then
        except Idle:
            failures = 0
        except Unavailable:
            failures += 1
        if failures > PATIENCE:
            raise Unavailable("the Kubernetes API does not let itself be watched", remedy="Check the cluster.")
        sleep(PAUSE * failures)
        yield None


def _events(lines: Lines) -> Iterator[tuple[ChangeKind | None, Object]]:
    """Changes as the server tells them; None is a bookmark, which only says how far we are. Raises Gone."""
    try:
        for line in lines:
            try:
                event = json.loads(line)
                said, thing = event["type"], event["object"]
            except (ValueError, KeyError, TypeError):
                return  # half a line of a broken connection
            if said == "ERROR":
                if thing.get("code") == 410:
                    raise Gone(str(thing.get("message")))
                return
            yield (None if said == "BOOKMARK" else ChangeKind(said.lower())), thing
    finally:
        lines.close()


def _remember(known: dict[str, Object], kind: ChangeKind, thing: Object) -> None:
    name = thing["metadata"]["name"]
    if kind is ChangeKind.DELETED:
        known.pop(name, None)
    else:
        known[name] = thing
