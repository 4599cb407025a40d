package miltertest

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
)

// InCallback gives a test's stand-in for use inside callbacks, where the test itself must not be ended: they run on
// libmilter's threads, and t.Fatal, t.FailNow and the functions of package require work on the test's own goroutine only.
// With the stand-in they do what one would expect: the failure is noted and the callback ends at once (the MTA is answered
// SMFIS_TEMPFAIL, and the log tells of a runtime.Goexit), and the test ends with the step that its MTA is at. So does a
// subtest, if the filter and the stand-in are its parent's: each that has a connection open at that time.
//
//	ct := miltertest.InCallback(t)
//	f := miltertest.Start(t, milter.SMFIF_NONE, milter.Callbacks{
//		Helo: func(s *milter.Session, identity string) milter.Status {
//			require.Equal(ct, "client.example.org", identity)
//			return milter.SMFIS_CONTINUE
//		},
//	})
//
// t.Error, t.Log and package assert work in callbacks as they are. Of the stand-in's methods, Skip and its like fail the
// test, and Run, Cleanup and others that need the test's goroutine are t's own.
func InCallback(t testing.TB) testing.TB {
	return &callbackT{t, failuresOf(t)}
}

type callbackT struct {
	testing.TB
	failed *atomic.Int64
}

func (c *callbackT) FailNow() {
	c.TB.Fail()
	c.failed.Add(1)
	runtime.Goexit()
}

func (c *callbackT) Fatal(args ...any) {
	c.TB.Helper()
	c.TB.Error(args...)
	c.FailNow()
}

func (c *callbackT) Fatalf(format string, args ...any) {
	c.TB.Helper()
	c.TB.Errorf(format, args...)
	c.FailNow()
}

func (c *callbackT) SkipNow() {
	c.TB.Helper()
	c.Fatal("miltertest: a callback cannot skip a test")
}

func (c *callbackT) Skip(...any) {
	c.TB.Helper()
	c.SkipNow()
}

func (c *callbackT) Skipf(string, ...any) {
	c.TB.Helper()
	c.SkipNow()
}

// failures count for each test the callbacks that have failed for good: testing.TB → *atomic.Int64.
var failures sync.Map

func failuresOf(t testing.TB) *atomic.Int64 {
	failed, known := failures.LoadOrStore(t, new(atomic.Int64))
	if !known {
		t.Cleanup(func() { failures.Delete(t) })
	}
	return failed.(*atomic.Int64)
}

// callbackFailures counts those of the test that a filter was started for, and of the test that a connection is for.
func callbackFailures(tests ...testing.TB) (count int64) {
	for _, t := range tests {
		if failed, ok := failures.Load(t); ok {
			count += failed.(*atomic.Int64).Load()
		}
	}
	return count
}
