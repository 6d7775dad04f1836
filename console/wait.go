package console

// CheckOfLeader is the answer of a daemon that waits: what the one that leads
// said last. It is unknown where that is too long ago.
func CheckOfLeader(f Facts) Check {
	none := Keys{Keys: []string{}}
	c := Check{Verdict: Unknown, Asked: &f.Now, Missed: none, Surplus: none, Differing: none, Undecodable: none, Conflict: none, OtherVersion: none}
	switch {
	case f.Leader == "":
		c.Reason = "this daemon waits for the lead, and who leads is not known"
	case !f.speaks():
		c.Reason = "waiting; " + f.Leader + " leads and has not reported lately"
	case f.Report.Live == nil:
		c.Reason = "waiting; " + f.Leader + " leads and has not said what differs"
	default:
		l := f.Report.Live
		c.Verdict, c.Reason, c.Time, c.TookSeconds, c.Opaque = l.Verdict, l.Reason, l.Time, l.TookSeconds, l.Opaque
		c.SourceRevision, c.StandbyRevision, c.Compared = l.SourceRevision, l.StandbyRevision, l.Compared
		c.Missed.Count, c.Surplus.Count, c.Differing.Count, c.Undecodable.Count, c.Conflict.Count = l.Missed, l.Surplus, l.Differing, l.Undecodable, l.Conflict
		c.OtherVersion.Count = l.OtherVersion
		c.Asked, c.Drift = &f.Report.Time, f.Report.Drift
		c.Notes = []string{"waiting; " + f.Leader + " leads, and this is its account of " + age(f.reportAge()) + " ago; understudy check names the keys"}
	}
	return c.As(f.Standstill)
}
