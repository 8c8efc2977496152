"""Whether a bill of materials names all that is in the binary: sbom_check.py BILL TARGET

Against `cargo tree`: every crate that is linked in or whose macros write code that is, with version, licence and address.
"""

import json, subprocess, sys

path, target = sys.argv[1:]
bill = json.load(open(path))
tree = ["cargo", "tree", "--locked", "--package", "lockkeeper", "--target", target, "--edges", "normal"]
lines = subprocess.run(tree + ["--prefix", "none", "--format", "{p}"], check=True, capture_output=True, text=True).stdout
built = {tuple(line.split()[:2]) for line in lines.splitlines() if line}
built = {(name, version.removeprefix("v")) for name, version in built} - {("lockkeeper", bill["metadata"]["component"]["version"])}

components = bill["components"]
named = {(component["name"], component["version"]) for component in components}
faults = [f"{name} {version} is in the binary, not in the bill" for name, version in sorted(built - named)]
faults += [f"{name} {version} is in the bill, not in the binary" for name, version in sorted(named - built)]
for component in components:
    ours = component["name"].startswith("lockkeeper-")
    for field in ["licenses", "purl"] + ([] if ours else ["hashes"]):
        if not component.get(field):
            faults.append(f"{component['name']} {component['version']} has no {field}")
if not built:
    faults.append("cargo tree names no crate")
for fault in faults:
    print("error:", fault, file=sys.stderr)
if faults:
    sys.exit(1)
print(f"{path}: {len(named)} crates, each with version, licence and package URL, as linked")
