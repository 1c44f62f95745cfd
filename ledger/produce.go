package ledger

import (
	"fmt"

	"github.com/ethereum/go-ethereum/core/types"

	"cairn/crypto"
	"cairn/ledger/chain"
)

// Build makes a block on parent from the candidates, executes it, holds it as a
// layer and gives its body to the store, where the next synced write makes it
// durable. Errors: ErrMissingParent, *chain.InvalidError for parameters that
// break a rule, or a failure.
func (l *Ledger) Build(parent crypto.Hash, p chain.BuildParams, c chain.Candidates) (*types.Block, error) {
	top, err := l.find(parent)
	if err != nil {
		return nil, err
	}
	block, out, err := chain.Build(l.cfg, l.headerOf(top), l.stateAfter(top), p, c)
	if err != nil {
		return nil, fmt.Errorf("build on %s: %w", parent, err)
	}
	return block, l.hold(block, top, out)
}

// Execute checks and executes a block on its parent, holds it as a layer and
// gives its body to the store, where the next synced write makes it durable. A
// block that is held or final already is not executed again.
// Errors: ErrMissingParent (nothing is known of the block yet),
// *chain.InvalidError (the block breaks a rule), or a failure.
func (l *Ledger) Execute(block *types.Block) error {
	hash := block.Hash()
	if _, ok := l.layers[hash]; ok {
		return nil
	}
	if head := l.head.Load().info; block.NumberU64() <= head.Height {
		if final, err := l.st.HashByHeight(block.NumberU64()); err != nil || final == hash {
			return err
		}
	}
	top, err := l.find(block.ParentHash())
	if err != nil {
		return err
	}
	out, err := chain.Execute(l.cfg, l.headerOf(top), l.stateAfter(top), block)
	if err != nil {
		return fmt.Errorf("execute block %d %s: %w", block.NumberU64(), hash, err)
	}
	return l.hold(block, top, out)
}

// hold keeps an executed block as a layer on top.
func (l *Ledger) hold(block *types.Block, top *layer, out *chain.Output) error {
	hash := block.Hash()
	held, err := l.st.HasBody(hash)
	if err == nil && !held {
		err = l.st.PutBody(hash, chain.EncodeBlock(block))
	}
	if err != nil {
		return fmt.Errorf("keep the body of block %d %s: %w", block.NumberU64(), hash, err)
	}
	if _, ok := l.layers[hash]; !ok {
		l.layers[hash] = newLayer(block, top, out)
	}
	return nil
}

// Executed says whether a block is held as a layer or final.
func (l *Ledger) Executed(hash crypto.Hash) bool {
	if _, ok := l.layers[hash]; ok {
		return true
	}
	_, err := l.st.HeightByHash(hash)
	return err == nil
}

// Closing says whether a held block, or the head, changes the validator set.
func (l *Ledger) Closing(hash crypto.Hash) bool {
	if n, ok := l.layers[hash]; ok {
		return n.nextSet != nil
	}
	h := l.head.Load()
	return h.info.Hash == hash && chain.IsClosing(h.header)
}

// Layers is the number of blocks that are executed and not final.
func (l *Ledger) Layers() int { return len(l.layers) }

// Trim drops the executed blocks that are none of keep and no ancestor of one:
// proposals of views that failed. Nothing is lost: their bodies stay in the
// store until the next finalization, and Execute makes them again.
func (l *Ledger) Trim(keep ...crypto.Hash) {
	kept := make(map[crypto.Hash]*layer)
	for _, hash := range keep {
		for n := l.layers[hash]; n != nil && kept[n.block.Hash()] == nil; n = n.parent.Load() {
			kept[n.block.Hash()] = n
		}
	}
	l.layers = kept
}

// Included tells of the transactions that are in parent or in an ancestor of it
// that is not final. Of final blocks it knows nothing: there the nonce speaks.
// The function is the owner's too.
func (l *Ledger) Included(parent crypto.Hash) func(crypto.Hash) bool {
	var sets []map[crypto.Hash]struct{}
	for n := l.layers[parent]; n != nil; n = n.parent.Load() {
		if n.included == nil {
			n.included = make(map[crypto.Hash]struct{}, len(n.block.Transactions()))
			for _, tx := range n.block.Transactions() {
				n.included[tx.Hash()] = struct{}{}
			}
		}
		sets = append(sets, n.included)
	}
	return func(tx crypto.Hash) bool {
		for _, s := range sets {
			if _, ok := s[tx]; ok {
				return true
			}
		}
		return false
	}
}

// State reads the state after parent: the final head or a held block. It may be
// read from any goroutine, and is right until a block is final that parent
// neither is nor descends from; on the head it follows the newest final state.
// Error: ErrMissingParent.
func (l *Ledger) State(parent crypto.Hash) (chain.Reader, error) {
	top, err := l.find(parent)
	if err != nil {
		return nil, err
	}
	return layerReader{top, l}, nil
}
