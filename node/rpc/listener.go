package rpc

import (
	"net"
	"sync"
)

// Listener bounds the open connections of l, in all and by address, whatever they
// do: one that is too many is closed at once.
func (s *Server) Listener(l net.Listener) net.Listener {
	limits := &s.service.limits
	return &listener{
		Listener: l, most: limits.Connections, mostOfOne: limits.ConnectionsPerAddress, by: make(map[string]int),
		refused: func() { s.service.meters.refused("connections") },
	}
}

type listener struct {
	net.Listener

	most, mostOfOne int
	refused         func()

	mu   sync.Mutex
	open int
	by   map[string]int // by host
}

// Accept waits for a connection that is within the limits.
func (l *listener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		host := remoteHost(c.RemoteAddr().String())
		if l.enter(host) {
			return &connection{Conn: c, listener: l, host: host}, nil
		}
		l.refused()
		_ = c.Close()
	}
}

func (l *listener) enter(host string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open >= l.most || !exempt(host) && l.by[host] >= l.mostOfOne {
		return false
	}
	l.open++
	l.by[host]++
	return true
}

func (l *listener) leave(host string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open--
	if l.by[host]--; l.by[host] == 0 {
		delete(l.by, host)
	}
}

// connection gives its place back when it is closed.
type connection struct {
	net.Conn

	listener *listener
	host     string
	closed   sync.Once
}

// Close closes the connection.
func (c *connection) Close() error {
	c.closed.Do(func() { c.listener.leave(c.host) })
	return c.Conn.Close()
}
