#!/usr/bin/env bash
# Builds libmilter from the distribution's own source package, for tests: in the threading model that the distribution
# does not ship, or with a sanitizer. Prints the folder, which LD_LIBRARY_PATH then puts under any filter:
#
#     LD_LIBRARY_PATH=$(test/libmilter/build.sh) go test .
#
# build.sh [-v threads|pool] [-s address] [OUTDIR]
#   -v threads  upstream's library: a thread per connection, and none of Debian's fd: addresses (the default)
#   -v pool     Debian's library: its patches and a pool of workers
#   -s address  with AddressSanitizer; a program that is not built with it needs LD_PRELOAD=$(gcc -print-file-name=libasan.so)
#   OUTDIR      .cache/libmilter-threads and the like by default; left alone if it is up to date
set -euo pipefail

die() {
	echo "build.sh: $*" >&2
	exit 1
}

variant=threads sanitizer=
while getopts v:s: option; do
	case $option in
	v) variant=$OPTARG ;;
	s) sanitizer=$OPTARG ;;
	*) exit 2 ;;
	esac
done
shift $((OPTIND - 1))

case $variant in
threads) flags=() symbol=mi_handle_session ;;
pool) flags=(-D_FFR_WORKERS_POOL=1) symbol=mi_start_session ;;
*) die "unknown variant $variant" ;;
esac
if [[ $sanitizer ]]; then
	flags+=("-fsanitize=$sanitizer" -fno-omit-frame-pointer)
	# So that ASAN_OPTIONS=halt_on_error=0 can let a program go on.
	if [[ $sanitizer == address ]]; then
		flags+=(-fsanitize-recover=address)
	fi
fi

out=${1:-$(dirname "$0")/../../.cache/libmilter-$variant${sanitizer:+-$sanitizer}}
mkdir -p "$out"
out=$(cd "$out" && pwd)
library=$out/libmilter.so.1.0.1

version=$(dpkg-query -W -f '${source:Version}' libmilter-dev) || die "libmilter-dev is not installed: make deps"
built_from="$version $variant ${flags[*]}"
if [[ -e $library && $(cat "$out/built-from" 2>/dev/null) == "$built_from" ]]; then
	echo "$out"
	exit
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The machine's own package sources, as source packages. Nothing of apt's own state is changed.
mkdir -p "$work"/{sources,lists/partial,cache/archives/partial}
for file in /etc/apt/sources.list /etc/apt/sources.list.d/*; do
	copy=$work/sources/${file##*/}
	case $file in
	*.list) [[ ! -e $file ]] || sed -nE 's/^deb(-src)?[[:space:]]/deb-src /p' "$file" | sort -u >"$copy" ;;
	*.sources) sed -E 's/^Types:.*/Types: deb-src/' "$file" >"$copy" ;;
	esac
done
apt=(apt-get -qq -o Dir::Etc::sourcelist=/dev/null -o "Dir::Etc::sourceparts=$work/sources"
	-o "Dir::State::lists=$work/lists" -o "Dir::Cache=$work/cache" -o APT::Sandbox::User=root)

echo "building libmilter from sendmail $version ($variant${sanitizer:+, $sanitizer})" >&2
# An error here can be a third party's, who has no source packages: what counts is that the next step finds one.
"${apt[@]}" update >&2 || true
(cd "$work" && "${apt[@]}" source "sendmail=$version") >"$work/log" 2>&1 || {
	cat "$work/log" >&2
	die "no source of sendmail $version: is libmilter-dev up to date?"
}
source=$(echo "$work"/sendmail-*/)

if [[ $variant == threads ]]; then
	patch -s -R -p1 -d "$source" <"$source/debian/patches/socket_activation.patch"
fi

# What upstream's Makefile compiles, in one go.
ln -s "$source/include/sm/os/sm_os_linux.h" "$work/sm_os.h"
gcc -O2 -g -w -fPIC -shared -pthread "${flags[@]}" \
	-DNOT_SENDMAIL -Dsm_snprintf=snprintf -DNETINET6=1 -DSM_CONF_POLL=1 -DXDEBUG=0 -DSOCKADDR_LEN_T=socklen_t \
	-I"$work" -I"$source/include" -I"$source/sendmail" \
	-Wl,-soname,"${library##*/}" -o "$work/library" \
	"$source"/libmilter/{main,engine,listener,worker,handler,comm,smfi,signal,sm_gethost,monitor}.c \
	"$source"/libsm/{errstring,strl}.c

# Only the wanted model exports this.
nm -D --defined-only "$work/library" >"$work/symbols"
grep -qw "$symbol" "$work/symbols" || die "the library has no $symbol: it is not built in the model $variant"

mv "$work/library" "$library"
echo "$built_from" >"$out/built-from"
echo "$out"
