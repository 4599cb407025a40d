# An example as an image: docker build --build-arg EXAMPLE=log -t milter-log .
FROM golang:1.26-bookworm AS build
RUN apt-get update \
 && apt-get install -y --no-install-recommends libmilter-dev \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
ARG EXAMPLE=log
RUN cd examples && go build -buildvcs=false -o /filter ./"$EXAMPLE"

FROM debian:bookworm-slim
RUN apt-get update \
 && apt-get install -y --no-install-recommends libmilter1.0.1 \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --no-create-home --shell /usr/sbin/nologin milter
COPY --from=build /filter /usr/local/bin/filter
USER milter
EXPOSE 8890
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/filter"]
CMD ["-addr", "inet:8890@0.0.0.0"]
