module github.com/libmilter/go-libmilter

go 1.25.0

require (
	github.com/aymanbagabas/go-udiff v0.4.1
	github.com/d--j/go-milter v0.10.0
	github.com/mattn/go-pointer v0.0.1
	github.com/stretchr/testify v1.12.1
	go.uber.org/goleak v1.3.0
)

require (
	github.com/emersion/go-message v0.18.2 // indirect
	go.yaml.in/yaml/v3 v3.0.5 // indirect
	golang.org/x/text v0.24.0 // indirect
)
