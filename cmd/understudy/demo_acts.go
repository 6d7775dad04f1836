package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/internal/demo"
	"github.com/understudy-dr/understudy/registry"
	"github.com/understudy-dr/understudy/remedy"
	"github.com/understudy-dr/understudy/verify"
)

func (s *stage) fill(ctx context.Context) error {
	all, err := demo.Generate(demoObjects+demoSpare, s.encryption, s.view)
	if err != nil {
		return err
	}
	// What comes and goes later leaves no orphans, and has its Namespace: simulate
	// would name them.
	for i, o := range all {
		switch {
		case i%3 == 0 && o.In && o.Alone && o.Key.Namespace != "" && len(s.spare) < demoSpare:
			s.spare = append(s.spare, o)
		case len(s.objects) < demoObjects:
			s.objects = append(s.objects, o)
		}
	}
	f := &s.facts.Filled
	f.Objects = len(s.objects)
	for _, o := range s.objects {
		if o.In {
			f.InScope++
		}
		switch {
		case o.Key.Resource == "secrets":
			f.Secrets++
		case strings.HasPrefix(string(o.Value), "{"):
			f.JSON++
		default:
			f.Protobuf++
		}
	}
	if err := demo.Fill(ctx, s.primary.Client, s.objects, s.ledger); err != nil {
		return err
	}
	s.story.filled(s.facts)
	return nil
}

// copy starts the replication and waits until the standby has everything.
func (s *stage) copy(ctx context.Context) error {
	began := time.Now()
	if err := s.start(ctx); err != nil {
		return err
	}
	p, err := await(ctx, s, "the first copy", s.resynced)
	s.bar.end(err == nil)
	if err != nil {
		return err
	}
	c := &s.facts.Copied
	c.Objects, c.SourceRevision, c.Seconds = p.Written, p.Revision, time.Since(began).Seconds()
	secrets := registry.ResourcePrefix(s.view.Scope.RegistryPrefix(), "secrets")
	resp, err := s.standby.Client.Get(ctx, secrets, clientv3.WithPrefix())
	if err != nil {
		return fmt.Errorf("read the standby's Secrets: %w", err)
	}
	for _, pair := range resp.Kvs {
		if strings.HasPrefix(string(pair.Value), "k8s:enc:"+demo.StandbyProvider+":") {
			c.Reencrypted++
		}
	}
	s.story.copied(s.facts)
	return nil
}

// stream lets the controllers of the primary write, and measures the lag.
func (s *stage) stream(ctx context.Context) error {
	rest := s.pickVictims()
	before := len(s.ledger.Answers(0))
	s.writers = demo.StartWriters(ctx, s.primary.Client, demoWriters, rest, s.spare, s.encryption, s.view, s.ledger, demoInterval)
	if err := pause(ctx, demoStream); err != nil {
		return err
	}
	writes := s.ledger.Answers(before)
	if len(writes) == 0 {
		return errors.New("the primary has acknowledged no write")
	}
	newest := slices.MaxFunc(writes, func(a, b demo.Write) int { return int(a.Revision - b.Revision) })
	if err := s.meter.Wait(ctx, newest.Revision, demoPatience); err != nil {
		return s.explain(ctx, "follow the primary", err)
	}
	lags := s.meter.Lags(writes)
	st := &s.facts.Streamed
	st.Writers, st.Seconds, st.Acknowledged = demoWriters, demoStream.Seconds(), len(writes)
	st.LagP50, st.LagP99 = milliseconds(demo.Percentile(lags, 50)), milliseconds(demo.Percentile(lags, 99))
	state := s.replica.State()
	st.Events, st.Transactions = state.Events, state.Transactions
	s.story.streamed(s.facts)
	return nil
}

// pickVictims takes two objects aside that nobody writes, and that would be
// missed. It returns the others in scope.
func (s *stage) pickVictims() (rest []demo.Object) {
	wanted := func(o demo.Object) bool {
		switch o.Key.GroupResource() {
		case "machines.cluster.x-k8s.io":
			return true
		case "secrets":
			return strings.HasSuffix(o.Key.Name, "-kubeconfig")
		}
		return false
	}
	taken := map[string]bool{}
	for _, o := range s.objects {
		switch {
		case !o.In:
		case wanted(o) && !taken[o.Key.Resource]:
			taken[o.Key.Resource] = true
			s.facts.Tampered.Deleted = append(s.facts.Tampered.Deleted, o.Pair.Key)
		default:
			rest = append(rest, o)
		}
	}
	slices.Sort(s.facts.Tampered.Deleted)
	return rest
}

// check compares both sides while the writers go on.
func (s *stage) check(ctx context.Context) error {
	report, err := s.compare(ctx)
	if err != nil {
		return err
	}
	s.facts.Checked = toDemoCheck(report)
	s.story.checked(s.facts.Checked)
	if report.Verdict != verify.Consistent {
		return s.wrong("the standby should be equal to the primary", report)
	}
	return nil
}

func (s *stage) compare(ctx context.Context) (verify.Report, error) {
	report, err := verify.Run(ctx, s.sides(), s.view, verify.Options{Limit: 100})
	if err != nil {
		return report, s.explain(ctx, "compare both sides", err)
	}
	return report, nil
}

// named is a key for people.
func (s *stage) named(key string) string {
	k, _ := s.view.Scope.Parse(key)
	return fmt.Sprintf("%-8s %s", registry.Kind(k.GroupResource()), strings.TrimPrefix(k.Namespace+"/"+k.Name, "/"))
}

// explain says what the replication is up to beside an error that may be its fault.
func (s *stage) explain(ctx context.Context, op string, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if why := s.replica.State().Err; why != nil {
		err = fmt.Errorf("%w; the replication: %w", err, why)
	}
	return &remedy.Error{Op: op, Err: err, Remedy: "a very busy machine or a slow disk makes etcd give up; see more: understudy demo --verbose"}
}

func (s *stage) wrong(promise string, r verify.Report) error {
	found := []string{string(r.Verdict)}
	if r.Reason != "" {
		found = append(found, r.Reason)
	}
	for _, kind := range verify.Kinds {
		if keys := r.Of(kind); keys.Count > 0 {
			found = append(found, fmt.Sprintf("%d %s: %s", keys.Count, kind, strings.Join(keys.Keys, ", ")))
		}
	}
	return &remedy.Error{Op: "check", Code: remedy.Mismatch,
		Err:    fmt.Errorf("%s, but the check says: %s", promise, strings.Join(found, "; ")),
		Remedy: "this is a bug; please report it with this output"}
}

// pause waits while others work.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
