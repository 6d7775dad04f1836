package console

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics are a daemon's metrics, all with the prefix understudy_. They are
// read from its report at every scrape, so they cannot tell another story than
// status does. What nobody knows is left out, not shown as 0; so is, while another
// daemon leads, what only that one knows.
type Metrics struct {
	pair   string
	report func() Report
	apply  prometheus.Histogram
}

// NewMetrics are those of a pair. They read from report, which must answer at
// once and be safe for concurrent use.
func NewMetrics(pair string, report func() Report) *Metrics {
	return &Metrics{
		pair:   pair,
		report: report,
		apply: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "understudy_apply_duration_seconds",
			Help:    "Time that one transaction on the standby took.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 14),
		}),
	}
}

// Gatherer is what Handler serves: these metrics and those of the process, all
// with the label pair, so that one pair's silence is not covered by another's life.
func (m *Metrics) Gatherer(process ...prometheus.Collector) prometheus.Gatherer {
	registry := prometheus.NewRegistry()
	prometheus.WrapRegistererWith(prometheus.Labels{"pair": m.pair}, registry).MustRegister(append(process, m)...)
	return registry
}

// Applied records how long a transaction took.
func (m *Metrics) Applied(took time.Duration) { m.apply.Observe(took.Seconds()) }

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("understudy_"+name, help, labels, nil)
}

var (
	connected       = describe("connected", "1 while the daemon reaches the etcd of that side.", "side")
	stateIs         = describe("state", "1 for the state that the daemon is in.", "state")
	leading         = describe("leading", "1 while this daemon leads, and no other.")
	lagKnown        = describe("lag_known", "1 while the lag is known.")
	lagSeconds      = describe("lag_seconds", "How long the standby has been without a write of the primary; absent while unknown.")
	lagRevisions    = describe("lag_revisions", "Revisions of the primary that the standby does not have; absent while unknown.")
	sourceRevision  = describe("source_revision", "Revision of the primary up to which the standby has everything.")
	standbyRevision = describe("standby_revision", "Revision of the standby at which its checkpoint was written last.")
	events          = describe("events_total", "Changes applied to the standby.")
	bytesApplied    = describe("bytes_total", "Bytes of keys and values applied to the standby.")
	deletesTotal    = describe("deletes_total", "Deletions applied to the standby, by resource.", "resource")
	driftTotal      = describe("drift_total", "Objects in scope on the standby that others deleted, changed or created.", "kind")
	driftRepaired   = describe("drift_repaired_total", "Objects that were put back on the standby after others had deleted or changed them.")
	driftPending    = describe("drift_pending", "Keys of the standby that wait to be compared with the primary and repaired.")
	driftFlapping   = describe("drift_flapping", "Keys of the standby that others harm again and again, and that are no longer repaired.")
	resyncs         = describe("resyncs_total", "Comparisons and copies of everything, by reason.", "reason")
	failures        = describe("errors_total", "Errors that ended a session of the replication, by reason.", "reason")
	differences     = describe("check_differences", "Keys that differ now, by kind; absent while unknown.", "kind")
	checkVerdict    = describe("check_verdict", "1 for the verdict on both sides as it is now.", "verdict")
	lastCheck       = describe("last_check_timestamp_seconds", "When the last full comparison began; absent before the first.")
	floorMargin     = describe("floor_margin_revisions", "How far the standby's etcd is above the primary's, at least; negative = below; absent while unknown.")
	heldObjects     = describe("held_objects", "Objects that are held on the standby; absent while unknown.")
	breakerTripped  = describe("breaker_tripped", "1 while replication is stopped before deletions that are too many.")
	certificateEnds = describe("certificate_expiry_timestamp_seconds", "When a certificate that a connection depends on expires.", "side", "file")
)

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{connected, stateIs, leading, lagKnown, lagSeconds, lagRevisions, sourceRevision, standbyRevision,
		events, bytesApplied, deletesTotal, driftTotal, driftRepaired, driftPending, driftFlapping, resyncs, failures, differences, checkVerdict, lastCheck, floorMargin, heldObjects, breakerTripped, certificateEnds} {
		out <- d
	}
	m.apply.Describe(out)
}

// Collect implements prometheus.Collector.
func (m *Metrics) Collect(out chan<- prometheus.Metric) {
	r := m.report()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	counter := func(d *prometheus.Desc, v int64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}

	for _, state := range []string{Connecting, Waiting, Copying, Streaming, Paused, Halted} {
		gauge(stateIs, one(r.State == state), state)
	}
	gauge(leading, one(r.Leading))
	counter(events, r.Events)
	counter(bytesApplied, r.Bytes)
	for resource, n := range r.Deletes {
		counter(deletesTotal, n, resource)
	}
	for reason, n := range r.Resyncs {
		counter(resyncs, n, reason)
	}
	for reason, n := range r.Errors {
		counter(failures, n, reason)
	}
	seen := map[[2]string]bool{} // a file may hold several certificates: the first to expire counts
	for _, c := range byExpiry(r.Certificates) {
		if id := [2]string{c.Side, c.File}; !seen[id] {
			seen[id] = true
			gauge(certificateEnds, float64(c.NotAfter.Unix()), c.Side, c.File)
		}
	}
	m.apply.Collect(out)
	if r.State != Waiting {
		collectPair(r, gauge, counter)
	}
}

// collectPair is what a daemon that waits cannot know.
func collectPair(r Report, gauge func(*prometheus.Desc, float64, ...string), counter func(*prometheus.Desc, int64, ...string)) {
	gauge(connected, one(r.PrimaryConnected), "primary")
	gauge(connected, one(r.StandbyConnected), "standby")
	gauge(lagKnown, one(r.Lag.known()))
	if r.Lag.known() {
		gauge(lagSeconds, *r.Lag.Seconds)
		gauge(lagRevisions, float64(*r.Lag.Revisions))
	}
	if r.SourceRevision > 0 {
		gauge(sourceRevision, float64(r.SourceRevision))
		gauge(standbyRevision, float64(r.StandbyRevision))
	}
	if floor := r.floor(); floor.Known {
		gauge(floorMargin, float64(*floor.Revisions))
	}
	if r.Held != nil {
		gauge(heldObjects, float64(*r.Held))
	}
	gauge(breakerTripped, one(r.Tripped))
	if d := r.Drift; d != nil {
		counter(driftTotal, d.Deleted, "deleted")
		counter(driftTotal, d.Changed, "changed")
		counter(driftTotal, d.Created, "created")
		counter(driftRepaired, d.Repaired)
		gauge(driftPending, float64(d.Pending))
		gauge(driftFlapping, float64(len(d.Flapping)))
	}
	collectCheck(r, gauge)
}

func collectCheck(r Report, gauge func(*prometheus.Desc, float64, ...string)) {
	if r.LastCheck != nil {
		gauge(lastCheck, float64(r.LastCheck.Time.UnixMilli())/1000)
	}
	now := r.Live
	if now == nil {
		now = r.LastCheck
	}
	verdict := Unknown
	if now != nil {
		verdict = now.Verdict
	}
	for _, v := range []string{Consistent, Inconsistent, Unknown} {
		gauge(checkVerdict, one(verdict == v), v)
	}
	if verdict == Consistent || verdict == Inconsistent {
		gauge(differences, float64(now.Missed), "missed")
		gauge(differences, float64(now.Surplus), "surplus")
		gauge(differences, float64(now.Differing), "differing")
		gauge(differences, float64(now.Undecodable), "undecodable")
		gauge(differences, float64(now.Conflict), "conflict")
	}
}

func one(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
