package cluster

import "github.com/coreos/go-semver/semver"

// Defect is a fault of some etcd versions that concerns us.
type Defect struct {
	ID     string // stable
	What   string
	Fixed  string // by which versions
	Source string
	in     []span
}

// span is from a version on, until the one that mends it.
type span struct{ from, fixed string }

// defects are the known ones, by etcd's change logs (CHANGELOG-3.4, -3.5, -3.6); Source
// is the issue or pull request there. Faults of authentication that only let a user
// see more than he may are not among them: they harm no replication.
var defects = []Defect{
	{ID: "inconsistent-after-crash", What: "a member that crashes may skip transactions and differ from the others in silence",
		Source: "etcd #13766, #13908", in: []span{{"3.5.0", "3.5.3"}}},
	{ID: "inconsistent-after-defrag", What: "a member that crashes in a defragmentation may apply transactions twice and have another revision than the others",
		Source: "etcd #14685, #14733", in: []span{{"3.5.0", "3.5.6"}}},
	{ID: "auth-lost-by-snapshot", What: "with etcd's authentication on, a member that was caught up by a snapshot may differ from the others",
		Source: "etcd #14571, #14648", in: []span{{"3.4.0", "3.4.22"}, {"3.5.0", "3.5.6"}}},
	{ID: "watch-back-in-time", What: "a watch may tell old events anew when a member is caught up by a snapshot",
		Source: "etcd #15515, #15520", in: []span{{"3.4.0", "3.4.25"}, {"3.5.0", "3.5.8"}}},
	{ID: "progress-overtakes", What: "a progress notification may overtake events: they are not trusted, and sync --once compares instead",
		Source: "etcd #15220", in: []span{{"3.4.0", "3.4.25"}, {"3.5.0", "3.5.8"}}},
	{ID: "watch-loses-after-compaction", What: "a watch may lose events after a compaction",
		Source: "etcd #17612, #17610", in: []span{{"3.4.0", "3.4.31"}, {"3.5.0", "3.5.13"}}},
	{ID: "revision-decreases", What: "the revision may go back when a member crashes in a compaction",
		Source: "etcd #17780", in: []span{{"3.4.0", "3.4.32"}, {"3.5.0", "3.5.14"}}},
	{ID: "delete-lost-at-compaction", What: "a deletion at the very revision that is compacted is lost to a watch: check finds it as surplus",
		Source: "etcd #18089, #18474", in: []span{{"3.4.0", "3.4.34"}, {"3.5.0", "3.5.16"}}},
	{ID: "partial-transaction", What: "a transaction may be applied in part",
		Source: "etcd #18799", in: []span{{"3.5.0", "3.5.17"}}},
	{ID: "delete-lost-at-watch", What: "a deletion is lost to a watch that begins at the revision that is being compacted: check finds it as surplus",
		Source: "etcd #19179, #19249", in: []span{{"3.4.0", "3.4.36"}, {"3.5.0", "3.5.18"}}},
	{ID: "corrupt-by-defrag", What: "a defragmentation while a member is caught up by a snapshot may corrupt its data",
		Source: "etcd #20271, #20653", in: []span{{"3.4.0", "3.4.38"}, {"3.5.0", "3.5.23"}, {"3.6.0", "3.6.5"}}},
	{ID: "stale-read", What: "a read may be older than it claims when the leader changes or a member was frozen",
		Source: "etcd #21387, #21421", in: []span{{"3.4.0", "3.4.42"}, {"3.5.0", "3.5.28"}}},
	{ID: "members-come-back", What: "members that were removed may come back, and a promoted learner may be one again, with the upgrade to 3.6",
		Source: "etcd #19557 (3.5.1 to 3.5.19), #20793 (to 3.5.23), #20995 (to 3.5.25)", in: []span{{"3.5.0", "3.5.26"}}},
}

// DefectsOf are the known defects of an etcd version. One that cannot be read has
// none that is known.
func DefectsOf(version string) (out []Defect) {
	v, err := semver.NewVersion(version)
	if err != nil {
		return nil
	}
	for _, d := range defects {
		for _, s := range d.in {
			if from, fixed := semver.New(s.from), semver.New(s.fixed); !v.LessThan(*from) && v.LessThan(*fixed) {
				d.Fixed = s.fixed
				out = append(out, d)
			}
		}
	}
	return out
}
