package rpc

import (
	"errors"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// outgoing is a message that waits for its reader, in parts that may be shared.
type outgoing struct {
	parts [][]byte
	since time.Time
}

func message(parts ...[]byte) outgoing { return outgoing{parts: parts} }

func (o *outgoing) size() (n int) {
	for _, p := range o.parts {
		n += len(p)
	}
	return n
}

// fullLocked says whether a message must wait for room. When too much waits for all
// readers together, each has little of it.
func (c *socket) fullLocked(size int) bool {
	most := c.limits.ResponseBytes
	if c.waiting.Load() > int64(c.limits.WaitingBytes) {
		most = min(most, smallAnswer)
	}
	return !c.closed && len(c.queue) > 0 && c.bytes+size > most
}

// enqueue waits for room in the queue. A reader that makes none in time is
// closed.
func (c *socket) enqueue(o outgoing) error {
	c.waiting.Add(int64(o.size()))
	return c.enqueueCounted(o)
}

// enqueueCounted enqueues what counts as waiting already, and does so until it is
// written or given up.
func (c *socket) enqueueCounted(o outgoing) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	size := o.size()
	if c.fullLocked(size) {
		c.wakeWriter() // notifications may not have
		late := time.AfterFunc(time.Duration(c.limits.SlowReader), func() { c.end(websocket.CloseTryAgainLater, reasonSlow) })
		defer late.Stop()
	}
	for c.fullLocked(size) {
		c.room.Wait()
	}
	if c.closed {
		c.waiting.Add(-int64(size))
		return errSocketClosed
	}
	c.putLocked(o, size)
	c.wakeWriter()
	return nil
}

func (c *socket) putLocked(o outgoing, size int) {
	o.since = time.Now()
	c.queue = append(c.queue, o)
	c.bytes += size
}

// wakeWriter has the queue written.
func (c *socket) wakeWriter() {
	select {
	case c.filled <- struct{}{}:
	default:
	}
}

// write sends what waits, and pings when nothing does.
func (c *socket) write() {
	ping := time.NewTicker(pingEvery)
	defer ping.Stop()
	for {
		select {
		case <-c.filled:
			if err := c.flush(); err != nil {
				reason := ""
				if errors.Is(err, errSlowReader) {
					reason = reasonSlow
				}
				c.end(websocket.CloseTryAgainLater, reason)
				return
			}
		case data := <-c.pings:
			if c.control(websocket.PongMessage, data) != nil {
				c.end(websocket.CloseTryAgainLater, "")
				return
			}
		case <-ping.C:
			if c.control(websocket.PingMessage, "") != nil {
				c.end(websocket.CloseAbnormalClosure, "") // nobody else notices while the connection is not read
				return
			}
		case <-c.done:
			return
		}
	}
}

// control writes a ping or a pong, for as long as a slow reader has.
func (c *socket) control(kind int, data string) error {
	return c.conn.WriteControl(kind, []byte(data), time.Now().Add(time.Duration(c.limits.SlowReader)))
}

// pinged has the newest ping answered by who writes: from here the answer would set
// its own deadline to what is being written.
func (c *socket) pinged(data string) error {
	select {
	case <-c.pings: // an older one, which needs no answer
	default:
	}
	c.pings <- data // nobody else puts
	return nil
}

// flush writes the queue. A message that has waited too long ends it: the close
// frame then takes the place of the message.
func (c *socket) flush() error {
	for {
		some := c.nextFew()
		if len(some) == 0 {
			return nil
		}
		size, err := 0, error(nil)
		if len(some) > 1 {
			c.cork.hold()
		}
		for i := range some {
			size += some[i].size()
			if err == nil {
				err = c.sendInTime(&some[i])
			}
		}
		if len(some) > 1 {
			err = errors.Join(err, c.cork.release())
		}
		c.waiting.Add(-int64(size))
		if err != nil {
			return err
		}
		c.mu.Lock()
		c.bytes -= size
		c.room.Broadcast()
		c.mu.Unlock()
	}
}

// nextFew takes as many messages off the queue as are worth one write, at least one
// if there is one.
func (c *socket) nextFew() []outgoing {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil
	}
	n := 0
	for size := 0; n < len(c.queue) && size < corkBytes; n++ {
		size += c.queue[n].size()
	}
	some := append([]outgoing(nil), c.queue[:n]...)
	clear(c.queue[:n])
	if c.queue = c.queue[n:]; len(c.queue) == 0 {
		c.queue = nil
	}
	return some
}

// sendInTime sends a message, unless it has waited too long.
func (c *socket) sendInTime(o *outgoing) error {
	if time.Since(o.since) > time.Duration(c.limits.SlowReader) {
		return errSlowReader
	}
	// Twice the time: one message may be long, and what comes after it says why.
	_ = c.conn.SetWriteDeadline(time.Now().Add(2 * time.Duration(c.limits.SlowReader)))
	return c.send(o)
}

// scratch are buffers in which small messages are put together when they are
// written: what waits is shared among subscribers.
var scratch = sync.Pool{New: func() any { return new([]byte) }}

// maxScratch is the length from which on a message is written part by part, in as
// many frames.
const maxScratch = 64 << 10

func (c *socket) send(o *outgoing) error {
	if len(o.parts) == 1 {
		return c.conn.WriteMessage(websocket.TextMessage, o.parts[0])
	}
	if o.size() <= maxScratch {
		b := scratch.Get().(*[]byte)
		defer scratch.Put(b)
		*b = (*b)[:0]
		for _, p := range o.parts {
			*b = append(*b, p...)
		}
		return c.conn.WriteMessage(websocket.TextMessage, *b)
	}
	w, err := c.conn.NextWriter(websocket.TextMessage)
	if err != nil {
		return err
	}
	for _, p := range o.parts {
		if _, err := w.Write(p); err != nil {
			return err
		}
	}
	return w.Close()
}
