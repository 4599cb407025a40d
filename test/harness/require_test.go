package harness

import "testing"

func TestGiveUp(t *testing.T) {
	AssertGivesUp(t, []string{"a reason"}, func(t testing.TB) { GiveUp(t, "a reason") })
}
