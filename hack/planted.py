#!/usr/bin/env python3
"""Plants bugs into a copy of the sources, one at a time, and counts the seeds that the simulator needs to catch each.

All are in one build; which is in force is said at run time. The product's own code knows nothing of it. Each bug meets the same seeds, from 0 on:
swells, or those of the `weather` in which it is known to strike, then as many as it says.
A seed that fails without a bug, too, says nothing of one. A bug is caught when more than a stray few of the others fail, and the first of them
fails in the same way, to the byte, when it is played again. Exits 1 if a bug is missed.

usage: planted.py [--seeds N] [--only NAME,NAME] [--threads N] [--table FILE] COPY
       planted.py
COPY: a directory for the sources and what is built of them; none: only looks whether each bug can still be planted. --table: writes the table
into this page.
"""

import argparse
import collections
import functools
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PARTS = ["src", "e2e", "charts", "config", "Cargo.toml", "Cargo.lock", "rustfmt.toml", "clippy.toml"]
QUESTION = '''
/// Whether a bug is in force. In copies for `make planted` only.
pub fn planted(name: &str) -> bool {
    static NAME: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    NAME.get_or_init(|| std::env::var("LOCKKEEPER_PLANTED").unwrap_or_default()) == name
}
'''
HEAD = ["| bug | part | what | caught by | seeds needed |", "|---|---|---|---|---|"]
# A run that goes another way may meet a fault of ours that has nothing to do with the bug: so many seeds prove nothing.
STRAY = 2


def sources() -> dict[str, bytes]:
    """Every file of the sources by its path."""
    files = {}
    for part in map(ROOT.joinpath, PARTS):
        for path in part.rglob("*") if part.is_dir() else [part]:
            if path.is_file():
                files[str(path.relative_to(ROOT))] = path.read_bytes()
    return files


def plant(bugs: list, files: dict[str, bytes]) -> None:
    for bug in bugs:
        for edit in bug["edits"]:
            crate = "crate" if edit["file"].startswith("src/engine/") else "lockkeeper_engine"
            planted = edit["plant"].replace("PLANTED", f'{crate}::planted("{bug["name"]}")')
            text = files[edit["file"]].decode()
            if text.count(edit["find"]) != 1:
                sys.exit(f"{bug['name']}: {edit['find']!r} stands {text.count(edit['find'])} times in {edit['file']}: mend bugs.toml")
            files[edit["file"]] = text.replace(edit["find"], planted).encode()
    files["src/engine/lib.rs"] += QUESTION.encode()


def write(files: dict[str, bytes], to: Path) -> None:
    """Makes a directory hold these files; what is so already stays as it is, so that only what has changed is built again."""
    for part in map(to.joinpath, PARTS):
        for path in part.rglob("*") if part.is_dir() else []:
            if path.is_file() and str(path.relative_to(to)) not in files:
                path.unlink()
    for name, content in files.items():
        path = to / name
        if not path.exists() or path.read_bytes() != content:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


def build(to: Path) -> str:
    command = ["cargo", "test", "--profile", "sim", "-p", "lockkeeper-simulator", "--test", "sim", "--no-run", "--message-format=json"]
    # Not where the sources themselves are built: one would be taken for the other.
    environment = dict(os.environ, CARGO_TARGET_DIR=str((to / "target").resolve()))
    done = subprocess.run(command, cwd=to, env=environment, stdout=subprocess.PIPE, text=True)
    for line in done.stdout.splitlines():
        message = json.loads(line)
        if done.returncode and message["reason"] == "compiler-message":
            print(message["message"]["rendered"], file=sys.stderr)
        if not done.returncode and message.get("executable") and message["target"]["name"] == "sim":
            return message["executable"]
    sys.exit("the planted copy does not build")


class Simulator:
    def __init__(self, binary: str, threads: int):
        self.binary, self.threads = binary, threads

    def play(self, bug: str, weather: str, seeds: range) -> str:
        """What is said of these seeds."""
        environment = dict(os.environ, LOCKKEEPER_PLANTED=bug, LOCKKEEPER_THREADS=str(self.threads), LOCKKEEPER_SEEDS="0..0", LOCKKEEPER_PLANS="0..0")
        environment[f"LOCKKEEPER_{weather}"] = f"{seeds.start}..{seeds.stop}"
        done = subprocess.run([self.binary], env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        if not re.search(r"^plans=0 seeds=\d+ failures=\d+$", done.stdout, re.M):
            sys.exit(f"{bug}: the simulator does not say how seeds {seeds.start}..{seeds.stop} have ended")
        return done.stdout

    def failures(self, bug: str, weather: str, seeds: range) -> dict[int, str]:
        """Which seeds fail, in order, and which promise each has broken first. (Seeds that are played beside these do not count.)"""
        said = re.findall(rf"^LOCKKEEPER_{weather}=(\d+)\.\.\d+: (.*)", self.play(bug, weather, seeds), re.M)
        promise = [(int(seed), re.search(r"\bS\d+\b", why)) for seed, why in said]
        return {seed: broken[0] if broken else "it ends" for seed, broken in sorted(promise, key=lambda pair: pair[0]) if seed in seeds}

    @functools.cache
    def known(self, weather: str, seeds: range) -> frozenset[int]:
        """The seeds that fail without a bug, too."""
        failures = self.failures("none", weather, seeds)
        for seed, promise in failures.items():
            print(f"without a bug: {weather.lower()} {seed} ({promise})", flush=True)
        return frozenset(failures)

    def replays(self, bug: str, weather: str, seed: int) -> bool:
        """Whether a failing seed goes the same way to the byte, with its whole trace, when it is played again; but for how long it took."""
        said = [self.play(bug, weather, range(seed, seed + 1)) for _ in range(2)]
        one, again = (re.sub(r"[0-9.]+m?s on \d+ threads", "", text) for text in said)
        return one == again and one.count("\n") > 100


def row(simulator: Simulator, bug: dict, seeds: int) -> tuple[str, bool]:
    """What the table says of a bug, and whether it is caught."""
    weather, seeds = bug.get("weather", "swells").upper(), bug.get("seeds", seeds)
    found, at, size = {}, 0, 8
    while len(found) <= STRAY and at < seeds:
        some = range(at, min(at + size, seeds))
        failures, known = simulator.failures(bug["name"], weather, some), simulator.known(weather, some)
        found |= {seed: promise for seed, promise in failures.items() if seed not in known}
        at, size = at + size, size * 2
    caught = len(found) > STRAY
    first = min(found, default=0)
    if caught and not simulator.replays(bug["name"], weather, first):
        sys.exit(f"{bug['name']}: seed {first} goes another way when it is played again")
    promises = collections.Counter(found.values()).most_common()
    by = ", ".join(promise for promise, _ in promises) if caught else f"MISSED {found or ''}"
    return f"| {bug['name']} | {bug.get('part', 'engine')} | {bug['what']} | {by} | {first + 1 if caught else '-'} |", caught


def note(page: Path, rows: list[str]) -> None:
    """Replaces the table at the end of a page."""
    text = page.read_text()
    page.write_text(text[: text.index(HEAD[0])] + "\n".join(HEAD + rows) + "\n")


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seeds", type=int, default=400)
    options.add_argument("--only", default="")
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--table", type=Path)
    options.add_argument("copy", type=Path, nargs="?")
    options = options.parse_args()
    bugs = tomllib.loads((ROOT / "src/simulator/planted/bugs.toml").read_text())["bug"]
    files = sources()
    plant(bugs, files)
    if not options.copy:
        return 0
    write(files, options.copy)
    simulator = Simulator(build(options.copy), options.threads)
    only = set(options.only.split(",")) - {""}
    rows, missed = [], 0
    for bug in bugs:
        if only and bug["name"] not in only:
            continue
        line, caught = row(simulator, bug, options.seeds)
        missed += not caught
        rows.append(line)
        print(line, flush=True)
    if options.table and not only:
        note(options.table, rows)
    print(f"planted={len(rows)} missed={missed}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
