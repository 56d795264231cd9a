"""A WebSocket echo with messages of a mebibyte: upgraded in absolute-form, and through CONNECT."""

import asyncio
import base64
import os
import socket
import ssl
import urllib.parse

proxy = urllib.parse.urlsplit(os.environ["VIA"])
context = ssl.create_default_context(cafile=os.environ["CA"])
message = os.urandom(1 << 20)


def masked(data):
    mask = os.urandom(4)
    full = (mask * (len(data) // 4 + 1))[: len(data)]
    mixed = int.from_bytes(data, "big") ^ int.from_bytes(full, "big")
    return bytes([0x82, 0x80 | 127]) + len(data).to_bytes(8, "big") + mask + mixed.to_bytes(len(data), "big")


def read_head(stream):
    lines = []
    while line := stream.readline().strip():
        lines.append(line)
    return lines


def by_hand(origin, tunnel):
    target = urllib.parse.urlsplit(origin)
    connection = socket.create_connection((proxy.hostname, proxy.port), timeout=30)
    path = f"{origin}/ws"
    if tunnel:
        connection.sendall(f"CONNECT {target.netloc} HTTP/1.1\r\nHost: {target.netloc}\r\n\r\n".encode())
        # Unbuffered: what follows the head belongs to TLS.
        assert b" 200 " in read_head(connection.makefile("rb", buffering=0))[0]
        path = "/ws"
    if target.scheme == "https":
        connection = context.wrap_socket(connection, server_hostname=target.hostname)
    key = base64.b64encode(os.urandom(16)).decode()
    connection.sendall(
        f"GET {path} HTTP/1.1\r\nHost: {target.netloc}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    stream = connection.makefile("rb")
    assert b" 101 " in read_head(stream)[0], f"{origin}: no upgrade"
    for _ in range(5):
        connection.sendall(masked(message))
        head = stream.read(10)
        assert head[:2] == b"\x82\x7f" and int.from_bytes(head[2:], "big") == len(message)
        assert stream.read(len(message)) == message, f"{origin}: the echo differs"
    connection.close()


async def by_library(websockets, origin):
    secure = {"ssl": context} if origin.startswith("https") else {}
    url = origin.replace("http", "ws", 1) + "/ws"
    async with websockets.connect(url, proxy=os.environ["VIA"], max_size=None, **secure) as connection:
        for _ in range(5):
            await connection.send(message)
            assert await connection.recv() == message, f"{origin}: the echo differs"


for origin in os.environ["ORIGINS"].split():
    if origin.startswith("http:"):
        by_hand(origin, tunnel=False)
    by_hand(origin, tunnel=True)

try:
    import websockets.asyncio.client as library
except ImportError:
    print("by hand only: the package websockets is not installed and could not be")
else:
    for origin in os.environ["ORIGINS"].split():
        asyncio.run(by_library(library, origin))
