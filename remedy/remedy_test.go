package remedy_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/understudy-dr/understudy/remedy"
)

func TestError(t *testing.T) {
	cause := errors.New("connection refused")
	inner := &remedy.Error{Op: "dial", Err: cause, Remedy: "start etcd", Code: remedy.Auth}
	for name, tc := range map[string]struct {
		err    error
		text   string
		remedy string
		code   remedy.Code
	}{
		"nothing":           {nil, "", "", remedy.OK},
		"plain":             {cause, "connection refused", "", remedy.Failed},
		"with everything":   {inner, "dial: connection refused", "start etcd", remedy.Auth},
		"wrapped":           {fmt.Errorf("sync: %w", inner), "sync: dial: connection refused", "start etcd", remedy.Auth},
		"joined":            {errors.Join(inner, nil), "dial: connection refused", "start etcd", remedy.Auth},
		"outer remedy wins": {&remedy.Error{Op: "sync", Err: inner, Remedy: "look"}, "sync: dial: connection refused", "look", remedy.Auth},
		"outer code wins":   {&remedy.Error{Op: "sync", Err: inner, Code: remedy.Refused}, "sync: dial: connection refused", "start etcd", remedy.Refused},
		"no operation":      {&remedy.Error{Err: cause}, "connection refused", "", remedy.Failed},
		"no cause":          {&remedy.Error{Op: "resync"}, "resync", "", remedy.Failed},
	} {
		t.Run(name, func(t *testing.T) {
			if tc.err != nil && tc.err.Error() != tc.text {
				t.Errorf("text %q, want %q", tc.err, tc.text)
			}
			if got := remedy.Of(tc.err); got != tc.remedy {
				t.Errorf("remedy %q, want %q", got, tc.remedy)
			}
			if got := remedy.CodeOf(tc.err); got != tc.code {
				t.Errorf("code %d, want %d", got, tc.code)
			}
		})
	}
	if !errors.Is(fmt.Errorf("x: %w", inner), cause) {
		t.Error("the cause cannot be found")
	}
}
