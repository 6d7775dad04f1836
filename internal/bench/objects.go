package main

import (
	"bufio"
	"encoding/binary"
	"io"
	"iter"
	"math"
	"os"

	"github.com/understudy-dr/understudy/internal/fixture"
	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/registry"
	"github.com/understudy-dr/understudy/scope"
)

// valueBytes is the size of every stored value.
const valueBytes = 2 << 10

// encryptionConfig is what both clusters' API servers run with, so that
// make-mirror's raw copy and ours end with the same bytes.
const encryptionConfig = `apiVersion: apiserver.config.k8s.io/v1
kind: EncryptionConfiguration
resources:
- resources: [secrets]
  providers:
  - secretbox: {keys: [{name: key1, secret: MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=}]}
  - identity: {}
`

// objects are those of a management cluster that its profile replicates, each
// stored in 2 KiB, in an order of their own. What the profile leaves out is
// left out here, so that every contestant moves the same keys.
//
// They take longer to make than to write, so they are made once, as many as
// are asked for, and kept in a file.
type objects struct {
	options fixture.Options
	view    *scope.View
	file    *os.File
	out     *bufio.Writer
	made    int // in the file
	next    func() (kv.Pair, bool)
	stop    func()
}

func newObjects(path string) (*objects, error) {
	view, err := newView()
	if err != nil {
		return nil, err
	}
	encryption, err := registry.ParseEncryption([]byte(encryptionConfig))
	if err != nil {
		return nil, err
	}
	o := &objects{view: view, options: fixture.Options{Seed: 1, Objects: math.MaxInt32, ValueBytes: valueBytes, Encryption: encryption}}
	if o.file, err = os.Create(path); err != nil {
		return nil, err
	}
	o.out = bufio.NewWriterSize(o.file, 1<<20)
	o.next, o.stop = iter.Pull(fixture.Generate(o.options))
	return o, nil
}

// newView is the view of the default configuration, but without holds.
func newView() (*scope.View, error) {
	s, err := scope.New(scope.Config{})
	if err != nil {
		return nil, err
	}
	e, err := registry.ParseEncryption([]byte(encryptionConfig))
	if err != nil {
		return nil, err
	}
	l, err := scope.NewLocals(scope.DefaultLocals(scope.DefaultProfile))
	if err != nil {
		return nil, err
	}
	return &scope.View{Scope: s, Recoder: registry.NewRecoder(e, e), Locals: l}, nil
}

func (o *objects) close() {
	o.stop()
	o.file.Close()
}

// grow makes objects until the file holds n.
func (o *objects) grow(n int) error {
	for o.made < n {
		p, ok := o.next()
		if !ok {
			return io.ErrUnexpectedEOF
		}
		object, err := o.view.InPrimary(p.Key, p.Value)
		if err != nil {
			return err
		}
		if !object.In {
			continue
		}
		for _, part := range [][]byte{[]byte(p.Key), p.Value} {
			if _, err := o.out.Write(binary.AppendUvarint(nil, uint64(len(part)))); err != nil {
				return err
			}
			if _, err := o.out.Write(part); err != nil {
				return err
			}
		}
		o.made++
	}
	return o.out.Flush()
}

// each calls visit with the objects from, from+1, … to-1.
func (o *objects) each(from, to int, visit func(kv.Pair) error) error {
	if err := o.grow(to); err != nil {
		return err
	}
	in := bufio.NewReaderSize(io.NewSectionReader(o.file, 0, math.MaxInt64), 1<<20)
	for i := range to {
		key, err := readPart(in)
		if err != nil {
			return err
		}
		value, err := readPart(in)
		if err != nil {
			return err
		}
		if i < from {
			continue
		}
		if err := visit(kv.Pair{Key: string(key), Value: value}); err != nil {
			return err
		}
	}
	return nil
}

func readPart(in *bufio.Reader) ([]byte, error) {
	n, err := binary.ReadUvarint(in)
	if err != nil {
		return nil, err
	}
	part := make([]byte, n)
	_, err = io.ReadFull(in, part)
	return part, err
}

// slice is the objects from, … to-1 in memory.
func (o *objects) slice(from, to int) ([]kv.Pair, error) {
	var all []kv.Pair
	err := o.each(from, to, func(p kv.Pair) error {
		all = append(all, p)
		return nil
	})
	return all, err
}
