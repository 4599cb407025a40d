#!/usr/bin/env bash
# Makes the images that the Dockerfiles begin with, from this machine's own package sources and Go, for tests on a machine
# that reaches no image registry. An image that is there is left alone: where there is a registry, pull them instead.
#
#     docker pull debian:bookworm-slim && docker pull golang:1.26-bookworm
#
# What a build step needs to reach the network from this machine is in them: apt's sources and proxies, Go's module proxy
# and checksum database, certificates. They are for tests on this machine alone.
set -euo pipefail

suite=bookworm
debian=debian:bookworm-slim
golang=golang:1.26-bookworm

die() {
	echo "base-images.sh: $*" >&2
	exit 1
}

command -v docker >/dev/null || die "docker is not in PATH: install Docker Engine"
problem=$(docker version --format '{{.Server.Version}}' 2>&1 >/dev/null) || die "the Docker daemon does not answer: $problem"

exists() { docker image inspect "$1" >/dev/null 2>&1; }

root=()
((EUID == 0)) || root=(sudo)
work=$(mktemp -d -t base-images.XXXXXX)
container=
cleanup() {
	[[ -z $container ]] || docker rm "$container" >/dev/null
	"${root[@]}" rm -rf "$work"
}
trap cleanup EXIT

# sources prints Debian's package sources of this machine, as lines of sources.list.
sources() {
	# shellcheck disable=SC2016 # apt's own variables
	apt-get indextargets --format 'deb $(REPO_URI) $(RELEASE) $(COMPONENT)' \
		'Created-By: Packages' 'Origin: Debian' "Codename: $1" | sort -u
}

# all_sources prints those of the suite and of its updates.
all_sources() { sources "$suite" && sources "$suite-updates" && sources "$suite-security"; }

# settings prints how apt reaches them.
settings() {
	apt-config dump | grep -E '^Acquire::(https?::|Check-)' || true
	[[ -z ${http_proxy-} ]] || echo "Acquire::http::Proxy \"$http_proxy\";"
	[[ -z ${https_proxy-} ]] || echo "Acquire::https::Proxy \"$https_proxy\";"
	echo 'Acquire::https::CAInfo "/etc/apt/machine.crt";'
	# As the registry's image: nothing of apt's work stays in a layer.
	echo 'Acquire::Languages "none"; Dir::Cache::pkgcache ""; Dir::Cache::srcpkgcache "";'
	echo 'DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb"; };'
}

# import TREE IMAGE CHANGE... makes an image of a folder.
import() {
	local tree=$1 image=$2
	shift 2
	"${root[@]}" tar -C "$tree" -c --exclude='./dev/*' --exclude='./proc/*' --exclude='./sys/*' . |
		docker import "$@" - "$image" >/dev/null
}

certificates=${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}

make_debian() {
	local mirror
	[[ $(sources $suite) ]] || "${root[@]}" apt-get -qq update
	mirror=$(sources $suite | awk '$4 == "main" { print $2; exit }')
	[[ $mirror ]] || die "no package source of this machine has Debian's $suite, to make $debian from: pull that image instead"
	command -v debootstrap >/dev/null || die "debootstrap is not in PATH: scripts/deps.sh docker installs it"

	local tree=$work/tree
	# The certificates are there already, for a mirror with a certificate of the machine's own.
	"${root[@]}" debootstrap --variant=minbase "$suite" "$tree" "$mirror" >"$work/log" 2>&1 ||
		die "debootstrap of $suite from $mirror failed: $(tail -n 5 "$work/log")"

	all_sources >"$work/sources.list"
	settings >"$work/apt.conf"
	"${root[@]}" install -m 644 "$work/sources.list" "$tree/etc/apt/sources.list"
	"${root[@]}" install -m 644 "$work/apt.conf" "$tree/etc/apt/apt.conf.d/80machine"
	"${root[@]}" install -m 644 "$certificates" "$tree/etc/apt/machine.crt"
	"${root[@]}" find "$tree"/var/{cache/apt,lib/apt/lists,log} "$tree"/usr/share/{doc,info,locale,man} -type f ! -name copyright -delete
	import "$tree" "$debian" --change 'CMD ["bash"]'
}

# variables prints what the Go command is to find in its environment.
variables() {
	echo GOTOOLCHAIN=local
	echo GOPATH=/go
	echo PATH=/go/bin:/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
	local name
	for name in GOPROXY GOSUMDB GONOSUMDB GONOPROXY GOPRIVATE GOINSECURE; do
		echo "$name=\"$(go env "$name")\""
	done
	for name in http_proxy https_proxy no_proxy; do
		[[ -z ${!name-} ]] || echo "$name=\"${!name}\""
	done
}

# One layer, made beside Docker: in a build, 10,000 small files take minutes with some of Docker's storage drivers.
make_golang() {
	local version goroot tree=$work/golang
	version=$(go env GOVERSION) goroot=$(go env GOROOT)
	[[ $version == go1.26* ]] || die "$golang cannot be made of this machine's $version: install Go 1.26, or pull the image"

	mkdir "$tree"
	container=$(docker create "$debian")
	docker export "$container" | "${root[@]}" tar -C "$tree" -x
	"${root[@]}" mknod -m 666 "$tree/dev/null" c 1 3
	"${root[@]}" cp -L /etc/resolv.conf "$tree/etc/resolv.conf"
	"${root[@]}" chroot "$tree" sh -ec '
		export DEBIAN_FRONTEND=noninteractive
		apt-get update
		apt-get install -y --no-install-recommends ca-certificates gcc git libc6-dev make pkg-config
		rm -rf /var/lib/apt/lists/* /var/cache/apt/*' >"$work/log" 2>&1 ||
		die "installing what $golang holds failed: $(tail -n 5 "$work/log")"
	"${root[@]}" install -m 644 "$certificates" "$tree/etc/ssl/certs/ca-certificates.crt"
	"${root[@]}" cp -R "$goroot/." "$tree/usr/local/go"
	# What no build reads: Docker's builder looks at each file after each step.
	"${root[@]}" rm -rf "$tree"/usr/local/go/{api,doc,test,src/cmd}
	"${root[@]}" find "$tree"/usr/local/go/{lib,src} -name testdata -prune -exec rm -rf {} +

	local changes=(--change 'CMD ["bash"]' --change 'WORKDIR /go')
	while read -r variable; do
		changes+=(--change "ENV $variable")
	done < <(variables)
	import "$tree" "$golang" "${changes[@]}"
}

exists "$debian" || { echo "making $debian" && make_debian; }
exists "$golang" || { echo "making $golang" && make_golang; }
