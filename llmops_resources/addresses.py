"""Addresses that people give us: which of them we would connect to. Pure; `outbound.py` connects.

OUTBOUND_ALLOWED_HOSTS names the private hosts that are meant, such as an Ollama in the cluster.
"""

import ipaddress
import re
from collections.abc import Collection, Iterator
from typing import Final, TypeAlias

from yarl import URL

from llmops_resources.errors import ValidationFailed, field_problem

MAX_URL: Final = 2048
_LABEL: Final = r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?"
_NAME: Final = re.compile(rf"(?=.{{1,253}}$){_LABEL}(\.{_LABEL})*")
_NUMBER: Final = re.compile(r"\d+|0x[0-9a-f]*")
_INWARD: Final = (".localhost", ".local", ".internal", ".home.arpa")
_GLOBAL_UNICAST: Final = ipaddress.IPv6Network("2000::/3")
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address


def check_url(url: str, *, allowed_hosts: Collection[str], path: str = "endpoint") -> None:
    """Refuse an address that we would not connect to. Looks nothing up: a name's addresses are judged at connect.

    `allowed_hosts` are `host` or `host:port`; `path` is the field the answer names. Raises ValidationFailed.
    """
    wrong = _unreadable(url) or problem(URL(url), allowed_hosts)
    if wrong is not None:
        what, remedy = wrong
        raise ValidationFailed("the address cannot be used", details=[field_problem(path, what, remedy)])


def is_public(address: Address) -> bool:
    """Whether an address is one of the public internet, also looking into addresses that carry another one."""
    if isinstance(address, ipaddress.IPv4Address):
        return address.is_global and not address.is_multicast
    carried = address.ipv4_mapped or address.sixtofour
    if address in _NAT64:
        carried = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    if carried is not None:
        return is_public(carried)
    return address.is_global and address in _GLOBAL_UNICAST


def _unreadable(url: str) -> tuple[str, str] | None:
    if len(url) > MAX_URL:
        return f"is longer than {MAX_URL} characters", "Give a shorter address."
    if any(character <= " " or character in "\\\x7f" for character in url):
        return "contains a space, a control character or a backslash", "Give one plain address."
    try:
        URL(url)
    except ValueError:
        return "cannot be read as an address", "Give an address such as https://api.example.com/v1."
    return None


def problem(url: URL, allowed_hosts: Collection[str]) -> tuple[str, str] | None:
    """What is wrong with an address, and what would be right; aiohttp connects by the same parsed value."""
    return next(((what, remedy) for wrong, what, remedy in _rules(url, allowed_hosts) if wrong), None)


def _rules(url: URL, allowed_hosts: Collection[str]) -> Iterator[tuple[bool, str, str]]:
    """Whether it is wrong, what is wrong, and the remedy, in the order of reading."""
    host, port = (url.raw_host or "").lower().rstrip("."), url.port or 0
    literal = _literal(host)
    named = literal is None
    ask = "Give an address such as https://api.example.com/v1."
    yield url.scheme not in {"https", "http"} or not host, "is not an https address", ask
    user = url.raw_user is not None or url.raw_password is not None
    yield user, "carries a user name or a password", "Leave them out; a key belongs into its own field."
    yield bool(url.raw_fragment), "ends in a fragment", "Leave out the # and what follows it."
    odd = not _NAME.fullmatch(host) or _NUMBER.fullmatch(host.rpartition(".")[2]) is not None
    yield named and odd, "spells its host in an odd way", "Write a host name, or a plain dotted IP address."
    inside = "leads into a private network"
    operator = "Use a public host, or let an operator name it in OUTBOUND_ALLOWED_HOSTS."
    if is_allowed(host, port, allowed_hosts):
        yield literal is not None and not is_usable(literal), inside, operator
        return
    yield literal is not None and not is_public(literal), inside, operator
    yield named and ("." not in host or host.endswith(_INWARD)), inside, operator
    yield url.scheme != "https", "is not encrypted", "Use https; an operator can allow http for a named host."
    yield port != 443 and port < 1024, f"uses port {port}, another service's", "Use port 443, or one above 1023."


def _literal(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def is_allowed(host: str, port: int, allowed_hosts: Collection[str]) -> bool:
    """Whether an operator named this host, or this port of it."""
    shown = f"[{host}]" if ":" in host else host
    names = {entry.strip().lower() for entry in allowed_hosts}
    return not names.isdisjoint({host, shown, f"{shown}:{port}"})


def is_usable(address: Address) -> bool:
    """What even an allowed host may not be: link-local, where clouds keep their metadata, and what is no host."""
    return not (address.is_link_local or address.is_multicast or address.is_unspecified)
