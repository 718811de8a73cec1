# The image of the provider: one static program, the certificates it trusts, and nothing else.
#
#   docker buildx build --platform linux/amd64,linux/arm64 --tag IMAGE \
#     --build-arg VERSION=0.1.1 --build-arg REVISION=$(git rev-parse HEAD) --build-arg CREATED=$(git log -1 --format=%cI) \
#     --build-arg SOURCE_DATE_EPOCH=$(git log -1 --format=%ct) --output type=image,rewrite-timestamp=true .
#
# "make image" packs the last stage with a root that was built outside (image/pack), where no base image can be had.
# Both build the root by image/root. docs/decisions/0019 says why it is glibc, and why root.

ARG RUST=docker.io/library/rust:1.95.0-bookworm
FROM --platform=$BUILDPLATFORM ${RUST} AS build
ARG TARGETARCH
ARG SOURCE_DATE_EPOCH=0
RUN if [ "$TARGETARCH" = arm64 ] && [ "$(uname -m)" != aarch64 ]; then \
        apt-get update && apt-get install -y --no-install-recommends gcc-aarch64-linux-gnu libc6-dev-arm64-cross; \
    elif [ "$TARGETARCH" = amd64 ] && [ "$(uname -m)" != x86_64 ]; then \
        apt-get update && apt-get install -y --no-install-recommends gcc-x86-64-linux-gnu libc6-dev-amd64-cross; \
    fi \
    && cargo install --locked cargo-auditable@0.7.7
WORKDIR /src
COPY . .
RUN image/root "$TARGETARCH" /root-of-image

FROM scratch
ARG VERSION
ARG REVISION
ARG CREATED
COPY --from=build /root-of-image/ /
LABEL org.opencontainers.image.title="provider-azure-rs" \
      org.opencontainers.image.description="Azure Key Vault provider for the Kubernetes Secrets Store CSI Driver" \
      org.opencontainers.image.source="https://github.com/provider-azure-rs/provider-azure-rs" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"
# Azure's SDK would take a backtrace for each header that an answer lacks, if RUST_BACKTRACE is set. Panics still have theirs.
ENV PATH=/usr/bin RUST_LIB_BACKTRACE=0
# The sockets' folder belongs to the node's root, and so does the driver that calls.
USER 0:0
ENTRYPOINT ["/usr/bin/provider-azure-rs"]
