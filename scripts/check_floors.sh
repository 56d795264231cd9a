#!/usr/bin/env bash
# The floors of src/lib.rs: an import goes down only, strangers on one floor do not meet; tests are no exception. Also: every
# file says what it is for, none is longer than 500 lines, mod.rs holds no logic, and names that say nothing are not used.
# Prints each finding as file:line; exit 1 when there is one.
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
VISIBILITY = r"(?:pub(?:\([^)]*\))?\s+)?"
found = []


def blank(match):
    """The lines stay where they are."""
    return "\n" * match.group(0).count("\n")


def code_of(text):
    text = re.sub(r"/\*.*?\*/", blank, text, flags=re.S)
    return re.sub(r"//[^\n]*", "", text)


def line_at(text, at):
    return text.count("\n", 0, at) + 1


def heads(code, at):
    """The first words of the branches of a use tree whose opening brace is in front of `at`, with where they stand."""
    depth, expects = 1, True
    while depth and at < len(code):
        if code[at] in "{}":
            depth += 1 if code[at] == "{" else -1
        elif depth == 1 and code[at] == ",":
            expects = True
        elif depth == 1 and expects and (word := re.compile(r"\w+").match(code, at)):
            yield word.group(0), at
            expects = False
        at += 1


def uses(code, depth, rooms):
    """Rooms that are named by a path from the root, or by one that climbs there with super."""
    for match in re.finditer(r"\bcrate::(?:(\w+)|\{)", code):
        yield from [(match.group(1), match.start())] if match.group(1) else heads(code, match.end())
    for match in re.finditer(r"\b((?:super::)+)(?:(\w+)|\{)", code):
        climbed = match.group(1).count("super")
        for word, at in [(match.group(2), match.start())] if match.group(2) else list(heads(code, match.end())):
            # An inline module is one step further down, so one step more may still be inside the room.
            if climbed > depth or (climbed == depth and word in rooms):
                yield word, at


def statements_left(code):
    """Where something stands in a mod.rs that is neither mod, nor use, nor an attribute."""
    code = re.sub(r"#!?\[(?:[^\[\]]|\[[^\]]*\])*\]", blank, code)
    code = re.sub(VISIBILITY + r"(?:mod\s+\w+\s*;|use\s[^;]*;)", blank, code)
    return next((line_at(code, match.start()) for match in re.finditer(r"\S", code)), None)


paths = sorted(pathlib.Path("src").rglob("*.rs"))
for path in paths:
    text = path.read_text()
    code = code_of(text)
    lines = text.splitlines()
    inside = path.parts[1:-1] + (() if path.stem in ("mod", "lib", "main") else (path.stem,))
    if path.stem != "tests" and not text.startswith("//!"):
        found.append(f"{path}:1: does not begin with what it is for (//!)")
    if len(lines) > MAX_LINES:
        found.append(f"{path}:{len(lines)}: longer than {MAX_LINES} lines: it holds two nouns")
    if BANNED.intersection(inside):
        found.append(f"{path}:1: a name that says nothing")
    # A type inside an impl is named by the trait.
    for match in re.finditer(rf"^(?:{VISIBILITY}type|\s*{VISIBILITY}(mod|struct|enum|trait|union)) (\w+)", code, re.M):
        last = match.group(2).split("_")[-1] if match.group(1) == "mod" else re.findall(r"[A-Z]?[^A-Z]*", match.group(2))[-2]
        if last.lower() in BANNED:
            found.append(f"{path}:{line_at(code, match.start(2))}: {match.group(2)} is a name that says nothing")
    if path.name == "mod.rs" and (line := statements_left(code)):
        found.append(f"{path}:{line}: mod.rs holds more than mod, use and what it is for")
    if path == pathlib.Path("src/lib.rs"):
        continue
    room = inside[0] if inside else path.stem
    if room not in FLOORS:
        found.append(f"{path}:1: {room} is no room of src/lib.rs")
        continue
    siblings = {at.stem for at in pathlib.Path("src", room).glob("*")}
    for other, at in uses(code, len(inside), FLOORS.keys() - siblings):
        if other == room or other not in FLOORS or (room, other) in ALLOWED:
            continue
        if FLOORS[other] >= FLOORS[room]:
            found.append(
                f"{path}:{line_at(code, at)}: {room} (floor {FLOORS[room]}) must not know {other} (floor {FLOORS[other]})"
            )

print("\n".join(found) if found else f"{len(paths)} files: every import goes down")
sys.exit(bool(found))
PY
