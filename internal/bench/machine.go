package main

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// procField is the first value of a field in a file such as /proc/cpuinfo.
func procField(path, field string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return "unknown"
	}
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == field {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}

func firstLine(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return "unknown"
	}
	line, _, _ := strings.Cut(string(text), "\n")
	return line
}

func memoryGiB() float64 {
	kib, err := strconv.ParseFloat(strings.TrimSuffix(procField("/proc/meminfo", "MemTotal"), " kB"), 64)
	if err != nil {
		return 0
	}
	return kib / (1 << 20)
}

// loadAverage is that of the last minute.
func loadAverage() string {
	load, _, _ := strings.Cut(firstLine("/proc/loadavg"), " ")
	return load
}

// etcdVersion is part of the directory that the toolchain builds into.
func etcdVersion(etcdctl string) string {
	return strings.TrimPrefix(filepath.Base(filepath.Dir(etcdctl)), "etcdctl-")
}
