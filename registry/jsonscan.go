package registry

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/bits"
)

// maxDepth is how deep JSON may nest: as deep as encoding/json follows it.
const maxDepth = 10_000

// jsonScanner walks JSON once, from the start to the end, checking all of it
// (RFC 8259, as strictly as encoding/json) and copying only what is asked for.
// It takes a fraction of the time that validating the value first and
// looking names up then would, and metadata is read for every object of a cluster.
//
// Its methods consume one element each and report whether it was well-formed;
// after false, err says what is wrong where, and no other may be called.
type jsonScanner struct {
	text    []byte
	at      int
	depth   int
	escaped bool // the last string had an escape
	err     error
}

func (s *jsonScanner) fail(what string) bool {
	if s.err == nil {
		if s.at >= len(s.text) {
			what = "it ends in the middle: " + what
		}
		s.err = fmt.Errorf("%w: JSON broken at byte %d: %s", ErrUndecodable, s.at, what)
	}
	return false
}

// peek is the next byte that is no space; 0 at the end.
func (s *jsonScanner) peek() byte {
	if s.at < len(s.text) && s.text[s.at] > ' ' {
		return s.text[s.at]
	}
	return s.peekBehindSpace()
}

func (s *jsonScanner) peekBehindSpace() byte {
	for ; s.at < len(s.text); s.at++ {
		switch c := s.text[s.at]; c {
		case ' ', '\t', '\r', '\n':
		default:
			return c
		}
	}
	return 0
}

// end is true when nothing follows.
func (s *jsonScanner) end() bool {
	s.peek()
	return s.at == len(s.text) || s.fail("something follows the object")
}

// object calls member with the name of every member; member consumes its value.
func (s *jsonScanner) object(member func(name []byte) bool) bool {
	if !s.enter('{', "want an object") {
		return false
	}
	if s.peek() == '}' {
		return s.leave()
	}
	for {
		if s.peek() != '"' {
			return s.fail("want the name of a member")
		}
		name, ok := s.quoted()
		if !ok {
			return false
		}
		if s.peek() != ':' {
			return s.fail("want a colon")
		}
		s.at++
		if !member(name) {
			return false
		}
		switch s.peek() {
		case ',':
			s.at++
		case '}':
			return s.leave()
		default:
			return s.fail("want a comma or the end of the object")
		}
	}
}

// list calls element for every element; element consumes it.
func (s *jsonScanner) list(element func() bool) bool {
	if !s.enter('[', "want a list") {
		return false
	}
	if s.peek() == ']' {
		return s.leave()
	}
	for {
		if !element() {
			return false
		}
		switch s.peek() {
		case ',':
			s.at++
		case ']':
			return s.leave()
		default:
			return s.fail("want a comma or the end of the list")
		}
	}
}

func (s *jsonScanner) enter(open byte, want string) bool {
	if s.peek() != open {
		return s.fail(want)
	}
	s.at++
	s.depth++
	return s.depth <= maxDepth || s.fail("nested too deep")
}

func (s *jsonScanner) leave() bool {
	s.at++
	s.depth--
	return true
}

// skip consumes any value.
func (s *jsonScanner) skip() bool {
	switch c := s.peek(); c {
	case '{':
		return s.object(func([]byte) bool { return s.skip() })
	case '[':
		return s.list(s.skip)
	case '"':
		return s.skipString()
	case 't':
		return s.word("true")
	case 'f':
		return s.word("false")
	case 'n':
		return s.word("null")
	default:
		return s.number()
	}
}

func (s *jsonScanner) word(word string) bool {
	if len(s.text)-s.at < len(word) || string(s.text[s.at:s.at+len(word)]) != word {
		return s.fail("want a value")
	}
	s.at += len(word)
	return true
}

// null consumes a null if one is next. Kubernetes reads null as "not set".
func (s *jsonScanner) null() bool { return s.peek() == 'n' && s.word("null") }

func (s *jsonScanner) number() bool {
	if s.at < len(s.text) && s.text[s.at] == '-' {
		s.at++
	}
	if s.at < len(s.text) && s.text[s.at] == '0' {
		s.at++
	} else if !s.digits("want a value") {
		return false
	}
	if s.at < len(s.text) && s.text[s.at] == '.' {
		s.at++
		if !s.digits("want a digit") {
			return false
		}
	}
	if s.at < len(s.text) && s.text[s.at]|0x20 == 'e' {
		s.at++
		if s.at < len(s.text) && (s.text[s.at] == '+' || s.text[s.at] == '-') {
			s.at++
		}
		return s.digits("want a digit")
	}
	return true
}

func (s *jsonScanner) digits(want string) bool {
	from := s.at
	for s.at < len(s.text) && s.text[s.at]-'0' < 10 {
		s.at++
	}
	return s.at > from || s.fail(want)
}

// skipString consumes a string. It looks at eight bytes at a time for the
// first that is a quote, a backslash or a control character: with a byte
// subtracted from every one of the eight, the highest bit of a byte is set
// first where the byte was too small (Mycroft's test).
func (s *jsonScanner) skipString() bool {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	text, at := s.text, s.at+1
	for {
		for len(text)-at >= 8 {
			w := binary.LittleEndian.Uint64(text[at:])
			quote, backslash := w^ones*'"', w^ones*'\\'
			special := ((quote-ones)&^quote | (backslash-ones)&^backslash | (w-ones*0x20)&^w) & highs
			if special != 0 {
				at += bits.TrailingZeros64(special) / 8
				break
			}
			at += 8
		}
		s.at = at
		if at >= len(text) {
			return s.fail("want the end of the string")
		}
		switch c := text[at]; {
		case c == '"':
			s.at++
			return true
		case c < 0x20:
			return s.fail("control character in a string")
		case c == '\\':
			if !s.escape() {
				return false
			}
			at = s.at
		default:
			at++
		}
	}
}

func (s *jsonScanner) escape() bool {
	s.escaped = true
	s.at++
	if s.at >= len(s.text) {
		return s.fail("want the rest of an escape")
	}
	switch s.text[s.at] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		s.at++
		return true
	case 'u':
		for range 4 {
			s.at++
			if s.at >= len(s.text) || !isHex(s.text[s.at]) {
				return s.fail("want a hexadecimal digit")
			}
		}
		s.at++
		return true
	}
	return s.fail("unknown escape")
}

func isHex(c byte) bool {
	return c-'0' < 10 || c|0x20-'a' < 6
}

// quoted consumes a string and gives what it says. The bytes are the text's
// own, unless they had to be unescaped.
func (s *jsonScanner) quoted() ([]byte, bool) {
	if s.peek() != '"' {
		return nil, s.fail("want a string")
	}
	from := s.at
	s.escaped = false
	switch {
	case !s.skipString():
		return nil, false
	case !s.escaped:
		return s.text[from+1 : s.at-1], true
	}
	var plain string
	if err := json.Unmarshal(s.text[from:s.at], &plain); err != nil {
		return nil, s.fail(err.Error())
	}
	return []byte(plain), true
}
