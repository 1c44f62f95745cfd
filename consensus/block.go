package consensus

import (
	"slices"

	"cairn/consensus/internal/fault"
	"cairn/crypto"
)

// MaxHeldBlocks bounds the blocks above the last committed one that a core keeps
// track of. A longer gap is the driver's to close, by a sync that ends in Synced.
const MaxHeldBlocks = 1024

// maxFetchBlocks bounds one Effects.FetchBlocks; the rest waits for the next.
const maxFetchBlocks = 32

// execution is how far a block's execution has come.
type execution uint8

const (
	notExecuted execution = iota
	executing             // Execute was asked
	executedOK
	executedInvalid
)

// blockState is a block that a proposal or a certificate named.
type blockState struct {
	Block
	here      bool // its facts are known and the driver has the body
	durable   bool
	exec      execution
	closing   bool
	final     bool   // the last finalized block or an ancestor of it
	certified uint64 // highest view whose certificate needs this block; 0 = none
	notarized uint64 // highest view in which it is notarized; 0 = none
	named     uint64 // highest view for which it was proposed to us; what its header claims counts for nothing here
	seenAt    int64  // mono, when it came
	reason    string // why it is invalid
	wanted    bool   // in Core.wants
	wantAt    int64  // mono, when to ask (again)
}

// executed says whether a block is here with its state.
func (c *Core) executed(hash crypto.Hash) bool {
	b := c.blocks[hash]
	return b != nil && b.exec == executedOK
}

// blockAt answers the state of a block, made if need be; nil if there are too
// many.
func (c *Core) blockAt(hash crypto.Hash) *blockState {
	if b := c.blocks[hash]; b != nil {
		return b
	}
	if len(c.order) >= MaxHeldBlocks && !c.evictBlock() {
		c.overflow = true
		return nil
	}
	b := &blockState{Block: Block{Hash: hash}}
	c.blocks[hash] = b
	c.order = append(c.order, b)
	return b
}

// evictBlock drops the oldest block of a past view that no certificate needs.
func (c *Core) evictBlock() bool {
	i := slices.IndexFunc(c.order, func(b *blockState) bool {
		return b != c.committed && b.certified == 0 && b.named < c.view
	})
	if i < 0 {
		return false
	}
	delete(c.blocks, c.order[i].Hash)
	c.order = slices.Delete(c.order, i, i+1)
	return true
}

// place notes that a block's body is here, and the view for which it came; 0 = it
// was asked for.
func (c *Core) place(block Block, durable bool, named uint64) {
	if block.Height <= c.committed.Height {
		return
	}
	b := c.blockAt(block.Hash)
	if b == nil {
		return
	}
	b.durable, b.named = b.durable || durable, max(b.named, named)
	if b.here {
		c.execute(b)
		return
	}
	b.Block, b.here, b.seenAt = block, true, c.mono
	if b.final && c.strays(b) {
		return
	}
	if b.certified > 0 {
		c.certify(b.Parent, b.certified, c.mono, b.final)
	}
	c.execute(b)
}

// execute asks for the execution of a block whose parent's state is here.
func (c *Core) execute(b *blockState) {
	if b.here && b.exec == notExecuted && c.executed(b.Parent) {
		b.exec = executing
		c.eff.Execute = append(c.eff.Execute, b.Hash)
	}
}

// onExecuted takes the outcome of an execution.
func (c *Core) onExecuted(e *Executed) {
	b := c.blocks[e.Block]
	if b == nil || b.exec == executedOK || b.exec == executedInvalid {
		return
	}
	switch e.Status {
	case ExecutionOK:
		b.exec, b.closing = executedOK, e.Closing
		c.afterExecution(b)
	case ExecutionInvalid:
		b.exec, b.reason = executedInvalid, e.Reason
		if b.certified > 0 {
			c.haltInvalid(b)
		}
	case ExecutionMissing:
		b.exec = notExecuted
		due := c.mono
		if b.durable {
			due += c.resendEvery() // the body is here: only time can help
		}
		c.want(b, due)
	case ExecutionNoBody:
		b.exec, b.durable = notExecuted, false // no vote rests on a body that nobody could serve
		c.want(b, c.mono)
	}
}

// afterExecution goes on with what waited for a block's state.
func (c *Core) afterExecution(b *blockState) {
	for _, child := range c.order {
		if child.here && child.Parent == b.Hash {
			c.execute(child)
		}
	}
	if b.notarized > c.final.view {
		if vs := c.lookup(b.notarized); vs != nil {
			c.admit(vs)
		}
	}
}

func (c *Core) haltInvalid(b *blockState) {
	c.halt("block %s of height %d and view %d has a certificate, but execution says: %s", b.Hash, b.Height, b.View, b.reason)
}

// certify notes that a block, and so every ancestor of it that is not executed
// here, has a certificate, and asks for the bodies that are missing, walking
// back along parent hashes.
func (c *Core) certify(hash crypto.Hash, view uint64, due int64, final bool) {
	for direct := true; ; direct = false {
		b := c.blockAt(hash)
		if b == nil {
			return
		}
		if direct {
			if vs := c.lookup(view); vs != nil && vs.cert(Notarize) != nil && vs.cert(Notarize).Block == hash {
				b.notarized = max(b.notarized, view)
			}
		}
		seen := b.certified >= view && (b.final || !final)
		b.certified, b.final = max(b.certified, view), b.final || final
		if b.final && b.here && c.strays(b) {
			return
		}
		switch {
		case b.exec == executedInvalid:
			c.haltInvalid(b)
			return
		case !b.here:
			c.want(b, due)
			return
		case seen, b.exec == executedOK, b.Height <= c.committed.Height+1:
			return
		}
		hash, due = b.Parent, c.mono
	}
}

// strays halts if a finalized block cannot descend from, or be, the block that
// the ledger committed last.
func (c *Core) strays(b *blockState) bool {
	switch {
	case b.Hash == c.committed.Hash:
		return false
	case b.Height <= c.committed.Height, b.Height == c.committed.Height+1 && b.Parent != c.committed.Hash:
		c.halt("finalized block %s of height %d contradicts the committed block %s of height %d",
			b.Hash, b.Height, c.committed.Hash, c.committed.Height)
		return true
	}
	return false
}

// want asks for a body, or for another try at its execution, at due and then
// every t_r until it comes.
func (c *Core) want(b *blockState, due int64) {
	if b.wanted {
		b.wantAt = min(b.wantAt, due)
		return
	}
	b.wanted, b.wantAt = true, due
	c.wants = append(c.wants, b)
}

// fetch asks for what is due and forgets what came.
func (c *Core) fetch() {
	kept := c.wants[:0]
	for _, b := range c.wants {
		if b.here && (b.exec != notExecuted || b.durable && !c.executed(b.Parent)) {
			b.wanted = false // executed, or will be as soon as its parent is
			continue
		}
		kept = append(kept, b)
		if c.mono < b.wantAt || len(c.eff.FetchBlocks) >= maxFetchBlocks {
			continue
		}
		b.wantAt = c.mono + c.resendEvery()
		if c.faulty(fault.FetchOnce) {
			b.wantAt = never
		}
		if !b.here || !b.durable {
			c.eff.FetchBlocks = append(c.eff.FetchBlocks, b.Hash)
		} else {
			c.execute(b)
		}
	}
	clear(c.wants[len(kept):])
	c.wants = kept
}

// commit hands the last finalization to the ledger once its block is executed,
// which says that all its ancestors are too.
func (c *Core) commit() {
	if c.final.view <= c.comView {
		return
	}
	b := c.blocks[c.final.block]
	if b == nil || b.exec != executedOK {
		return
	}
	if b != c.committed {
		c.eff.Commit = append(c.eff.Commit, *c.final.cert)
		c.lastBlockAt = max(c.lastBlockAt, b.seenAt)
	}
	c.committed, c.comView = b, c.final.view
	c.ended = b.closing
	c.forgetBlocks()
}

// forgetBlocks drops what the last commit made irrelevant: everything at or
// below its height, and bodies that only certificates up to it asked for.
func (c *Core) forgetBlocks() {
	drop := func(b *blockState) bool {
		if b == c.committed {
			return false
		}
		if b.certified == 0 && b.named <= c.final.view {
			return true // a proposal of a view that is over
		}
		if b.here {
			return b.Height <= c.committed.Height
		}
		// A finalized one that a view up to the committed one needed is an ancestor
		// of the committed block: a sync brought it.
		return b.certified <= c.comView || b.certified <= c.final.view && !b.final
	}
	c.order = slices.DeleteFunc(c.order, func(b *blockState) bool {
		if drop(b) {
			delete(c.blocks, b.Hash)
			return true
		}
		return false
	})
	c.wants = slices.DeleteFunc(c.wants, func(b *blockState) bool { return c.blocks[b.Hash] != b })
	if c.overflow {
		c.overflow = false
		c.recertify()
	}
}

// recertify finds a place for the blocks that found none before.
func (c *Core) recertify() {
	if c.final.view > c.comView {
		c.certify(c.final.block, c.final.view, c.mono, true)
	}
	for _, vs := range c.views {
		if cert := vs.cert(Notarize); cert != nil && vs.view > c.final.view && c.halted == "" {
			c.certify(cert.Block, vs.view, c.mono, false)
		}
	}
}

// onSynced takes over where a sync outside the core left the ledger.
func (c *Core) onSynced(e *Synced) {
	f := &e.Finalization
	if f.Kind != Finalize || f.Epoch != c.cfg.Epoch || f.Block != e.Block.Hash || e.Block.Height < c.committed.Height {
		return
	}
	if e.Block.Height == c.committed.Height {
		if e.Block.Hash != c.committed.Hash {
			c.halt("the ledger synced to block %s of height %d beside the committed %s", e.Block.Hash, e.Block.Height, c.committed.Hash)
		}
		return
	}
	b := c.blocks[f.Block]
	if b == nil {
		b = &blockState{}
		c.blocks[f.Block] = b
		c.order = append(c.order, b)
	}
	b.Block, b.here, b.durable, b.exec, b.seenAt = e.Block, true, true, executedOK, c.mono
	c.committed, c.comView = b, f.View
	c.learn(f, -1, false)
	if c.halted != "" {
		return
	}
	c.forgetBlocks()
	c.afterExecution(b)
}
