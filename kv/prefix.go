package kv

// PrefixEnd is the first key after all keys that begin with prefix, in the
// form that etcd's range requests take: the range [prefix, PrefixEnd(prefix))
// holds exactly the keys with that prefix. For the empty prefix, and for one
// of 0xff bytes only, it is "\x00", etcd's sign for "to the end".
func PrefixEnd(prefix string) string {
	end := []byte(prefix)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i] < 0xff {
			end[i]++
			return string(end[:i+1])
		}
	}
	return "\x00"
}

// Next is the first possible key after key.
func Next(key string) string { return key + "\x00" }
