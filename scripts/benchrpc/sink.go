package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// What abusers, load and nodes take from one machine, they take from each other.
// So each abuse is followed by a control: the same bytes on as many connections at
// the same rate, both ways, between this program and a process that does nothing
// else. What finality loses then is taken by the abusers and by whoever reads and
// answers as much, whatever it says.

// traffic is what went over the connections of an abuse.
type traffic struct {
	open, most     atomic.Int64 // connections: now, and at once
	writes         atomic.Int64
	sent, received atomic.Int64 // bytes
}

// counted is a connection whose traffic is counted.
type counted struct {
	net.Conn

	traffic *traffic
	closed  sync.Once
}

func (t *traffic) count(c net.Conn) net.Conn {
	n := t.open.Add(1)
	for m := t.most.Load(); n > m && !t.most.CompareAndSwap(m, n); m = t.most.Load() {
	}
	return &counted{Conn: c, traffic: t}
}

// Write counts what is sent.
func (c *counted) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.traffic.writes.Add(1)
	c.traffic.sent.Add(int64(n))
	return n, err
}

// Read counts what is received.
func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.traffic.received.Add(int64(n))
	return n, err
}

// Close closes the connection.
func (c *counted) Close() error {
	c.closed.Do(func() { c.traffic.open.Add(-1) })
	return c.Conn.Close()
}

// sinkHead precedes each request to a sink: the bytes of the rest of it, and of the
// answer.
type sinkHead struct{ Request, Answer uint32 }

// sink reads requests and answers as many bytes as they ask for, until its standard
// input ends. It prints its address.
func sink() error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		_ = l.Close()
	}()
	for {
		c, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		go swallow(c)
	}
}

// swallow serves one connection of a sink.
func swallow(c net.Conn) {
	defer c.Close()
	in := bufio.NewReaderSize(c, 64<<10)
	blank := make([]byte, 64<<10)
	for {
		var h sinkHead
		if binary.Read(in, binary.BigEndian, &h) != nil {
			return
		}
		if _, err := io.CopyN(io.Discard, in, int64(h.Request)); err != nil {
			return
		}
		for left := int(h.Answer); left > 0; {
			n, err := c.Write(blank[:min(left, len(blank))])
			if err != nil {
				return
			}
			left -= n
		}
	}
}

// startSink runs a sink in a process of its own.
func startSink(ctx context.Context) (addr string, stop func() error, err error) {
	self, err := os.Executable()
	if err != nil {
		return "", nil, err
	}
	cmd := exec.CommandContext(ctx, self, "-sink")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return "", nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return "", nil, err
	}
	if err := cmd.Start(); err != nil {
		return "", nil, err
	}
	stop = func() error { return errors.Join(in.Close(), cmd.Wait()) }
	if _, err := fmt.Fscanln(out, &addr); err != nil {
		return "", nil, errors.Join(fmt.Errorf("the sink did not start: %w", err), stop())
	}
	return addr, stop, nil
}

// replay is the traffic of an abuse that took some time, to a sink.
func (t *traffic) replay(addr string, took time.Duration) func(context.Context, *tally) error {
	connections := max(1, int(t.most.Load()))
	writes := max(1, int(t.writes.Load())/connections) // of one connection
	each := func(total int64) uint32 { return uint32(total / int64(connections*writes)) }
	head := sinkHead{Request: each(t.sent.Load()), Answer: each(t.received.Load())}
	pace := took / time.Duration(writes)
	return func(ctx context.Context, _ *tally) error {
		var g errgroup.Group
		for range connections {
			g.Go(func() error { return feed(ctx, addr, head, pace) })
		}
		return ended(ctx, g.Wait())
	}
}

// feed sends requests to a sink, one each pace, and reads the answers.
func feed(ctx context.Context, addr string, head sinkHead, pace time.Duration) error {
	c, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	request, err := binary.Append(nil, binary.BigEndian, head)
	if err != nil {
		return err
	}
	request = append(request, make([]byte, head.Request)...)
	tick := time.NewTicker(max(pace, time.Microsecond))
	defer tick.Stop()
	for {
		if _, err := c.Write(request); err != nil {
			return err
		}
		if _, err := io.CopyN(io.Discard, c, int64(head.Answer)); err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}
