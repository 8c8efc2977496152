# syntax=docker/dockerfile:1
# The operator's image: one static program, certificate authorities, a user. No shell, no package manager.
#
#   make image                                              for this machine, with docker, podman or buildah
#   docker buildx build --platform linux/amd64,linux/arm64 --build-arg LOCKKEEPER_COMMIT=$(git rev-parse --short=12 HEAD) .

# Compiles on the machine's own architecture for the other one, so that nothing is emulated.
FROM --platform=$BUILDPLATFORM docker.io/library/rust:1.95.0-slim-bookworm AS build
ARG TARGETARCH
ARG LOCKKEEPER_COMMIT=unknown
WORKDIR /lockkeeper
RUN set -eu; \
    case $TARGETARCH in \
      amd64) machine=x86_64 ;; \
      arm64) machine=aarch64 ;; \
      *) echo "error: no image is made for $TARGETARCH: give amd64 or arm64" >&2; exit 1 ;; \
    esac; \
    echo "$machine-unknown-linux-gnu" > /target; \
    rustup target add "$machine-unknown-linux-gnu"; \
    packages=ca-certificates; \
    if [ "$(dpkg --print-architecture)" != "$TARGETARCH" ]; then \
      packages="$packages gcc-$(echo $machine | tr _ -)-linux-gnu libc6-dev-$TARGETARCH-cross"; \
    fi; \
    apt-get update; \
    apt-get install --yes --no-install-recommends $packages; \
    rm -rf /var/lib/apt/lists/*
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/lockkeeper/target,id=target-$TARGETARCH \
    hack/rootfs.sh "$(hack/release.sh "$(cat /target)")" /rootfs

# `make image-check` builds from here on with a binary from outside, as --build-context build=DIRECTORY.
FROM scratch
ARG LOCKKEEPER_COMMIT=unknown
ARG LOCKKEEPER_VERSION=unknown
LABEL org.opencontainers.image.title="lockkeeper" \
      org.opencontainers.image.description="Progressive delivery and release management for Kubernetes, in place" \
      org.opencontainers.image.source="https://github.com/lockkeeper/lockkeeper" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$LOCKKEEPER_VERSION" \
      org.opencontainers.image.revision="$LOCKKEEPER_COMMIT"
COPY --from=build /rootfs/ /
# A number, so that runAsNonRoot can be checked without looking into the image.
USER 65532:65532
EXPOSE 8080/tcp
ENTRYPOINT ["/lockkeeper"]
CMD ["operator"]
