"""httpx: blocking, asynchronous, and many at once."""

import asyncio
import os
import ssl
import sys

try:
    import httpx
except ImportError:
    print("httpx is not installed and could not be")
    sys.exit(77)

via, origins = os.environ["VIA"], os.environ["ORIGINS"].split()
context = ssl.create_default_context(cafile=os.environ["CA"])
body = os.urandom(3_000_000)

with httpx.Client(proxy=via, verify=context, trust_env=False, timeout=30) as client:
    for origin in origins:
        assert client.get(f"{origin}/hello").text == "hello\n"
        assert client.post(f"{origin}/echo", content=body).content == body


async def many():
    async with httpx.AsyncClient(proxy=via, verify=context, trust_env=False, timeout=30) as client:
        for origin in origins:
            answers = await asyncio.gather(*(client.get(f"{origin}/hello") for _ in range(50)))
            assert all(answer.text == "hello\n" for answer in answers)


asyncio.run(many())
