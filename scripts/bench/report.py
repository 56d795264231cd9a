"""What scripts/bench.sh says: a table in Markdown and a chart in SVG. Knows nothing of how anything was measured."""

import statistics
from html import escape

# By work: its heading, what one figure is, the unit, and whether more is better.
COLUMNS = {
    "get-1k": ("GET 1 KiB", "kept connections", "µs", False),
    "paced-1k": ("GET 1 KiB", "p99 at 20,000/s", "µs passed", False),
    "get-64k": ("GET 64 KiB", "kept connections", "µs", False),
    "get-10m": ("GET 10 MiB", "kept connections", "GB/s", True),
    "post-16k": ("POST 16 KiB", "kept connections", "µs", False),
    "new": ("GET 1 KiB", "a new connection each", "µs", False),
    "tunnel": ("CONNECT", "small exchange, close", "µs", False),
    "bulk-down": ("tunnel, down", "in bulk", "GB/s", True),
    "bulk-up": ("tunnel, up", "in bulk", "GB/s", True),
    "idle-tunnel": ("idle tunnel", "memory", "KiB", False),
    "idle-client": ("idle client", "memory", "KiB", False),
}
# Within this, two figures are the same. A loss is told from here on; a gain has to be more than the rounds differ by.
ALIKE = 0.05
# A machine with more to do than this is busy with something else.
BUSY = 0.7
BEGIN, END = "<!-- bench: written by scripts/bench.sh --readme -->", "<!-- /bench -->"


def figures(results):
    """The median of the rounds, by work and name, in the order of the columns."""
    return {
        work: {name: statistics.median(one["figure"] for one in rounds) for name, rounds in results[work].items()}
        for work in COLUMNS if results.get(work)
    }


def shown(value):
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def table(results, facts, product, remarks):
    found = figures(results)
    names = list(facts["versions"])
    lines = [f"One worker on one CPU. µs: the proxy's CPU time for one request or tunnel; µs passed: 99 of 100 "
             f"requests take no longer, 20,000 being sent in a second whatever becomes of them; GB/s: what it moves in a second of CPU "
             f"time; KiB: memory of one idle connection ({facts['idle']:,} of them). "
             f"{'One round' if facts['rounds'] == 1 else 'The median of ' + str(facts['rounds']) + ' rounds'} "
             f"of {facts['seconds']:g} s. {product} with its rules, counters and JSON access log on; the others without "
             "logs and caches.", ""]
    heads = [f"{COLUMNS[work][0]}<br>{COLUMNS[work][1]}<br>{COLUMNS[work][2]}{' ↑' if COLUMNS[work][3] else ' ↓'}"
             for work in found]
    lines += ["| | " + " | ".join(heads) + " |", "| --- |" + " --: |" * len(found)]
    for name in names:
        cells = []
        for work, by_name in found.items():
            best = (max if COLUMNS[work][3] else min)(by_name.values())
            value = by_name.get(name)
            cells.append("–" if value is None else f"**{shown(value)}**" if value == best else shown(value))
        lines.append(f"| {name} {facts['versions'][name]} | " + " | ".join(cells) + " |")
    lines += ["", "↓ less is better, ↑ more is better; the best is bold; – = it cannot do that." + differing(results), ""]
    lines += verdicts(found, product, max(ALIKE, spread(results)))
    lines += [f"* {name}: {text}." for name, text in remarks.items() if name in names]
    errors = {name: sum(one["errors"] for work in results.values() for one in work.get(name, [])) for name in names}
    lines += [f"* {name}: {count:,} requests failed." for name, count in errors.items() if count]
    lines += [f"* not measured: {what}: {why.splitlines()[0]}" for what, why in facts["failures"].items()]
    if facts["absent"]:
        lines.append(f"* not installed: {', '.join(facts['absent'])}.")
    lines += [f"* {product} has answered its first request {facts['started_in_ms']:.0f} ms after it is executed (launcher and one "
              f"worker), and its file has {facts['binary_mib']:.1f} MiB.", ""]
    where = "" if facts["isolated"] else " The host's own network settings."
    others = (f" Other work ran on it (a load of {facts['others']:.0f}): the figures are less sure."
              if facts["others"] > BUSY else "")
    lines += [f"{facts['machine']}; loopback.{where}{others} {facts['date']}, by `scripts/bench.sh`.", ""]
    return "\n".join(lines)


def differing(results):
    return f" Rounds differ by {spread(results):.0%} in the middle." if spread(results) else ""


def spread(results):
    """How far the rounds lie apart, in the middle, as a share; 0 where there is one round."""
    apart = [
        (max(values) - min(values)) / statistics.median(values)
        for work in results.values() for rounds in work.values()
        if len(values := [one["figure"] for one in rounds]) > 1 and statistics.median(values)
    ]
    return statistics.median(apart) if apart else 0


def verdicts(found, product, doubt):
    """Where the product is beaten, and where it is not: it is better where that is beyond doubt."""
    lost, won = [], []
    for work, by_name in found.items():
        others = {name: value for name, value in by_name.items() if name != product}
        if product not in by_name or not others:
            continue
        heading, detail, _, more = COLUMNS[work]
        mine = by_name[product]
        # How many times as good as each of them the product is.
        ratios = {name: mine / value if more else value / mine for name, value in others.items() if value and mine}
        what = f"{heading}, {detail}"
        better = sorted((name for name in ratios if ratios[name] < 1 - ALIKE), key=ratios.get)
        if better:
            lost.append(f"{what} ({', '.join(f'{name} is {1 / ratios[name]:.2f} times as good' for name in better)})")
        elif ratios:
            best = min(ratios, key=ratios.get)
            word = "as good as" if ratios[best] < 1 + doubt else f"{ratios[best]:.2f} times as good as"
            won.append(f"{what} ({word} the next, {best})")
    lines = [f"* Lost: {'; '.join(lost)}." if lost else f"* {product} loses none of these.", *(
        [f"* Won or even: {'; '.join(won)}."] if won else [])]
    return lines


def growth(found, machine):
    """What each circumstance costs beside the first. The best of the rounds: whatever else runs on the machine only adds."""
    base = min(next(iter(found.values())))
    lines = ["| GET 1 KiB on kept connections | µs of CPU | ratio |", "| --- | --: | --: |"]
    for name, values in found.items():
        value = min(values)
        lines.append(f"| {name} | {shown(value)} | {value / base:.2f} |")
    return "\n".join([*lines, "", machine])


def inserted(readme, text):
    """The README with `text` between the marks."""
    before, _, rest = readme.partition(BEGIN)
    _, _, after = rest.partition(END)
    if not rest or END not in rest:
        raise SystemExit("README.md has no place for the table")
    return f"{before}{BEGIN}\n{text}{END}{after}"


STYLE = """
  .back { fill: #ffffff } text { fill: #1f2328; font: 12px system-ui, sans-serif }
  .small { fill: #59636e; font-size: 11px } .head { font-weight: 600 } .title { font-weight: 600; font-size: 15px }
  .other { fill: #afb8c1 } .ours { fill: #0969da } .bold { font-weight: 600 } .end { text-anchor: end }
  @media (prefers-color-scheme: dark) {
    .back { fill: #0d1117 } text { fill: #f0f6fc } .small { fill: #9198a1 } .other { fill: #484f58 } .ours { fill: #4493f8 }
  }
"""
COLUMN, GAP, BAR, LINE, NAME, VALUE = 420, 28, 13, 19, 140, 52


def chart(results, facts, product):
    """One group of bars for each work, the best on top; two groups beside each other."""
    found = figures(results)
    width = 2 * COLUMN + 3 * GAP
    body, tops = [], [64, 64]
    for work, by_name in found.items():
        side = 0 if tops[0] <= tops[1] else 1
        left, top = GAP + side * (COLUMN + GAP), tops[side]
        heading, detail, unit, more = COLUMNS[work]
        way = "more is better" if more else "less is better"
        per = {"µs": "µs of CPU each", "µs passed": "µs", "GB/s": "GB per CPU-second", "KiB": "KiB each"}[unit]
        body.append(f'<text class="head" x="{left}" y="{top}">{escape(heading)}, {escape(detail)}</text>')
        body.append(f'<text class="small end" x="{left + COLUMN}" y="{top}">{per}, {way}</text>')
        most = max(by_name.values()) or 1
        for row, (name, value) in enumerate(sorted(by_name.items(), key=lambda one: -one[1] if more else one[1])):
            y = top + 10 + row * LINE
            length = max(1.5, (COLUMN - NAME - VALUE) * value / most)
            ours = name == product
            strong = " bold" if ours else ""
            body.append(f'<text class="end{strong}" x="{left + NAME - 8}" y="{y + 11}">{escape(name)}</text>')
            body.append(f'<rect class="{"ours" if ours else "other"}" x="{left + NAME}" y="{y}" width="{length:.1f}" '
                        f'height="{BAR}" rx="2"/>')
            body.append(f'<text class="{strong.strip()}" x="{left + NAME + length + 6:.1f}" y="{y + 11}">{shown(value)}</text>')
        tops[side] = top + 10 + len(by_name) * LINE + GAP
    height = max(tops) + 14
    foot = f'{facts["machine"]}; {facts["date"]}'
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img">',
        "<title>What proxies cost on the same work</title>", f"<style>{STYLE}</style>",
        f'<rect class="back" width="{width}" height="{height}" rx="6"/>',
        f'<text class="title" x="{GAP}" y="32">What the same work costs, one worker on one CPU</text>', *body,
        f'<text class="small" x="{GAP}" y="{height - 12}">{escape(foot)}</text>', "</svg>", "",
    ])
