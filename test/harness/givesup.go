package harness

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
)

// AssertGivesUp asserts that requirements are not met for these reasons: that the test fails in CI, and is skipped elsewhere.
func AssertGivesUp(t *testing.T, reasons []string, requirements func(testing.TB)) {
	t.Helper()
	t.Run("CI", func(t *testing.T) {
		t.Setenv("CI", "true")
		v := &verdict{TB: t}
		requirements(v)
		assert.Equal(t, reasons, v.failed)
		assert.Empty(t, v.skipped)
	})
	t.Run("not CI", func(t *testing.T) {
		t.Setenv("CI", "")
		v := &verdict{TB: t}
		requirements(v)
		assert.Equal(t, reasons, v.skipped)
		assert.Empty(t, v.failed)
	})
}

// verdict notes what ends a test, and lets it go on.
type verdict struct {
	testing.TB
	failed, skipped []string
}

func (v *verdict) Fatal(args ...any) { v.failed = append(v.failed, fmt.Sprint(args...)) }

func (v *verdict) Fatalf(format string, args ...any) { v.Fatal(fmt.Sprintf(format, args...)) }

func (v *verdict) Skip(args ...any) { v.skipped = append(v.skipped, fmt.Sprint(args...)) }
