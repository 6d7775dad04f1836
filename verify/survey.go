package verify

import (
	"context"
	"errors"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/scope"
	"github.com/understudy-dr/understudy/source"
	"github.com/understudy-dr/understudy/twin"
)

// Survey reads both sides for what stands where: as of the checkpoint where the
// standby was filled with this view, or else each side as it is now.
func Survey(ctx context.Context, sides Sides, view *scope.View) (*twin.Survey, error) {
	ctx, end := Attend(ctx, 0, view.Scope.Prefix(), map[string]*clientv3.Client{"primary": sides.Primary, "standby": sides.Standby})
	defer end()
	found, err := survey(ctx, sides, view)
	if err != nil {
		return nil, because(ctx, err)
	}
	return found, nil
}

func survey(ctx context.Context, sides Sides, view *scope.View) (*twin.Survey, error) {
	at, err := Pin(ctx, sides, view)
	var none *NoPointError
	if err != nil && !errors.As(err, &none) {
		return nil, err
	}
	if err != nil {
		at = Point{}
	}
	found, err := surveyAt(ctx, sides, view, at)
	if errors.Is(err, source.ErrCompacted) { // the checkpoint is too old to be read
		return surveyAt(ctx, sides, view, Point{})
	}
	return found, err
}

func surveyAt(ctx context.Context, sides Sides, view *scope.View, at Point) (*twin.Survey, error) {
	begin, end := view.Range()
	primary, err := source.Open(ctx, sides.Primary, begin, end, at.Source)
	if err != nil {
		return nil, fmt.Errorf("read the primary: %w", err)
	}
	defer primary.Close()
	standby, err := source.Open(ctx, sides.Standby, begin, end, at.Standby)
	if err != nil {
		return nil, fmt.Errorf("read the standby: %w", err)
	}
	defer standby.Close()
	found := twin.NewSurvey(view)
	err = kv.JoinAhead(ctx, func() {}, named{"primary", primary}, named{"standby", standby}, found.Judge, func(p, q *kv.Pair, j twin.Judged) error {
		found.Add(p, q, j)
		return nil
	})
	found.Close()
	return found, err
}
