package main

import (
	"os/exec"
	"path/filepath"
)

// filter is a program under load.
type filter struct {
	Name      string `json:"name"`
	About     string `json:"about"`
	Yardstick string `json:"yardstick"` // the filter in C that it is compared with
	libmilter bool   // it runs on libmilter, and so on both of its builds
	program   string // which program, and its arguments
	args      []string
}

// The yardsticks: what a filter in C does that answers each step, and what one does that negotiates not to.
var (
	cStep = filter{"c-step", "C, answers each step", "", true, "cfilter", []string{"step"}}
	cNR   = filter{"c-nr", "C, SMFIP_NR_* negotiated", "", true, "cfilter", []string{"nr"}}
)

var filters = []filter{
	{"step", "this library, every callback, answers each step", "c-step", true, "gofilter", []string{"step"}},
	{"step-nr", "this library, every callback, SMFIP_NR_* negotiated", "c-nr", true, "gofilter", []string{"step-nr"}},
	{"message", "this library, Callbacks.Message", "c-nr", true, "gofilter", []string{"message"}},
	{"dj-step", "d--j/go-milter v0.10.0, its server, answers each step", "c-step", false, "djfilter", []string{"step"}},
	{"dj-mailfilter", "d--j/go-milter v0.10.0, its package mailfilter", "c-nr", false, "djfilter", []string{"mailfilter"}},
	{"pymilter", "pymilter, answers each step", "c-step", true, python, []string{"pyfilter/filter.py"}},
}

// python is Debian's, which has Debian's pymilter: another one may stand before it in PATH.
const python = "/usr/bin/python3"

func yardstick(name string) filter {
	if name == cNR.Name {
		return cNR
	}
	return cStep
}

// missing says why the filter cannot run here, "" if it can.
func (f filter) missing() string {
	if f.program == python && exec.Command(python, "-c", "import Milter").Run() != nil {
		return "python3-milter is not installed"
	}
	return ""
}

// command is the filter, listening at addr.
func (f filter) command(bin, addr string) *exec.Cmd {
	program := f.program
	if !filepath.IsAbs(program) {
		program = filepath.Join(bin, program)
	}
	return exec.Command(program, append(append([]string{}, f.args...), addr)...)
}
