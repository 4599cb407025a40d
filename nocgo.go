//go:build !cgo

package milter

// Without cgo there is nothing to build: this line is the error that go build shows.
var _ = "go-libmilter needs cgo: CGO_ENABLED=1, a C compiler and libmilter. Debian, Ubuntu: gcc libc6-dev libmilter-dev; Fedora: gcc sendmail-milter-devel; Alpine: gcc musl-dev libmilter-dev; FreeBSD: mail/libmilter" - 0
