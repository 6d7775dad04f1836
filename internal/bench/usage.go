package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/understudy-dr/understudy/internal/testkit/etcdproc"
)

// usage is what a process has used of the machine.
type usage struct {
	peak int64         // resident bytes at most
	cpu  time.Duration // user and system
}

// watchUsage reads the process's own account of its peak and its time, which
// only grow, until there is none any more. (What the kernel reports after the
// end, ru_maxrss, counts the parent's memory at the fork too.)
func (c *child) watchUsage() {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	var u usage
	for {
		if now, err := c.PeakRSS(); err == nil {
			u.peak = max(u.peak, now)
		}
		u.cpu = max(u.cpu, cpuTime(c.Pid()))
		select {
		case <-tick.C:
		case <-c.Exited():
			c.last <- u
			return
		}
	}
}

// used is the usage of a child that has ended.
func (c *child) used() usage {
	u := <-c.last
	c.last <- u
	return u
}

// cpuTime is what a process has computed so far, 0 where there is none.
func cpuTime(pid int) time.Duration {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	// The name, in brackets, may hold spaces; see proc(5) for the rest.
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	const ticksPerSecond = 100 // USER_HZ
	return time.Duration(user+system) * time.Second / ticksPerSecond
}

// cpuOf is what the members of the clusters have computed so far.
func cpuOf(clusters ...*etcdproc.Cluster) time.Duration {
	var sum time.Duration
	for _, c := range clusters {
		for _, pid := range c.Pids() {
			sum += cpuTime(pid)
		}
	}
	return sum
}

// cost is what one measurement took.
type cost struct {
	took time.Duration
	usage
	etcds time.Duration // CPU of both etcds
}

func (c cost) String() string {
	return fmt.Sprintf("%.2f s, CPU %.2f s and %.2f s in the etcds, peak %.0f MiB",
		seconds(c.took), seconds(c.cpu), seconds(c.etcds), mebibytes(c.peak))
}

// costs are the figures of a contestant: its rate, and what that took. CPU
// seconds tell more than the clock where other work shares the machine.
type costs struct{ rate, peak, cpu, etcds *Figure }

func (r *Result) costs(name, unit string) costs {
	return costs{r.figure(name, unit), r.figure(name+": peak memory", "MiB"),
		r.figure(name+": CPU", "s"), r.figure(name+": CPU of both etcds", "s")}
}

func (f costs) add(n int, c cost) {
	f.rate.add(rate(n, c.took))
	f.peak.add(mebibytes(c.peak))
	f.cpu.add(seconds(c.cpu))
	f.etcds.add(seconds(c.etcds))
}

// best is the contestant with the highest rate.
func best(all []costs) costs {
	b := all[0]
	for _, c := range all {
		if c.rate.Median > b.rate.Median {
			b = c
		}
	}
	return b
}
