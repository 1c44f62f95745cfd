//go:build e2e

package e2e

import (
	"context"
	"flag"
	"fmt"
	"math/big"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"cairn/scripts/internal/testnet"
)

var kills = flag.Int("kills", 5, "SIGKILLs of TestKillNine")

// TestKillNine: under load one node after the other is killed at a random
// instant. While it is down its database is checked, which must find nothing;
// then it starts and catches up. At the end all have the same blocks.
// 100 kills: go test -tags e2e ./scripts/e2e -run KillNine -kills 100 -timeout 60m
func TestKillNine(t *testing.T) {
	w := start(t, 4)
	rng := rand.New(rand.NewPCG(*seed, 9))
	ctx, stop := context.WithCancel(w.ctx)
	var wg sync.WaitGroup
	for i := range w.Nodes {
		wg.Go(func() { w.drip(ctx, i, 40*time.Millisecond) })
	}
	defer func() {
		stop()
		wg.Wait()
	}()
	for kill := range *kills {
		i := rng.IntN(len(w.Nodes))
		name := w.Nodes[i].Name
		before := w.head((i + 1) % 4)
		w.await("the chain grows under load", goesOn, func() (bool, error) { return w.head((i+1)%4) > before+2, nil })
		select {
		case <-time.After(time.Duration(rng.IntN(400)) * time.Millisecond): // the instant is the test
		case <-ctx.Done():
		}
		told := w.head(i)
		w.do("kill", name)
		found := w.checkDatabase(i)
		w.await(name+" starts", 2*time.Minute, func() (bool, error) { // somebody's connection may have its port for a while
			return w.Do(w.ctx, "start", name) == nil, nil
		})
		w.await(name+" has caught up", 3*goesOn, func() (bool, error) {
			h, err := testnet.Head(w.ctx, w.clients[i])
			return err == nil && h+5 >= w.head((i+1)%4), nil
		})
		t.Logf("kill %d of %d: %s at height %d, %s", kill+1, *kills, name, told, found)
	}
	stop()
	wg.Wait()
	w.sameBlocks()
}

// checkDatabase runs db check on the home of a node that is down, and answers
// what it says.
func (w *network) checkDatabase(i int) string {
	w.t.Helper()
	var out []byte
	var err error
	w.await("the lock of the killed process is free", goesOn, func() (bool, error) { // the kernel frees it a little after the kill
		cmd := exec.CommandContext(w.ctx, filepath.Join(testnet.Root(), "bin", "cairnd"), "db", "check", "--home", w.Nodes[i].Home)
		out, err = cmd.CombinedOutput()
		return err == nil || !strings.Contains(string(out), "another cairnd is running"), nil
	})
	if err != nil {
		w.t.Fatalf("-seed %d: db check of %s: %v\n%s", *seed, w.Nodes[i].Name, err, out)
	}
	return string(out)
}

// drip sends a transfer of account i through node i at every step until ctx ends,
// also after the node was away.
func (w *network) drip(ctx context.Context, i int, every time.Duration) {
	key, err := w.Key(i)
	if err != nil {
		w.t.Error(err)
		return
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	nonce, known := uint64(0), false
	for n := uint64(0); ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		c := w.clients[i]
		if !known {
			if nonce, err = testnet.Nonce(ctx, c, key.Address(), "pending"); err != nil {
				continue
			}
			known = true
		}
		tx, err := testnet.Transfer(w.chain, key, nonce, recipient(n%50), big.NewInt(1))
		if err != nil {
			w.t.Error(fmt.Errorf("sign: %w", err))
			return
		}
		if known = testnet.Send(ctx, c, tx) == nil; known {
			nonce++
		}
	}
}
