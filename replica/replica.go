// Package replica keeps a standby in step with its primary. It joins the
// source, the scope's view, the order of writing and the sink; start reading
// here: Run, session, Decide, then copy.go and stream.go.
//
// What it promises, at every checkpoint that it writes: the standby holds what
// the primary held at that revision, for every key in scope (E), and nothing
// that the primary wrote up to there is missing (L). Only one replica writes
// at a time, and one that was deposed cannot write any more (W). It never
// skips: what it cannot copy stops it, with the key's name.
//
// It retries for ever what time can heal, and says so once; it halts, and says
// why, on what only a person can decide.
package replica

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/understudy-dr/understudy/cluster"
	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/registry"
	"github.com/understudy-dr/understudy/remedy"
	"github.com/understudy-dr/understudy/role"
	"github.com/understudy-dr/understudy/scope"
	"github.com/understudy-dr/understudy/sink"
	"github.com/understudy-dr/understudy/source"
)

// Config is what a Replica is made of.
type Config struct {
	Primary, Standby cluster.Config
	View             *scope.View
	Pair             string        // the pair's name
	Identity         string        // of this daemon, for people: host and process
	LeaseTTL         time.Duration // how long a dead leader keeps others waiting; 0 = 10 s
	Limits           sink.Limits   // of the standby's etcd
	// BufferBytes is how much a copy keeps in memory between reading and
	// writing; 0 = 64 MiB. What waits beyond it lies on disk, sealed.
	BufferBytes int
	Breaker     Breaker // against deletions that are too many
	Guard       Guard   // what is done about others' writes on the standby
	// HaltedRetry is how often a halted replica looks whether it may go on;
	// 0 = 30 s.
	HaltedRetry time.Duration
	Log         *slog.Logger
	Hooks       Hooks
}

// Hooks are told what happens, from the replica's goroutines. They must return
// soon and may be nil.
type Hooks struct {
	Copying func(CopyProgress)
	// Applied: a transaction went through.
	Applied func(took time.Duration, changes int)
	// Seen: the standby's writes in scope through a revision, foreign ones marked.
	Seen func(writes []Write, through kv.Revision)
	// Blind: the standby is not watched for the time being, says the error.
	// Where it is source.ErrCompacted, writes were missed for good; otherwise
	// the next Seen begins where the last one ended.
	Blind func(error)
	// Resynced: a copy has ended, both sides were compared.
	Resynced func(CopyProgress)
	// Entered: what the replica is doing has changed.
	Entered func(Phase)
}

// ErrLeads means that another daemon leads.
var ErrLeads = errors.New("another daemon leads")

// Replica keeps one standby in step. Make it with New, then call Run or Once.
type Replica struct {
	Config
	account *account
	ledger  *ledger
	outage  outage
	live    atomic.Pointer[session]
	reached kv.Revision // the highest checkpoint this process has seen
	watcher watcher
	watched kv.Revision // of the standby: all writes through it have been told to Hooks.Seen

	hashed  map[string]time.Time // by cluster: when its members' data was compared and the same
	suspect atomic.Bool          // somebody has seen members disagree
	apart   map[string]string    // by cluster: members that disagree with the majority, as was said
}

// New checks the configuration; it starts nothing.
func New(c Config) (*Replica, error) {
	if c.View == nil || c.Log == nil {
		return nil, errors.New("replica: View and Log must be set")
	}
	if c.LeaseTTL == 0 {
		c.LeaseTTL = 10 * time.Second
	}
	if c.BufferBytes == 0 {
		c.BufferBytes = 64 << 20
	}
	if c.HaltedRetry == 0 {
		c.HaltedRetry = 30 * time.Second
	}
	c.Hooks = c.Hooks.orNothing()
	return &Replica{Config: c, account: newAccount(time.Now(), c.Hooks.Entered), ledger: newLedger(c.Guard, c.Log), outage: outage{log: c.Log},
		hashed: map[string]time.Time{}, apart: map[string]string{}}, nil
}

func (h Hooks) orNothing() Hooks {
	if h.Copying == nil {
		h.Copying = func(CopyProgress) {}
	}
	if h.Applied == nil {
		h.Applied = func(time.Duration, int) {}
	}
	if h.Seen == nil {
		h.Seen = func([]Write, kv.Revision) {}
	}
	if h.Blind == nil {
		h.Blind = func(error) {}
	}
	if h.Resynced == nil {
		h.Resynced = func(CopyProgress) {}
	}
	if h.Entered == nil {
		h.Entered = func(Phase) {}
	}
	return h
}

// State says what the replica is doing. Any goroutine may ask.
func (r *Replica) State() State {
	s := r.account.snapshot()
	s.Drift = r.ledger.report()
	return s
}

// Once brings the standby up to the primary's revision of now, and returns. It
// does not retry.
func (r *Replica) Once(ctx context.Context) (State, error) {
	err := explain(r.session(ctx, true))
	if err != nil {
		r.account.enter(Halted, err)
	}
	return r.State(), err
}

// Run keeps the standby in step until ctx ends, and then returns nil. It
// returns an error only for what it meets at its first attempt and no retry
// can cure: a wrong key, a wrong pair, a primary that was rolled back.
func (r *Replica) Run(ctx context.Context) error {
	wait := newBackoff(500*time.Millisecond, 15*time.Second)
	settled := false // has streamed once, or waited for an answer
	for {
		err := explain(r.session(ctx, false))
		if ctx.Err() != nil {
			return nil
		}
		if r.State().Phase == Streaming {
			settled = true
			wait.reset()
		}
		cure := cureOf(err)
		if errors.Is(err, ErrTwins) {
			settled = true // it waits for them to go, and says so meanwhile
		}
		switch {
		case errors.Is(err, errPaused): // no error: the next session waits for its end
			r.account.enter(Paused, nil)
			continue
		case errors.Is(err, ErrReleased): // the next session waits for the answer
			settled = true
			r.account.enter(Halted, err)
			continue
		case errors.Is(err, errAnswered): // halted until the next session has looked
			settled = true
			continue
		case cure == byPerson && !settled:
			return err
		case cure == byPerson:
			r.account.enter(Halted, err)
			wait.next = r.HaltedRetry
		case cure == atOnce:
			wait.reset()
			r.account.enter(Connecting, nil) // it streams no longer
		default:
			r.account.enter(Connecting, err)
		}
		r.account.update(func(s *State) { s.Errors[reasonOf(err)]++ })
		r.outage.say(cure, err)
		if cure != atOnce {
			r.keepVigil(ctx)
		}
		if wait.sleep(ctx) != nil {
			return nil
		}
	}
}

// session connects, takes the lead and replicates until something ends it.
func (r *Replica) session(ctx context.Context, once bool) error {
	primary, standby, err := r.dial(ctx)
	if err != nil {
		return err
	}
	defer primary.Close()
	defer standby.Close()

	for _, c := range []*cluster.Cluster{primary, standby} {
		if err := r.stay(ctx, c); err != nil {
			return err
		}
	}
	r.suspect.Store(false)
	// Ask before anything is written, and again when nobody else can write.
	facts, decision, err := r.decide(ctx, primary, standby)
	if err != nil {
		return err
	}
	if err := MayWatch(ctx, standby, r.View, facts.Standby.Revision); err != nil {
		return err
	}
	if once {
		if err := r.refuseOnce(ctx, standby, facts, decision); err != nil {
			return err
		}
	} else if err := r.whileStopped(ctx, standby, facts); err != nil {
		return err
	}
	leader, err := r.campaign(ctx, standby, once)
	if errors.Is(err, ErrLeads) { // it may have stopped while we waited
		if why := r.refuseOnce(ctx, standby, facts, decision); why != nil {
			err = why
		}
	}
	if err != nil {
		return err
	}
	r.account.update(func(s *State) { s.Leading = true })
	defer r.account.update(func(s *State) { s.Leading = false })
	defer func() {
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = leader.Resign(last) // the lease ends by itself otherwise
	}()
	if facts, decision, err = r.decide(ctx, primary, standby); err != nil {
		return err
	}
	if facts.Release.Stands(facts.Checkpoint.Revision) { // since we have looked
		return refuseRelease(facts.Release)
	}
	if err := r.refuseSwapped(ctx, primary, standby, facts, decision); err != nil {
		return err
	}
	if err := r.refuseTwins(ctx, primary, standby, facts, decision); err != nil {
		return err
	}
	if decision.Copy != "" {
		if err := refuseSealed(ctx, primary.Client, r.View); err != nil {
			return err
		}
	}
	facts.StandbyRole, err = role.EnsureStandby(ctx, standby.Client, r.Pair, cluster.FormatID(facts.Primary.ID), time.Now())
	if err != nil {
		return err
	}
	r.ledger.begin(facts.Standby.Revision)
	if !once {
		if err := r.recall(ctx, standby.Client, facts.Checkpoint); err != nil {
			return err
		}
	}
	s := &session{
		Replica: r, foreign: foreignKeys{guarded: facts.Checkpoint.Guarded}, primary: primary.Client, standby: standby.Client,
		sink: sink.New(standby.Client, append(leader.Fence(facts.StandbyRole), facts.Release.Unchanged()), r.Limits, facts.Checkpoint),
		id:   cluster.FormatID(facts.Primary.ID), distrust: !facts.Primary.TellsProgress(),
	}
	if once {
		s.until = facts.Primary.Revision
		if s.distrust && decision.Copy == "" { // nothing would say that the end is reached
			decision.Copy = ReasonNoProgress
		}
	}
	return s.run(ctx, decision, leader.Lost())
}

func (r *Replica) dial(ctx context.Context) (primary, standby *cluster.Cluster, err error) {
	primary, err = cluster.Dial(ctx, r.Primary)
	r.account.update(func(s *State) { s.PrimaryReached = err == nil })
	if err != nil {
		return nil, nil, err
	}
	standby, err = cluster.Dial(ctx, r.Standby)
	r.account.update(func(s *State) { s.StandbyReached = err == nil })
	if err != nil {
		primary.Close()
		return nil, nil, err
	}
	return primary, standby, nil
}

// decide gathers the facts and decides on them.
func (r *Replica) decide(ctx context.Context, primary, standby *cluster.Cluster) (Facts, Decision, error) {
	f, err := r.facts(ctx, primary, standby)
	if err != nil {
		return f, Decision{}, err
	}
	r.account.sawPrimary(f.Primary.Revision)
	r.account.update(func(s *State) { s.Primary, s.Standby, s.Checkpoint = f.Primary, f.Standby, f.Checkpoint })
	d, err := Decide(f)
	return f, d, err
}

func (r *Replica) facts(ctx context.Context, primary, standby *cluster.Cluster) (f Facts, err error) {
	f.ScopeHash, f.HoldsHash, f.Reached = r.View.Scope.Hash(), r.View.HoldsHash(), r.reached
	at := r.View.Scope.Prefix()
	// The checkpoint first: the primary, asked later, cannot be behind it.
	if f.Checkpoint, err = sink.ReadCheckpoint(ctx, standby.Client); err != nil {
		return f, err
	}
	if f.Release, err = role.ReadRelease(ctx, standby.Client); err != nil {
		return f, err
	}
	if f.Standby, err = standby.Identify(ctx, sink.CheckpointKey); err != nil {
		return f, err
	}
	if f.StandbyRole, err = role.Read(ctx, standby.Client); err != nil {
		return f, err
	}
	if f.Primary, err = primary.Identify(ctx, at); err != nil {
		return f, err
	}
	if at == "/" {
		if f.Strewn, err = source.Survey(ctx, primary.Client, nil); err != nil {
			return f, err
		}
		f.Strewn = slices.DeleteFunc(f.Strewn, func(o source.Outside) bool { return !o.Objects })
	}
	if f.Checkpoint.SourceClusterID == cluster.FormatID(f.Primary.ID) {
		if f.Testimony, err = testify(ctx, primary.Client, f.Checkpoint.Checkpoint); err != nil {
			return f, err
		}
	}
	// A reader's account may not be allowed to see the role; then nobody says
	// that the primary is a standby.
	if f.PrimaryRole, err = role.Read(ctx, primary.Client); cluster.IsDenied(err) {
		err = nil
	}
	return f, err
}

// campaign takes the lead. A single copy does not wait longer than a dead
// leader's lease can last.
func (r *Replica) campaign(ctx context.Context, standby *cluster.Cluster, once bool) (*role.Leader, error) {
	if other, err := role.CurrentLeader(ctx, standby.Client); err != nil {
		return nil, err
	} else if other != "" {
		r.account.enter(Waiting, nil)
		r.Log.Info("waiting for the lead", "leader", other)
	}
	if once {
		bounded, cancel := context.WithTimeout(ctx, r.LeaseTTL+5*time.Second)
		defer cancel()
		leader, err := role.Campaign(bounded, standby.Client, r.LeaseTTL, r.Identity)
		if err != nil && bounded.Err() != nil && ctx.Err() == nil {
			other, _ := role.CurrentLeader(ctx, standby.Client)
			return nil, &remedy.Error{Op: "copy to the standby", Err: fmt.Errorf("%w: %s", ErrLeads, other),
				Remedy: "understudy status says whether it keeps the standby in step; where it does, there is nothing to do", Code: remedy.LostRace}
		}
		return leader, err
	}
	return role.Campaign(ctx, standby.Client, r.LeaseTTL, r.Identity)
}

// reasonOf is the label of an error in the metrics: few and fixed.
func reasonOf(err error) string {
	switch {
	case errors.Is(err, sink.ErrFenced), errors.Is(err, errLostLead):
		return "lost-lead"
	case errors.Is(err, sink.ErrMoved):
		return "checkpoint-moved"
	case errors.Is(err, sink.ErrNoSpace):
		return "standby-out-of-space"
	case errors.Is(err, sink.ErrTooLarge):
		return "too-large"
	case errors.Is(err, ErrTripped):
		return "breaker"
	case errors.Is(err, errMembers), errors.Is(err, cluster.ErrNoMajority):
		return "members-disagree"
	case errors.Is(err, source.ErrSilent):
		return "silent"
	case errors.Is(err, source.ErrCompacted):
		return "compacted"
	case isKeyProblem(err):
		return "encryption-key"
	case errors.Is(err, registry.ErrUndecodable):
		return "undecodable"
	case cluster.IsDenied(err):
		return "permission"
	case remedy.CodeOf(err) == remedy.Refused:
		return "refused"
	}
	return "connection"
}
