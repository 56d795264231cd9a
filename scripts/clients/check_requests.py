"""requests: a session that keeps its connections."""

import os
import sys

try:
    import requests
except ImportError:
    print("requests is not installed and could not be")
    sys.exit(77)

session = requests.Session()
session.trust_env = False
session.proxies = {"http": os.environ["VIA"], "https": os.environ["VIA"]}
session.verify = os.environ["CA"]
body = os.urandom(3_000_000)
for origin in os.environ["ORIGINS"].split():
    for _ in range(3):
        assert session.get(f"{origin}/hello", timeout=30).text == "hello\n"
    assert session.post(f"{origin}/echo", data=body, timeout=30).content == body
    parts = (body[start : start + 10_000] for start in range(0, len(body), 10_000))
    assert session.post(f"{origin}/echo", data=parts, timeout=30).content == body
