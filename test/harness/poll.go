package harness

import "time"

// Patience is how long anything is waited for.
const Patience = 30 * time.Second

const pollInterval = 10 * time.Millisecond // between two looks

// Poll says whether done came true within [Patience].
func Poll(done func() bool) bool {
	for deadline := time.Now().Add(Patience); !done(); time.Sleep(pollInterval) {
		if time.Now().After(deadline) {
			return false
		}
	}
	return true
}
