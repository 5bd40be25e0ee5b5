# syntax=docker/dockerfile:1
# The operator: one static binary in an empty image. No shell, no libc, no package manager, no root.
#   docker build -t domicile --build-arg VERSION=0.1.0 --build-arg REVISION=$(git rev-parse HEAD) .
ARG RUST=1.95

FROM rust:${RUST}-slim-bookworm AS build
# ring compiles C and assembly; musl-gcc does that for the static target.
RUN apt-get update \
 && apt-get install --yes --no-install-recommends musl-tools \
 && rm -rf /var/lib/apt/lists/* \
 && rustup target add "$(uname -m)-unknown-linux-musl"
ENV TARGET_CC=musl-gcc
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
COPY src src
# The operator knows the chart's policies and their values by heart, to see whether those in the cluster are the same.
COPY charts/domicile/policies charts/domicile/policies
COPY charts/domicile/values.yaml charts/domicile/further-networks.csv charts/domicile/
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    target="$(uname -m)-unknown-linux-musl" \
 && cargo build --locked --release --bin domicile --target "$target" \
 && cp "target/$target/release/domicile" /domicile \
 && ! readelf --dynamic /domicile | grep NEEDED

FROM scratch
ARG VERSION=dev
ARG REVISION=unknown
LABEL org.opencontainers.image.title="domicile" \
      org.opencontainers.image.description="A Kubernetes operator that keeps regulated data in the country it belongs to" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY LICENSE /LICENSE
COPY --from=build /domicile /domicile
USER 65532:65532
EXPOSE 8080 8443
ENTRYPOINT ["/domicile"]
CMD ["controller"]
