package console

import (
	"fmt"
	"strings"
)

// OutsideFacts are keys of the primary that take no part because no prefix is
// configured for them.
type OutsideFacts struct {
	Prefix  string
	Keys    int64
	Objects bool   // some of them are objects of API servers
	Example string // one of these, or else the first
}

// LeftOutFacts are what of value on the primary takes no part.
type LeftOutFacts struct {
	Alone LeftOut // the standby has nothing in its place
	There int64   // the standby has an object of its own
}

// below names the configured prefixes.
func (f PreflightFacts) below() string {
	if len(f.Prefixes) == 0 {
		return f.Prefix
	}
	return strings.Join(f.Prefixes, " and ")
}

// judgeOutsidePrefix: the objects of an aggregated API server lie beside those of the
// API server, and what they own is replicated without them.
func judgeOutsidePrefix(f PreflightFacts) []PreflightLine {
	const what = "what the primary keeps outside sync.prefix"
	if !f.Primary.Outside.Known {
		return unchecked("let the account read every key, or declare the check away: access.skip", what, orUnknown(f.Primary.Outside.Why))
	}
	var objects, prefixes, others []string
	for _, o := range f.Primary.Outside.Value {
		text := fmt.Sprintf("%s keys below %s", number(o.Keys), o.Prefix)
		if o.Objects {
			objects, prefixes = append(objects, text+", such as "+o.Example), append(prefixes, o.Prefix)
		} else {
			others = append(others, text)
		}
	}
	switch {
	case f.Prefix == "/" && len(objects) > 0:
		return checked(CheckFail, "sync: {prefixes: ["+strings.Join(prefixes, ", ")+"]}, that of the API server first",
			"sync.prefix is \"/\", and %s has objects of API servers: %s", f.Primary.Name, strings.Join(objects, "; "))
	case f.Prefix == "/":
		return checked(CheckOK, "", "no key of %s looks like an object of an API server", f.Primary.Name)
	case len(objects) > 0:
		return checked(CheckWarn, "sync: {prefixes: ["+strings.Join(append(f.Prefixes, prefixes...), ", ")+"]}",
			"outside %s %s keeps what looks like objects of API servers, and it takes no part: %s", f.below(), f.Primary.Name, strings.Join(objects, "; "))
	case len(others) > 0:
		return checked(CheckOK, "", "outside %s %s keeps no objects: %s", f.below(), f.Primary.Name, strings.Join(others[:min(len(others), 3)], ", "))
	}
	return checked(CheckOK, "", "%s keeps nothing outside %s", f.Primary.Name, f.below())
}

// judgeLeftOut: a namespace that a profile leaves out may hold more than the
// platform has put there.
func judgeLeftOut(f PreflightFacts) []PreflightLine {
	if !f.LeftOut.Known {
		return unchecked("understudy config view", "what of value the scope leaves out", orUnknown(f.LeftOut.Why))
	}
	l := f.LeftOut.Value
	if text := l.Alone.Text(); text != "" {
		return checked(CheckWarn, scopeList+" names them; take them in (sync.include), or back them up by themselves",
			"%s of %s take no part, and %s has none in their place", text, f.Primary.Name, f.Standby.Name)
	}
	if l.There > 0 {
		return checked(CheckOK, "", "of what the scope leaves out, %s objects of value on %s have a counterpart on %s", number(l.There), f.Primary.Name, f.Standby.Name)
	}
	return checked(CheckOK, "", "the scope leaves out nothing of value: no custom resource or Secret for its namespace, no Pod or virtual machine that no controller made")
}
