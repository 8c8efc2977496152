#!/usr/bin/env python3
"""Mutation tests of the engine: changes it in small ways, one at a time, and counts the changes that tests notice: the engine's own,
and for those that they miss the first of the simulator's seeds and plans that `make test` plays.

cargo-mutants says which changes there are. All of them are in one build, and which is in force is said at run time, so that one costs
seconds: a change that does not compile is taken out of the build again. Only tests that reach a change are run for it, the quick ones first.
What is caught, and what does not compile, is kept in DIR until these lines are edited: a run that was broken off goes on, and one after new
tests only tries the rest.

usage: mutants.py [--jobs N] [--only PART] [--seeds N] DIR   (DIR: a copy of the sources and what is known)
"""

import argparse
import collections
import hashlib
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WANTED = 95.0
ENGINE = ("engine_units", "decide")
SIMULATOR = "sim"
LIBRARY = "src/engine/lib.rs"
CAUGHT, PLAYED, MISSED, UNVIABLE = "caught", "caught by the simulator", "missed", "unviable"
QUESTION = '''
/// Whether a change is in force. In copies for `make mutants` only.
pub fn mutant(number: usize) -> bool {
    use std::{env, fs::File, io::Write, sync::{LazyLock, Mutex, atomic::{AtomicBool, Ordering}}};
    static CHOSEN: LazyLock<usize> = LazyLock::new(|| env::var("LOCKKEEPER_MUTANT").map_or(0, |number| number.parse().unwrap()));
    static REACHED: LazyLock<Option<Mutex<File>>> = LazyLock::new(|| env::var("LOCKKEEPER_REACHED").ok().map(|path| Mutex::new(File::create(path).unwrap())));
    static SEEN: [AtomicBool; 8192] = [const { AtomicBool::new(false) }; 8192];
    if let Some(file) = &*REACHED && !SEEN[number].swap(true, Ordering::Relaxed) {
        writeln!(file.lock().unwrap(), "{number}").unwrap();
    }
    *CHOSEN == number
}
'''


@dataclass
class Mutant:
    number: int
    file: str
    name: str  # without line and column
    genre: str
    returns: str
    start: int  # bytes
    end: int
    replacement: str
    fate: str = ""  # UNVIABLE, or "apart": one build cannot have it, and it counts as not caught

    @property
    def question(self) -> str:
        return f"crate::mutant({self.number})"

    def instead(self, change: str, text: str) -> str:
        """An expression; the mark leads from a message of the compiler to the change."""
        return f"(if {self.question} {{\n/*mutant {self.number}*/ {change}\n}} else {{ {text} }})"


def tool(name: str) -> str:
    return subprocess.run([ROOT / "hack/tool.sh", name], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def listed() -> list[Mutant]:
    command = [tool("cargo-mutants"), "mutants", "-p", "lockkeeper-engine", "--list", "--json"]
    found = json.loads(subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout)
    mutants, sources = [], {}
    for number, one in enumerate(found, 1):
        lines = sources.setdefault(one["file"], (ROOT / one["file"]).read_text().split("\n"))

        def offset(at: dict) -> int:
            before = sum(len(line.encode()) + 1 for line in lines[: at["line"] - 1])
            return before + len(lines[at["line"] - 1][: at["column"] - 1].encode())

        name = re.sub(r"^(\S+?):\d+:\d+: ", r"\1: ", one["name"])
        returns = (one["function"] or {}).get("return_type", "")
        span = one["span"]
        mutants.append(Mutant(number, one["file"], name, one["genre"], returns, offset(span["start"]), offset(span["end"]), one["replacement"]))
    return mutants


class Planter:
    """Writes one file with all of its changes."""

    def __init__(self, data: bytes, mutants: list[Mutant], parser):
        self.data, self.tree = data, parser.parse(data)
        self.by_start = collections.defaultdict(list)
        for mutant in mutants:
            if not mutant.fate:
                self.by_start[mutant.genre, mutant.start].append(mutant)
        self.planted: set[int] = set()

    def write(self) -> str:
        return self.raw(0, self.tree.root_node.start_byte) + self.node(self.tree.root_node)

    def raw(self, start: int, end: int) -> str:
        return self.data[start:end].decode()

    def take(self, genre: str, start: int, end: int | None = None) -> list[Mutant]:
        found = [one for one in self.by_start.get((genre, start), []) if one.number not in self.planted and end in (None, one.end)]
        self.planted |= {one.number for one in found}
        return found

    def node(self, node) -> str:
        """The text of a node. Within a change the original stands, within the original all other changes."""
        if node.type in ("const_item", "static_item"):
            return node.text.decode()  # is evaluated by the compiler
        if node.type == "function_modifiers":
            return node.text.decode().removeprefix("const")
        pieces, at = [], node.start_byte
        for child in node.children:
            pieces += [self.raw(at, child.start_byte), self.node(child)]
            at = child.end_byte
        text = "".join(pieces) + self.raw(at, node.end_byte)
        match node.type:
            case "binary_expression" | "compound_assignment_expr":
                text = self.operator(node, text)
            case "let_chain":
                for operator in node.children:
                    for mutant in self.take("BinaryOperator", operator.start_byte):
                        mutant.fate = UNVIABLE  # a chain has no other operator
            case "unary_expression":
                for mutant in self.take("UnaryOperator", node.start_byte):
                    text = mutant.instead(self.raw(mutant.end, node.end_byte), text)
            case "block" if node.parent.type == "function_item":
                text = self.body(node, text)
            case "struct_expression":
                text = self.fields(node, text)
            case "match_arm":
                for mutant in self.take("MatchArm", node.start_byte):
                    pattern = self.node(node.child_by_field_name("pattern"))
                    text = f"{pattern} if\n/*mutant {mutant.number}*/ !{mutant.question}\n{text[len(pattern):]}"
        if node.parent is not None and node.parent.type == "match_pattern":
            for mutant in self.take("MatchArmGuard", node.start_byte, node.end_byte):
                text = mutant.instead(mutant.replacement, text)
        return text

    def operator(self, node, text: str) -> str:
        operator = node.child_by_field_name("operator")
        for mutant in self.take("BinaryOperator", operator.start_byte):
            change = self.raw(node.start_byte, operator.start_byte) + mutant.replacement + self.raw(operator.end_byte, node.end_byte)
            text = mutant.instead(change, text)
        return text

    def body(self, block, text: str) -> str:
        first = next((child for child in block.named_children if not child.type.endswith("_comment")), None)
        early = ""
        for mutant in self.take("FnValue", first.start_byte) if first else []:
            early += f"if {mutant.question} {{\n/*mutant {mutant.number}*/ return {mutant.replacement};\n}}\n"
        return "{ " + early + text[1:]

    def fields(self, node, text: str) -> str:
        for field in node.child_by_field_name("body").children:
            for mutant in self.take("StructField", field.start_byte):
                comma = re.match(rb"\s*,", self.data[field.end_byte :])
                after = field.end_byte + (comma.end() if comma else 0)
                text = mutant.instead(self.raw(node.start_byte, field.start_byte) + self.raw(after, node.end_byte), text)
        return text


def copy(to: Path, planted: set[str]) -> None:
    """Copies what there is, but for what is planted: that is written where it differs, so that cargo compiles nothing twice."""
    files = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, check=True, stdout=subprocess.PIPE)
    for name in filter(None, files.stdout.decode().split("\0")):
        if (ROOT / name).is_file() and not (name in planted and (to / name).exists()):
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, to / name)
    # The questions are not written as we write; and what users of our crates must not do, a test may.
    manifest = to / "Cargo.toml"
    manifest.write_text(re.sub(r'= "(deny|forbid)"', '= "allow"', manifest.read_text()))
    # The tests beside the code as a target with a name: those of other crates are not built.
    manifest = to / "src/engine/Cargo.toml"
    manifest.write_text(manifest.read_text() + '\n[[test]]\nname = "engine_units"\npath = "lib.rs"\n')


def plant(mutants: list[Mutant], to: Path) -> None:
    import tree_sitter
    import tree_sitter_rust

    parser = tree_sitter.Parser(tree_sitter.Language(tree_sitter_rust.language()))
    for file in {mutant.file for mutant in mutants} | {LIBRARY}:
        own = [mutant for mutant in mutants if mutant.file == file]
        for mutant in own:
            if mutant.genre == "FnValue" and "impl " in mutant.returns:
                mutant.fate = "apart"  # one function has one type
        planter = Planter((ROOT / file).read_bytes(), own, parser)
        text = planter.write() + (QUESTION if file == LIBRARY else "")
        if (to / file).read_text() != text:
            (to / file).write_text(text)
        for mutant in own:
            if not mutant.fate and mutant.number not in planter.planted:
                mutant.fate = "apart"


def build(mutants: list[Mutant], to: Path, targets: tuple[str, ...], known: "Known") -> dict[str, str]:
    """The test binaries by name. What does not compile is taken out."""
    # Never our own target directory: cargo takes what it has built of another copy for this one's.
    environment = dict(os.environ, CARGO_TARGET_DIR=str(to.parent / "target"), CARGO_PROFILE_DEV_OPT_LEVEL="1", CARGO_INCREMENTAL="1")
    command = ["cargo", "test", "--quiet", "--workspace", *(f"--test={name}" for name in targets), "--no-run", "--message-format=json"]
    while True:
        plant(mutants, to)
        done = subprocess.run(command, cwd=to, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        messages = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        if done.returncode == 0:
            return {m["target"]["name"]: m["executable"] for m in messages if m.get("executable") and m["profile"]["test"]}
        refused = set()
        for message in messages:
            if message["reason"] == "compiler-message" and message["message"]["level"] == "error":
                refused |= marked(message["message"]["spans"], to)
        if not refused:
            sys.exit(f"the copy does not build:\n{done.stderr}")
        for mutant in mutants:
            if mutant.number in refused:
                mutant.fate = UNVIABLE
                known.add(mutant, UNVIABLE)


def marked(spans: list[dict], to: Path) -> set[int]:
    """The changes within the lines of a message: where it points to, else where it refers to."""
    found = {True: set(), False: set()}
    for span in spans:
        if (to / span["file_name"]).is_file():
            lines = (to / span["file_name"]).read_text().split("\n")[span["line_start"] - 1 : span["line_end"]]
            found[span["is_primary"]] |= {int(number) for line in lines for number in re.findall(r"/\*mutant (\d+)\*/", line)}
    return found[True] or found[False]


@dataclass
class Tests:
    binaries: dict[str, str]
    directory: Path
    # By number of the change: the tests that reach it, with their seconds.
    reached: dict[int, list[tuple[float, str, str]]]
    # By file: the tests that noticed changes in it, the latest first. They will notice the next one, most likely.
    keen: dict[str, list[str]]
    seeds: int

    def run(self, binary: str, names: list[str], limit: float | None = None, **environment: str) -> subprocess.CompletedProcess:
        environment = dict(os.environ, RUSTC_BOOTSTRAP="1", RUST_BACKTRACE="0", PROPTEST_CASES="16", PROPTEST_MAX_SHRINK_ITERS="0", **environment)
        # A loop without end may want all of the memory. Seconds of the processor, because a busy machine is none.
        limits = {resource.RLIMIT_AS: 6 << 30} | ({resource.RLIMIT_CPU: int(limit)} if limit else {})
        command = [self.binaries[binary], "-Zunstable-options", "--fail-fast", "--test-threads=1", "--exact", *names]
        if binary == SIMULATOR:
            command = command[:1]
            none = {"LOCKKEEPER_SEEDS": "0..0", "LOCKKEEPER_PLANS": "0..0", "LOCKKEEPER_THREADS": "1"}
            environment |= none | dict(name.split("=") for name in names)
        return subprocess.run(
            command, cwd=self.directory, env=environment, timeout=limit and 30 * limit, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            errors="replace", preexec_fn=lambda: [resource.setrlimit(what, (most, most)) for what, most in limits.items()],
        )

    def learn(self, jobs: int) -> None:
        """Runs each test alone, without a change."""

        def one(test: tuple[str, str]) -> tuple[float, tuple[str, str], set[int]]:
            with tempfile.NamedTemporaryFile() as file:
                began = time.monotonic()
                if self.run(test[0], [test[1]], LOCKKEEPER_REACHED=file.name).returncode:
                    sys.exit(f"without a change, this fails: {test[1]}")
                return time.monotonic() - began, test, {int(number) for number in Path(file.name).read_text().split()}

        tests = []
        for name, path in self.binaries.items():
            if name == SIMULATOR:
                tests += [(name, f"LOCKKEEPER_{what}={at}..{at + 1}") for what in ("SEEDS", "PLANS") for at in range(self.seeds)]
                continue
            said = subprocess.run([path, "--list", "--format", "terse"], stdout=subprocess.PIPE, text=True, check=True).stdout
            tests += [(name, line.removesuffix(": test")) for line in said.splitlines() if line.endswith(": test")]
        with ThreadPoolExecutor(jobs) as pool:
            for seconds, (binary, test), numbers in pool.map(one, tests):
                for number in numbers:
                    self.reached[number].append((seconds, binary, test))
        print(f"{len(tests)} tests reach {len(self.reached)} changes", file=sys.stderr, flush=True)

    def judge(self, mutant: Mutant) -> str:
        """Goes from quick tests to slow ones, in groups that grow."""
        keen = self.keen[mutant.file]
        left = sorted(self.reached[mutant.number], key=lambda one: (keen.index(one[2]) if one[2] in keen else len(keen), one))
        if not left:
            return "no test reaches it"
        # Each seed of the simulator is a run of its own.
        size, growth = (1, 1) if SIMULATOR in self.binaries else (3, 3)
        while left:
            group, left, size = left[:size], left[size:], size * growth
            limit = 20 + 10 * sum(seconds for seconds, _, _ in group)
            for binary in self.binaries:
                names = [test for _, of, test in group if of == binary]
                if names and (noticed := self.notices(binary, names, limit, mutant)):
                    keen[:] = [noticed, *(name for name in keen if name != noticed)][:40]
                    return CAUGHT
        return MISSED

    def notices(self, binary: str, names: list[str], limit: float, mutant: Mutant) -> str:
        """The test that notices a change, or nothing. That it runs for ever is noticed, too."""
        try:
            done = self.run(binary, names, limit, LOCKKEEPER_MUTANT=str(mutant.number))
        except subprocess.TimeoutExpired:
            return names[0]
        failed = re.search(r"^test (\S+) .*FAILED$", done.stdout, re.M)
        return (failed[1] if failed else names[0]) if done.returncode else ""


class Known:
    """What was caught and by whom, and what does not compile, by name and by the lines that are changed."""

    def __init__(self, path: Path, mutants: list[Mutant]):
        self.path = path
        self.fates: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
        self.keys, seen = {}, collections.Counter()
        for mutant in mutants:
            data = (ROOT / mutant.file).read_bytes()
            lines = data[data.rfind(b"\n", 0, mutant.start) + 1 : mutant.end + data[mutant.end :].find(b"\n")]
            key = f"{mutant.name} {hashlib.sha256(lines).hexdigest()[:12]}"
            seen[key] += 1
            self.keys[mutant.number] = f"{key} {seen[key]}"

    def fate(self, mutant: Mutant) -> str | None:
        return self.fates.get(self.keys[mutant.number])

    def add(self, mutant: Mutant, fate: str) -> None:
        self.fates[self.keys[mutant.number]] = fate
        self.path.write_text(json.dumps(self.fates, indent=0, sort_keys=True))


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--jobs", type=int, default=2)
    options.add_argument("--only", default="", help="a part of the names, such as decide/idle.rs")
    options.add_argument("--seeds", type=int, default=20, help="of the simulator, and as many plans; 0: only the engine's own tests")
    options.add_argument("directory", type=Path)
    options = options.parse_args()
    sys.path.insert(0, tool("tree-sitter-rust"))
    to = (options.directory / "sources").resolve()
    mutants = listed()
    copy(to, {mutant.file for mutant in mutants} | {LIBRARY})
    known = Known(options.directory / "known.json", mutants)
    for mutant in mutants:
        if known.fate(mutant) == UNVIABLE:
            mutant.fate = UNVIABLE
    asked = [mutant for mutant in mutants if options.only in mutant.name]
    fates = judge_all(mutants, asked, to, ENGINE, known, options)
    missed = [mutant for mutant in asked if fates.get(mutant.number, CAUGHT) not in (CAUGHT, PLAYED, "not tried")]
    if options.seeds and missed:
        fates |= judge_all(mutants, missed, to, (SIMULATOR,), known, options)
    return report(asked, fates)


def judge_all(mutants: list[Mutant], asked: list[Mutant], to: Path, targets: tuple[str, ...], known: Known, options) -> dict[int, str]:
    """The fates of those asked for, by number, as these tests see them; or as known already."""
    tests = Tests(build(mutants, to, targets, known), to / "src/engine", collections.defaultdict(list), collections.defaultdict(list), options.seeds)
    tests.learn(options.jobs)

    def judged(mutant: Mutant) -> tuple[Mutant, str]:
        if mutant.fate == "apart":
            return mutant, "not tried"
        if fate := known.fate(mutant):
            return mutant, fate
        fate = tests.judge(mutant)
        return mutant, PLAYED if fate == CAUGHT and targets == (SIMULATOR,) else fate

    viable, fates = [mutant for mutant in asked if mutant.fate != UNVIABLE], {}
    with ThreadPoolExecutor(options.jobs) as pool:
        for done, (mutant, fate) in enumerate(pool.map(judged, viable), 1):
            fates[mutant.number] = fate
            if fate in (CAUGHT, PLAYED):
                known.add(mutant, fate)
            else:
                print(fate, mutant.name, sep="\t", file=sys.stderr, flush=True)
            if done % 100 == 0:
                print(f"{done} of {len(viable)}", file=sys.stderr, flush=True)
    return fates


def report(mutants: list[Mutant], fates: dict[int, str]) -> int:
    justified = (ROOT / "src/MUTANTS.md").read_text()
    survivors = [mutant for mutant in mutants if fates.get(mutant.number, CAUGHT) not in (CAUGHT, PLAYED)]
    for mutant in survivors:
        line = (ROOT / mutant.file).read_bytes()[: mutant.start].count(b"\n") + 1
        known = "justified" if mutant.name.split(": ", 1)[1].replace("|", "\\|") in justified else "NEW"
        print(known, fates[mutant.number], f"{mutant.file}:{line}", mutant.name.split(": ", 1)[1], sep="\t")
    viable, caught = len(fates), len(fates) - len(survivors)
    score = 100 * caught / viable
    played = sum(fate == PLAYED for fate in fates.values())
    print(f"mutants={len(mutants)} viable={viable} caught={caught} simulator={played} survivors={len(survivors)} score={score:.1f}%")
    if score < WANTED:
        print(f"error: less than {WANTED} % are caught: write the test that a survivor above asks for, or remove the code that makes no difference", file=sys.stderr)
    return 1 if score < WANTED else 0


if __name__ == "__main__":
    sys.exit(main())
