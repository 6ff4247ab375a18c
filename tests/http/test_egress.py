"""Calls to addresses that callers chose: which are refused, and the bounds of the others."""

import asyncio
import ipaddress

import pytest

from runstead.security.egress import Egress, EgressError, RefusedAddressError, check_url, is_public

from .pushed import Service

HOW = {"headers": {}, "total_s": 5.0, "answer_bytes_max": 1_000}
PRIVATE = [
    "127.0.0.1",
    "0.0.0.0",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "224.0.0.1",
    "255.255.255.255",
    "240.0.0.1",
    "::1",
    "::",
    "fe80::1",
    "fc00::1",
    "fec0::1",
    "ff02::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::127.0.0.1",
    "64:ff9b::7f00:1",
    "2002:7f00:1::",
    "2001:db8::1",
    "100.127.255.255",
    "168.63.129.16",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.1",
    "203.0.113.1",
    "255.255.255.254",
    "::168.63.129.16",
    "::ffff:168.63.129.16",
    "::ffff:0:127.0.0.1",
    "64:ff9b::a83f:8110",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:0:7f00:1::",
    "2001:2::1",
    "2001:10::1",
    "2002:a83f:8110::1",
    "2002:c058:6301::",
    "3fff::1",
    "3fff:fff::1",
    "5f00::1",
    "fd00:ec2::254",
    "fe80::a9fe:a9fe",
]


def leads_to(*addresses):
    """A resolver that records the names that it resolved."""
    asked = []

    async def resolve(host, port):
        asked.append((host, port))
        return list(addresses)

    resolve.asked = asked
    return resolve


@pytest.mark.parametrize("address", PRIVATE)
def test_a_private_address_is_recognized(address):
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "address",
    [
        "1.1.1.1",
        "93.184.216.34",
        "100.63.255.255",
        "100.128.0.1",
        "168.63.129.15",
        "168.63.129.17",
        "172.32.0.1",
        "192.0.1.1",
        "198.20.0.1",
        "223.255.255.255",
        "2606:4700::1111",
        "3fff:1000::1",
        "::ffff:1.1.1.1",
        "2002:101:101::",
        "64:ff9b::101:101",
    ],
)
def test_a_public_address_is_recognized(address):
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", PRIVATE)
async def test_a_literal_is_refused_before_any_connection(address):
    host = f"[{address}]" if ":" in address else address
    with pytest.raises(RefusedAddressError, match="RUNSTEAD_ALLOW_PRIVATE_EGRESS"):
        await Egress().send("GET", f"http://{host}/", **HOW)


@pytest.mark.parametrize(
    "host", ["2130706433", "0x7f000001", "0x7f.1", "127.1", "017700000001", "localhost", "a.localhost"]
)
def test_other_spellings_of_localhost_are_refused(host):
    with pytest.raises(RefusedAddressError):
        check_url(f"http://{host}/", allow_private=False)
    assert check_url(f"http://{host}/", allow_private=True)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://a.test/",
        "file:///etc/passwd",
        "//a.test",
        "",
        "http://",
        "https://u:p@a.test/",
        "http://u@a.test",
    ],
)
def test_malformed_urls_are_refused_even_if_private_addresses_are_allowed(url):
    with pytest.raises(RefusedAddressError) as refused:
        check_url(url, allow_private=True)
    assert "u:p" not in str(refused.value)


@pytest.mark.parametrize("address", PRIVATE)
async def test_a_name_that_resolves_to_a_private_address_is_refused(address):
    with pytest.raises(RefusedAddressError):
        await Egress(resolve=leads_to(address)).send("GET", "http://nice.test/", **HOW)


async def test_one_private_address_among_several_refuses_the_name():
    with pytest.raises(RefusedAddressError):
        await Egress(resolve=leads_to("1.1.1.1", "127.0.0.1")).send("GET", "http://nice.test/", **HOW)


async def test_the_connection_goes_to_the_address_that_was_looked_up_and_keeps_the_name():
    async with Service() as service:
        resolve = leads_to("127.0.0.1")
        egress = Egress(allow_private=True, resolve=resolve)
        url = f"http://nice.test:{service.port}/a%2Fb?c=d"
        answer = await egress.send("POST", url, **{**HOW, "headers": {"x-a": "1"}}, body=b"[1]")
        await egress.close()
        (request,) = service.requests
        assert resolve.asked == [("nice.test", service.port)]
        assert (request.method, request.path, request.raw) == ("POST", "/a%2Fb?c=d", b"[1]")
        assert request.headers["host"] == f"nice.test:{service.port}"
        assert request.headers["x-a"] == "1"
        assert (answer.status, answer.body) == (202, b'{"accepted": true, "duplicate": false}')


async def test_a_redirect_is_not_followed():
    async with Service() as other, Service([(307, {}, {"Location": f"{other.url}/x"})]) as service:
        egress = Egress(allow_private=True)
        answer = await egress.send("POST", service.url, **HOW)
        await egress.close()
        assert (answer.status, other.requests) == (307, [])


async def test_proxies_of_the_environment_are_not_used(monkeypatch):
    async with Service() as proxy, Service() as service:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        egress = Egress(allow_private=True)
        await egress.send("POST", service.url, **HOW)
        await egress.close()
        assert (len(proxy.requests), len(service.requests)) == (0, 1)


async def test_a_large_answer_is_cut_off():
    async def endless(_):
        return b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n" + b"x" * 5_000

    async with Service([endless]) as service:
        egress = Egress(allow_private=True)
        with pytest.raises(EgressError, match="larger than 1000 bytes"):
            await egress.send("GET", service.url, **HOW)
        await egress.close()


async def test_a_slow_answer_is_cut_off_after_the_total_timeout():
    async def hung(_):
        await asyncio.Event().wait()

    async with Service([hung]) as service:
        egress = Egress(allow_private=True)
        with pytest.raises(EgressError, match=r"within 0\.2 s"):
            await egress.send("GET", service.url, **{**HOW, "total_s": 0.2})
        await egress.close()


async def test_a_hanging_name_resolution_is_cut_off():
    async def forever(_host, _port):
        await asyncio.Event().wait()

    with pytest.raises(EgressError, match="no complete answer"):
        await Egress(resolve=forever).send("GET", "http://slow.test/", **{**HOW, "total_s": 0.1})


async def test_an_unknown_name_and_a_closed_port_are_reported():
    async def nothing(_host, _port):
        raise OSError

    with pytest.raises(EgressError, match="no connection"):
        await Egress(resolve=nothing).send("GET", "http://nowhere.test/", **HOW)
    async with Service() as service:
        port = service.port
    with pytest.raises(EgressError, match="no connection"):
        await Egress(allow_private=True).send("GET", f"http://127.0.0.1:{port}/", **HOW)


async def test_an_answer_that_is_not_http_is_reported_without_its_content():
    async with Service([b"220 secret.internal ESMTP\r\n\r\n"]) as service:
        egress = Egress(allow_private=True)
        with pytest.raises(EgressError, match="was not HTTP") as found:
            await egress.send("GET", service.url, **HOW)
        await egress.close()
        assert "secret" not in str(found.value)
