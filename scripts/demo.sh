#!/usr/bin/env bash
# Sends a mail through examples/log on a private socket, and shows what both ends of it saw.
set -euo pipefail
cd "$(dirname "$0")/.."

mail=examples/mail/report.eml
work=$(mktemp -d -t milter-demo.XXXXXX)
socket=$work/milter.sock
filter=

cleanup() {
	[[ -z $filter ]] || kill -KILL "$filter" 2>/dev/null || true
	rm -rf "$work"
}
trap cleanup EXIT

# show TITLE PREFIX FILE
show() {
	printf '\n== %s\n' "$1"
	sed "s/^/$2 | /" "$3"
}

fail() {
	show "The filter's events (bin/log)" filter "$work/events"
	echo "demo failed: $*" >&2
	exit 1
}

running() { kill -0 "$filter" 2>/dev/null; }

bin/log -addr "unix:$socket" >"$work/events" 2>&1 &
filter=$!
for _ in {1..100}; do
	if [[ -S $socket ]] || ! running; then
		break
	fi
	sleep 0.1
done
sleep 0.1 # the socket is there at bind, and answers from listen on
running || fail "the filter ended before it listened"
[[ -S $socket ]] || fail "the filter does not listen on $socket"

sent=0
timeout 30 bin/miltersend -addr "unix:$socket" "$mail" >"$work/steps" 2>&1 || sent=$?
show "The MTA's steps (bin/miltersend, $mail)" mta "$work/steps"
((sent == 0)) || fail "miltersend exited with status $sent"

kill -TERM "$filter"
for _ in {1..100}; do
	running || break
	sleep 0.1
done
! running || fail "the filter still runs 10 s after SIGTERM"
status=0
wait "$filter" || status=$?
filter=
((status == 0)) || fail "the filter exited with status $status after SIGTERM"
[[ ! -e $socket ]] || fail "the filter left its socket behind"

show "The filter's events (bin/log)" filter "$work/events"
printf '\nThe filter stopped on SIGTERM with status 0, and its socket is gone.\n'
