package console

// SwappedFacts is by what it looks as if the sides were the wrong way round; What is
// a resource, or "objects in scope"; "" = nothing.
type SwappedFacts struct {
	What             string
	Primary, Standby int64 // how many each has
}

func judgeSwapped(f PreflightFacts) []PreflightLine {
	s := f.Swapped.Value
	switch {
	case f.Standby.Role.Value.Standby:
		return nil // a pair: roles say it
	case !f.Swapped.Known:
		return unchecked("understudy status", "whether the sides are swapped", orUnknown(f.Swapped.Why))
	case s.What == "":
		return checked(CheckOK, "", "nothing that the sides hold says that they are swapped")
	}
	return checked(CheckFail, "write the sides the other way round (primary: "+f.Standby.Name+", standby: "+f.Primary.Name+
		"); if they are right, empty the standby first, or exclude what it shall keep: sync.exclude",
		"the sides look swapped: %s has %s %s, and %s %s. sync refuses: it would make %s what %s is",
		f.Standby.Name, number(s.Standby), s.What, f.Primary.Name, number(s.Primary), f.Standby.Name, f.Primary.Name)
}
