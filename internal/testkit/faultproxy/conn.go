package faultproxy

import (
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// chunkSize bounds one read, queueLength the chunks that a delay holds back:
// beyond 8 MiB the sender feels back-pressure, as on a real long line.
const (
	chunkSize   = 32 << 10
	queueLength = 256
)

// conn is one forwarded connection.
type conn struct {
	proxy          *Proxy
	client, server *net.TCPConn
	done           chan struct{} // closed by reset
	once           sync.Once
	passed, limit  atomic.Int64
	lost           atomic.Bool // a black hole has swallowed bytes of it
	calls          calls
}

// chunk is what one read returned, and when.
type chunk struct {
	data []byte
	at   time.Time
}

// serve forwards one client until either side ends.
func (p *Proxy) serve(client *net.TCPConn) {
	server, err := net.DialTimeout("tcp", p.target, 5*time.Second)
	if err != nil {
		_ = client.SetLinger(0)
		client.Close()
		return
	}
	c := &conn{proxy: p, client: client, server: server.(*net.TCPConn), done: make(chan struct{})}

	p.mu.Lock()
	if p.listener == nil { // cut while we dialled
		p.mu.Unlock()
		c.reset()
		return
	}
	p.conns[c] = struct{}{}
	p.accepted++
	if p.faults.limit != nil {
		c.limit.Store(p.faults.limit())
	}
	p.mu.Unlock()

	var wg sync.WaitGroup
	wg.Add(4)
	for _, d := range []Direction{ToServer, ToClient} {
		from, to := c.client, c.server
		if d == ToClient {
			from, to = c.server, c.client
		}
		queue := make(chan chunk, queueLength)
		go func() { defer wg.Done(); c.read(from, queue) }()
		go func() { defer wg.Done(); c.write(d, to, queue) }()
	}
	wg.Wait()
	c.reset()
	p.mu.Lock()
	delete(p.conns, c)
	p.mu.Unlock()
}

// reset tears the connection on both sides at once.
func (c *conn) reset() {
	c.once.Do(func() {
		close(c.done)
		for _, side := range []*net.TCPConn{c.client, c.server} {
			_ = side.SetLinger(0)
			side.Close()
		}
	})
}

// read queues what one side sends until it ends.
func (c *conn) read(from *net.TCPConn, queue chan<- chunk) {
	defer close(queue)
	for {
		buf := make([]byte, chunkSize)
		n, err := from.Read(buf)
		if n > 0 {
			select {
			case queue <- chunk{buf[:n], time.Now()}:
			case <-c.done:
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// write delivers the queue to the other side, with the faults of the moment.
func (c *conn) write(d Direction, to *net.TCPConn, queue <-chan chunk) {
	for {
		select {
		case <-c.done:
			return
		case ch, ok := <-queue:
			if !ok {
				_ = to.CloseWrite() // the orderly end of one direction
				return
			}
			if !c.deliver(d, to, ch) {
				c.reset()
				return
			}
		}
	}
}

// deliver sends one chunk on its way, or loses it; false ends the connection.
func (c *conn) deliver(d Direction, to *net.TCPConn, ch chunk) bool {
	p := c.proxy
	p.mu.Lock()
	due := ch.at.Add(p.faults.delay)
	p.mu.Unlock()
	if !c.wait(due) {
		return false
	}
	for len(ch.data) > 0 {
		p.mu.Lock()
		if p.faults.blackhole[d] {
			p.mu.Unlock()
			c.lost.Store(true)
			return true
		}
		piece := ch.data
		var free time.Time
		if rate := p.faults.rate; rate > 0 {
			// Twenty pieces a second: smooth, and cheap enough.
			piece = piece[:min(int64(len(piece)), max(1, rate/20))]
			free = p.faults.freeAt[d]
			if now := time.Now(); free.Before(now) {
				free = now
			}
			p.faults.freeAt[d] = free.Add(time.Duration(len(piece)) * time.Second / time.Duration(rate))
		}
		p.mu.Unlock()
		if !c.wait(free) {
			return false
		}
		if !c.watchCalls(d, piece) {
			return false
		}
		if limit := c.limit.Load(); limit > 0 && c.passed.Load()+int64(len(piece)) > limit {
			_, _ = to.Write(piece[:max(0, limit-c.passed.Load())])
			return false
		}
		// Counted before they arrive: whoever sees the answer sees the count.
		c.passed.Add(int64(len(piece)))
		p.mu.Lock()
		p.bytes[d] += int64(len(piece))
		p.mu.Unlock()
		if _, err := to.Write(piece); err != nil {
			return false
		}
		ch.data = ch.data[len(piece):]
	}
	return true
}

// wait returns true at the given time, or false when the connection ends before.
func (c *conn) wait(until time.Time) bool {
	d := time.Until(until)
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-c.done:
		return false
	}
}
