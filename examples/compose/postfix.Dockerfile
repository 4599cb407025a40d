FROM debian:bookworm-slim
RUN echo 'postfix postfix/main_mailer_type select No configuration' | debconf-set-selections \
 && apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends postfix \
 && rm -rf /var/lib/apt/lists/*
COPY examples/docker/healthy /usr/local/bin/
COPY examples/compose/main.cf /etc/postfix/
# Nothing runs in a chroot: it would lack what Docker writes into /etc/resolv.conf and /etc/hosts.
RUN cp /usr/share/postfix/master.cf.dist /etc/postfix/master.cf && postconf -F '*/*/chroot = n'
EXPOSE 25
CMD ["postfix", "start-fg"]
