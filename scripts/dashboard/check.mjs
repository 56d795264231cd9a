// Drives the dashboard for scripts/check_dashboard.sh: a proxy with four workers, an origin, clients that come in waves, and a
// browser that looks. Everything that it starts it ends.
import { spawn } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import http from "node:http";
import net from "node:net";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { chromium } from "playwright-core";

const { BINARY, CHROMIUM, PICTURES, WORK } = process.env;
const SECONDS = Number(process.env.DASHBOARD_SECONDS ?? 20);
const PATIENCE = 20_000;

const until = async (what, look, patience = PATIENCE) => {
  const end = Date.now() + patience;
  for (;;) {
    const found = await look();
    if (found) return found;
    if (Date.now() > end) throw new Error(`still not so after ${patience} ms: ${what}`);
    await wait(50);
  }
};
const expect = (what, holds) => {
  if (!holds) throw new Error(what);
  console.log(`ok: ${what}`);
};
const listen = (server) => new Promise((done) => server.listen(0, "127.0.0.1", () => done(server.address().port)));

// An origin whose answers take different times and have different sizes, and one that sends everything back.
const origin = http.createServer(async (request, response) => {
  request.resume();
  const luck = Math.random();
  await wait(luck < 0.6 ? 0 : luck < 0.93 ? 4 + luck * 20 : luck < 0.99 ? 60 + luck * 40 : 260);
  response.writeHead(luck > 0.995 ? 503 : luck > 0.97 ? 404 : 200);
  response.end(Buffer.alloc(Math.floor(400 + luck ** 6 * 60_000), "x"));
});
const echo = net.createServer((socket) => socket.on("error", () => {}).pipe(socket));
const [originPort, echoPort] = [await listen(origin), await listen(echo)];
const free = net.createServer();
const adminPort = await listen(free);
await new Promise((done) => free.close(done));

writeFileSync(join(WORK, "config.yml"), `
listen_addr: "127.0.0.1:0"
runtime: { mode: multi_process, process_count: 4 }
supervision: { restart_delay: 100ms }
access: { destinations: { deny: ["special", ".blocked.test", "tracker.test"] } }
admin: { listen_addr: "127.0.0.1:${adminPort}" }
`);
const start = async () => {
  const child = spawn(BINARY, ["--config", "config.yml"], { cwd: WORK, stdio: ["ignore", "ignore", "pipe"], env: {} });
  let said = "";
  child.stderr.on("data", (text) => { said += text; });
  const port = await until("the proxy is ready", () => {
    if (child.exitCode !== null) throw new Error(said);
    return / ready pid=\d+\s*\n/.test(said.replace(/^.* worker=.*$/gm, "")) && said.match(/listening addr=127\.0\.0\.1:(\d+)/)?.[1];
  });
  return { child, port: Number(port) };
};
let proxy = await start();
const status = async () => (await fetch(`http://127.0.0.1:${adminPort}/status`)).json();

// Clients: requests in waves, some that fail or are refused, and tunnels that come and go.
let isOver = false;
const agent = new http.Agent({ keepAlive: true, maxSockets: 64 });
const ask = (method, target) => new Promise((done) => {
  const request = http.request({ host: "127.0.0.1", port: proxy.port, method, path: target, agent, headers: { host: new URL(target).host } }, (response) => {
    response.resume().on("end", done).on("error", done);
  });
  request.on("error", done);
  if (method === "POST") request.write(Buffer.alloc(3000, "y"));
  request.end();
});
const client = async (number) => {
  for (let at = number; !isOver; at += 1) {
    const luck = Math.random();
    if (luck < 0.006) await ask("GET", "http://127.0.0.1:1/");
    else if (luck < 0.011) await ask("GET", `http://${luck < 0.009 ? "ads.blocked.test" : "tracker.test"}/`);
    else await ask(luck < 0.15 ? "POST" : "GET", `http://127.0.0.1:${originPort}/${at}`);
    // Waves, so that a chart has something to show.
    await wait(12 + 11 * Math.sin(Date.now() / 9000) + 6 * Math.sin(Date.now() / 2300));
  }
};
const tunnel = async () => {
  while (!isOver) {
    await new Promise((done) => {
      const socket = net.connect(proxy.port, "127.0.0.1", () => socket.write(`CONNECT 127.0.0.1:${echoPort} HTTP/1.1\r\nHost: a\r\n\r\n`));
      const talk = setInterval(() => socket.write(Buffer.alloc(2000, "z")), 200);
      const end = setTimeout(() => socket.end(), 2000 + Math.random() * 12_000);
      socket.on("data", () => {}).on("error", () => {}).on("close", () => { clearInterval(talk); clearTimeout(end); done(); });
    });
    await wait(Math.random() * 3000);
  }
};
const load = [...Array(20).keys()].map(client).concat([...Array(12)].map(tunnel));

const browser = await chromium.launch({
  executablePath: CHROMIUM,
  args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync"],
});
let failure = null;
try {
  const wrong = [];
  const open = async (width, height, colorScheme) => {
    const page = await (await browser.newContext({ viewport: { width, height }, colorScheme, deviceScaleFactor: 2 })).newPage();
    page.on("console", (message) => {
      // That nobody answers while the launcher is gone is what is tested.
      if (["error", "warning"].includes(message.type()) && !/ERR_CONNECTION|ERR_EMPTY/.test(message.text())) wrong.push(message.text());
    });
    page.on("pageerror", (error) => wrong.push(String(error)));
    page.on("request", (request) => {
      if (!request.url().startsWith(`http://127.0.0.1:${adminPort}/`) && !request.url().startsWith("data:")) wrong.push(`it asks ${request.url()}`);
    });
    await page.goto(`http://127.0.0.1:${adminPort}/`);
    return page;
  };
  const desk = await open(1280, 900, "light");
  const night = await open(1280, 900, "dark");
  const phone = await open(400, 860, "light");
  const phoneNight = await open(400, 860, "dark");

  const text = (page, selector) => page.locator(selector).first().textContent();
  const number = async (page, selector) => parseFloat(await text(page, selector));
  await until("the page shows requests", async () => (await number(desk, "#t-requests")) > 0);
  expect("it says that the instance is ready", (await text(desk, "#state")).includes("ready"));
  expect("four workers are shown", (await desk.locator("#workers tr").count()) === 4);
  const curve = () => desk.locator(".plot svg > path").nth(1).getAttribute("d");
  const before = await curve();
  await until("the curve moves", async () => (await curve()) !== before);
  const more = () => text(desk, "#t-requests-more");
  const counted = await more();
  await until("the sum rises", async () => (await more()) !== counted);
  expect("it moves under load", true);

  await wait(SECONDS * 1000);
  for (const page of [desk, night, phone, phoneNight]) {
    const [scroll, width] = await page.evaluate(() => [document.documentElement.scrollWidth, window.innerWidth]);
    expect(`nothing is wider than the window of ${width}`, scroll <= width);
  }
  expect("failures are ranked", (await desk.locator("#errors li").count()) >= 2);
  expect("charts say in words what they show", /answered: /.test(await desk.locator(".plot").first().getAttribute("aria-label")));
  await desk.locator(".plot").first().focus();
  await desk.keyboard.press("ArrowLeft");
  await desk.keyboard.press("ArrowLeft");
  expect("arrow keys move through time", await desk.locator(".tip").first().isVisible());
  await desk.locator("h1").click();
  await desk.evaluate(() => document.activeElement.blur());
  await desk.screenshot({ path: join(PICTURES, "1280-light.png"), fullPage: true });
  await night.screenshot({ path: join(PICTURES, "1280-dark.png"), fullPage: true });
  await phone.screenshot({ path: join(PICTURES, "400-light.png"), fullPage: true });
  await phoneNight.screenshot({ path: join(PICTURES, "400-dark.png"), fullPage: true });
  const box = await desk.locator(".plot").nth(1).boundingBox();
  await desk.mouse.move(box.x + box.width * 0.8, box.y + 60);
  await desk.screenshot({ path: join(PICTURES, "1280-cursor.png") });
  await desk.mouse.move(5, 5);

  const script = await (await fetch(`http://127.0.0.1:${adminPort}/proxy.pac`)).text();
  const find = new Function("isPlainHostName", "dnsDomainIs", `${script}; return FindProxyForURL;`)(
    (host) => !host.includes("."), (host, domain) => host.endsWith(domain));
  for (const [host, way] of [["example.com", "PROXY"], ["10.1.2.3", "PROXY"], ["2001:db8::1", "PROXY"], ["[2001:db8::1]", "PROXY"],
    ["localhost.example.com", "PROXY"], ["127.0.0.1.example.com", "PROXY"], ["localhost", "DIRECT"], ["App.Localhost", "DIRECT"],
    ["printer", "DIRECT"], ["127.1.2.3", "DIRECT"], ["::1", "DIRECT"], ["[::1]", "DIRECT"], ["169.254.1.1", "DIRECT"], ["fe80::1", "DIRECT"]]) {
    const said = find(`http://${host}/`, host);
    if (said !== (way === "PROXY" ? `PROXY 127.0.0.1:${proxy.port}` : way)) throw new Error(`proxy.pac sends ${host} by ${said}`);
  }
  expect("proxy.pac sends browsers the right way", true);

  const victim = (await status()).workers[1];
  process.kill(victim.pid, "SIGKILL");
  await until("the page shows that the worker was replaced", async () => {
    const row = desk.locator("#workers tr").nth(1);
    return (await row.locator('[data-label="Restarts"]').textContent()) === "1" && (await row.textContent()).includes("ready");
  });
  expect("it survives a worker's death", (await text(desk, "#state")).includes("ready"));

  const ended = new Promise((done) => proxy.child.on("exit", done));
  proxy.child.kill("SIGKILL");
  await ended;
  await until("the page says that nobody answers", async () => (await text(desk, "#state")).includes("no answer"));
  await desk.screenshot({ path: join(PICTURES, "1280-gone.png") });
  expect("it says so", await desk.locator("#notice").isVisible());
  proxy = await start();
  await until("the page is back", async () => (await text(desk, "#state")).includes("ready") && !(await desk.locator("#notice").isVisible()));
  await until("it moves again", async () => (await number(desk, "#t-requests")) > 0);
  expect("it survives the launcher's restart", true);
  expect(`the browser complains of nothing: ${JSON.stringify(wrong)}`, wrong.length === 0);
} catch (error) {
  failure = error;
}
isOver = true;
await browser.close();
agent.destroy();
const ended = new Promise((done) => (proxy.child.exitCode === null ? proxy.child.on("exit", done) : done()));
proxy.child.kill("SIGQUIT");
await ended;
await Promise.race([Promise.all(load), wait(1000)]);
if (failure) {
  console.error(`FAILED: ${failure.message}`);
  console.error(readFileSync(join(WORK, "logs/proxy.log"), "utf8").split("\n").slice(-20).join("\n"));
}
process.exit(failure ? 1 : 0);
