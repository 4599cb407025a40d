package main

import (
	"cmp"
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// model is a way to build libmilter.
type model struct {
	name   string
	symbol string // only this model has it
}

func (m model) String() string { return m.name }

// models are libmilter's threading models, and whichever the installed libmilter has.
var models = []model{{"pool", "mi_start_session"}, {"threads", "mi_handle_session"}, {"installed", ""}}

func modelByName(name string) (model, error) {
	for _, m := range models {
		if m.name == name {
			return m, nil
		}
	}
	return model{}, fmt.Errorf("libmilter has no model %q: write pool, threads or installed", name)
}

// programs are the two filters.
type programs struct {
	root      string // the module's
	c, golang string
	asan      bool
	libraries map[string]string // the folder of each model's libmilter, for LD_LIBRARY_PATH
}

// buildPrograms compiles the filters into dir, and a libmilter of each model where that is not the installed one.
func buildPrograms(dir string, models []model, asan bool) (*programs, error) {
	root, err := moduleRoot()
	if err != nil {
		return nil, err
	}
	p := &programs{root: root, c: filepath.Join(dir, "cfilter"), golang: filepath.Join(dir, "gofilter"), asan: asan,
		libraries: map[string]string{}}
	if err := p.buildC(); err != nil {
		return nil, err
	}
	if err := p.buildGo(); err != nil {
		return nil, err
	}
	for _, m := range models {
		if p.libraries[m.name], err = p.libmilter(m); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// recoverable makes a program go on after AddressSanitizer has found something, where asanOptions say so.
const recoverable = "-fsanitize-recover=address"

func (p *programs) buildC() error {
	sources, err := filepath.Glob(filepath.Join(p.root, "test/conformance/cfilter/*.c"))
	if err != nil {
		return err
	}
	args := []string{"-std=c17", "-Wall", "-Wextra", "-Werror", "-O2", "-g", "-pthread", "-o", p.c}
	if p.asan {
		args = append(args, "-fsanitize=address", recoverable, "-fno-omit-frame-pointer")
	}
	return run(p.root, nil, cmp.Or(os.Getenv("CC"), "gcc"), slices.Concat(args, sources, []string{"-lmilter"})...)
}

func (p *programs) buildGo() error {
	args := []string{"build", "-o", p.golang}
	var env []string
	if p.asan {
		args = append(args, "-asan")
		env = []string{"CGO_CFLAGS=-g -O2 -fno-omit-frame-pointer " + recoverable}
	}
	return run(p.root, env, "go", append(args, "./test/conformance/gofilter")...)
}

func moduleRoot() (string, error) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return "", fmt.Errorf("looking for the module's folder: %w; run this in go-libmilter", err)
	}
	return strings.TrimSpace(string(out)), nil
}

// run runs a command of the build.
func run(dir string, env []string, name string, args ...string) error {
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", cmd, err, out)
	}
	return nil
}

// libmilter gives the folder of a libmilter of this model, for LD_LIBRARY_PATH. "" is the one that is installed, which is
// the pool's on Debian.
func (p *programs) libmilter(m model) (string, error) {
	if m.name == "installed" || m.name == "pool" && !p.asan {
		return "", nil
	}
	args := []string{"-v", m.name}
	if p.asan {
		args = append(args, "-s", "address")
	}
	cmd := exec.Command("test/libmilter/build.sh", args...)
	cmd.Dir = p.root
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w", cmd, err)
	}
	return strings.TrimSpace(string(out)), nil
}

// checkModel looks whether a running filter has a libmilter of this model.
func checkModel(pid int, m model) error {
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(maps)) {
		if at := strings.Index(line, "/"); at >= 0 && strings.Contains(line[at:], "libmilter.so") {
			return checkLibrary(strings.TrimSpace(line[at:]), m)
		}
	}
	return errors.New("the filter has not loaded libmilter")
}

func checkLibrary(path string, m model) error {
	library, err := elf.Open(path)
	if err != nil {
		return err
	}
	defer library.Close()
	symbols, err := library.DynamicSymbols()
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if m.symbol != "" && !slices.ContainsFunc(symbols, func(s elf.Symbol) bool { return s.Name == m.symbol }) {
		return fmt.Errorf("%s is no libmilter of the model %s: it has no %s", path, m.name, m.symbol)
	}
	return nil
}
