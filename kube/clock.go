package kube

import (
	"context"
	"errors"
	"net/http"
	"time"
)

// Clock is how far the clocks of a cluster's API servers are from ours.
type Clock struct {
	Ahead time.Duration // of ours; negative where they are behind
	Slack time.Duration // Ahead is right to within this
	// Apart is how far the API servers behind one address are from each other, at
	// least; 0 where they agree as far as can be told.
	Apart time.Duration
}

const (
	// An HTTP date has whole seconds, so looking often enough for a second to pass
	// tells when it does.
	clockLooks = 24
	clockEvery = 60 * time.Millisecond
)

// Clock compares the API servers' clocks with ours, by the Date of their answers
// and the time of asking. It takes about one and a half seconds.
func (a *API) Clock(ctx context.Context) (Clock, error) {
	var answers []clockAnswer
	tick := time.NewTicker(clockEvery)
	defer tick.Stop()
	for range clockLooks {
		one, err := a.askClock(ctx)
		if err != nil {
			return Clock{}, err
		}
		answers = append(answers, one)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return Clock{}, ctx.Err()
		}
	}
	return clockOf(answers), nil
}

// clockAnswer is one Date, and our time before it was asked for and after it came.
type clockAnswer struct{ date, before, after time.Time }

func (a *API) askClock(ctx context.Context) (clockAnswer, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	before := time.Now()
	resp, err := a.get(ctx, "/version")
	after := time.Now()
	if err != nil {
		return clockAnswer{}, err
	}
	defer resp.Body.Close()
	date, err := http.ParseTime(resp.Header.Get("Date"))
	if err != nil {
		return clockAnswer{}, errors.New("GET /version: the answer has no date")
	}
	return clockAnswer{date, before, after}, nil
}

// clockOf is what the answers have in common. Each says that the server's clock,
// somewhere between our before and after, was in the second that date begins. It
// is pure.
func clockOf(answers []clockAnswer) Clock {
	var least, most time.Duration // of how far they are ahead
	for i, a := range answers {
		low, high := a.date.Sub(a.after), a.date.Add(time.Second).Sub(a.before)
		if i == 0 {
			least, most = low, high
			continue
		}
		least, most = max(least, low), min(most, high)
	}
	if least > most { // nothing in common: one is at least so far from another
		return Clock{Ahead: most + (least-most)/2, Slack: (least - most) / 2, Apart: least - most}
	}
	return Clock{Ahead: least + (most-least)/2, Slack: (most - least) / 2}
}
