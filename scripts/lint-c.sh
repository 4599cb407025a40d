#!/usr/bin/env bash
# The shim, the reference filters and the load generator through the compiler with every warning an error, in C17 and in C23.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# bridge.c includes _cgo_export.h, which cgo makes from the Go files.
mapfile -t cgo < <(go list -f '{{join .CgoFiles "\n"}}')
go tool cgo -objdir "$work" -importpath "$(go list)" -- -I. "${cgo[@]}"

for standard in c17 c2x; do
	for file in *.c test/cfilter/*.c test/endless/*.c test/conformance/cfilter/*.c bench/cfilter/*.c bench/load/*.c; do
		echo "gcc -std=$standard $file"
		gcc -std=$standard -Wall -Wextra -Werror -fsyntax-only -I. -I"$work" "$file"
	done
done
