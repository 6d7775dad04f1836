//go:build unix

package main

import (
	"os/exec"
	"syscall"
)

// apart lets a command run to its end where Ctrl-C interrupts this one: a terminal
// sends it to the whole process group.
func apart(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }
