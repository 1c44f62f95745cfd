package rpc

import (
	"sync"

	"golang.org/x/time/rate"
)

// maxRates bounds the addresses whose rate is remembered.
const maxRates = 16_384

// rates bounds what one address may do in a second. What is exempt has no bound.
type rates struct {
	perSecond, burst int

	mu sync.Mutex
	by map[string]*rate.Limiter
}

func newRates(perSecond, burst int) *rates {
	return &rates{perSecond: perSecond, burst: burst, by: make(map[string]*rate.Limiter)}
}

// allow takes one from the allowance of a host.
func (r *rates) allow(host string) bool {
	if host == "" || exempt(host) {
		return true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.by[host]
	if l == nil {
		r.forget()
		l = rate.NewLimiter(rate.Limit(r.perSecond), r.burst)
		r.by[host] = l
	}
	return l.Allow()
}

// spent says whether the allowance of a host is used up. It takes nothing.
func (r *rates) spent(host string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.by[host]
	return l != nil && l.Tokens() < 1
}

// forget makes room for many: who has its whole allowance is as if it had never
// come. If most are busy, some start anew.
func (r *rates) forget() {
	if len(r.by) < maxRates {
		return
	}
	for host, l := range r.by {
		if l.Tokens() >= float64(r.burst) {
			delete(r.by, host)
		}
	}
	for host := range r.by {
		if len(r.by) <= maxRates*3/4 {
			return
		}
		delete(r.by, host)
	}
}
