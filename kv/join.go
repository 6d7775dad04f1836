package kv

// Stream yields pairs in strictly ascending key order. Next returns false
// after the last pair.
type Stream interface {
	Next() (Pair, bool, error)
}

// Join walks two streams in key order and calls visit once for every key that
// stands on either side; the pointer of a side that lacks the key is nil. The
// pointers are valid only during the call. It ends at the first error.
func Join(a, b Stream, visit func(a, b *Pair) error) error {
	left, leftOK, err := a.Next()
	if err != nil {
		return err
	}
	right, rightOK, err := b.Next()
	if err != nil {
		return err
	}
	for leftOK || rightOK {
		useLeft := leftOK && (!rightOK || left.Key <= right.Key)
		useRight := rightOK && (!leftOK || right.Key <= left.Key)
		switch {
		case useLeft && useRight:
			err = visit(&left, &right)
		case useLeft:
			err = visit(&left, nil)
		default:
			err = visit(nil, &right)
		}
		if err != nil {
			return err
		}
		if useLeft {
			if left, leftOK, err = a.Next(); err != nil {
				return err
			}
		}
		if useRight {
			if right, rightOK, err = b.Next(); err != nil {
				return err
			}
		}
	}
	return nil
}
