package rpc

import (
	"bufio"
	"net"
	"net/http"
	"sync"
	"time"
)

// corkBytes is about how much is collected for one write.
const corkBytes = 64 << 10

// cork is a connection whose writer may collect what it writes: many small messages
// then cost one call of the system. Writes come one at a time; only the end of a
// collection and Close may come beside them.
type cork struct {
	net.Conn

	mu   sync.Mutex
	held bool
	buf  []byte
}

// hold begins to collect.
func (c *cork) hold() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held = true
}

// release writes what was collected.
func (c *cork) release() error {
	c.mu.Lock()
	c.held = false
	out := c.buf
	c.buf = nil
	c.mu.Unlock()
	return c.put(out)
}

// Write writes, or collects.
func (c *cork) Write(p []byte) (int, error) {
	c.mu.Lock()
	if !c.held {
		c.mu.Unlock()
		return c.Conn.Write(p)
	}
	var out []byte
	if c.buf != nil && len(c.buf)+len(p) > corkBytes {
		out, c.buf = c.buf, nil
	}
	if len(p) > corkBytes {
		c.mu.Unlock()
		if err := c.put(out); err != nil {
			return 0, err
		}
		return c.Conn.Write(p)
	}
	if c.buf == nil {
		c.buf = (*collections.Get().(*[]byte))[:0]
	}
	c.buf = append(c.buf, p...)
	c.mu.Unlock()
	return len(p), c.put(out)
}

// Close sends what was collected, the frame that says why among it, and closes.
func (c *cork) Close() error {
	c.mu.Lock()
	c.held = false
	out := c.buf
	c.buf = nil
	c.mu.Unlock()
	if len(out) > 0 {
		_ = c.SetWriteDeadline(time.Now().Add(closeWait))
		_ = c.put(out)
	}
	return c.Conn.Close()
}

// collections are buffers of corks.
var collections = sync.Pool{New: func() any { b := make([]byte, 0, corkBytes); return &b }}

// put writes a collection and gives its buffer back.
func (c *cork) put(out []byte) error {
	if out == nil {
		return nil
	}
	_, err := c.Conn.Write(out)
	collections.Put(&out)
	return err
}

// corking hands a corked connection to who takes it over.
type corking struct {
	http.ResponseWriter

	cork *cork
}

// Hijack takes the connection over.
func (w *corking) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	w.cork = &cork{Conn: conn}
	return w.cork, rw, err
}
