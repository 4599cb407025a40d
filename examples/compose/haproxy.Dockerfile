FROM debian:bookworm-slim
RUN apt-get update \
 && apt-get install -y --no-install-recommends haproxy \
 && rm -rf /var/lib/apt/lists/*
COPY examples/docker/healthy /usr/local/bin/
COPY deploy/haproxy/haproxy.cfg examples/compose/filters.cfg /etc/haproxy/
# The MTA is in a container of its own here, and the filters are those that Docker's DNS knows.
RUN sed -i \
        -e 's/bind 127\.0\.0\.1:8890$/bind :8890/' \
        -e 's/server filter1 .*/server-template filter 1-9 filter:8890 resolvers docker init-addr none/' \
        -e '/server filter[23] /d' /etc/haproxy/haproxy.cfg \
 && haproxy -c -f /etc/haproxy/haproxy.cfg -f /etc/haproxy/filters.cfg
USER haproxy
EXPOSE 8890
# Sessions that are open go on.
STOPSIGNAL SIGUSR1
CMD ["haproxy", "-db", "-f", "/etc/haproxy/haproxy.cfg", "-f", "/etc/haproxy/filters.cfg"]
