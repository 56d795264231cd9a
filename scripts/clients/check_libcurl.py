"""libcurl through an HTTPS proxy, in HTTP/1.1 and in HTTP/2 (`curl --proxy-http2`): requests, tunnels, many on one connection.

By pycurl, whose wheels bring a libcurl of today: that of a distribution is often too old for HTTP/2 to a proxy (8.1).
"""

import io
import os
import sys

try:
    import pycurl
except ImportError:
    print("pycurl is not installed and could not be")
    sys.exit(77)

HTTPS, HTTPS2 = 2, 3  # CURLPROXY_HTTPS, CURLPROXY_HTTPS2

via, origins, authority = os.environ["VIA_TLS"], os.environ["ORIGINS"].split(), os.environ["CA"]
version = pycurl.version_info()
has_http2 = bool(version[4] & pycurl.VERSION_HTTP2) and tuple(map(int, version[1].split(".")[:2])) >= (8, 1)
if not has_http2:
    print(f"HTTP/1.1 only: libcurl {version[1]} does not speak HTTP/2 to proxies")
body = os.urandom(3_000_000)


def handle(url, kind):
    curl = pycurl.Curl()
    curl.received, curl.said = io.BytesIO(), []
    curl.setopt(pycurl.URL, url)
    curl.setopt(pycurl.PROXY, via)
    curl.setopt(pycurl.PROXYTYPE, kind)
    curl.setopt(pycurl.NOPROXY, "")
    curl.setopt(pycurl.PROXY_CAINFO, authority)
    curl.setopt(pycurl.CAINFO, authority)
    curl.setopt(pycurl.TIMEOUT, 60)
    curl.setopt(pycurl.WRITEDATA, curl.received)
    curl.setopt(pycurl.VERBOSE, True)
    curl.setopt(pycurl.DEBUGFUNCTION, lambda kind, text: curl.said.append(text) if kind == 0 else None)
    return curl


def expect(curl, content):
    assert curl.getinfo(pycurl.RESPONSE_CODE) == 200, curl.getinfo(pycurl.RESPONSE_CODE)
    assert curl.received.getvalue() == content, f"{len(curl.received.getvalue())} bytes came back"


def refused(url, kind):
    """What CONNECT is answered when it is refused, as libcurl tells it."""
    curl = handle(url, kind)
    try:
        curl.perform()
    except pycurl.error:
        return curl.getinfo(pycurl.HTTP_CONNECTCODE) or b"".join(curl.said).decode()
    raise AssertionError(f"{url} was reached")


for kind in [HTTPS, HTTPS2] if has_http2 else [HTTPS]:
    for origin in origins:
        curl = handle(f"{origin}/hello", kind)
        curl.perform()
        expect(curl, b"hello\n")
        said = b"".join(curl.said)
        assert (b"ALPN: server accepted h2" in said) == (kind == HTTPS2), said.decode()
        # And again on the same connection.
        curl.received.truncate(0)
        curl.received.seek(0)
        curl.perform()
        expect(curl, b"hello\n")
        curl.close()
        curl = handle(f"{origin}/echo", kind)
        curl.setopt(pycurl.POSTFIELDS, body)
        curl.perform()
        expect(curl, body)
        curl.close()
        # Without a length.
        curl = handle(f"{origin}/echo", kind)
        curl.setopt(pycurl.POST, True)
        curl.setopt(pycurl.HTTPHEADER, ["Transfer-Encoding: chunked", "Expect:"])
        curl.setopt(pycurl.READDATA, io.BytesIO(body))
        curl.perform()
        expect(curl, body)
        curl.close()
    why = refused("https://127.0.0.1:1/", kind)
    assert why == 502 or "CONNECT Response Status 502" in why, why

    multi = pycurl.CurlMulti()
    waiting = [handle(f"{origin}/hello", kind) for origin in origins for _ in range(25)]
    for curl in waiting:
        multi.add_handle(curl)
    running = len(waiting)
    while running:
        _, running = multi.perform()
        multi.select(1.0)
    for curl in waiting:
        expect(curl, b"hello\n")
        multi.remove_handle(curl)
        curl.close()
