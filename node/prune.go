package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"cairn/ledger"
	"cairn/ledger/store"
)

// Pruning goes on in the background in batches small enough that a block never
// waits for one. First the bounds move, durably: from then on what is below them
// answers store.ErrPruned. Then it is deleted. A crash between leaves rows that
// nobody reads, and the next start deletes them.
const (
	pruneEvery  = 10 * time.Second      // between two looks at the head
	pruneRest   = 20 * time.Millisecond // between two batches
	pruneBlocks = 64                    // of one batch
	pruneRows   = 4096                  // of the history, looked at in one batch
	pruneStep   = 16                    // the bounds move by this part of what is kept at once: a pass reads all of the history
)

// prune keeps the database at what the configuration says until ctx ends.
func (n *Node) prune(ctx context.Context) error {
	rule := n.cfg.History
	if rule == (HistoryConfig{}) {
		return nil
	}
	p := pruner{live: n.driver.ledger, st: n.store, rule: rule, rest: pruneRest}
	ticker := time.NewTicker(pruneEvery)
	defer ticker.Stop()
	for first := true; ; first = false {
		done, err := p.pass(ctx, first)
		switch {
		case errors.Is(err, context.Canceled), errors.Is(err, store.ErrClosed):
			return nil
		case errors.Is(err, store.ErrCorrupt):
			n.log.Warn("nothing is pruned any more: stop this node and run 'cairnd db check'", "err", err)
			return nil
		case err != nil:
			return fmt.Errorf("prune: %w", err)
		case done.blocks+done.rows > 0:
			n.log.Info("pruned", "blocks", done.blocks, "rows", done.rows, "firstBlock", n.store.FirstBody(), "firstState", n.store.Base())
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// pruner is one run of pruning.
type pruner struct {
	live *ledger.Ledger
	st   *store.Store
	rule HistoryConfig
	rest time.Duration
}

// pruned counts what a pass deleted.
type pruned struct {
	blocks, rows int
}

// pass moves the bounds if they are due, and deletes what is below them. all says
// that an interrupted pass may have left something although they are not due.
func (p *pruner) pass(ctx context.Context, all bool) (done pruned, err error) {
	old := p.st.Bounds()
	due := p.bounds(old, p.live.HeadInfo().Height)
	if due != old {
		if err := p.live.RaiseBounds(due); err != nil {
			return done, err
		}
	}
	if all || due.FirstBody != old.FirstBody {
		for from := uint64(0); ; {
			next, n, err := p.st.PruneBodies(from, pruneBlocks)
			from = next
			done.blocks += n
			if err != nil {
				return done, err
			}
			if n == 0 {
				break
			}
			if err := p.pause(ctx); err != nil {
				return done, err
			}
		}
	}
	if !all && due.Base == old.Base {
		return done, nil
	}
	for at := []byte(nil); ; {
		next, n, err := p.st.PruneHistory(at, pruneRows)
		done.rows += n
		if err != nil || next == nil {
			return done, err
		}
		at = next
		if err := p.pause(ctx); err != nil {
			return done, err
		}
	}
}

// bounds are those that the rule asks for at a head, or the old ones while they
// are nearly that.
func (p *pruner) bounds(old store.Bounds, head uint64) store.Bounds {
	due := old
	raise := func(bound *uint64, keep uint64) {
		if keep > 0 && head+1 > keep && head+1-keep >= *bound+max(keep/pruneStep, 1) {
			*bound = head + 1 - keep
		}
	}
	raise(&due.FirstBody, p.rule.KeepBlocks)
	raise(&due.Base, p.rule.KeepStates)
	return due
}

func (p *pruner) pause(ctx context.Context) error {
	timer := time.NewTimer(p.rest)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
