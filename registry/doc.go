// Package registry knows how a Kubernetes API server lays its objects out in
// etcd: which key belongs to which resource (ParseKey, ResourcePrefix), how a
// value is encoded and whose it is (ReadMeta), and how it is encrypted at rest
// (Encryption, Recoder).
//
// It is pure: bytes in, facts out. It reaches no cluster, file, clock or log,
// keeps no state between calls, and everything in it may be used by several
// goroutines at once. Nothing in it panics, whatever the bytes are. It never
// writes to the bytes it is given; Meta shares no memory with them, what
// Decrypt, Encrypt and Recode return may.
//
// The rules are those of Kubernetes 1.36; where one comes from a certain file
// of Kubernetes, the comment beside it names the file.
package registry
