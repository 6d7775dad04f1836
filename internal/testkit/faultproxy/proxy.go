// Package faultproxy is a TCP proxy that misbehaves on demand: it stands
// between a client and one server and cuts, freezes, slows or tears their
// connections.
//
// It serves on a loopback port that stays its own from New to Close, also while
// it refuses connections. Every method is safe for concurrent use.
package faultproxy

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/understudy-dr/understudy/internal/testkit/proc"
)

// Direction is the way bytes travel.
type Direction int

// Directions.
const (
	ToServer Direction = iota // what the client sends
	ToClient                  // what the server answers
	Both
)

func (d Direction) covers(one Direction) bool { return d == one || d == Both }

// Proxy forwards TCP connections to one server.
type Proxy struct {
	scheme, target string
	port           int

	mu       sync.Mutex
	listener net.Listener // nil while cut
	conns    map[*conn]struct{}
	faults   faults
	drop     *drop
	accepted int64
	bytes    [2]int64
	closed   bool
	wg       sync.WaitGroup
}

// faults are what holds for every connection, present and future.
type faults struct {
	blackhole map[Direction]bool
	delay     time.Duration
	rate      int64        // bytes per second and direction; 0 is unlimited
	freeAt    [2]time.Time // when the throttled line is free again
	limit     func() int64 // bytes after which a connection is reset; nil is never
}

// New starts a proxy before target, a host:port or a URL of one.
func New(target string) (*Proxy, error) {
	p := &Proxy{target: target, conns: map[*conn]struct{}{}}
	if scheme, address, ok := strings.Cut(target, "://"); ok {
		p.scheme, p.target = scheme+"://", strings.TrimSuffix(address, "/")
	}
	ports, err := proc.Ports(1)
	if err != nil {
		return nil, err
	}
	p.port = ports[0]
	if err := p.listen(); err != nil {
		proc.ReleasePorts(p.port)
		return nil, err
	}
	return p, nil
}

// Addr is the host:port that clients connect to.
func (p *Proxy) Addr() string { return fmt.Sprintf("127.0.0.1:%d", p.port) }

// URL is Addr with the scheme of the target that New was given.
func (p *Proxy) URL() string { return p.scheme + p.Addr() }

// listen opens the port, unless it is open.
func (p *Proxy) listen() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.listener != nil || p.closed {
		return nil
	}
	l, err := net.Listen("tcp", p.Addr())
	if err != nil {
		return err
	}
	p.listener = l
	p.wg.Add(1)
	go func() {
		defer p.wg.Done()
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			p.wg.Add(1)
			go func() {
				defer p.wg.Done()
				p.serve(client.(*net.TCPConn))
			}()
		}
	}()
	return nil
}

// Close ends every connection and the proxy.
func (p *Proxy) Close() {
	p.mu.Lock()
	closed := p.closed
	p.closed = true
	p.mu.Unlock()
	if closed {
		return
	}
	p.Cut()
	p.wg.Wait()
	proc.ReleasePorts(p.port)
}

// Cut resets every connection and refuses new ones, until Restore.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.listener != nil {
		p.listener.Close()
		p.listener = nil
	}
	for c := range p.conns {
		c.reset()
	}
}

// Reset resets every connection once; new ones are welcome.
func (p *Proxy) Reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		c.reset()
	}
}

// Restore ends every fault. Connections that lost bytes in a black hole are
// reset, for their streams have a gap that TCP would never show.
func (p *Proxy) Restore() error {
	p.mu.Lock()
	p.faults = faults{}
	p.drop = nil
	for c := range p.conns {
		c.limit.Store(0)
		if c.lost.Load() {
			c.reset()
		}
	}
	p.mu.Unlock()
	return p.listen()
}

// Blackhole swallows one direction: connections stay open and new ones are
// accepted, yet what is sent that way never arrives.
func (p *Proxy) Blackhole(d Direction) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults.blackhole = map[Direction]bool{ToServer: d.covers(ToServer), ToClient: d.covers(ToClient)}
}

// Delay makes every byte arrive d later, in both directions.
func (p *Proxy) Delay(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults.delay = d
}

// Throttle lets that many bytes pass per second in each direction, all
// connections together; zero lifts the limit.
func (p *Proxy) Throttle(bytesPerSecond int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults.rate = bytesPerSecond
	p.faults.freeAt = [2]time.Time{}
}

// ResetAfter resets each connection once n more bytes have passed over it,
// counting both directions; zero ends that.
func (p *Proxy) ResetAfter(n int64) {
	if n <= 0 {
		p.setLimit(nil)
		return
	}
	p.setLimit(func() int64 { return n })
}

// RandomResets resets each connection after a random number of bytes, the
// mean of which is given. The same seed draws the same numbers.
func (p *Proxy) RandomResets(seed uint64, mean int64) {
	random := rand.New(rand.NewPCG(seed, seed))
	p.setLimit(func() int64 { return 1 + int64(random.ExpFloat64()*float64(mean)) })
}

func (p *Proxy) setLimit(limit func() int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults.limit = limit
	for c := range p.conns {
		if limit == nil {
			c.limit.Store(0)
		} else {
			c.limit.Store(c.passed.Load() + limit())
		}
	}
}

// DropNextReply lets the next call of a gRPC method, such as
// "/etcdserverpb.KV/Txn", reach the server, and resets the connection in place
// of delivering the reply. The channel is closed when that has happened.
//
// An empty method means any call. On a connection that is not plain-text
// HTTP/2 only that is possible; the call is then the next bytes that the client
// sends, and the reply whatever the server sends after them.
func (p *Proxy) DropNextReply(method string) <-chan struct{} {
	d := &drop{method: method, done: make(chan struct{})}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.drop = d
	return d.done
}

// Connections is the number of open connections.
func (p *Proxy) Connections() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.conns)
}

// Accepted is the number of connections accepted so far.
func (p *Proxy) Accepted() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.accepted
}

// Bytes is how many bytes were forwarded in one direction so far.
func (p *Proxy) Bytes(d Direction) int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	if d == Both {
		return p.bytes[ToServer] + p.bytes[ToClient]
	}
	return p.bytes[d]
}
