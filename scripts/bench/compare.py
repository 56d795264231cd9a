"""Runs the comparison of scripts/bench.sh, which says what it is. Standard library only."""

import argparse
import contextlib
import datetime
import json
import os
import pathlib
import platform
import re
import resource
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

import peers
import report

ROOT = pathlib.Path(__file__).resolve().parents[2]
LOAD = ROOT / "target/release/examples/load"
PRODUCT = "rust-forward-proxy"

# By name: the arguments of the load, what is counted, and whether it goes through a tunnel.
WORK = {
    "get-1k": (["--work", "get", "--size", "1024"], "request", False),
    "paced-1k": (["--work", "get", "--size", "1024", "--rate", "20000"], "latency", False),
    "get-64k": (["--work", "get", "--size", "65536"], "request", False),
    "get-10m": (["--work", "get", "--size", "10485760", "--connections", "8"], "byte", False),
    "post-16k": (["--work", "post", "--size", "16384"], "request", False),
    "new": (["--work", "new", "--size", "1024"], "request", False),
    "tunnel": (["--work", "tunnel", "--size", "128"], "request", True),
    "bulk-down": (["--work", "download", "--connections", "4"], "byte", True),
    "bulk-up": (["--work", "upload", "--connections", "4"], "byte", True),
    "idle-tunnel": (["--work", "idle-tunnel", "--size", "128"], "memory", True),
    "idle-client": (["--work", "idle-client", "--size", "128"], "memory", False),
}
# As bbr would pace by timers even on loopback, and 100,000 sockets in TIME_WAIT slow down whoever comes later.
NETWORK = {
    "net.ipv4.tcp_congestion_control": "reno",
    "net.ipv4.tcp_max_tw_buckets": "1000",
    "net.ipv4.ip_local_port_range": "10000 65000",
}


class Failed(Exception):
    """A proxy that cannot be measured, and why."""


class Proxy:
    """A proxy that runs, in a process group of its own."""

    def __init__(self, name, start, port, folder, cpus, many=False):
        self.name, self.port = name, port
        self.folder = folder / f"{name}-{time.monotonic_ns()}"
        self.folder.mkdir()
        self.folder.chmod(0o777)
        command = start(self.folder, port, many)
        if os.geteuid() == 0:
            # Some give up root, and write here afterwards.
            subprocess.run(["chmod", "-R", "a+rwX", self.folder], check=True)
        output = open(self.folder / "output", "wb")
        self.begun = time.monotonic()
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=self.folder,
            start_new_session=True, preexec_fn=lambda: settle(cpus))
        output.close()
        while True:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            if self.process.poll() is not None or time.monotonic() > self.begun + 20:
                said = (self.folder / "output").read_text(errors="replace")[-400:]
                self.stop()
                raise Failed(f"does not listen: {said}")
            time.sleep(0.0005)

    def first_answer(self):
        """Seconds from its execution to an answer, whatever that says: the kernel takes connections before anybody does."""
        with socket.create_connection(("127.0.0.1", self.port), 5) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            if not client.recv(1):
                raise Failed("does not answer")
        return time.monotonic() - self.begun

    def measure(self, name, cpus, options, extra=()):
        arguments, unit, _ = WORK[name]
        seconds, warm_up, idle = options.seconds, options.warm_up, options.idle
        command = [LOAD, *arguments, *extra, "--proxy", f"127.0.0.1:{self.port}", "--pid", str(self.process.pid),
                   "--seconds", str(seconds), "--warm-up", str(warm_up)]
        if unit == "memory":
            command += ["--connections", str(idle)]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=seconds + warm_up + 120,
                             preexec_fn=lambda: settle(cpus))
        if ran.returncode:
            raise Failed(ran.stderr.strip().splitlines()[0])
        result = json.loads(ran.stdout)
        result["errors"] = sum(result["errors"].values())
        if unit == "memory":
            result["figure"] = result["kib_each"]
        elif unit == "latency":
            if not result["done"]:
                raise Failed("nothing was answered")
            result["figure"] = result["p99_us"]
            result["rate"] = result["done"] / result["seconds"]
        elif unit == "request":
            if not result["done"]:
                raise Failed("nothing was answered")
            result["figure"] = result["cpu_seconds"] / result["done"] * 1e6
            result["rate"] = result["done"] / result["seconds"]
        else:
            if not result["cpu_seconds"]:
                raise Failed("nothing was moved")
            result["figure"] = result["bytes"] / 1e9 / result["cpu_seconds"]
        # An access log of millions of lines is of no use to anybody.
        with contextlib.suppress(OSError):
            os.truncate(self.folder / "access.log", 0)
        return result

    def stop(self):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(3)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def settle(cpus):
    """Of a child: its CPUs, and as many files as it may have."""
    os.sched_setaffinity(0, cpus)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def isolate():
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    for key, value in NETWORK.items():
        pathlib.Path("/proc/sys", *key.split(".")).write_text(value)


def version_of(command):
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    found = re.search(r"\d+\.\d+(\.\d+)?", ran.stdout + ran.stderr)
    return found.group(0) if found else "?"


def machine():
    model = re.search(r"model name\s*:\s*(.+)", pathlib.Path("/proc/cpuinfo").read_text())
    memory = re.search(r"MemTotal:\s*(\d+)", pathlib.Path("/proc/meminfo").read_text())
    system = platform.freedesktop_os_release().get("PRETTY_NAME", "Linux") if hasattr(
        platform, "freedesktop_os_release") else "Linux"
    virtual = " (virtual machine)" if " hypervisor " in pathlib.Path("/proc/cpuinfo").read_text() else ""
    return (f"{model.group(1).strip() if model else platform.machine()}{virtual}, {os.cpu_count()} CPUs, "
            f"{int(memory.group(1)) / (1 << 20):.0f} GiB, Linux {platform.release().split('-')[0]}, {system}")


def measure_all(options, subjects, works, folder):
    """All results, by work and name; and why something has none."""
    cpus = sorted(os.sched_getaffinity(0))
    for_proxy, for_load = {cpus[0]}, {cpus[-1]}
    results, failures, starts = {}, {}, []

    def take(proxy, work):
        try:
            result = proxy.measure(work, for_load, options)
        except (Failed, subprocess.TimeoutExpired) as error:
            failures[f"{proxy.name}, {work}"] = str(error)
            print(f"{work} {proxy.name}: {error}", file=sys.stderr)
            return
        results.setdefault(work, {}).setdefault(proxy.name, []).append(result)
        note = f", {result['errors']} errors" if result["errors"] else ""
        print(f"{work} {proxy.name}: {result['figure']:.2f}{note}", file=sys.stderr)

    def can(name, work):
        is_tunnel = WORK[work][2]
        return not (is_tunnel and name in peers.WITHOUT_CONNECT or work == "idle-client" and name in peers.WITHOUT_KEEP_ALIVE)

    running = []
    try:
        steady = [work for work in works if WORK[work][1] != "memory"]
        for index, (name, start) in enumerate(subjects.items()):
            try:
                proxy = Proxy(name, start, 3200 + index, folder, for_proxy)
            except (Failed, OSError) as error:
                failures[name] = str(error)
                print(f"{name}: {error}", file=sys.stderr)
                continue
            running.append(proxy)
        for turn in range(options.rounds):
            order = running[turn % len(running):] + running[:turn % len(running)]
            for work in steady:
                for proxy in order if turn % 2 == 0 else reversed(order):
                    if can(proxy.name, work):
                        take(proxy, work)
    finally:
        for proxy in running:
            proxy.stop()
    # What idle connections hold is seen best in a proxy that has held none.
    for index, (name, start) in enumerate(subjects.items()):
        for work in works:
            if WORK[work][1] == "memory" and can(name, work) and name not in failures:
                proxy = Proxy(name, start, 3300 + index, folder, for_proxy, many=True)
                try:
                    take(proxy, work)
                finally:
                    proxy.stop()
    for _ in range(5):
        proxy = Proxy(PRODUCT, peers.product, 3400, folder, for_proxy)
        try:
            starts.append(proxy.first_answer())
        finally:
            proxy.stop()
    return results, failures, statistics.median(starts)


def growth(options, folder):
    """What a small request costs the product in each circumstance, by its name: the figures of all rounds."""
    cpus = sorted(os.sched_getaffinity(0))
    found = {}
    for turn in range(options.rounds):
        names = list(peers.GROWTH)
        for name in names if turn % 2 == 0 else reversed(names):
            settings, arguments = peers.GROWTH[name]
            # Afresh each time: a pool that is full once stays so.
            proxy = Proxy(PRODUCT, lambda at, port, _, chosen=settings: peers.product(at, port, **chosen), 3200, folder, {cpus[0]})
            try:
                result = proxy.measure("get-1k", {cpus[-1]}, options, arguments)
            finally:
                proxy.stop()
            if result["errors"]:
                raise Failed(f"{name}: {result['errors']} errors")
            found.setdefault(name, []).append(result["figure"])
            print(f"{name}: {result['figure']:.2f} µs", file=sys.stderr)
    return found


def main():
    parser = argparse.ArgumentParser(prog="bench.sh", description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--readme", action="store_true")
    parser.add_argument("--growth", action="store_true")
    parser.add_argument("--isolated", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--peers", default=",".join(peers.PEERS))
    parser.add_argument("--work", help=",".join(WORK))
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--idle", type=int, default=2000)
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "target/bench")
    options = parser.parse_args()
    options.rounds = options.rounds or (1 if options.quick else 3)
    options.seconds = options.seconds or (1 if options.quick else 4)
    options.warm_up = 0.3 if options.quick else 0.7
    works = (options.work or ("get-1k,tunnel" if options.quick else ",".join(WORK))).split(",")
    wanted = [] if options.peers == "none" else options.peers.split(",")
    for name, known in [(work, WORK) for work in works] + [(peer, peers.PEERS) for peer in wanted]:
        if name not in known:
            parser.error(f"{name} is unknown; known are {', '.join(known)}")
    if len(os.sched_getaffinity(0)) < 2:
        parser.error("two CPUs are needed: one for the proxy, one for the load")
    # So that whatever ends this, nothing that it has started is left.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if options.isolated:
        isolate()
    os.chdir(ROOT)

    if options.growth:
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            os.chmod(folder, 0o755)
            print(report.growth(growth(options, pathlib.Path(folder)), machine()))
        return

    subjects = {PRODUCT: peers.product}
    versions = {PRODUCT: version_of([ROOT / "target/release/rust-forward-proxy", "--version"])}
    absent = []
    for name in wanted:
        start, program, arguments = peers.PEERS[name]
        if peers.program(program):
            subjects[name] = start
            versions[name] = version_of([peers.program(program), *arguments])
        else:
            absent.append(name)
    # Of the last minute, in which nothing of this has run yet.
    others = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        os.chmod(folder, 0o755)
        results, failures, started_in = measure_all(options, subjects, works, pathlib.Path(folder))

    facts = {
        "machine": machine(), "date": datetime.date.today().isoformat(), "versions": versions, "absent": absent,
        "failures": failures, "rounds": options.rounds, "seconds": options.seconds, "idle": options.idle,
        "started_in_ms": started_in * 1000,
        "binary_mib": os.path.getsize(ROOT / "target/release/rust-forward-proxy") / (1 << 20),
        "isolated": options.isolated, "others": others,
    }
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "results.json").write_text(json.dumps({"facts": facts, "results": results}, indent=1) + "\n")
    table = report.table(results, facts, PRODUCT, peers.REMARKS)
    chart = report.chart(results, facts, PRODUCT)
    (options.out / "table.md").write_text(table)
    (options.out / "chart.svg").write_text(chart)
    if options.readme:
        (ROOT / "benches/comparison.svg").write_text(chart)
        readme = ROOT / "README.md"
        readme.write_text(report.inserted(readme.read_text(), table))
    print(table)
    print(f"written: {options.out}/table.md, chart.svg, results.json", file=sys.stderr)
    if PRODUCT in failures or not results:
        sys.exit(1)


if __name__ == "__main__":
    main()
