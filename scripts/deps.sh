#!/usr/bin/env bash
# Installs the packages that are missing: deps.sh build|test|docker|lint. Asks the network for nothing if none is.
set -euo pipefail

case ${1-} in
build) packages=(gcc libc6-dev libmilter-dev) ;;
test) packages=(gcc libc6-dev libmilter-dev dpkg-dev haproxy iproute2 libsasl2-modules m4 patch postfix python3-milter redis-server sasl2-bin swaks) ;;
docker)
	packages=(gcc libc6-dev libmilter-dev debootstrap)
	docker compose version >/dev/null 2>&1 || packages+=(docker-compose) # Compose 2 is Docker's plug-in
	;;
lint) packages=(gcc libc6-dev libmilter-dev shellcheck) ;;
*)
	echo "usage: deps.sh build|test|docker|lint" >&2
	exit 2
	;;
esac

if [[ ! -e /etc/debian_version ]]; then
	# A compiler that finds the header is all that a build needs.
	if [[ $1 == build ]] && echo '#include <libmilter/mfapi.h>' | cc -fsyntax-only -xc - 2>/dev/null; then
		exit
	fi
	cat >&2 <<-'END'
		Packages are installed on Debian and Ubuntu only. What the build needs elsewhere:
		    Fedora   dnf install gcc sendmail-milter-devel
		    Alpine   apk add gcc musl-dev libmilter-dev
		    FreeBSD  pkg install libmilter (mail/libmilter), if the base system has none
		The tests need Debian or Ubuntu.
	END
	exit 1
fi

missing=()
for package in "${packages[@]}"; do
	status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) || true
	[[ $status == installed ]] || missing+=("$package")
done

# test/sendmail's Sendmail, which cannot be installed beside Postfix, is unpacked.
sendmail=$(dirname "$0")/../.cache/sendmail
[[ $1 == test && ! -e $sendmail/unpacked ]] && unpack=true || unpack=
[[ ${missing[*]-} || $unpack ]] || exit 0

root=()
((EUID == 0)) || root=(sudo)
install() {
	echo "installing $*"
	local log
	# --no-remove: postfix would take the place of another MTA.
	if ! log=$("${root[@]}" env DEBIAN_FRONTEND=noninteractive \
		apt-get -qq install --no-install-recommends --no-remove --no-upgrade "$@" 2>&1); then
		echo "$log" >&2
		return 1
	fi
}

"${root[@]}" apt-get -qq update
if [[ " ${missing[*]} " == *" postfix "* ]]; then
	# The tests have a configuration of their own: the package needs none, and then starts nothing.
	echo 'postfix postfix/main_mailer_type select No configuration' | "${root[@]}" debconf-set-selections
fi

# The tests start servers of their own. The packages' are not to run: policy-rc.d forbids it now, update-rc.d later on.
work=$(mktemp -d)
policy=
cleanup() {
	rm -rf "$work"
	[[ -z $policy ]] || "${root[@]}" rm -f "$policy"
}
trap cleanup EXIT
if [[ ! -e /usr/sbin/policy-rc.d ]]; then
	printf '#!/bin/sh\nexit 101\n' >"$work/policy"
	policy=/usr/sbin/policy-rc.d
	"${root[@]}" cp "$work/policy" "$policy"
	"${root[@]}" chmod 755 "$policy"
fi
((!${#missing[@]})) || install "${missing[@]}"
for package in "${missing[@]}"; do
	case $package in
	haproxy | redis-server) "${root[@]}" update-rc.d "$package" disable ;;
	esac
done

if [[ $unpack ]]; then
	echo "unpacking sendmail-bin and sendmail-cf"
	(cd "$work" && apt-get -qq -o APT::Sandbox::User=root download sendmail-bin sendmail-cf)
	# The libraries that it needs; the rest of its dependencies are for an installation.
	mapfile -t libraries < <(dpkg-deb -f "$work"/sendmail-bin_*.deb Depends | grep -oE '\blib[a-z0-9.+-]+')
	install "${libraries[@]}"
	rm -rf "$sendmail"
	mkdir -p "$sendmail"
	for package in "$work"/*.deb; do
		dpkg -x "$package" "$sendmail"
	done
	touch "$sendmail/unpacked"
fi
