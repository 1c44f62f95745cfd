//go:build e2e

package e2e

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	generator "cairn/scripts/internal/load"
	"cairn/scripts/internal/testnet"
)

// TestSnapshotJoin: while four validators run under load, a new node joins by a
// snapshot; one of the nodes that serve it is killed as soon as the join has
// begun. The others serve the rest, the new node has their chain, follows, and
// knows nothing below the snapshot. The killed one comes back.
func TestSnapshotJoin(t *testing.T) {
	const accounts = 5_000
	dir := t.TempDir()
	w := startIn(t, dir, 10*time.Minute, 4, 1, "--checkpoint-interval", "10")
	ctx := w.ctx
	l, err := generator.New(ctx, w.Network, generator.Settings{Senders: 50, Recipients: accounts, Batch: 100, Window: 4000})
	if err != nil {
		t.Fatal(err)
	}
	made, err := l.Round(ctx, accounts)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d transfers final, %.0f a second", made.Final, made.PerSecond)

	streaming, stop := context.WithCancel(ctx)
	var sent atomic.Uint64
	var streams sync.WaitGroup
	for account := 5; account < 8; account++ { // through node1 to node3, which live
		streams.Go(func() { w.stream(streaming, account, &sent) })
	}
	before := w.head(1)
	w.await("checkpoints under load", 3*time.Minute, func() (bool, error) { return w.head(1) > before+25, nil })

	killed := make(chan time.Time, 1)
	joining := filepath.Join(dir, "node4", "joining")
	go func() {
		for ctx.Err() == nil {
			if _, err := os.Stat(joining); err == nil {
				if err := w.Do(ctx, "kill", "node0"); err != nil {
					t.Error(err)
				}
				killed <- time.Now()
				return
			}
			time.Sleep(time.Millisecond) // between two looks at a state, until the test ends
		}
	}()
	w.newJoiner(dir)
	begun := time.Now()
	w.do("start", "node4")
	status, err := w.Status(ctx)
	if err != nil {
		t.Fatal(err)
	}
	w.Network = status
	joined, err := w.Dial(ctx, 4)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(joined.Close)
	w.await("the new node follows under load", 3*goesOn, func() (bool, error) {
		h, err := testnet.Head(ctx, joined) // it is gone for about a second
		return err == nil && h+5 >= w.head(1), nil
	})
	took := time.Since(begun)
	select {
	case at := <-killed:
		t.Logf("in step after %s; node0 was killed after %s", took, at.Sub(begun))
	case <-time.After(goesOn): // the kill may take longer than the join
		t.Fatal("the join was never seen")
	}
	stop()
	streams.Wait()
	if sent.Load() == 0 {
		t.Error("there was no load")
	}
	w.do("start", "node0")
	w.dial()
	w.await("all are at one height", goesOn, func() (bool, error) {
		for i := range w.Nodes {
			if w.head(i) != w.head(1) {
				return false, nil
			}
		}
		return true, nil
	})
	for range 6 { // each in a block of its own, above the snapshot that node4 joined by
		w.pay(1, 9, recipient(0), 1, 0, 1, 2, 3, 4)
	}
	top := w.head(1)
	for h := top - 5; h <= top; h++ {
		want, err := testnet.BlockAt(ctx, w.clients[1], h)
		if err != nil {
			t.Fatal(err)
		}
		for i, c := range w.clients {
			got, err := testnet.BlockAt(ctx, c, h)
			if err != nil || got == nil || got.Hash != want.Hash || got.StateRoot != want.StateRoot {
				t.Fatalf("height %d of %s: %+v, %v; want %s", h, w.Nodes[i].Name, got, err, want.Hash)
			}
		}
	}
	for i := range uint64(50) {
		a, err := testnet.Balance(ctx, w.clients[1], recipient(i))
		if err != nil {
			t.Fatal(err)
		}
		b, err := testnet.Balance(ctx, w.clients[4], recipient(i))
		if err != nil || a.Cmp(b) != 0 {
			t.Fatalf("balance of %s: %s on node1, %s on node4 (%v)", recipient(i), a, b, err)
		}
	}
	if b, err := testnet.BlockAt(ctx, w.clients[4], 1); err == nil || !strings.Contains(err.Error(), "not kept") && !strings.Contains(err.Error(), "pruned") {
		t.Errorf("block 1 of a node that joined by a snapshot: %v, %v", b, err)
	}
	w.do("kill", "node4")
	t.Log(w.checkDatabase(4))
}

// newJoiner makes the home of node4, which is to join by a snapshot.
func (w *network) newJoiner(dir string) {
	w.t.Helper()
	out, err := exec.CommandContext(w.ctx, filepath.Join(testnet.Root(), "bin", "cairnd"), "testnet", "add", "--dir", dir).Output()
	if err != nil || strings.TrimSpace(string(out)) != "node4" {
		w.t.Fatalf("testnet add: %q, %v", out, err)
	}
	path := filepath.Join(dir, "node4", "config.toml")
	raw, err := os.ReadFile(path)
	if err != nil {
		w.t.Fatal(err)
	}
	changed := strings.Replace(string(raw), "mode = 'auto'", "mode = 'snapshot'", 1)
	if changed == string(raw) {
		w.t.Fatalf("no sync.mode in %s", path)
	}
	if err := os.WriteFile(path, []byte(changed), 0o600); err != nil {
		w.t.Fatal(err)
	}
}
