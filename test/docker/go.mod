module github.com/libmilter/go-libmilter/test/docker

go 1.25.0

require (
	github.com/libmilter/go-libmilter v0.0.0
	github.com/stretchr/testify v1.12.1
)

require (
	github.com/d--j/go-milter v0.10.0 // indirect
	github.com/emersion/go-message v0.18.2 // indirect
	github.com/mattn/go-pointer v0.0.1 // indirect
	go.yaml.in/yaml/v3 v3.0.5 // indirect
	golang.org/x/text v0.24.0 // indirect
)

replace github.com/libmilter/go-libmilter => ../../
