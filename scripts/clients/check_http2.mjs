// Node's http2 client speaking to the listener: requests, many tunnels on one connection, a WebSocket (RFC 8441).
import http2 from "node:http2";
import https from "node:https";
import tls from "node:tls";
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";

const { VIA_TLS, CA, ORIGINS } = process.env;
const ca = readFileSync(CA);
const [plain, secure] = ORIGINS.split(" ").map((origin) => new URL(origin));
const expect = (truth, what) => {
  if (!truth) throw new Error(what);
};

const session = http2.connect(VIA_TLS, { ca });
await new Promise((resolve, reject) => session.once("remoteSettings", resolve).once("error", reject));
expect(session.remoteSettings.enableConnectProtocol, "extended CONNECT is announced");

// Opens a stream; its status, and the stream.
const open = (fields, options) =>
  new Promise((resolve, reject) => {
    const stream = session.request(fields, options);
    stream.once("response", (answer) => resolve({ status: answer[":status"], answer, stream }));
    stream.once("error", reject);
  });
const all = async (stream) => {
  const parts = [];
  for await (const part of stream) parts.push(part);
  return Buffer.concat(parts);
};

const body = randomBytes(3_000_000);
for (const origin of [plain, secure]) {
  const target = { ":scheme": origin.protocol.slice(0, -1), ":authority": origin.host };
  const hello = await open({ ...target, ":path": "/hello" });
  expect(hello.status === 200 && (await all(hello.stream)).toString() === "hello\n", `GET ${origin}`);
  const sending = session.request({ ...target, ":method": "POST", ":path": "/echo" });
  sending.end(body);
  expect((await all(sending)).equals(body), `POST ${origin}`);
}

// A hundred tunnels, TLS with the origin in each, all open before the first is used.
const tunnels = await Promise.all(
  Array.from({ length: 100 }, () => open({ ":method": "CONNECT", ":authority": secure.host }, { endStream: false })),
);
expect(tunnels.every(({ status }) => status === 200), "a hundred tunnels");
const hellos = await Promise.all(
  tunnels.map(
    ({ stream }) =>
      new Promise((resolve, reject) => {
        const inside = () => tls.connect({ socket: stream, servername: secure.hostname, ca });
        const request = https.get({ host: secure.hostname, path: "/hello", createConnection: inside }, (answer) =>
          resolve(all(answer)),
        );
        request.once("error", reject);
      }),
  ),
);
expect(hellos.every((text) => text.toString() === "hello\n"), "what tunnels carry");

// A WebSocket: one masked frame, and its echo.
const chat = await open(
  { ":method": "CONNECT", ":protocol": "websocket", ":scheme": "http", ":authority": plain.host, ":path": "/ws", "sec-websocket-version": "13" },
  { endStream: false },
);
expect(chat.status === 200, `WebSocket: ${chat.status}`);
chat.stream.write(Buffer.concat([Buffer.from([0x81, 0x85, 0, 0, 0, 0]), Buffer.from("hello")]));
let echo = Buffer.alloc(0);
for await (const part of chat.stream) {
  echo = Buffer.concat([echo, part]);
  if (echo.length >= 7) break;
}
expect(echo.subarray(2).toString() === "hello", "the echo of a WebSocket");

const refused = await open({ ":method": "CONNECT", ":authority": "127.0.0.1:1" }, { endStream: false });
expect(refused.status === 502 && refused.answer["proxy-status"].includes("connection_refused"), "a refused CONNECT");
session.destroy();
