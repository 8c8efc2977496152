#!/usr/bin/env bash
# Builds the Dockerfile's last stage around a release binary that is there, without a container engine, and looks at the
# result: its configuration, its files, and the program in a root that has nothing else.
#
#   hack/image-check.sh BINARY
#
# Needs Linux with user namespaces. Buildah comes from the PATH, else from Debian, unpacked into the cache, not installed.
set -euo pipefail
cd "$(dirname "$0")/.."
binary=$(realpath "${1:?usage: hack/image-check.sh BINARY}")
cache=${LOCKKEEPER_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/lockkeeper}

fail() { echo "error: $*" >&2; exit 1; }
work=$(mktemp -d)
# Files of the namespace's other users are not ours outside.
trap 'unshare --user --map-root-user rm -rf "$work" 2>/dev/null || rm -rf "$work"' EXIT
unshare --user --map-root-user true 2>/dev/null ||
  fail "user namespaces are not allowed here: sysctl kernel.unprivileged_userns_clone=1 (Debian), kernel.apparmor_restrict_unprivileged_userns=0 (Ubuntu), user.max_user_namespaces above 0"

# Prints the root of an unpacked buildah, or nothing where one is on the PATH.
buildah_root() {
  ! command -v buildah >/dev/null || return 0
  { command -v apt-get && command -v dpkg-deb; } >/dev/null ||
    fail "buildah is missing and this is no Debian: install buildah 1.28 or newer so that it is on the PATH"
  local home
  home=$cache/buildah-$(. /etc/os-release && echo "${VERSION_CODENAME:-unknown}")
  if [ ! -d "$home" ]; then
    echo "buildah: unpacking Debian's package, once" >&2
    mkdir -p "$work/debian/lists/partial" "$work/debian/archives/partial" "$home.partial"
    # Lists of our own, because the machine's may be missing or old, and are root's.
    local options=(-qq -o "Dir::State::Lists=$work/debian/lists" -o "Dir::Cache=$work/debian" -o Debug::NoLocking=1
      -o APT::Sandbox::User="$(id -un)")
    apt-get "${options[@]}" update >&2 || fail "Debian's package lists cannot be fetched, for the reason above"
    (cd "$work/debian" && apt-get "${options[@]}" download buildah libgpgme11 libassuan0 libgpg-error0 libseccomp2 libdevmapper1.02.1) >&2 ||
      fail "buildah cannot be downloaded, for the reason above: install it (apt-get install buildah)"
    for package in "$work"/debian/*.deb; do dpkg-deb -x "$package" "$home.partial"; done
    mv "$home.partial" "$home"
  fi
  echo "$home"
}
root=$(buildah_root)
echo '{"default": [{"type": "insecureAcceptAnything"}]}' > "$work/policy.json"
buildah() { # as root of a user namespace of its own, which is all that a stage without RUN needs
  local libraries=("$root"/usr/lib/*-linux-gnu)
  BUILDAH_ISOLATION=chroot _CONTAINERS_USERNS_CONFIGURED=1 LD_LIBRARY_PATH=${root:+${libraries[0]}} \
    unshare --user --map-root-user --mount "${root:+$root/usr/bin/}buildah" --root "$work/storage" --runroot "$work/run" --storage-driver vfs "$@"
}

hack/rootfs.sh "$binary" "$work/context/rootfs"
mkdir "$work/empty"
buildah build --quiet --signature-policy "$work/policy.json" --timestamp 0 --tag checked --build-arg LOCKKEEPER_COMMIT=checked \
  --build-context "build=$work/context" --file Dockerfile "$work/empty" > "$work/id" 2>"$work/log" || { cat "$work/log" >&2; fail "the image cannot be built"; }
buildah push --quiet --signature-policy "$work/policy.json" checked "oci:$work/oci" >/dev/null
python3 hack/image_check.py "$work/oci" "$binary" "$work/image"

# The unpacked image as the whole file system, with neither /proc nor /dev, as user 65532 of it.
inside() { unshare --user --map-root-user --net chroot "$work/image" /lockkeeper "$@"; }
inside --version
inside operator --help | grep -q -- --prometheus-url || fail "lockkeeper operator --help does not show its flags"
unshare --user --map-root-user --net python3 hack/names_check.py "$work/image"
echo "image checked: $(du -bs "$work/image" | cut -f1) bytes of files"
