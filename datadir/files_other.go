//go:build !linux

package datadir

import "errors"

func exchange(string, string) error { return errors.ErrUnsupported }

func ownLike(string, string) error { return nil }
