"""The only door for HTTP to addresses that people give us: model providers, webhooks.

An address is looked at twice. `addresses.check_url` reads it when it is saved. The session of `open_session` reads it
again at each request and, for a name, lets aiohttp connect only to the addresses that it has itself looked up and found
public, so that a name whose answer changes between the two is refused as well. No redirect is followed, no proxy of
the environment is used, nothing is decompressed, and time and bytes are bounded.
"""

import asyncio
import contextlib
import ipaddress
import socket
import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from llmops_resources.addresses import Address, check_url, is_allowed, is_public, is_usable, problem
from llmops_resources.errors import PlatformError, Unavailable, UpstreamFailed, UpstreamTimeout
from llmops_resources.values import canonical_json

MAX_BYTES: Final = 1024**2
_MOVED: Final = frozenset({300, 301, 302, 303, 305, 307, 308})

#: Every address of a host name, as getaddrinfo spells them. Raises OSError.
Lookup: TypeAlias = Callable[[str], Collection[str]]


@dataclass(frozen=True)
class Reply:
    """An answer read whole: its status, its bytes (not decompressed), and the seconds it took.

    `retry_after`: the seconds after which it asks us to come back, up to a minute; None where it does not.
    """

    status: int
    body: bytes
    seconds: float
    retry_after: float | None = None


def open_session(
    *,
    allowed_hosts: Collection[str],
    connect: float = 5.0,
    silence: float = 120.0,
    total: float = 600.0,
    lookup: Lookup | None = None,
) -> aiohttp.ClientSession:
    """A session that reaches public addresses and the allowed hosts, and nothing else. Open it inside its event loop.

    `connect`, `silence` (between two reads) and `total` are seconds. A request raises UpstreamFailed for an address
    that `check_url` would refuse, for a name without a public address and for a redirect, and otherwise what aiohttp
    raises (see `meaning`). The caller bounds the bytes it reads.
    """
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(resolver=_Resolver(allowed_hosts, lookup or _look_up), limit=256),
        middlewares=(_guard(allowed_hosts),),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=total, sock_connect=connect, sock_read=silence, connect=total),
        headers={"Accept-Encoding": "identity", "User-Agent": "llmops"},
        auto_decompress=False,
        trust_env=False,
    )


def post_json(
    url: str,
    body: Any,
    *,
    allowed_hosts: Collection[str],
    headers: Mapping[str, str] | None = None,
    seconds: float = 10.0,
    max_bytes: int = MAX_BYTES,
    lookup: Lookup | None = None,
) -> Reply:
    """POST a JSON body and read the answer, whatever its status; for threads without an event loop.

    Raises ValidationFailed for a refused address, UpstreamFailed, UpstreamTimeout or Unavailable as `meaning` says,
    UpstreamFailed past `max_bytes`.
    """
    given = {"Content-Type": "application/json", **(headers or {})}
    content = canonical_json(body)
    return _call("POST", url, content, given, allowed_hosts, seconds, max_bytes, lookup)


def get(
    url: str,
    *,
    allowed_hosts: Collection[str],
    headers: Mapping[str, str] | None = None,
    seconds: float = 10.0,
    max_bytes: int = MAX_BYTES,
    lookup: Lookup | None = None,
) -> Reply:
    """GET an address and read the answer; raises as `post_json` does."""
    return _call("GET", url, None, dict(headers or {}), allowed_hosts, seconds, max_bytes, lookup)


def meaning(error: aiohttp.ClientError | TimeoutError, who: str = "the other side") -> PlatformError:
    """What a failed request means, in words that carry nothing of the answer or of the request's headers."""
    if isinstance(error, TimeoutError):
        return UpstreamTimeout(f"{who} did not answer in time", remedy="Try again; see whether it is busy or down.")
    if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientSSLError):
        return UpstreamFailed(
            f"{who} has no certificate that this machine trusts", remedy="Use an address with a valid certificate."
        )
    if isinstance(error, aiohttp.ClientConnectorError):
        return Unavailable(f"{who} cannot be reached", remedy="Check the address, and that it is up.")
    return UpstreamFailed(f"{who} broke off or did not speak HTTP", remedy="Try again; check the address.")


def _call(
    method: str,
    url: str,
    content: bytes | None,
    headers: dict[str, str],
    allowed_hosts: Collection[str],
    seconds: float,
    max_bytes: int,
    lookup: Lookup | None,
) -> Reply:
    check_url(url, allowed_hosts=allowed_hosts)

    async def call() -> Reply:
        session = open_session(allowed_hosts=allowed_hosts, silence=seconds, total=seconds, lookup=lookup)
        async with session, session.request(method, url, data=content, headers=headers) as response:
            body = await _bounded(response, max_bytes)
            given = response.headers.get("Retry-After", "")
            later = float(min(int(given), 60)) if given.isdecimal() and len(given) < 10 else None
            return Reply(response.status, body, time.monotonic() - started, later)

    started = time.monotonic()
    try:
        return asyncio.run(call())
    except (aiohttp.ClientError, TimeoutError) as error:
        raise meaning(error) from None  # the cause's text may hold what the other side sent


async def _bounded(response: aiohttp.ClientResponse, max_bytes: int) -> bytes:
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        response.close()
        raise UpstreamFailed("the answer is compressed, which was not asked for", remedy="Send it uncompressed.")
    parts, size = [], 0
    async for chunk in response.content.iter_any():
        size += len(chunk)
        if size > max_bytes:
            response.close()
            raise UpstreamFailed(f"the answer is larger than {max_bytes} bytes", remedy="Ask for less.")
        parts.append(chunk)
    return b"".join(parts)


def _guard(allowed_hosts: Collection[str]) -> aiohttp.ClientMiddlewareType:
    """Looks at every address about to be asked, literal addresses above all: those never reach the resolver."""

    async def guard(request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        if wrong := problem(request.url, allowed_hosts):
            raise UpstreamFailed(f"the address {wrong[0]}", remedy=wrong[1])
        response = await send(request)
        if response.status in _MOVED:
            response.close()
            raise UpstreamFailed("the address answers with a redirect", remedy="Give the address it leads to.")
        return response

    return guard


class _Resolver(AbstractResolver):
    """Looks names up and keeps back every answer that holds an address we would not connect to."""

    def __init__(self, allowed_hosts: Collection[str], lookup: Lookup) -> None:
        self._allowed_hosts = allowed_hosts
        self._lookup = lookup
        self._threads = ThreadPoolExecutor(8, "outbound-names")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The addresses of `host`, in every family. Raises UpstreamFailed without any, and when one is not public.

        Both have the same words: whether a name exists inside a private network is nobody's business outside.
        """
        _ = family
        addresses: list[Address] = []
        with contextlib.suppress(OSError):
            found = await asyncio.get_running_loop().run_in_executor(self._threads, self._lookup, host)
            addresses = [ipaddress.ip_address(text) for text in found]
        allowed = is_allowed(host.lower().rstrip("."), port, self._allowed_hosts)
        if not addresses or not all(is_usable(found) if allowed else is_public(found) for found in addresses):
            raise UpstreamFailed(
                "the host's name leads to no public address",
                remedy="Check the name; a private host must be named in OUTBOUND_ALLOWED_HOSTS by an operator.",
            )
        return [_result(host, port, address) for address in addresses]

    async def close(self) -> None:
        """Let go of the threads without waiting for a name server."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _result(host: str, port: int, address: Address) -> ResolveResult:
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    return {
        "hostname": host, "host": str(address), "port": port, "family": family, "proto": 0,
        "flags": socket.AI_NUMERICHOST,
    }  # fmt: skip


def _look_up(host: str) -> list[str]:
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))
