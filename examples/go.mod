module github.com/libmilter/go-libmilter/examples

go 1.25.0

require github.com/libmilter/go-libmilter v0.0.0

require github.com/mattn/go-pointer v0.0.1 // indirect

replace github.com/libmilter/go-libmilter => ../
