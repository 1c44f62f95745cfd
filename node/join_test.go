package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"cairn/genesis"
	"cairn/ledger/store"
	"cairn/node/blocksync"
	"cairn/node/rpc"
)

// runUntil runs node i of a cluster outside of it, opening it again after a join
// by snapshot, until check holds or its patience has gone. It answers how often the
// node was opened.
func runUntil(t *testing.T, c *cluster, i int, change func(*Config), check func(*Node) bool) (opened int) {
	t.Helper()
	cfg := c.config(i)
	change(&cfg)
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	for {
		n, err := Open(cfg, slog.New(slog.NewTextHandler(testWriter{t}, nil)))
		if err != nil {
			t.Fatal(err)
		}
		opened++
		done := make(chan error, 1)
		runCtx, stop := context.WithCancel(ctx)
		go func() { done <- n.Run(runCtx) }()
		look := time.NewTicker(5 * time.Millisecond)
		for running, good := true, false; running; {
			select {
			case err = <-done:
				running = false
			case <-look.C:
				select {
				case <-n.driver.started:
				default:
					continue
				}
				if !good && check(n) {
					good = true
					stop()
				}
			}
			if !running && !good && err == nil {
				t.Errorf("not within %s", 2*patience)
			}
		}
		look.Stop()
		stop()
		if closed := n.Close(); closed != nil {
			t.Fatal(closed)
		}
		if !errors.Is(err, ErrRestart) {
			if err != nil {
				t.Fatal(err)
			}
			return opened
		}
	}
}

// testWriter sends a log to a test's.
type testWriter struct{ t *testing.T }

func (w testWriter) Write(b []byte) (int, error) {
	if os.Getenv("CAIRN_TEST_LOG") != "" {
		fmt.Fprintf(os.Stderr, "joiner: %s", b)
	}
	return len(b), nil
}

// withCheckpoints is a network that keeps the state every 5 blocks.
func withCheckpoints(s *genesis.Spec) {
	s.Rules.MinBlockInterval, s.Rules.CheckpointInterval = 1, 5
}

// TestSnapshotJoin: a new node joins by a snapshot, follows, has the same state,
// passes db check, and starts again by itself without a snapshot.
func TestSnapshotJoin(t *testing.T) {
	t.Parallel()
	c := running(t, 4, 1, withCheckpoints)
	for i := range 23 {
		c.pay(i%4, i%4, i%4)
	}
	c.await("there is a checkpoint", func() bool { return len(c.nodes[0].snapshots.Heights()) == 2 })
	reached := func(n *Node) bool {
		return n.driver.ledger.HeadInfo().Height > 0 && n.driver.ledger.HeadInfo().Height == c.height(0)
	}
	var mu sync.Mutex
	var told []string // to a terminal
	forced := func(cfg *Config) {
		cfg.Sync.Mode = SyncSnapshot
		cfg.Progress = func(s *rpc.Sync) {
			mu.Lock()
			defer mu.Unlock()
			if told = append(told, "over"); s != nil {
				told[len(told)-1] = s.Mode
			}
		}
	}
	if opened := runUntil(t, c, 4, forced, reached); opened != 2 {
		t.Errorf("opened %d times, want a join and a start", opened)
	}
	mu.Lock()
	begun := slices.Index(told, rpc.SyncSnapshot)
	if begun < 0 || !slices.Contains(told[begun:], "over") {
		t.Errorf("a terminal is told %v", told)
	}
	mu.Unlock()
	c.pay(0, 0, 0)
	if opened := runUntil(t, c, 4, forced, func(n *Node) bool {
		if _, err := n.driver.ledger.HashByHeight(n.driver.ledger.Bounds().Base - 1); !errors.Is(err, store.ErrPruned) {
			t.Errorf("a block below the snapshot: %v", err)
		}
		b := n.driver.ledger.Bounds() // and the snapshot's own block comes by itself
		return reached(n) && b.Base >= 5 && b.FirstBody == b.Base && n.driver.ledger.Head().Root == c.nodes[0].driver.ledger.Head().Root
	}); opened != 1 {
		t.Errorf("opened %d times after the join", opened)
	}
	// Filled in from below, it has every block.
	if opened := runUntil(t, c, 4, func(cfg *Config) { cfg.Sync.HistoryFill = true }, func(n *Node) bool {
		return n.driver.ledger.Bounds().FirstBody <= 1
	}); opened != 1 {
		t.Errorf("opened %d times to fill", opened)
	}
	for _, left := range []string{JoiningDir, newDir, oldDir} {
		if exists(filepath.Join(c.homes[4], left)) {
			t.Errorf("%s is left", left)
		}
	}
	h, err := OpenHome(c.homes[4], "")
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	base := h.Store.Base()
	if base == 0 || base%5 != 0 {
		t.Errorf("the history begins at %d", base)
	}
	for height := range base {
		hash, err := h.Store.HashByHeight(height)
		if err != nil {
			t.Fatalf("block %d, below the snapshot of %d: %v", height, base, err)
		}
		if want, err := c.nodes[0].driver.ledger.HashByHeight(height); err != nil || hash != want {
			t.Errorf("block %d is %s, want %s, %v", height, hash, want, err)
		}
		if _, err := h.Store.Receipts(height); err != nil {
			t.Errorf("receipts of block %d: %v", height, err)
		}
	}
}

// TestNoSnapshot: where nobody serves one, a node that is to join by snapshot
// replays.
func TestNoSnapshot(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1, 1, func(s *genesis.Spec) { s.Rules.MinBlockInterval = 1 })
	c.start(0)
	for i := range 8 {
		c.pay(0, i%4, 0)
	}
	if opened := runUntil(t, c, 1, func(cfg *Config) { cfg.Sync.Mode = SyncSnapshot }, func(n *Node) bool {
		return n.driver.ledger.HeadInfo().Height == c.height(0) && n.driver.ledger.Bounds() == (store.Bounds{})
	}); opened != 1 {
		t.Errorf("opened %d times", opened)
	}
}

// TestCarriedOver: what a node has beyond the chain goes with it to a joined
// database, and one that brings nothing is dropped.
func TestCarriedOver(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1, 1, withCheckpoints)
	c.start(0)
	c.pay(0, 0, 0)
	// The joiner follows for a while and keeps a transaction that cannot go in.
	var first instanceID
	c.transfer(1, [20]byte{1})          // signed and never sent
	later := c.transfer(1, [20]byte{1}) // its nonce is above the next
	if runUntil(t, c, 1, func(cfg *Config) { cfg.Sync.Mode = SyncFull }, func(n *Node) bool {
		return n.driver.ledger.HeadInfo().Height == c.height(0) && n.driver.submit(context.Background(), later) == nil
	}) != 1 {
		t.Fatal("opened again")
	}
	h, err := OpenHome(c.homes[1], "")
	if err != nil {
		t.Fatal(err)
	}
	held, err := readInstance(h.Store)
	if err != nil || held == nil {
		t.Fatal(held, err)
	}
	first = held.ID
	const written = 1 << 20 // more than the node that joins will have
	if err := errors.Join(h.Store.PutMeta(evidenceList, []byte{0xc0}), h.Store.CarryWritten(written)); err != nil {
		t.Fatal(err)
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	for i := range 23 {
		c.pay(0, 2+i%2, 0)
	}
	c.await("there is a snapshot", func() bool { return len(c.nodes[0].snapshots.Heights()) > 0 })
	// Empty ledgers alone take a snapshot of so little: this one is as if the
	// gain were enough.
	joinInto(t, c, 1)
	n, err := Open(c.config(1), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	if doubt := n.driver.inDoubt(); doubt != "" {
		t.Errorf("the node observes: %s", doubt)
	}
	if now, err := readInstance(n.store); err != nil || now == nil || now.ID == first {
		t.Errorf("instance %v, %v, before the join %x", now, err, first)
	}
	if own, err := n.store.LocalTxs(); err != nil || len(own) != 1 || own[0].Hash != later.Hash() {
		t.Errorf("own transactions: %v, %v", own, err)
	}
	if raw, err := n.store.Meta(evidenceList); err != nil || len(raw) != 1 {
		t.Errorf("evidence: %x, %v", raw, err)
	}
	if n.store.Written() < written {
		t.Errorf("%d writes of the vote log, %d before the join: the witness would find votes lost", n.store.Written(), written)
	}
	if n.driver.ledger.Bounds().Base == 0 {
		t.Error("the old database is in use")
	}
}

// joinInto makes the joined database of a stopped node from a fresh node's join.
func joinInto(t *testing.T, c *cluster, i int) {
	t.Helper()
	data := filepath.Join(c.homes[i], DataDir)
	if err := os.Rename(data, data+".aside"); err != nil {
		t.Fatal(err)
	}
	instance := filepath.Join(c.homes[i], InstanceFile)
	if err := os.Rename(instance, instance+".aside"); err != nil {
		t.Fatal(err)
	}
	runUntil(t, c, i, func(cfg *Config) { cfg.Sync.Mode = SyncSnapshot }, func(n *Node) bool {
		return n.driver.ledger.Bounds().Base > 0
	})
	if err := os.Rename(data, filepath.Join(c.homes[i], JoiningDir)); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(data+".aside", data); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(instance+".aside", instance); err != nil {
		t.Fatal(err)
	}
}

// TestProgress: rate, part and time left follow from what is done.
func TestProgress(t *testing.T) {
	t.Parallel()
	synctest.Test(t, testProgress)
}

func testProgress(t *testing.T) {
	var told []*rpc.Sync
	p := progress{log: slog.New(slog.DiscardHandler), notify: func(s *rpc.Sync) { told = append(told, s) }}
	if p.get() != nil {
		t.Error("a node that never synced does")
	}
	p.at(5, 0.5, 5) // before it began: nothing
	p.begin(rpc.SyncReplay, "blocks", 100, 300)
	p.marks[0].at = time.Now().Add(-10 * time.Second)
	p.at(200, 0.5, 100)
	s := p.get()
	if s.Current != 200 || s.Target != 300 || s.Start != 100 || s.Done != 0.5 || s.Rate != 10 || s.ETA != 10 {
		t.Errorf("%+v", s)
	}
	for i := range 10 * progressMarks {
		p.at(200, 0.5, 100+float64(i))
	}
	if len(p.marks) > progressMarks {
		t.Errorf("%d marks", len(p.marks))
	}
	p.aim(400)
	if p.get().Target != 400 {
		t.Error("the target stays")
	}
	p.end()
	if p.get() != nil || told[len(told)-1] != nil {
		t.Error("does not end")
	}
}

// TestTrustedOwn: a node whose database has another block than the one that the
// operator trusts does not start; with the right one, or one that it does not have
// yet, it does.
func TestTrustedOwn(t *testing.T) {
	t.Parallel()
	c := one(t, 1, nil)
	head, genesisHash := c.nodes[0].driver.ledger.HeadInfo(), c.nodes[0].driver.ledger.Genesis().Hash()
	c.stop(0)
	other := head.Hash
	other[0] ^= 1
	for trusted, want := range map[string]error{
		fmt.Sprintf("%d:%s", head.Height, head.Hash):  nil,
		fmt.Sprintf("%d:%s", head.Height+1000, other): nil,
		fmt.Sprintf("%d:%s", head.Height, other):      blocksync.ErrTrusted,
		fmt.Sprintf("0:%s", other):                    blocksync.ErrTrusted,
		fmt.Sprintf("0:%s", genesisHash):              nil,
	} {
		cfg := c.config(0)
		cfg.Sync.Trusted = trusted
		n, err := Open(cfg, slog.New(slog.DiscardHandler))
		if err == nil {
			err = n.Close()
		}
		if !errors.Is(err, want) {
			t.Errorf("trusted %s, at %d: %v, want %v", trusted, head.Height, err, want)
		}
	}
}
