"""urllib of the standard library."""

import os
import ssl
import urllib.request

context = ssl.create_default_context(cafile=os.environ["CA"])
opener = urllib.request.build_opener(
    urllib.request.ProxyHandler({"http": os.environ["VIA"], "https": os.environ["VIA"]}),
    urllib.request.HTTPSHandler(context=context),
)
body = os.urandom(3_000_000)
for origin in os.environ["ORIGINS"].split():
    assert opener.open(f"{origin}/hello", timeout=30).read() == b"hello\n"
    assert opener.open(f"{origin}/echo", data=body, timeout=30).read() == body
    # An iterable without a length is sent in chunks.
    parts = (body[start : start + 10_000] for start in range(0, len(body), 10_000))
    assert opener.open(f"{origin}/echo", data=parts, timeout=30).read() == body
