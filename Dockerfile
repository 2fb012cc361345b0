# The image: one static binary, no shell, no root. `docker build -t sidegate .`
#
# rust-toolchain.toml is not copied on purpose: the image already has the pinned toolchain, and rustup
# would otherwise download clippy and rustfmt, which are not used.
FROM rust:1.95-bookworm AS build
RUN apt-get update \
 && apt-get install -y --no-install-recommends musl-tools \
 && rm -rf /var/lib/apt/lists/* \
 && rustup target add "$(uname -m)-unknown-linux-musl"
WORKDIR /build
COPY Cargo.toml Cargo.lock ./
COPY src ./src
COPY docs/openapi.json ./docs/openapi.json
# musl-gcc builds the C parts (aws-lc, mimalloc).
RUN target="$(uname -m)-unknown-linux-musl" \
 && export "CC_$(echo "$target" | tr - _)=musl-gcc" \
 && cargo build --locked --profile dist --features mimalloc --bin sidegate --target "$target" \
 && mkdir -p /out/data \
 && cp "target/$target/dist/sidegate" /out/sidegate

FROM scratch
LABEL org.opencontainers.image.title="sidegate" \
      org.opencontainers.image.description="A reverse-proxy auth sidecar: logs people in and guards any HTTP application" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0" \
      org.opencontainers.image.version="0.1.0"
COPY --from=build /out/sidegate /sidegate
COPY --from=build --chown=65532:65532 /out/data /data
COPY examples/docker/config.toml /etc/sidegate/config.toml
# Every command reads ./config.toml, so `docker exec NAME /sidegate users list` needs no flag.
WORKDIR /etc/sidegate
USER 65532:65532
VOLUME ["/data"]
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s CMD ["/sidegate", "healthcheck"]
ENTRYPOINT ["/sidegate"]
CMD ["serve"]
