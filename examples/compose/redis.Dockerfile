FROM debian:bookworm-slim
RUN apt-get update \
 && apt-get install -y --no-install-recommends redis-server \
 && rm -rf /var/lib/apt/lists/* \
 && install -d -o redis -g redis /data
USER redis
VOLUME /data
EXPOSE 6379
# Without the protected mode, which asks for a password: only the filters are on its network.
CMD ["redis-server", "--dir", "/data", "--appendonly", "yes", "--protected-mode", "no", \
     "--maxmemory", "64mb", "--maxmemory-policy", "volatile-ttl"]
