"""Server-sent events: each must be here within 100 ms of when it was sent (one clock, one machine)."""

import http.client
import os
import ssl
import time
import urllib.parse

proxy = urllib.parse.urlsplit(os.environ["VIA"])
context = ssl.create_default_context(cafile=os.environ["CA"])
for origin in os.environ["ORIGINS"].split():
    target = urllib.parse.urlsplit(origin)
    if target.scheme == "http":
        connection = http.client.HTTPConnection(proxy.hostname, proxy.port, timeout=30)
        connection.request("GET", f"{origin}/events")
    else:
        connection = http.client.HTTPSConnection(proxy.hostname, proxy.port, timeout=30, context=context)
        connection.set_tunnel(target.hostname, target.port)
        connection.request("GET", "/events")
    events = 0
    for line in connection.getresponse():
        if line.startswith(b"data: "):
            late = time.monotonic() - float(line.removeprefix(b"data: "))
            assert late < 0.1, f"{origin}: event {events} came {late * 1000:.0f} ms late"
            events += 1
    assert events == 5, f"{origin}: {events} events of 5"
