#!/usr/bin/env bash
# Builds the image. What it is made of is in the Dockerfile.
#
#   hack/image.sh local    for this machine, with the engine that is there: docker, podman or buildah
#   hack/image.sh files    the files of the images for all architectures, into target/image/linux_<architecture>/
#   hack/image.sh push     for all architectures, to the registry; its digest into target/image/digest
#
# IMAGE names it; default: ghcr.io/lockkeeper/lockkeeper:<version>. `files` and `push` need docker with buildx.
set -euo pipefail
cd "$(dirname "$0")/.."

fail() { echo "error: $*" >&2; exit 1; }
version=$(hack/version.sh)
commit=$(git rev-parse --short=12 HEAD)
[ -z "$(git status --porcelain)" ] || commit=$commit-modified
image=${IMAGE:-ghcr.io/lockkeeper/lockkeeper:$version}
build=(--build-arg "LOCKKEEPER_COMMIT=$commit" --build-arg "LOCKKEEPER_VERSION=$version" .)
# Times are those of the commit: equal sources give an equal image.
all=(docker buildx build --platform "linux/amd64,linux/arm64" --build-arg "SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)")

docker_answers() { command -v docker >/dev/null && docker info >/dev/null 2>&1; }
need_docker() {
  docker_answers || fail "docker with buildx is needed for several architectures, and its daemon does not answer: install or start it"
  mkdir -p target/image
}

case ${1:-} in
  local)
    if docker_answers; then
      docker buildx build --load --tag "$image" "${build[@]}"
    elif command -v podman >/dev/null; then
      podman build --tag "$image" "${build[@]}"
    elif command -v buildah >/dev/null; then
      buildah build --tag "$image" "${build[@]}"
    else
      fail "no container engine answers: start docker, or install podman (apt-get install podman); make image-check needs none"
    fi
    echo "built $image" ;;
  files)
    need_docker
    "${all[@]}" --output "type=local,dest=target/image" "${build[@]}"
    sha256sum target/image/linux_*/lockkeeper ;;
  push)
    need_docker
    "${all[@]}" --provenance mode=max --metadata-file target/image/metadata.json \
      --output "type=image,name=$image,push=true,rewrite-timestamp=true" "${build[@]}"
    sed -n 's/.*"containerimage.digest": *"\(sha256:[0-9a-f]*\)".*/\1/p' target/image/metadata.json > target/image/digest
    [ -s target/image/digest ] || fail "buildx did not say which digest it pushed: update it (0.10 or newer)"
    echo "pushed $image@$(cat target/image/digest)" ;;
  *) fail "usage: hack/image.sh local|files|push" ;;
esac
