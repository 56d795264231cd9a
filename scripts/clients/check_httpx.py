"""httpx: blocking, asynchronous, and many at once; with TLS to the proxy, too."""

import asyncio
import os
import ssl
import sys

try:
    import httpx
except ImportError:
    print("httpx is not installed and could not be")
    sys.exit(77)

context = ssl.create_default_context(cafile=os.environ["CA"])
via, origins = os.environ["VIA"], os.environ["ORIGINS"].split()
via_tls = httpx.Proxy(os.environ["VIA_TLS"], ssl_context=context)
body = os.urandom(3_000_000)

for proxy in (via, via_tls):
    with httpx.Client(proxy=proxy, verify=context, trust_env=False, timeout=30) as client:
        for origin in origins:
            assert client.get(f"{origin}/hello").text == "hello\n"
            assert client.post(f"{origin}/echo", content=body).content == body


async def many(proxy):
    async with httpx.AsyncClient(proxy=proxy, verify=context, trust_env=False, timeout=30) as client:
        for origin in origins:
            answers = await asyncio.gather(*(client.get(f"{origin}/hello") for _ in range(50)))
            assert all(answer.text == "hello\n" for answer in answers)


for proxy in (via, via_tls):
    asyncio.run(many(proxy))
