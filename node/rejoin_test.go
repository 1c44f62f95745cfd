package node

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// rejoin starts node i of a cluster again and again as long as it says that it
// has a snapshot, which it takes for a gain of a few blocks.
func (c *cluster) rejoin(i int, log io.Writer) (opened <-chan *Node, done <-chan error, stop context.CancelFunc) {
	c.t.Helper()
	cfg := c.config(i)
	cfg.Sync.Mode, cfg.P2P.Bootnodes = SyncSnapshot, append(cfg.P2P.Bootnodes, c.nodes[1].Addrs()[0])
	ctx, stop := context.WithCancel(context.Background())
	nodes, ended := make(chan *Node, 8), make(chan error, 1)
	go func() {
		for {
			n, err := Open(cfg, slog.New(slog.NewTextHandler(log, nil)))
			if err != nil {
				ended <- err
				return
			}
			n.driver.sync.gain = 40
			nodes <- n
			err = n.Run(ctx)
			if err := errors.Join(err, n.Close()); !errors.Is(err, ErrRestart) || ctx.Err() != nil {
				ended <- err
				return
			}
		}
	}()
	return nodes, ended, stop
}

// logText is a log that is kept.
type logText struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (l *logText) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.Write(b)
}

func (l *logText) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.String()
}

// TestValidatorRejoins: under load, a validator that missed more than a snapshot
// brings leaves voting, joins by one, takes it in the place of its database, and
// votes again by itself: then the others cannot do without it.
func TestValidatorRejoins(t *testing.T) {
	t.Parallel()
	c := running(t, 4, 0, withCheckpoints)
	for i := range 4 {
		c.pay(i, i, 0, 1, 2, 3)
	}
	before := c.height(3)
	c.stop(3)
	for i := range 60 {
		c.pay(i%3, i%4, 0)
	}
	log := new(logText)
	opened, done, stop := c.rejoin(3, log)
	defer stop()
	var now *Node
	deadline := time.Now().Add(2 * patience)
	for i, back := 0, false; !back; i++ {
		c.pay(i%3, i%4, 0) // the load goes on
		select {
		case now = <-opened:
			<-now.driver.started
		case err := <-done:
			t.Fatalf("the validator ended: %v", err)
		default:
		}
		if now != nil {
			s := now.Status()
			back = now.driver.ledger.Bounds().Base > before && s.Voting && !s.Syncing && now.driver.ledger.HeadInfo().Height+2 >= c.height(0)
		}
		if time.Now().After(deadline) {
			t.Fatalf("the validator is not back within %s:\n%s", 2*patience, log.text())
		}
	}
	if said := log.text(); !strings.Contains(said, "does not vote until it has caught up") {
		t.Errorf("the log does not say that it left voting:\n%s", said)
	}
	c.stop(2) // three of four are a quorum
	for i := range 4 {
		c.pay(i%2, i, 0, 1)
	}
	// Either may be a block ahead for a moment: a slow machine makes an empty one.
	c.await("it has what it voted for, and votes", func() bool {
		s := now.Status()
		return now.driver.ledger.HeadInfo().Hash == c.nodes[0].driver.ledger.HeadInfo().Hash && s.Voting && s.Role == "validator"
	})
	stop()
	if err := <-done; err != nil {
		t.Errorf("the validator: %v", err)
	}
	c.noEvidence()
}

// TestComesBack: a validator that stands aside votes again as soon as its head is
// high enough, however it came there: the syncer may still wait for a peer that
// hangs, and the network for this vote. Who never gets there votes again when the
// syncer gives up.
func TestComesBack(t *testing.T) {
	t.Parallel()
	c := running(t, 4, 0, nil)
	c.pay(0, 0, 0, 1, 2, 3)
	s := c.nodes[3].driver.sync
	s.standAside(c.height(3)) // has it already
	if !c.nodes[3].Status().Voting {
		t.Fatal("stands aside although it is not behind")
	}
	below := c.height(3) + 4
	s.standAside(below)
	if c.nodes[3].Status().Voting {
		t.Fatal("votes although it stands aside")
	}
	for c.height(3) < below {
		c.pay(0, 0, 0, 3)
	}
	c.await("node 3 votes again", func() bool { return c.nodes[3].Status().Voting })
	c.stop(2) // from here on the others cannot do without it
	c.pay(0, 1, 0, 1, 3)
	s.standAside(c.height(3) + 1000)
	if c.nodes[3].Status().Voting {
		t.Fatal("votes although it stands aside")
	}
	s.standAside(0)
	c.pay(0, 2, 0, 1, 3)
	c.sameChain()
}

// TestToldHeights: a peer is not asked for blocks that it does not have yet, but is
// a little later, when it may have them: who proved a higher head is not the only
// one to ask for the newest blocks.
func TestToldHeights(t *testing.T) {
	t.Parallel()
	now := time.Unix(1000, 0)
	s := &syncer{heights: map[peer.ID]toldHeight{"low": {100, now}, "liar": {math.MaxUint64, now}}}
	for _, want := range []struct {
		peer   peer.ID
		after  time.Duration
		height uint64
		known  bool
	}{
		{"low", heightFresh - 1, 100, true},
		{"low", heightFresh, 100 + heightSlack, true},
		{"liar", 0, math.MaxUint64, true},
		{"liar", heightFresh, 0, false},
		{"new", 0, 0, false},
	} {
		if h, known := s.has(want.peer, now.Add(want.after)); known != want.known || known && h != want.height {
			t.Errorf("%s after %s: %d, %t", want.peer, want.after, h, known)
		}
	}
}
