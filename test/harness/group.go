package harness

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
)

// GroupLives says whether a process of the group still runs. A zombie does not: in a container whose first process reaps
// no orphans, an MTA's daemons remain zombies, which signal 0 would still find.
func GroupLives(group int) bool {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		stat, err := os.ReadFile(path)
		if err != nil {
			continue // it ended meanwhile
		}
		var (
			state           byte
			parent, ofGroup int
		)
		afterName := stat[bytes.LastIndexByte(stat, ')')+1:]
		if _, err := fmt.Sscanf(string(afterName), " %c %d %d", &state, &parent, &ofGroup); err != nil {
			continue
		}
		if ofGroup == group && state != 'Z' && state != 'X' {
			return true
		}
	}
	return false
}
