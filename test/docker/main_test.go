package docker

import (
	"fmt"
	"os"
	"os/exec"
	"testing"
)

const root = "../.." // of the project

// TestMain has the images that the Dockerfiles begin with: tests without them would all fail for the same reason.
func TestMain(m *testing.M) {
	images := exec.Command(root + "/scripts/base-images.sh")
	images.Stdout, images.Stderr = os.Stderr, os.Stderr
	if err := images.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "the base images cannot be made:", err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}
