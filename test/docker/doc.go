// Package docker builds the project's images on a real Docker engine, and tests what runs in them: the examples, a
// program that begins with examples/docker, and examples/compose. It is a module of its own, so that "go test ./..." in
// the library's needs no Docker. What is missing is a failure, in CI and elsewhere.
package docker
