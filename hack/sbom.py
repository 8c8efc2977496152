"""Makes a bill of materials exact: sbom.py GENERATED TARGET BILL

The generator knows the features of the whole workspace at once, so it also names crates that only tests need. `cargo tree` knows what
is linked into the binary, or writes code that is. Of the two, the bill is what both name; whatever the generator lacks is an error.
"""

import json, os, subprocess, sys

generated, target, path = sys.argv[1:]
# Where it was made is not in it, as in the binary.
bill = json.loads(open(generated).read().replace(f"file://{os.getcwd()}/", "file:///lockkeeper/"))
tree = ["cargo", "tree", "--locked", "--package", "lockkeeper", "--target", target, "--edges", "normal"]
lines = subprocess.run(tree + ["--prefix", "none", "--format", "{p}"], check=True, capture_output=True, text=True).stdout
ourselves = ("lockkeeper", bill["metadata"]["component"]["version"])
built = {(name, version.removeprefix("v")) for name, version in (line.split()[:2] for line in lines.splitlines() if line)} - {ourselves}
key = lambda component: (component["name"], component["version"])

faults = [f"{name} {version} is in the binary, not in the bill" for name, version in built - set(map(key, bill["components"]))]
gone = {component["bom-ref"] for component in bill["components"] if key(component) not in built}
bill["components"] = [component for component in bill["components"] if key(component) in built]
bill["dependencies"] = [
    {**entry, "dependsOn": [ref for ref in entry.get("dependsOn", []) if ref not in gone]}
    for entry in bill["dependencies"]
    if entry["ref"] not in gone
]
for component in bill["components"]:
    # Crates of this workspace have no checksum in the registry.
    for field in ["licenses", "purl"] + ([] if component["name"].startswith("lockkeeper-") else ["hashes"]):
        if not component.get(field):
            faults.append(f"{component['name']} {component['version']} has no {field}")
for fault in sorted(faults):
    print("error:", fault, file=sys.stderr)
if faults:
    sys.exit(1)
with open(path, "w") as file:
    json.dump(bill, file, indent=2)
    file.write("\n")
print(f"{path}: {len(bill['components'])} crates, each with version, licence and package URL, as linked")
