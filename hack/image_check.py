"""Checks an image in an OCI layout and unpacks it: image_check.py LAYOUT BINARY DIRECTORY"""

import gzip, hashlib, io, json, pathlib, struct, sys, tarfile

layout, binary, directory = map(pathlib.Path, sys.argv[1:])
BUDGET = 20_000_000  # bytes of the program
INTERPRETER = 3  # the type of an ELF program header that names a dynamic loader
faults = []


def expect(what, found, wanted):
    if found != wanted:
        faults.append(f"{what} is {found!r}, not {wanted!r}")


def blob(descriptor):
    return (layout / "blobs" / descriptor["digest"].replace(":", "/")).read_bytes()


index = json.loads((layout / "index.json").read_text())
manifest = json.loads(blob(index["manifests"][0]))
config = json.loads(blob(manifest["config"]))["config"]
expect("the user", config.get("User"), "65532:65532")
expect("the entry point", config.get("Entrypoint"), ["/lockkeeper"])
expect("the command", config.get("Cmd"), ["operator"])
expect("the working directory", config.get("WorkingDir", "/"), "/")
expect("the volumes", config.get("Volumes"), None)
labels = {name.removeprefix("org.opencontainers.image."): value for name, value in config["Labels"].items()}
expect("the licence", labels.get("licenses"), "Apache-2.0")
expect("the revision", labels.get("revision"), "checked")
for name in ["title", "description", "source", "version"]:
    if not labels.get(name):
        faults.append(f"the label org.opencontainers.image.{name} is missing")

files = {}
for layer in manifest["layers"]:
    content = blob(layer)
    content = gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        for member in archive:
            if member.isdir():
                expect(f"the mode of {member.name}", oct(member.mode & 0o7777), oct(0o755))
            else:
                files[member.name.removeprefix("./")] = (member.isreg(), oct(member.mode & 0o7777), member.uid, member.gid)
        archive.extractall(directory, filter="data")
wanted = {
    "lockkeeper": 0o755,
    "etc/passwd": 0o644,
    "etc/group": 0o644,
    "etc/ssl/certs/ca-certificates.crt": 0o644,
    "licenses/LICENSE": 0o644,
}
# Nothing belongs to the user that it runs as: it can change nothing of its own.
expect("the list of files", files, {name: (True, oct(mode), 0, 0) for name, mode in wanted.items()})
digest = lambda path: hashlib.sha256(path.read_bytes()).hexdigest()
expect("the program", digest(directory / "lockkeeper"), digest(binary))

program = binary.read_bytes()
(headers,), (size, count) = struct.unpack_from("<Q", program, 32), struct.unpack_from("<HH", program, 54)
if program[:5] != b"\x7fELF\x02":
    faults.append("the program is no ELF file of 64 bits")
elif any(struct.unpack_from("<I", program, headers + n * size)[0] == INTERPRETER for n in range(count)):
    faults.append("the program is not static: it asks for a dynamic loader")
if len(program) > BUDGET:
    faults.append(f"the program has {len(program)} bytes, more than {BUDGET}")

for fault in faults:
    print("error:", fault, file=sys.stderr)
sys.exit(bool(faults))
