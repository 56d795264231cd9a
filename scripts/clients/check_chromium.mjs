// Chromium with an HTTPS proxy: a page by http and by https, a WebSocket of each, and the proxy's log says HTTP/2.0 of all.
import { createRequire } from "node:module";
import { existsSync, readFileSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";

const { VIA_TLS, ORIGINS, NODE_FOLDER, ACCESS_LOG } = process.env;
const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";
const skip = (why) => {
  console.log(why);
  process.exit(77);
};
if (!existsSync(executablePath)) skip(`there is no ${executablePath} (CHROMIUM names another)`);
let chromium;
try {
  ({ chromium } = createRequire(`${NODE_FOLDER}/`)("playwright-core"));
} catch {
  skip("playwright-core is not installed and could not be");
}
const expect = (truth, what) => {
  if (!truth) throw new Error(what);
};

const browser = await chromium.launch({
  executablePath,
  // What is on this host goes through the proxy, too; the certificate is of an authority that only this check knows.
  args: ["--no-sandbox", `--proxy-server=${VIA_TLS}`, "--proxy-bypass-list=<-loopback>", "--ignore-certificate-errors"],
});
try {
  const page = await browser.newPage({ ignoreHTTPSErrors: true });
  for (const origin of ORIGINS.split(" ")) {
    await page.goto(`${origin}/hello`);
    expect((await page.textContent("body")).trim() === "hello", `the page of ${origin}`);
    const many = await page.evaluate(() =>
      Promise.all(Array.from({ length: 30 }, (_, index) => fetch(`/hello?${index}`).then((answer) => answer.status))),
    );
    expect(many.every((status) => status === 200), `${origin}: ${many}`);
    const echo = await page.evaluate(
      (url) =>
        new Promise((resolve) => {
          const socket = new WebSocket(url);
          socket.onopen = () => socket.send("there and back");
          socket.onmessage = ({ data }) => resolve(data);
          socket.onerror = () => resolve("an error");
        }),
      `${origin.replace("http", "ws")}/ws`,
    );
    expect(echo === "there and back", `the WebSocket of ${origin}: ${echo}`);
  }
} finally {
  await browser.close();
}

// Lines are written when requests and tunnels have ended.
const ports = ORIGINS.split(" ").map((origin) => Number(new URL(origin).port));
const lines = () =>
  readFileSync(ACCESS_LOG, "utf8")
    .split("\n")
    .filter((line) => line)
    .map((line) => JSON.parse(line))
    .filter((line) => ports.includes(line.port));
const seen = (wanted) => lines().some((line) => line.proto === "HTTP/2.0" && wanted(line));
for (const [what, wanted] of [
  ["the page by http", (line) => line.method === "GET" && line.port === ports[0] && line.status === 200],
  ["the tunnel", (line) => line.method === "CONNECT" && line.port === ports[1] && line.status === 200],
  ["the tunnel of a WebSocket by http", (line) => line.method === "CONNECT" && line.port === ports[0] && line.status === 200],
]) {
  for (let turn = 0; !seen(wanted) && turn < 100; turn++) await pause(100);
  expect(seen(wanted), `the log has no line of HTTP/2.0 for ${what}`);
}
