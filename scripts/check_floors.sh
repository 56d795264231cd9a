#!/usr/bin/env bash
# The floors of src/lib.rs: an import goes down only, strangers on one floor do not meet. Also: every file says what it is for,
# none is longer than 500 lines, mod.rs holds no logic, and names that say nothing are not used.
set -euo pipefail
cd "$(dirname "$0")/.."

exec python3 - <<'PY'
import pathlib, re, sys

FLOORS = {
    "main": 6, "cli": 6, "launch": 6, "supervisor": 5, "worker": 5, "admin": 4, "proxy": 4, "policy": 3, "upstream": 3,
    "server": 3, "control": 3, "telemetry": 2, "config": 1, "message": 1, "shared_memory": 1, "net": 0,
}
# launch reads what cli has parsed.
ALLOWED = {("launch", "cli")}
BANNED = {"manager", "handler", "data", "info", "utils", "helpers", "common", "misc", "master", "slave"}
MAX_LINES = 500
found = []

def room_of(path):
    return path.parts[1] if len(path.parts) > 2 else path.stem

def uses(text):
    """Rooms that are named after crate::, in plain paths and in braces."""
    for match in re.finditer(r"\bcrate::(\w+)", text):
        yield match.group(1), text.count("\n", 0, match.start()) + 1
    for match in re.finditer(r"\buse crate::\{", text):
        depth, start, at = 1, match.end(), match.end()
        while depth and at < len(text):
            depth += {"{": 1, "}": -1}.get(text[at], 0)
            if depth == 1 and (at == start or text[at - 1] in ",{ \n") and text[at].isalpha():
                word = re.match(r"\w+", text[at:]).group(0)
                before = text[start:at].rstrip()
                if not before or before.endswith(","):
                    yield word, text.count("\n", 0, at) + 1
            at += 1

for path in sorted(pathlib.Path("src").rglob("*.rs")):
    text = path.read_text()
    lines = text.splitlines()
    if path.stem != "tests" and not text.startswith("//!"):
        found.append(f"{path}:1: does not begin with what it is for (//!)")
    if len(lines) > MAX_LINES:
        found.append(f"{path}:{len(lines)}: longer than {MAX_LINES} lines: it holds two nouns")
    if path.stem in BANNED or path.parent.name in BANNED:
        found.append(f"{path}:1: a name that says nothing")
    for number, line in enumerate(lines, 1):
        named = re.match(r"\s*(?:pub(?:\([^)]*\))? )?(?:mod|struct|enum|trait) (\w+)", line)
        if named and named.group(1).lower() in BANNED:
            found.append(f"{path}:{number}: {named.group(1)} is a name that says nothing")
    if path.name == "mod.rs":
        for number, line in enumerate(lines, 1):
            if re.match(r"\s*(?:pub(?:\([^)]*\))? )?(?:async )?(?:unsafe )?(?:fn|impl|struct|enum|trait|static)\b", line):
                found.append(f"{path}:{number}: mod.rs holds logic")
    room = room_of(path)
    if room == "lib":
        continue
    if room not in FLOORS:
        found.append(f"{path}:1: {room} is no room of src/lib.rs")
        continue
    code = re.sub(r"//[^\n]*", "", text)
    for other, number in uses(code):
        if other == room or other not in FLOORS:
            continue
        if FLOORS[other] >= FLOORS[room] and (room, other) not in ALLOWED:
            found.append(f"{path}:{number}: {room} (floor {FLOORS[room]}) must not know {other} (floor {FLOORS[other]})")

print("\n".join(found) if found else "every import goes down")
sys.exit(bool(found))
PY
