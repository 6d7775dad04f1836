// Package acceptance proves, from outside, what Understudy is for: the built
// binary runs as a child process with a configuration file, between real
// Kubernetes control planes and real etcds of several versions. Nothing here
// looks inside; objects are read through API servers, keys by an independent
// checker.
//
// It holds tests only. All of them need minutes and are left out of the quick
// round (go test -short).
package acceptance
