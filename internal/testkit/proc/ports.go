package proc

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
)

// Ports are handed out below the range from which Linux takes the local ports
// of outgoing connections, so a killed server finds its port free again.
const (
	firstPort = 12000
	lastPort  = 29999
)

var (
	portsMu sync.Mutex
	ports   = map[int]*os.File{} // locks held by this process
)

// Ports reserves n free loopback TCP ports for this process. A file lock per
// port keeps other processes that use this package away from them, between
// a kill and a restart as well; ReleasePorts or the process's end gives them back.
func Ports(n int) ([]int, error) {
	dir := filepath.Join(os.TempDir(), fmt.Sprintf("understudy-ports.%d", os.Getuid()))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	portsMu.Lock()
	defer portsMu.Unlock()
	var got []int
	for range 2000 {
		if len(got) == n {
			return got, nil
		}
		port := firstPort + rand.IntN(lastPort-firstPort+1)
		if ports[port] != nil {
			continue
		}
		f, err := os.OpenFile(filepath.Join(dir, fmt.Sprint(port)), os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			return nil, err
		}
		if syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil || !bindable(port) {
			f.Close()
			continue
		}
		ports[port] = f
		got = append(got, port)
	}
	return nil, errors.New("no free loopback ports")
}

// ReleasePorts gives reserved ports back.
func ReleasePorts(released ...int) {
	portsMu.Lock()
	defer portsMu.Unlock()
	for _, port := range released {
		if f := ports[port]; f != nil {
			f.Close()
			delete(ports, port)
		}
	}
}

// bindable: by both families, where the machine has both.
func bindable(port int) bool {
	for _, host := range []string{"127.0.0.1", "::1"} {
		l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port)))
		switch {
		case errors.Is(err, syscall.EADDRNOTAVAIL), errors.Is(err, syscall.EAFNOSUPPORT):
			continue
		case err != nil:
			return false
		}
		l.Close()
	}
	return true
}
