package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

var cFlags = []string{"-std=c17", "-O2", "-Wall", "-Wextra", "-Werror"}

// build makes all programs, from the sources in this folder, into bin.
func build(ctx context.Context, bin string) error {
	loads, err := filepath.Glob("load/*.c")
	if err != nil {
		return err
	}
	for _, args := range [][]string{
		append(append([]string{"gcc", "-o", filepath.Join(bin, "load")}, cFlags...), loads...),
		append(append([]string{"gcc", "-o", filepath.Join(bin, "cfilter")}, cFlags...), "cfilter/cfilter.c", "-lmilter"),
		{"go", "build", "-o", bin + "/", "./gofilter", "./djfilter"},
	} {
		if out, err := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w\n%s", strings.Join(args, " "), err, out)
		}
	}
	return nil
}

// model is one of libmilter's builds.
type model struct {
	Name    string
	library string // LD_LIBRARY_PATH; "" is the system's
}

const (
	poolModel    = "pool"    // Debian's libmilter, which has a pool of workers
	threadsModel = "threads" // upstream's, with a thread for each connection
)

// findModel gives a build of libmilter, and makes it if need be.
func findModel(ctx context.Context, name string) (model, error) {
	if name == poolModel {
		return model{Name: name}, nil
	}
	cmd := exec.CommandContext(ctx, "../test/libmilter/build.sh", "-v", name)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return model{}, fmt.Errorf("libmilter with %s: %w", name, err)
	}
	return model{name, strings.TrimSpace(string(out))}, nil
}
