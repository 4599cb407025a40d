package miltertest_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	milter "github.com/libmilter/go-libmilter"
	"github.com/libmilter/go-libmilter/miltertest"
)

// A failure in a callback ends the callback and, with the step, the test.
func TestInCallback(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		fail func(t testing.TB)
		log  string
	}{
		"FailNow": {func(t testing.TB) { t.FailNow() }, "Fail"},
		"Fatal":   {func(t testing.TB) { t.Fatal("a", 1) }, "a1"},
		"Fatalf":  {func(t testing.TB) { t.Fatalf("%d", 42) }, "42"},
		"require": {func(t testing.TB) { require.Equal(t, "1", "2") }, "Not equal"},
		"Skip":    {func(t testing.TB) { t.Skip("no") }, "a callback cannot skip a test"},
		"Skipf":   {func(t testing.TB) { t.Skipf("no") }, "a callback cannot skip a test"},
		"SkipNow": {func(t testing.TB) { t.SkipNow() }, "a callback cannot skip a test"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			wentOn, panics := false, int64(0)
			outcome := try(t, func(t testing.TB) {
				ct := miltertest.InCallback(t)
				f := miltertest.Start(t, milter.SMFIF_NONE, milter.Callbacks{Helo: func(*milter.Session, string) milter.Status {
					tc.fail(ct)
					wentOn = true
					return milter.SMFIS_CONTINUE
				}})
				t.Cleanup(func() { panics = f.Server.Stats().Panics })
				c := f.Connect()
				c.Helo("a.example")
				wentOn = true
			})
			assert.True(t, outcome.failed)
			assert.True(t, outcome.ended)
			assert.Contains(t, outcome.text(), tc.log)
			assert.False(t, wentOn)
			assert.Equal(t, int64(1), panics)
		})
	}
}

// Where no step follows, the test has failed all the same.
func TestInLastCallback(t *testing.T) {
	t.Parallel()
	outcome := try(t, func(t testing.TB) {
		ct := miltertest.InCallback(t)
		f := miltertest.Start(t, milter.SMFIF_NONE, milter.Callbacks{Close: func(*milter.Session) { ct.Fatal("close") }})
		f.Send(miltertest.Mail{})
	})
	assert.True(t, outcome.failed)
	assert.Contains(t, outcome.text(), "close")

	// Nothing of it is left for the next test.
	f := miltertest.Start(t, milter.SMFIF_NONE, milter.Callbacks{})
	assert.Equal(t, milter.SMFIS_ACCEPT, f.Send(miltertest.Mail{}).Verdict)
}

// The filter and the stand-in may be the parent's of subtests: the one whose callback failed ends.
func TestInCallbackOfSubtests(t *testing.T) {
	t.Parallel()
	var ended, passed *fakeT
	parent := try(t, func(t testing.TB) {
		ct := miltertest.InCallback(t)
		f := miltertest.Start(t, milter.SMFIF_NONE, milter.Callbacks{Helo: func(s *milter.Session, identity string) milter.Status {
			require.NotEqual(ct, "bad.example", identity)
			return milter.SMFIS_CONTINUE
		}})
		subtest := func(identity string) *fakeT {
			return try(t.(*fakeT).TB.(*testing.T), func(t testing.TB) { f.For(t).Send(miltertest.Mail{Helo: identity}) })
		}
		ended = subtest("bad.example")
		passed = subtest("good.example")
	})
	assert.True(t, parent.failed)
	assert.True(t, ended.ended)
	assert.False(t, passed.failed, passed.text())
}

func TestInCallbackOfClose(t *testing.T) {
	t.Parallel()
	outcome := try(t, func(t testing.TB) {
		ct := miltertest.InCallback(t)
		f := miltertest.Start(t, milter.SMFIF_NONE, milter.Callbacks{Close: func(*milter.Session) { ct.Fatal("close") }})
		f.Send(miltertest.Mail{})
		panic("went on")
	})
	assert.True(t, outcome.ended)
}
