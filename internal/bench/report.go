package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"text/tabwriter"
	"time"
)

// Report is the whole run.
type Report struct {
	Machine    Machine   `json:"machine"`
	Understudy string    `json:"understudy"`
	Scale      float64   `json:"scale"`
	Started    time.Time `json:"started"`
	Took       float64   `json:"tookSeconds"`
	Rows       []*Result `json:"rows"`
}

// Machine is what the numbers were measured on.
type Machine struct {
	CPU        string  `json:"cpu"`
	Cores      int     `json:"cores"`
	MemoryGiB  float64 `json:"memoryGiB"`
	Kernel     string  `json:"kernel"`
	Go         string  `json:"go"`
	Etcd       string  `json:"etcd"`
	LoadBefore string  `json:"loadAverageBefore"` // other work makes every number worse
	LoadAfter  string  `json:"loadAverageAfter"`
}

func newReport(b *bench) *Report {
	return &Report{
		Machine: Machine{
			CPU: procField("/proc/cpuinfo", "model name"), Cores: runtime.NumCPU(), MemoryGiB: memoryGiB(),
			Kernel: firstLine("/proc/sys/kernel/osrelease"), Go: runtime.Version(), Etcd: etcdVersion(b.etcdctl), LoadBefore: loadAverage(),
		},
		Understudy: b.understudy.String(), Scale: b.scale, Started: time.Now().UTC(),
	}
}

func (r *Report) finish() {
	r.Took = seconds(time.Since(r.Started))
	r.Machine.LoadAfter = loadAverage()
}

// failed is an error where a row could not be measured. A bar that is not met
// is a finding and no error.
func (r *Report) failed() error {
	var errs []error
	for _, row := range r.Rows {
		if row.Error != "" {
			errs = append(errs, fmt.Errorf("%s: %s", row.Row, row.Error))
		}
	}
	return errors.Join(errs...)
}

func (r *Report) write(path string) error {
	raw, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(raw, '\n'), 0o644)
}

func (r *Report) print(w io.Writer) {
	m := r.Machine
	fmt.Fprintf(w, "%s, %d cores, %.0f GiB, Linux %s, %s, etcd %s with fsync, all on one machine\n", m.CPU, m.Cores, m.MemoryGiB, m.Kernel, m.Go, m.Etcd)
	fmt.Fprintf(w, "measured: %s; scale %g; median (least … most); load average before %s, after %s; took %.0f s\n\n",
		r.Understudy, r.Scale, m.LoadBefore, m.LoadAfter, r.Took)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ROW\tWHAT\tUNDERSTUDY\tBESIDE\tRESULT\tBAR\tVERDICT")
	for _, row := range r.Rows {
		for _, c := range row.Claims {
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", row.Row, c.What, c.Ours, dash(c.Beside), quantity(c.Value, c.Unit), dash(c.Bar), dash(string(c.Verdict)))
		}
		if row.Error != "" {
			line, _, _ := strings.Cut(row.Error, "\n")
			fmt.Fprintf(t, "%s\tnot measured: %s\t\t\t\t\t\n", row.Row, line)
		}
	}
	t.Flush()
	for _, row := range r.Rows {
		if len(row.Figures)+len(row.Notes) == 0 {
			continue
		}
		fmt.Fprintf(w, "\n%s: %s\n", row.Row, row.Title)
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		for _, f := range row.Figures {
			fmt.Fprintf(t, "  %s\t%s\n", f.Name, f)
		}
		t.Flush()
		for _, note := range row.Notes {
			fmt.Fprintf(w, "  %s\n", note)
		}
	}
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
