#!/usr/bin/env python3
"""What the access log costs: CPU per request with it on and off, of the whole process, in one run.

Two instances of the release binary that differ in access_log.file alone get the same requests in turns, in many short blocks, so
that whatever else the machine does concerns both. CPU is what the kernel has counted for every thread of a process (schedstat, in
nanoseconds): user and kernel, the writer of the log included, which is given the time to write before a block ends.

    scripts/check_access_log_cost.py [--blocks 40] [--requests 4000] [--clients 8] [--most 6.0]

Exit 0 = at most that many per cent more, 1 = more, 77 = something that is needed is missing. PROXY_BINARY names another binary.
"""
import argparse
import asyncio
import multiprocessing
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 1024\r\n\r\n" + b"x" * 1024


class Origin(asyncio.Protocol):
    """Answers every head, of requests without content."""

    def connection_made(self, transport):
        self.transport, self.rest = transport, b""

    def data_received(self, data):
        heads = (self.rest + data).split(b"\r\n\r\n")
        self.rest = heads.pop()
        if heads:
            self.transport.write(ANSWER * len(heads))


class Client(asyncio.Protocol):
    """Sends so many requests on one connection, each when the one before is answered."""

    def __init__(self, request, count, done):
        self.request, self.left, self.done, self.got, self.want = request, count, done, b"", None

    def connection_made(self, transport):
        self.transport = transport
        transport.write(self.request)

    def data_received(self, data):
        self.got += data
        if self.want is None and (end := self.got.find(b"\r\n\r\n")) >= 0:
            assert self.got.startswith(b"HTTP/1.1 200"), self.got[:200]
            self.want = end + 4 + 1024
        if self.want is not None and len(self.got) >= self.want:
            self.got, self.want = b"", None
            self.left -= 1
            if self.left:
                self.transport.write(self.request)
            else:
                self.transport.close()
                self.done.set_result(None)

    def connection_lost(self, error):
        if not self.done.done():
            self.done.set_exception(error or ConnectionError("closed early"))


def serve(port):
    async def forever():
        server = await asyncio.get_running_loop().create_server(Origin, "127.0.0.1", 0)
        port.value = server.sockets[0].getsockname()[1]
        await server.serve_forever()

    asyncio.run(forever())


async def load(proxy, request, count, clients):
    loop = asyncio.get_running_loop()
    ends = [loop.create_future() for _ in range(clients)]
    for end in ends:
        await loop.create_connection(lambda end=end: Client(request, count // clients, end), "127.0.0.1", proxy)
    await asyncio.gather(*ends)


def cpu(pid):
    """Nanoseconds on a CPU, of all threads."""
    return sum(int((task / "schedstat").read_text().split()[0]) for task in pathlib.Path(f"/proc/{pid}/task").iterdir())


class Proxy:
    def __init__(self, binary, folder, log):
        folder.mkdir()
        (folder / "config.yml").write_text(
            'listen_addr: "127.0.0.1:0"\nlogging: { file: null }\nadmin: { listen_addr: null, socket_path: null }\n'
            f"access_log: {{ file: {log} }}\n"
        )
        self.child = subprocess.Popen([binary], cwd=folder, stderr=subprocess.PIPE, text=True, env={})
        for line in self.child.stderr:
            if found := re.search(r"listening addr=127\.0\.0\.1:(\d+)", line):
                self.port = int(found.group(1))
            if " ready " in line:
                break
        self.log = folder / "access.log"

    def block(self, request, count, clients):
        before = cpu(self.child.pid)
        asyncio.run(load(self.port, request, count, clients))
        # The writer lets lines gather for 50 ms.
        time.sleep(0.12)
        return (cpu(self.child.pid) - before) / count


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--blocks", type=int, default=40)
    arguments.add_argument("--requests", type=int, default=4000)
    arguments.add_argument("--clients", type=int, default=8)
    arguments.add_argument("--most", type=float, default=6.0)
    chosen = arguments.parse_args()
    binary = os.environ.get("PROXY_BINARY", str(pathlib.Path(__file__).parent.parent / "target/release/rust-forward-proxy"))
    if not pathlib.Path(binary).exists() or not pathlib.Path("/proc/self/schedstat").exists():
        print(f"skipped: {binary} or /proc/self/schedstat is missing (cargo build --release)")
        return 77
    port = multiprocessing.Value("i", 0)
    origin = multiprocessing.Process(target=serve, args=(port,), daemon=True)
    origin.start()
    while not port.value:
        time.sleep(0.01)
    request = (
        f"GET http://127.0.0.1:{port.value}/images/2024/06/a-photograph-of-a-lighthouse.jpeg?width=640 HTTP/1.1\r\n"
        f"Host: 127.0.0.1:{port.value}\r\nUser-Agent: a-browser/1.0 (of some length, as they are)\r\n"
        "Accept: text/html,application/xhtml+xml,*/*;q=0.8\r\nAccept-Language: en\r\nAccept-Encoding: gzip\r\n\r\n"
    ).encode()
    with tempfile.TemporaryDirectory() as folder:
        proxies = [Proxy(binary, pathlib.Path(folder) / name, log) for name, log in (("off", "null"), ("on", "access.log"))]
        try:
            for proxy in proxies:
                proxy.block(request, chosen.requests, chosen.clients)
            ratios, sums = [], [0.0, 0.0]
            for number in range(chosen.blocks):
                costs = [0.0, 0.0]
                for which in (0, 1) if number % 2 else (1, 0):
                    costs[which] = proxies[which].block(request, chosen.requests, chosen.clients)
                    sums[which] += costs[which]
                ratios.append(costs[1] / costs[0])
            lines = sum(1 for _ in proxies[1].log.open())
        finally:
            for proxy in proxies:
                proxy.child.terminate()
            for proxy in proxies:
                proxy.child.wait()
    expected = (chosen.blocks + 1) * (chosen.requests // chosen.clients) * chosen.clients
    if lines != expected:
        print(f"{lines} lines were written, {expected} were expected")
        return 1
    off, on = (total / chosen.blocks / 1000 for total in sums)
    more = 100 * (statistics.median(ratios) - 1)
    print(
        f"CPU per request: {off:.2f} us without the log, {on:.2f} us with it; "
        f"{more:+.1f} % (median of {chosen.blocks} pairs; means {100 * (on / off - 1):+.1f} %)"
    )
    return 0 if more <= chosen.most else 1


if __name__ == "__main__":
    sys.exit(main())
