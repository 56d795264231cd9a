"""hyper-h2 speaking to the listener: requests, a hundred CONNECT streams on one connection, a WebSocket (RFC 8441), GOAWAY."""

import base64
import os
import socket
import ssl
import sys
import urllib.parse

try:
    import h2.config
    import h2.connection
    import h2.events
    import h2.settings
except ImportError:
    print("h2 is not installed and could not be")
    sys.exit(77)

via = urllib.parse.urlsplit(os.environ["VIA_TLS"])
plain, secure = (urllib.parse.urlsplit(origin) for origin in os.environ["ORIGINS"].split())
context = ssl.create_default_context(cafile=os.environ["CA"])
TUNNELS = 100


class Client:
    """One connection. What comes is kept by stream until somebody wants it."""

    def __init__(self):
        mine = ssl.create_default_context(cafile=os.environ["CA"])
        mine.set_alpn_protocols(["h2"])
        self.socket = mine.wrap_socket(
            socket.create_connection((via.hostname, via.port), timeout=30), server_hostname=via.hostname
        )
        assert self.socket.selected_alpn_protocol() == "h2"
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self.heads, self.bodies, self.ended, self.resets = {}, {}, set(), {}
        self.is_leaving = False
        self.h2.initiate_connection()
        self.flush()
        self.until(lambda: self.h2.remote_settings.enable_connect_protocol)

    def flush(self):
        self.socket.sendall(self.h2.data_to_send())

    def until(self, done):
        while not done():
            data = self.socket.recv(65536)
            assert data, "the proxy has closed"
            for event in self.h2.receive_data(data):
                self.take(event)
            self.flush()

    def take(self, event):
        if isinstance(event, h2.events.ResponseReceived):
            self.heads[event.stream_id] = dict(event.headers)
        elif isinstance(event, h2.events.DataReceived):
            self.bodies[event.stream_id] = self.bodies.get(event.stream_id, b"") + event.data
            self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.StreamEnded):
            self.ended.add(event.stream_id)
        elif isinstance(event, h2.events.StreamReset):
            # An answer that is complete may be followed by one that says that no more is wanted (RFC 9113 section 8.1).
            if event.error_code or event.stream_id not in self.ended:
                self.resets[event.stream_id] = event.error_code
        elif isinstance(event, h2.events.ConnectionTerminated):
            self.is_leaving = True

    def ask(self, fields, is_whole=True):
        stream = self.h2.get_next_available_stream_id()
        self.h2.send_headers(stream, fields, end_stream=is_whole)
        self.flush()
        return stream

    def status(self, stream):
        self.until(lambda: stream in self.heads or stream in self.resets)
        assert stream not in self.resets, f"stream {stream} was reset: {self.resets[stream]}"
        return self.heads[stream][":status"]

    def body(self, stream):
        self.until(lambda: stream in self.ended or stream in self.resets)
        assert stream not in self.resets, f"stream {stream} was reset: {self.resets[stream]}"
        return self.bodies.get(stream, b"")

    def send(self, stream, data, is_last=False):
        at = 0
        while at < len(data):
            self.until(lambda: self.h2.local_flow_control_window(stream) > 0)
            room = min(self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size)
            self.h2.send_data(stream, data[at : at + room])
            at += room
            self.flush()
        if is_last:
            self.h2.end_stream(stream)
            self.flush()


def fields(method, origin, path, *more):
    return [(":method", method), (":scheme", origin.scheme), (":authority", origin.netloc), (":path", path), *more]


def connect(origin):
    return [(":method", "CONNECT"), (":authority", origin.netloc)]


class Inside:
    """TLS with an origin, inside a tunnel."""

    def __init__(self, client, stream):
        self.client, self.stream = client, stream
        self.incoming, self.outgoing, self.at = ssl.MemoryBIO(), ssl.MemoryBIO(), 0
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname=secure.hostname)

    def do(self, what):
        while True:
            try:
                return what()
            except ssl.SSLWantReadError:
                self.push()
                have = lambda: len(self.client.bodies.get(self.stream, b"")) > self.at or self.stream in self.client.ended
                self.client.until(have)
                data = self.client.bodies.get(self.stream, b"")
                self.incoming.write(data[self.at :])
                if self.at == len(data):
                    self.incoming.write_eof()
                self.at = len(data)

    def push(self):
        self.client.send(self.stream, self.outgoing.read())


def requests(client):
    body = os.urandom(1_000_000)
    for origin in (plain, secure):
        stream = client.ask(fields("GET", origin, "/hello"))
        assert (client.status(stream), client.body(stream)) == ("200", b"hello\n")
        for more in ([("content-length", str(len(body)))], []):
            stream = client.ask(fields("POST", origin, "/echo", *more), is_whole=False)
            client.send(stream, body, is_last=True)
            assert (client.status(stream), client.body(stream) == body) == ("200", True)


def tunnels(client):
    streams = [client.ask(connect(secure), is_whole=False) for _ in range(TUNNELS)]
    assert [client.status(stream) for stream in streams] == ["200"] * TUNNELS
    assert not client.ended.intersection(streams), "all of them are open"
    inside = [Inside(client, stream) for stream in streams]
    for one in inside:
        one.do(one.tls.do_handshake)
    for index, one in enumerate(inside):
        body = b"tunnel %d" % index
        head = f"POST /echo HTTP/1.1\r\nHost: {secure.netloc}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        one.tls.write(head + body)
        one.push()
    for index, one in enumerate(inside):
        answer = b""
        while not answer.endswith(b"tunnel %d" % index):
            answer += one.do(lambda: one.tls.read(65536))
        assert answer.startswith(b"HTTP/1.1 200"), answer
        client.send(one.stream, b"", is_last=True)
    client.until(lambda: all(stream in client.ended for stream in streams))


def masked(data):
    mask = os.urandom(4)
    full = (mask * (len(data) // 4 + 1))[: len(data)]
    mixed = int.from_bytes(data, "big") ^ int.from_bytes(full, "big")
    return bytes([0x82, 0x80 | 127]) + len(data).to_bytes(8, "big") + mask + mixed.to_bytes(len(data), "big")


def websocket(client, origin):
    stream = client.ask(
        fields("CONNECT", origin, "/ws", (":protocol", "websocket"), ("sec-websocket-version", "13")), is_whole=False
    )
    assert client.status(stream) == "200", client.heads[stream]
    message = os.urandom(300_000)
    for turn in range(1, 4):
        client.send(stream, masked(message))
        size = turn * (10 + len(message))
        client.until(lambda: len(client.bodies.get(stream, b"")) >= size)
        assert client.bodies[stream].endswith(message), "the echo differs"
    client.send(stream, b"\x88\x80" + os.urandom(4), is_last=True)
    client.until(lambda: stream in client.ended)


def websocket_refused(client):
    stream = client.ask(
        fields("CONNECT", plain, "/hello", (":protocol", "websocket"), ("sec-websocket-version", "13")), is_whole=False
    )
    assert client.status(stream) != "200", "a page is no WebSocket"


one = Client()
requests(one)
tunnels(one)
for origin in (plain, secure):
    websocket(one, origin)
websocket_refused(one)
stream = one.ask([(":method", "CONNECT"), (":authority", "127.0.0.1:1")], is_whole=False)
assert one.status(stream) == "502", one.heads[stream]
assert "connection_refused" in one.heads[stream]["proxy-status"], one.heads[stream]
