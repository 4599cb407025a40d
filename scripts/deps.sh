#!/usr/bin/env bash
# Installs the packages that are missing: deps.sh build|test|lint. Asks the network for nothing if none is.
set -euo pipefail

case ${1-} in
build) packages=(gcc libc6-dev libmilter-dev) ;;
test) packages=(gcc libc6-dev libmilter-dev dpkg-dev iproute2 patch postfix swaks) ;;
lint) packages=(gcc libc6-dev libmilter-dev shellcheck) ;;
*)
	echo "usage: deps.sh build|test|lint" >&2
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
((${#missing[@]})) || exit 0

root=()
((EUID == 0)) || root=(sudo)
echo "installing ${missing[*]}"
"${root[@]}" apt-get -qq update
if [[ " ${missing[*]} " == *" postfix "* ]]; then
	# The tests have a configuration of their own: the package needs none, and then starts nothing.
	echo 'postfix postfix/main_mailer_type select No configuration' | "${root[@]}" debconf-set-selections
fi
# --no-remove: postfix would take the place of another MTA.
"${root[@]}" env DEBIAN_FRONTEND=noninteractive \
	apt-get -qq install --no-install-recommends --no-remove "${missing[@]}" >/dev/null
