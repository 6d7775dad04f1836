//go:build race

package replica_test

// raceEnabled: the race detector multiplies a process's memory.
const raceEnabled = true
