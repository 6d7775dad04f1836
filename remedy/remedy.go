// Package remedy gives an error the sentence that a person needs at night:
// what was being done, why it could not be done, and the next command.
package remedy

import "errors"

// Code is the exit status that an error asks the command for. The numbers are
// part of the command line's contract.
type Code int

// The exit statuses of understudy.
const (
	OK        Code = 0
	Failed    Code = 1
	Usage     Code = 2   // wrong flags or configuration
	Degraded  Code = 3   // it works, but the pair is not protected
	Refused   Code = 4   // refused because it would be unsafe
	LostRace  Code = 5   // somebody else was first
	Mismatch  Code = 6   // the two sides differ
	Unknown   Code = 7   // the outcome is unknown; resume
	Auth      Code = 8   // wrong key, certificate, user or password
	Cancelled Code = 130 // interrupted
)

// Error is a cause for code and a remedy for people.
type Error struct {
	Op     string // what was being done: "apply batch to revision 7"
	Err    error  // why it could not; errors.Is and errors.As look through
	Remedy string // the next command or the thing to change; may be empty
	Code   Code   // 0 means Failed
}

func (e *Error) Error() string {
	switch {
	case e.Op == "":
		return e.Err.Error()
	case e.Err == nil:
		return e.Op
	}
	return e.Op + ": " + e.Err.Error()
}

func (e *Error) Unwrap() error { return e.Err }

// Of returns the remedy of the outermost Error in err's chain that has one.
func Of(err error) string {
	for err != nil {
		var e *Error
		if !errors.As(err, &e) {
			return ""
		}
		if e.Remedy != "" {
			return e.Remedy
		}
		err = e.Err
	}
	return ""
}

// CodeOf returns the exit status that err asks for: the first one given in its
// chain, Failed if none is given, OK for nil.
func CodeOf(err error) Code {
	if err == nil {
		return OK
	}
	for next := err; next != nil; {
		var e *Error
		if !errors.As(next, &e) {
			break
		}
		if e.Code != 0 {
			return e.Code
		}
		next = e.Err
	}
	return Failed
}
