package replica

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"os"
)

// spill keeps values on disk that wait for their tree and do not fit into
// memory, so that the primary is read only once. The file has no name, and what
// is in it is sealed with a key that only this process knows: Secrets do not
// reach the disk in the clear.
//
// put is for one goroutine; get may be called by several after the last put.
type spill struct {
	file    *os.File
	seal    cipher.AEAD
	buffer  []byte
	written int64 // bytes of the file
}

// place is where a value lies; the zero place is none.
type place struct {
	offset int64
	length int32 // sealed
}

const spillBuffer = 1 << 20

func newSpill() (*spill, error) {
	file, err := os.CreateTemp("", "understudy-copy-*")
	if err != nil {
		return nil, fmt.Errorf("make a temporary file: %w", err)
	}
	if err := os.Remove(file.Name()); err != nil { // it lives as long as it is open
		file.Close()
		return nil, fmt.Errorf("make a temporary file: %w", err)
	}
	var key [32]byte
	if _, err := rand.Read(key[:]); err != nil {
		file.Close()
		return nil, err
	}
	block, err := aes.NewCipher(key[:])
	if err != nil {
		file.Close()
		return nil, err
	}
	seal, err := cipher.NewGCM(block)
	if err != nil {
		file.Close()
		return nil, err
	}
	return &spill{file: file, seal: seal}, nil
}

func (s *spill) close() { s.file.Close() }

// put appends a value. After an error this value is not kept, those before it
// are, and nothing more may be put.
func (s *spill) put(value []byte) (place, error) {
	p := place{offset: s.written + int64(len(s.buffer)), length: int32(len(value) + s.seal.Overhead())}
	s.buffer = s.seal.Seal(s.buffer, nonce(p.offset), value, nil)
	if len(s.buffer) < spillBuffer {
		return p, nil
	}
	return p, s.flush()
}

// flush writes what has been put. After an error it stays in memory.
func (s *spill) flush() error {
	if len(s.buffer) == 0 {
		return nil
	}
	_, err := s.file.WriteAt(s.buffer, s.written)
	if err != nil {
		return fmt.Errorf("write the temporary file: %w", err)
	}
	s.written += int64(len(s.buffer))
	s.buffer = s.buffer[:0]
	return nil
}

func (s *spill) get(p place) ([]byte, error) {
	sealed := make([]byte, p.length)
	if at := p.offset - s.written; at >= 0 {
		copy(sealed, s.buffer[at:]) // the disk would not take it
	} else if _, err := s.file.ReadAt(sealed, p.offset); err != nil {
		return nil, fmt.Errorf("read the temporary file: %w", err)
	}
	value, err := s.seal.Open(sealed[:0], nonce(p.offset), sealed, nil)
	if err != nil {
		return nil, fmt.Errorf("read the temporary file: %w", err)
	}
	return value, nil
}

// nonce is unique within a file: no two values begin at one offset.
func nonce(offset int64) []byte {
	var n [12]byte
	binary.BigEndian.PutUint64(n[4:], uint64(offset))
	return n[:]
}
