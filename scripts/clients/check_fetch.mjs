// Node: fetch of undici through its ProxyAgent, and the plain http module in absolute-form.
import http from "node:http";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const { VIA, CA, ORIGINS, NODE_FOLDER } = process.env;
const expect = (truth, what) => {
  if (!truth) throw new Error(what);
};

let undici;
try {
  undici = createRequire(`${NODE_FOLDER}/`)("undici");
} catch {
  console.log("undici is not installed and could not be");
  process.exit(77);
}

const body = Buffer.alloc(3_000_000, "x");
const agent = new undici.ProxyAgent({ uri: VIA, requestTls: { ca: readFileSync(CA) } });
for (const origin of ORIGINS.split(" ")) {
  const hello = await undici.fetch(`${origin}/hello`, { dispatcher: agent });
  expect((await hello.text()) === "hello\n", `GET ${origin}`);
  const echo = await undici.fetch(`${origin}/echo`, { method: "POST", body, dispatcher: agent });
  expect(Buffer.from(await echo.arrayBuffer()).equals(body), `POST ${origin}`);
  const all = await Promise.all(
    Array.from({ length: 50 }, () => undici.fetch(`${origin}/hello`, { dispatcher: agent }).then((r) => r.text())),
  );
  expect(all.every((text) => text === "hello\n"), `fifty at once ${origin}`);
}
await agent.close();

const plain = ORIGINS.split(" ").find((origin) => origin.startsWith("http:"));
const { hostname, port } = new URL(VIA);
const text = await new Promise((resolve, reject) => {
  const request = http.get({ hostname, port, path: `${plain}/hello`, headers: { Host: new URL(plain).host } }, (response) => {
    let data = "";
    response.on("data", (part) => (data += part)).on("end", () => resolve(data));
  });
  request.on("error", reject);
});
expect(text === "hello\n", "absolute-form");
