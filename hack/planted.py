#!/usr/bin/env python3
"""Plants bugs into a copy of the sources, one at a time, and counts the seeds that the simulator needs to catch each.

All are in one build; which is in force is said at run time. The product's own code knows nothing of it.
usage: planted.py [--seeds N] [--only NAME] COPY   (COPY: a directory for the sources and what is built of them)
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
QUESTION = '''
/// Whether a bug is in force. In copies for `make planted` only.
pub fn planted(name: &str) -> bool {
    static NAME: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    NAME.get_or_init(|| std::env::var("LOCKKEEPER_PLANTED").unwrap_or_default()) == name
}
'''


def copy(to: Path) -> None:
    for part in ["src", "e2e", "charts", "config", "Cargo.toml", "Cargo.lock", "rustfmt.toml", "clippy.toml"]:
        if not (ROOT / part).exists():
            continue
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, to / part, dirs_exist_ok=True)
        else:
            shutil.copy2(ROOT / part, to / part)


def plant(bugs: list, to: Path) -> None:
    engine = to / "src/engine/lib.rs"
    engine.write_text(engine.read_text() + QUESTION)
    for bug in bugs:
        for edit in bug["edits"]:
            path = to / edit["file"]
            text = path.read_text()
            if text.count(edit["find"]) != 1:
                sys.exit(f"{bug['name']}: {edit['find']!r} stands {text.count(edit['find'])} times in {edit['file']}: mend bugs.toml")
            crate = "crate" if edit["file"].startswith("src/engine/") else "lockkeeper_engine"
            path.write_text(text.replace(edit["find"], edit["plant"].replace("PLANTED", f'{crate}::planted("{bug["name"]}")')))


def build(to: Path) -> str:
    command = ["cargo", "test", "--profile", "sim", "-p", "lockkeeper-simulator", "--test", "sim", "--no-run", "--message-format=json"]
    environment = dict(os.environ, CARGO_TARGET_DIR=str((to / "target").resolve()))
    done = subprocess.run(command, cwd=to, env=environment, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit("the planted copy does not build")
    for line in done.stdout.splitlines():
        message = json.loads(line)
        if message.get("executable") and message["target"]["name"] == "sim":
            return message["executable"]
    sys.exit("no binary")


def play(binary: str, name: str, what: str, numbers: range) -> str:
    """What is said of these numbers."""
    other = "PLAN" if what == "SEED" else "SEED"
    environment = dict(os.environ, LOCKKEEPER_PLANTED=name, LOCKKEEPER_THREADS="2")
    environment |= {f"LOCKKEEPER_{what}S": f"{numbers.start}..{numbers.stop}", f"LOCKKEEPER_{other}S": "0..0"}
    return subprocess.run([binary], env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout


def replays(binary: str, name: str, what: str, number: int) -> bool:
    """Whether a failing number goes the same way to the byte, with its whole trace, when it is played again; but for how long it took."""
    said = [play(binary, name, what, range(number, number + 1)) for _ in range(2)]
    one, again = (re.sub(r"[0-9.]+m?s on \d+ threads", "", text) for text in said)
    return one == again and one.count("\n") > 100


def run(binary: str, name: str, what: str, numbers: range) -> str:
    """Which promise was broken within these numbers, and by which of them first; empty if none."""
    said = play(binary, name, what, numbers)
    first = re.search(rf"^LOCKKEEPER_{what}S=(\d+)\.\.\d+: (.*)", said, re.M)
    if not first:
        return ""
    promise = re.search(r"\bS\d+\b", first[2])
    if not replays(binary, name, what, int(first[1])):
        sys.exit(f"{name}: {what.lower()} {first[1]} goes another way when it is played again")
    return f"{what.lower()} {first[1]}\t{promise[0] if promise else 'convergence'}"


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seeds", type=int, default=400)
    options.add_argument("--only")
    options.add_argument("copy", type=Path)
    options = options.parse_args()
    bugs = tomllib.loads((ROOT / "src/simulator/planted/bugs.toml").read_text())["bug"]
    copy(options.copy)
    plant(bugs, options.copy)
    binary = build(options.copy)
    if found := run(binary, "none", "SEED", range(0, 40)):
        sys.exit(f"without a bug: {found}")
    missed = 0
    for bug in bugs:
        if options.only not in (None, bug["name"]):
            continue
        found, at, size = "", 0, 8
        while not found and at < options.seeds:
            found = run(binary, bug["name"], "SEED", range(at, min(at + size, options.seeds)))
            at, size = at + size, size * 4
        missed += not found
        print(bug["name"], bug.get("part", "engine"), found or "MISSED", bug["what"], sep="\t", flush=True)
    print(f"planted={len(bugs)} missed={missed}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
