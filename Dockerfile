# An example as an image:
#
#     docker build --build-arg EXAMPLE=greylist -t milter-greylist .
#     docker run --read-only --cap-drop ALL -p 127.0.0.1:8890:8890 -e GREYLIST_REDIS=redis://192.0.2.20:6379/0 milter-greylist
#
# For a program of your own, begin with examples/docker/Dockerfile.
FROM golang:1.26-bookworm AS build
RUN apt-get update \
 && apt-get install -y --no-install-recommends libmilter-dev \
 && rm -rf /var/lib/apt/lists/*
# Modules are fetched anew when these change, not when the code does.
COPY go.mod go.sum /src/
COPY examples/go.mod examples/go.sum /src/examples/
RUN go -C /src/examples mod download
COPY . /src/
# All examples: EXAMPLE comes after this, so that they share the layers up to here.
RUN go -C /src/examples build -trimpath -ldflags='-s -w' -o /filters/ ./... && go clean -cache

FROM debian:bookworm-slim
RUN apt-get update \
 && apt-get install -y --no-install-recommends libmilter1.0.1 \
 && rm -rf /var/lib/apt/lists/*
# For TLS to a store: the package would bring OpenSSL along.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY examples/docker/healthy /usr/local/bin/
ARG EXAMPLE=log
COPY --from=build /filters/$EXAMPLE /usr/local/bin/filter
# A number: of a name, Kubernetes' runAsNonRoot cannot tell whether it is root.
USER 65532:65532
EXPOSE 8890
# The port is that of -addr. A filter with a page of its own: --health-cmd 'healthy http://127.0.0.1:9090/readyz'
HEALTHCHECK --interval=10s --timeout=5s CMD ["healthy", "8890"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["filter"]
# Open mails have 8 s to come to their end: docker stop waits for 10. For more, docker run --stop-timeout 40 … -drain 30s
CMD ["-addr", "inet:8890@0.0.0.0", "-drain", "8s"]
