package rpc

import (
	"context"
	"net"
	"sync"

	"github.com/ethereum/go-ethereum/rpc"
	"github.com/gorilla/websocket"
)

// sockets are the open connections.
type sockets struct {
	limits Limits

	mu      sync.Mutex
	open    map[string]*socket // by ip:port
	total   int
	by      map[string]int // by host
	subs    int
	subsBy  map[string]int // by host
	stopped bool
}

func newSockets(l Limits) *sockets {
	return &sockets{limits: l, open: make(map[string]*socket), by: make(map[string]int), subsBy: make(map[string]int)}
}

func (s *sockets) enter(host string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped || s.total >= s.limits.Sockets || !exempt(host) && s.by[host] >= s.limits.SocketsPerAddress {
		return false
	}
	s.total++
	s.by[host]++
	return true
}

func (s *sockets) leave(host string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.total--
	if s.by[host]--; s.by[host] == 0 {
		delete(s.by, host)
	}
}

func (s *sockets) add(c *socket) {
	s.mu.Lock()
	stopped := s.stopped
	s.open[c.address] = c
	s.mu.Unlock()
	if stopped {
		c.end(websocket.CloseGoingAway, reasonStopping)
	}
}

func (s *sockets) remove(c *socket) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, c.address)
}

func (s *sockets) closeAll() {
	s.mu.Lock()
	s.stopped = true
	var all []*socket
	for _, c := range s.open {
		all = append(all, c)
	}
	s.mu.Unlock()
	var wg sync.WaitGroup
	for _, c := range all {
		wg.Go(func() { c.end(websocket.CloseGoingAway, reasonStopping) })
	}
	wg.Wait()
}

func (s *sockets) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.total
}

func (s *sockets) subscriptionCount() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.subs
}

// subscribe takes a place for a subscription of the connection that ctx is of.
// release gives it back.
func (s *sockets) subscribe(ctx context.Context) (c *socket, release func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c = s.open[rpc.PeerInfoFromContext(ctx).RemoteAddr]
	if c == nil {
		return nil, nil, rpc.ErrNotificationsUnsupported
	}
	release, err = s.subscribeLocked(c)
	return c, release, err
}

// subscribeLocked takes a place for one more subscription of c.
func (s *sockets) subscribeLocked(c *socket) (release func(), err error) {
	host := remoteHost(c.address)
	if s.subs >= s.limits.Subscriptions || int(c.open.Load()) >= s.limits.SocketSubscriptions || !exempt(host) && s.subsBy[host] >= s.limits.SubscriptionsPerAddress {
		return nil, tooBusy("too many subscriptions: at most %d on a connection, %d from one address, %d in all",
			s.limits.SocketSubscriptions, s.limits.SubscriptionsPerAddress, s.limits.Subscriptions)
	}
	s.subs++
	s.subsBy[host]++
	c.open.Add(1)
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.subs--
		c.open.Add(-1)
		if s.subsBy[host]--; s.subsBy[host] == 0 {
			delete(s.subsBy, host)
		}
	}, nil
}

// remoteHost is the IP of ip:port; of an IPv6 one the first 64 bits, which one
// customer has.
func remoteHost(addr string) string {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	ip := net.ParseIP(host)
	if ip == nil || ip.To4() != nil || ip.IsLoopback() {
		return host
	}
	return ip.Mask(net.CIDRMask(64, 128)).String()
}

// exempt says whether a host has no limits of its own: behind a proxy on this
// machine every caller is 127.0.0.1, and the proxy knows them better. The other
// addresses of loopback are like any: with them limits can be tried on one machine.
func exempt(host string) bool {
	ip := net.ParseIP(host)
	return ip != nil && (ip.Equal(net.IPv6loopback) || ip.Equal(net.IPv4(127, 0, 0, 1)))
}
