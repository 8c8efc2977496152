"""Whether the program finds servers by name in a root that has nothing but the image's files: names_check.py DIRECTORY

To be run as root of user and network namespaces of its own. Plays a cluster's DNS and its API server.
"""

import http.server, json, os, pathlib, socket, struct, subprocess, sys, threading

root = pathlib.Path(sys.argv[1])
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
asked = []


def names(server):
    while True:
        query, client = server.recvfrom(512)
        labels, at = [], 12
        while query[at]:
            labels.append(query[at + 1 : at + 1 + query[at]].decode())
            at += query[at] + 1
        kind = struct.unpack(">H", query[at + 1 : at + 3])[0]
        name = ".".join(labels)
        asked.append(name)
        known = name == "api.shop.svc.cluster.local"
        address = b"\xc0\x0c\0\1\0\1\0\0\0\5\0\4\x7f\0\0\1" if known and kind == 1 else b""
        counts = struct.pack(">HHHH", 1, bool(address), 0, 0)
        server.sendto(query[:2] + (b"\x81\x80" if known else b"\x81\x83") + counts + query[12 : at + 5] + address, client)


class Releases(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        release = {
            "apiVersion": "lockkeeper.dev/v1alpha1",
            "kind": "Release",
            "metadata": {"name": "checkout", "namespace": "shop"},
            "spec": {},
        }
        body = json.dumps({"apiVersion": "v1", "kind": "ReleaseList", "metadata": {}, "items": [release]}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


dns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
dns.bind(("127.0.0.1", 53))
threading.Thread(target=names, args=[dns], daemon=True).start()
api = http.server.ThreadingHTTPServer(("127.0.0.1", 8001), Releases)
threading.Thread(target=api.serve_forever, daemon=True).start()
# As the kubelet writes them.
(root / "etc/resolv.conf").write_text(
    "nameserver 127.0.0.1\nsearch shop.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n"
)
(root / "etc/hosts").write_text("127.0.0.1 localhost\n127.0.0.1 from-hosts\n")

for host, found in {"api": True, "from-hosts": True, "localhost": True, "nowhere": False}.items():
    (root / "kubeconfig").write_text(
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "c",
                "clusters": [{"name": "c", "cluster": {"server": f"http://{host}:8001"}}],
                "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
                "users": [{"name": "u", "user": {}}],
            }
        )
    )
    get = ["chroot", str(root), "/lockkeeper", "get", "-A", "--kubeconfig", "/kubeconfig"]
    done = subprocess.run(get, capture_output=True, text=True, env={"PATH": os.environ["PATH"]})
    if (done.returncode == 0 and "checkout" in done.stdout) != found or (not found and "Connect" not in done.stderr):
        sys.exit(f"error: with the API server at {host}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
if "nowhere.svc.cluster.local" not in asked:
    sys.exit(f"error: DNS was not asked with every search domain, but only for {asked}")
