package faultproxy

import (
	"bytes"
	"encoding/binary"
	"sync"

	"golang.org/x/net/http2/hpack"
)

// A drop waits for a call whose reply shall be lost.
type drop struct {
	method string
	done   chan struct{}
}

// calls follows the gRPC calls on one connection as far as DropNextReply
// needs it: which method opens which stream, and which stream gets a reply.
type calls struct {
	mu      sync.Mutex
	streams [2]frames
	preface []byte // the client's first bytes, until they are understood
	opaque  bool   // not plain-text HTTP/2
	headers *hpack.Decoder
	path    string // of the header block being decoded
	doomed  *drop  // the drop that this connection has taken on
	stream  uint32 // whose reply is lost; 0 on an opaque connection
}

// HTTP/2 frame types and flags (RFC 9113).
const (
	frameData, frameHeaders, frameContinuation = 0x0, 0x1, 0x9

	flagEndHeaders, flagPadded, flagPriority = 0x4, 0x8, 0x20
)

var clientPreface = []byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")

// watchCalls looks at bytes about to be delivered; false means that they are
// the reply to lose, and the connection with them.
func (c *conn) watchCalls(d Direction, data []byte) bool {
	s := &c.calls
	s.mu.Lock()
	defer s.mu.Unlock()
	reply := false
	switch {
	case d == ToServer && len(s.preface) < len(clientPreface) && !s.opaque:
		n := min(len(clientPreface)-len(s.preface), len(data))
		s.preface = append(s.preface, data[:n]...)
		if !bytes.HasPrefix(clientPreface, s.preface) {
			s.opaque = true
			c.takeOn("", 0)
			break
		}
		data = data[n:]
		fallthrough
	case d == ToServer && !s.opaque:
		s.streams[d].feed(data, func(f frame) { c.clientFrame(f) })
	case d == ToServer:
		c.takeOn("", 0)
	case s.opaque:
		reply = s.doomed != nil
	default:
		s.streams[d].feed(data, func(f frame) {
			if s.doomed != nil && f.stream == s.stream && (f.kind == frameHeaders || f.kind == frameData) {
				reply = true
			}
		})
	}
	if reply {
		close(s.doomed.done)
		s.doomed = nil
		return false
	}
	return true
}

// clientFrame follows the header blocks that open streams.
func (c *conn) clientFrame(f frame) {
	s := &c.calls
	if s.headers == nil {
		s.headers = hpack.NewDecoder(4096, func(h hpack.HeaderField) {
			if h.Name == ":path" {
				s.path = h.Value
			}
		})
	}
	block := f.payload
	switch f.kind {
	case frameHeaders:
		s.path = ""
		if f.flags&flagPadded != 0 && len(block) > 0 {
			padding := int(block[0])
			block = block[1:max(1, len(block)-padding)]
		}
		if f.flags&flagPriority != 0 && len(block) >= 5 {
			block = block[5:]
		}
	case frameContinuation:
	default:
		return
	}
	_, _ = s.headers.Write(block)
	if f.flags&flagEndHeaders != 0 {
		_ = s.headers.Close()
		c.takeOn(s.path, f.stream)
	}
}

// takeOn claims the proxy's pending drop if it waits for this call.
func (c *conn) takeOn(path string, stream uint32) {
	c.proxy.mu.Lock()
	defer c.proxy.mu.Unlock()
	if d := c.proxy.drop; d != nil && (d.method == "" || d.method == path) {
		c.proxy.drop = nil
		c.calls.doomed, c.calls.stream = d, stream
	}
}

// frames cuts a byte stream into HTTP/2 frames.
type frames struct {
	header  []byte // of the frame under way
	frame   frame
	missing int // bytes of its payload still to come
}

type frame struct {
	kind, flags byte
	stream      uint32
	payload     []byte // kept for header blocks only
}

const frameHeaderLength = 9

// feed takes the next bytes. A frame is reported when it is whole, but DATA
// as soon as it begins, since a reply must not pass in part.
func (s *frames) feed(data []byte, report func(frame)) {
	for len(data) > 0 {
		if len(s.header) < frameHeaderLength {
			n := min(frameHeaderLength-len(s.header), len(data))
			s.header, data = append(s.header, data[:n]...), data[n:]
			if len(s.header) < frameHeaderLength {
				return
			}
			s.frame = frame{kind: s.header[3], flags: s.header[4],
				stream: binary.BigEndian.Uint32(s.header[5:9]) & 0x7fffffff}
			s.missing = int(s.header[0])<<16 | int(s.header[1])<<8 | int(s.header[2])
			if s.frame.kind == frameData {
				report(s.frame)
			}
		}
		n := min(s.missing, len(data))
		if s.frame.kind == frameHeaders || s.frame.kind == frameContinuation {
			s.frame.payload = append(s.frame.payload, data[:n]...)
		}
		s.missing, data = s.missing-n, data[n:]
		if s.missing == 0 {
			if s.frame.kind != frameData {
				report(s.frame)
			}
			s.header = s.header[:0]
		}
	}
}
