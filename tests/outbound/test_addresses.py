"""Which addresses are refused: at save by their spelling, at connect by where their name leads."""

import asyncio
import ipaddress
import threading
from collections.abc import Iterator

import aiohttp
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from llmops_resources import addresses, outbound
from llmops_resources.errors import PlatformError, UpstreamFailed, ValidationFailed
from tests.gateway.conftest import running_aiohttp

REFUSED = [
    # loopback, in every spelling a parser somewhere understands
    "https://127.0.0.1/", "https://127.1/", "https://2130706433/", "https://017700000001/", "https://0x7f000001/",
    "https://0177.0.0.1/", "https://0x7f.0.0.1/", "https://127.0.0.1./", "https://１２７.0.0.1/",
    "https://127。0。0。1/", "https://[::1]/", "https://[0:0:0:0:0:0:0:1]/", "https://[::ffff:127.0.0.1]/",
    "https://[::ffff:7f00:1]/", "https://[::127.0.0.1]/", "https://localhost/", "https://LOCALHOST./",
    "https://api.localhost/", "https://0.0.0.0/", "https://0/", "https://[::]/",
    # private networks, carrier networks, clouds' metadata
    "https://10.0.0.1/", "https://172.16.0.1/", "https://172.31.255.255/", "https://192.168.1.1/",
    "https://100.64.0.1/", "https://198.18.0.1/", "https://169.254.169.254/latest/meta-data", "https://2852039166/",
    "https://[fd00:ec2::254]/", "https://[fc00::1]/", "https://[fe80::1]/", "https://[fe80::1%25eth0]/",
    "https://[fec0::1]/", "https://[::ffff:10.0.0.1]/", "https://[64:ff9b::10.0.0.1]/", "https://[2002:a00:1::1]/",
    "https://[2001:0:a00:1::1]/", "https://224.0.0.1/", "https://[ff02::1]/", "https://240.0.0.1/",
    "https://255.255.255.255/", "https://metadata.google.internal/", "https://printer.local/", "https://ollama/",
    # what is no https address of a host
    "http://api.example.com/", "file:///etc/passwd", "ftp://example.com/", "gopher://example.com/", "//example.com/",
    "example.com", "", "https://", "https:///path", "https://user@example.com/", "https://a:b@example.com/",
    "https://example.com@127.0.0.1/", "https://example.com#@127.0.0.1/", "https://example.com\\@127.0.0.1/",
    "https://example.com /", "https://exa\nmple.com/", "https://example.com\t/", "https://example.com:22/",
    "https://example.com:80/", "https://example.com:99999/", "https://example.com:x/", "https://-.example.com/",
    "https://example.c_m-/", "https://exam%2fple.com/", "https://" + "a" * 64 + ".com/", "https://e.com/" + "a" * 2048,
]  # fmt: skip
ACCEPTED = [
    "https://api.openai.com/v1", "https://api.openai.com:443/v1", "https://models.example.com:8443/", "https://8.8.8.8/",
    "https://[2606:4700:4700::1111]/", "https://bücher.example/", "https://xn--bcher-kva.example/",
    "https://[64:ff9b::8.8.8.8]/", "https://hooks.example.com/a?token=b",
]  # fmt: skip


@pytest.mark.parametrize("url", REFUSED)
def test_an_address_that_is_not_public_https_is_refused_with_a_remedy(url: str) -> None:
    with pytest.raises(ValidationFailed) as refused:
        addresses.check_url(url, allowed_hosts=("ollama.example:11434",), path="provider.endpoint")
    (detail,) = refused.value.details
    assert detail["path"] == "provider.endpoint"
    assert detail["remedy"]


@pytest.mark.parametrize("url", REFUSED)
def test_the_session_refuses_what_the_check_refuses_even_when_nobody_checked(url: str) -> None:
    async def ask() -> None:
        async with outbound.open_session(allowed_hosts=(), total=2, lookup=lambda _host: ["127.0.0.1"]) as session:
            await session.get(url)

    with pytest.raises((UpstreamFailed, aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError)):  # the latter: unreadable
        asyncio.run(ask())


@pytest.mark.parametrize("url", ACCEPTED)
def test_a_public_https_address_is_accepted(url: str) -> None:
    addresses.check_url(url, allowed_hosts=())


@given(st.ip_addresses())
def test_a_public_address_is_never_private_loopback_link_local_multicast_or_reserved(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    if addresses.is_public(address):
        refusable = (address.is_loopback, address.is_link_local, address.is_multicast, address.is_unspecified)
        assert not any(refusable)
        carried = getattr(address, "ipv4_mapped", None) or getattr(address, "sixtofour", None)
        assert carried is None or addresses.is_public(carried)


@given(st.ip_addresses(v=4))
def test_an_address_carried_in_another_is_judged_as_itself(address: ipaddress.IPv4Address) -> None:
    number = int(address)
    carriers = (0xFFFF << 32 | number, 0x2002 << 112 | number << 80, 0x64FF9B << 96 | number)
    assert {addresses.is_public(ipaddress.IPv6Address(carrier)) for carrier in carriers} == {
        addresses.is_public(address)
    }


def test_an_allowed_host_may_be_private_and_unencrypted_at_its_port_only() -> None:
    allowed = ("Ollama.models.svc:11434", "127.0.0.1:9000", "[::1]:9000", "10.0.0.7")
    for url in (
        "http://ollama.models.svc:11434/v1", "http://127.0.0.1:9000/", "http://[::1]:9000/", "http://10.0.0.7:81/",
        "https://10.0.0.7/",
    ):  # fmt: skip
        addresses.check_url(url, allowed_hosts=allowed)
    for url in ("http://ollama.models.svc:80/", "http://127.0.0.1:9001/", "http://[::1]/", "http://10.0.0.8/"):
        with pytest.raises(ValidationFailed):
            addresses.check_url(url, allowed_hosts=allowed)


def test_even_an_allowed_host_is_not_where_clouds_keep_their_metadata() -> None:
    with pytest.raises(ValidationFailed):
        addresses.check_url("http://169.254.169.254/", allowed_hosts=("169.254.169.254",))
    with pytest.raises(UpstreamFailed):
        outbound.get(
            "http://ollama.svc/", allowed_hosts=("ollama.svc",), seconds=2, lookup=lambda _host: ["169.254.169.254"]
        )


class Listener:
    """A server on loopback that counts who came."""

    def __init__(self) -> None:
        self.port = 0
        self.visits = 0
        self.visited = threading.Event()

    async def answer(self, _request: web.Request) -> web.Response:
        self.visits += 1
        return web.json_response({"hello": "world"})


@pytest.fixture
def listener() -> Iterator[Listener]:
    server = Listener()

    def application() -> web.Application:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", server.answer)
        return app

    with running_aiohttp(application) as server.port:
        yield server


@pytest.mark.parametrize(
    "answer",
    [["127.0.0.1"], ["::1"], ["::ffff:127.0.0.1"], ["10.1.2.3"], ["169.254.169.254"], ["8.8.8.8", "127.0.0.1"]],
)
def test_a_public_name_that_leads_inside_is_refused_at_connect(listener: Listener, answer: list[str]) -> None:
    url = f"https://rebind.example:{listener.port}/"
    addresses.check_url(url, allowed_hosts=())
    with pytest.raises(UpstreamFailed, match="no public address"):
        outbound.post_json(url, {}, allowed_hosts=(), seconds=2, lookup=lambda _host: answer)
    assert listener.visits == 0


def test_a_name_that_does_not_exist_is_told_in_the_same_words_as_one_inside() -> None:
    def unknown(_host: str) -> list[str]:
        raise OSError("Name or service not known")

    with pytest.raises(UpstreamFailed, match="no public address"):
        outbound.get("https://nowhere.example/", allowed_hosts=(), seconds=2, lookup=unknown)


def test_a_name_whose_answer_changes_after_the_first_look_is_refused(listener: Listener) -> None:
    answers = iter([["192.88.99.1"], ["127.0.0.1"], ["127.0.0.1"]])
    url = f"https://rebind.example:{listener.port}/"
    for _ in range(3):
        with pytest.raises(PlatformError):
            outbound.get(url, allowed_hosts=(), seconds=0.3, lookup=lambda _host: next(answers))
    assert listener.visits == 0


def test_the_connection_goes_to_the_very_address_that_was_judged(listener: Listener) -> None:
    looks = 0

    def first_here_then_elsewhere(_host: str) -> list[str]:
        nonlocal looks
        looks += 1
        return ["127.0.0.1"] if looks == 1 else ["192.88.99.1"]

    host = f"ollama.svc:{listener.port}"
    reply = outbound.get(f"http://{host}/", allowed_hosts=(host,), seconds=5, lookup=first_here_then_elsewhere)
    assert (reply.status, reply.body, looks) == (200, b'{"hello": "world"}', 1)


def test_a_proxy_of_the_environment_is_not_used(listener: Listener, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{listener.port}")
    with pytest.raises(PlatformError):
        outbound.get("https://models.example/", allowed_hosts=(), seconds=0.3, lookup=lambda _host: ["192.88.99.1"])
    assert listener.visits == 0
