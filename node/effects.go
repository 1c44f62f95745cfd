package node

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ethereum/go-ethereum/core/types"

	"cairn/consensus"
	"cairn/crypto"
	"cairn/ledger"
	"cairn/ledger/chain"
	"cairn/ledger/store"
)

// This file is the one place where consensus meets the ledger: it turns effects
// of the core into calls of the ledger, and their outcome into events.

// step feeds one event to the core and carries out what it asks, and what that
// leads to, before it returns.
func (d *driver) step(ev consensus.Event) error {
	return d.carryOut(d.core.Step(d.mono(), d.wall(), ev))
}

// carryOut does the work of one Effects, and steps the core with every answer
// that is there at once. Each Effects is done before the next step, so that
// Persisted is true of every record that the core has asked to keep.
func (d *driver) carryOut(effects consensus.Effects) error {
	core := d.core
	answers, err := d.apply(&effects)
	for err == nil && d.core == core && len(answers) > 0 {
		next := answers[0]
		answers = answers[1:]
		effects = core.Step(d.mono(), d.wall(), next)
		var more []consensus.Event
		more, err = d.apply(&effects)
		if len(more) > 0 && more[0] == (consensus.Persisted{}) {
			answers = append(more[:1:1], answers...)
			more = more[1:]
		}
		answers = append(answers, more...)
	}
	if err != nil || d.core != core {
		return err // a new core has told its own state; what is left was for the old one
	}
	d.publish()
	if err := d.trustAgain(); err != nil {
		return err
	}
	return d.comeBack()
}

// publish lets the other goroutines know where the core is.
func (d *driver) publish() {
	status := d.core.Status()
	if d.ledger.Layers() > maxLayers {
		d.ledger.Trim(status.Tip, d.latest.hash)
	}
	if last := d.state.Load(); last != nil && last.View != status.View {
		d.poolChanged() // a view that failed gives its transactions back
	}
	d.state.Store(&driverState{
		Status: status, era: d.era.Load(), open: d.openBlocks(status.Tip),
		admitting: d.core.Admitting(), doubt: d.inDoubt(), twin: d.twin,
	})
	d.meters.view.Set(float64(status.View))
	d.meters.voting.Set(boolGauge(status.Voting))
}

// apply carries out one Effects: persist, send, then the rest. An error is a
// failure of this node: it must stop rather than sign on top of it.
func (d *driver) apply(e *consensus.Effects) ([]consensus.Event, error) {
	if err := d.persist(e.Persist); err != nil {
		return nil, err
	}
	core := d.core
	if e.Twin != nil {
		if err := d.doubled(e.Twin); err != nil {
			return nil, err
		}
	}
	if len(e.Persist) > 0 {
		d.publish() // nobody holds a vote of a view that we would not tell an observer of
	}
	d.send(e)
	d.wakeAt = e.WakeAt
	var answers []consensus.Event
	if len(e.Persist) > 0 {
		answers = append(answers, consensus.Persisted{}) // first: see carryOut
	}
	if e.Build != nil {
		built, err := d.build(e.Build)
		if err != nil {
			return nil, err
		}
		answers = append(d.withWorkChange(answers), built)
	}
	for _, hash := range e.Execute {
		more, err := d.execute(hash)
		if err != nil {
			return nil, err
		}
		answers = append(d.withWorkChange(answers), more...)
	}
	for _, ev := range e.Evidence {
		if err := d.keepEvidence(ev); err != nil {
			return nil, err
		}
	}
	if e.Halt != "" {
		d.log.Error("consensus halted: this node signs nothing more; compare its blocks with the other validators'", "reason", e.Halt)
	}
	for i := range e.Commit {
		if err := d.commit(&e.Commit[i]); err != nil {
			return nil, err
		}
		// What there is to tell the core of the next epoch must not be lost with
		// the answers of this one: it would idle with its pool full.
		if d.core == core {
			answers = d.withWorkChange(answers)
		}
	}
	if d.core != core {
		return nil, nil
	}
	d.fetch(e)
	d.announce(e.Announce)
	return answers, nil
}

// withWorkChange adds the event of a change of work, if there was one. It comes
// before the block that caused it: with the block the core may enter the next
// view, which it would arm for the transactions that are in the block.
func (d *driver) withWorkChange(answers []consensus.Event) []consensus.Event {
	if ev := d.workChange(); ev != nil {
		answers = append(answers, ev)
	}
	return answers
}

// persist writes the records and syncs once. Bodies put before become durable
// with them, because the store's log is written in order.
func (d *driver) persist(records []consensus.Record) error {
	if len(records) == 0 {
		return nil
	}
	out := make([]store.Record, len(records))
	for i, r := range records {
		out[i] = voteRecord(r)
	}
	if err := d.store.PutRecords(out); err != nil {
		return fmt.Errorf("write vote records: %w", err)
	}
	if d.witness != nil {
		d.witness.note(d.instance.kept.ID, d.store.Written())
	}
	return nil
}

// build makes, executes and keeps the block of a view that we lead.
func (d *driver) build(req *consensus.BuildRequest) (consensus.Event, error) {
	failed := consensus.Built{View: req.View, Failed: true}
	if err := d.revive(req.Parent); err != nil {
		return nil, err
	}
	if !d.ledger.Executed(req.Parent) {
		d.log.Warn("cannot build: the parent's state is not here", "view", req.View, "parent", req.Parent)
		return failed, nil
	}
	block, err := d.ledger.Build(req.Parent, chain.BuildParams{
		Epoch: req.Epoch, View: req.View, TimestampMillis: uint64(req.MinTimestamp), Proposer: d.key.Address(),
	}, d.pool.Candidates(d.ledger.Included(req.Parent)))
	var invalid *chain.InvalidError
	if errors.Is(err, ledger.ErrMissingParent) || errors.As(err, &invalid) {
		d.log.Warn("cannot build on this parent; another leader will", "view", req.View, "parent", req.Parent, "err", err)
		return failed, nil
	}
	if err != nil {
		return nil, fmt.Errorf("build the block of view %d: %w", req.View, err)
	}
	d.bodies.put(block)
	d.latest = executedBlock{hash: block.Hash(), view: req.View, at: d.mono()}
	d.meters.proposed.Inc()
	return consensus.Built{View: req.View, Block: blockFacts(block), Closing: d.ledger.Closing(block.Hash())}, nil
}

// execute runs a block on its parent's state. If it is good, the ledger has put
// its body where the next synced write makes it durable.
func (d *driver) execute(hash crypto.Hash) ([]consensus.Event, error) {
	missing := []consensus.Event{consensus.Executed{Block: hash, Status: consensus.ExecutionMissing}}
	block, err := d.body(hash)
	if err != nil {
		return nil, err
	}
	if block == nil {
		return []consensus.Event{consensus.Executed{Block: hash, Status: consensus.ExecutionNoBody}}, nil
	}
	start := time.Now()
	if err := d.revive(block.ParentHash()); err != nil {
		return nil, err
	}
	err = d.ledger.Execute(block)
	var invalid *chain.InvalidError
	switch {
	case errors.As(err, &invalid):
		d.log.Warn("a proposed block breaks a rule; it gets no vote of ours", "height", block.NumberU64(), "hash", hash, "err", err)
		return []consensus.Event{consensus.Executed{Block: hash, Status: consensus.ExecutionInvalid, Reason: err.Error()}}, nil
	case errors.Is(err, ledger.ErrMissingParent):
		return missing, nil
	case err != nil:
		return nil, fmt.Errorf("execute block %d %s: %w", block.NumberU64(), hash, err)
	}
	d.meters.execution.Observe(time.Since(start).Seconds())
	facts := blockFacts(block)
	if view := min(facts.View, d.core.Status().View+1); view >= d.latest.view { // a header may claim any view
		d.latest = executedBlock{hash: hash, view: view, at: d.mono()}
	}
	return []consensus.Event{
		consensus.Executed{Block: hash, Status: consensus.ExecutionOK, Closing: d.ledger.Closing(hash)},
		consensus.BlockDurable{Block: facts},
	}, nil
}

// revive executes again a block, and before it its ancestors, that were executed
// and then trimmed. One that cannot be found or executed is left as it is.
func (d *driver) revive(hash crypto.Hash) error {
	var path []*types.Block
	for !d.ledger.Executed(hash) && len(path) < consensus.MaxHeldBlocks {
		block, err := d.body(hash)
		if err != nil {
			return err
		}
		if block == nil {
			return nil
		}
		path, hash = append(path, block), block.ParentHash()
	}
	for _, block := range slices.Backward(path) {
		var invalid *chain.InvalidError
		err := d.ledger.Execute(block)
		if errors.Is(err, ledger.ErrMissingParent) || errors.As(err, &invalid) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("execute block %d %s again: %w", block.NumberU64(), block.Hash(), err)
		}
	}
	return nil
}

// body finds a block that is not final yet, in memory or in the store; nil =
// not here.
func (d *driver) body(hash crypto.Hash) (*types.Block, error) {
	if b := d.bodies.get(hash); b != nil {
		return b, nil
	}
	raw, err := d.ledger.BodyBytes(hash)
	if errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrAwaited) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read block %s: %w", hash, err)
	}
	b, err := chain.DecodeBlock(raw, &d.ledger.Config().Rules)
	if err != nil {
		return nil, fmt.Errorf("block %s in the store: %w", hash, err)
	}
	b = withKnownSenders(d.pool, d.signer, b)
	d.bodies.put(b)
	return b, nil
}

// commit makes a block and its ancestors final.
func (d *driver) commit(c *consensus.Certificate) error {
	if d.ledger.HeadInfo().Hash == c.Block {
		return nil
	}
	if err := d.revive(c.Block); err != nil { // the core may hold as executed what was trimmed
		return err
	}
	if err := d.finalize(c.Block, c); err != nil {
		return err
	}
	d.publishFinalization(c)
	return d.enterEpoch()
}

// finalize commits hash and its unfinalized ancestors with the finalization of
// hash, and tells the pool.
func (d *driver) finalize(hash crypto.Hash, c *consensus.Certificate) error {
	return d.commitRun(hash, c, map[crypto.Hash][]byte{hash: consensus.EncodeCertificate(c)})
}

// commitRun commits hash and its unfinalized ancestors with the finalizations
// that any of them has, and tells the pool. top is that of hash; nil = something
// else proves that it is final.
func (d *driver) commitRun(hash crypto.Hash, top *consensus.Certificate, certificates map[crypto.Hash][]byte) error {
	start := time.Now()
	info := d.ledger.HeadInfo()
	floor := ledger.Floor{Epoch: info.Epoch, View: info.View}
	var prune []store.RecordRange
	if top != nil {
		if floor = (ledger.Floor{Epoch: top.Epoch, View: top.View}); d.ledger.Closing(hash) {
			floor = ledger.Floor{Epoch: top.Epoch + 1}
		}
		prune = []store.RecordRange{prunable(floor)}
	}
	finals, err := d.ledger.FinalizeRun(hash, certificates, floor, prune)
	if err != nil {
		return fmt.Errorf("commit block %s: %w", hash, err)
	}
	d.meters.commit.Observe(time.Since(start).Seconds())
	for _, f := range finals {
		if err := d.finalized(f); err != nil {
			return err
		}
	}
	return nil
}

// finalized does what follows each final block.
func (d *driver) finalized(f *ledger.Final) error {
	head := f.Block.Header()
	if err := d.pool.Reset(head, chain.NextBaseFee(&d.ledger.Config().Rules, head), d.ledger, f.Block.Transactions()); err != nil {
		return fmt.Errorf("reset the pool: %w", err)
	}
	for _, tx := range f.Block.Transactions() {
		if err := d.forgetLocal(tx.Hash()); err != nil {
			return err
		}
	}
	d.bodies.dropUpTo(head.Number.Uint64())
	d.meters.height.Set(float64(head.Number.Uint64()))
	d.meters.transactions.Add(float64(len(f.Block.Transactions())))
	if now := time.Now(); now.Sub(d.logged) >= time.Second {
		d.logged = now
		d.log.Info("final block", "height", head.Number.Uint64(), "hash", f.Block.Hash(), "view", d.core.Status().View, "transactions", len(f.Block.Transactions()))
	}
	return nil
}

// blockFacts is what consensus knows of a block; the header was checked to be
// decodable when the block was.
func blockFacts(b *types.Block) consensus.Block {
	extra, err := chain.DecodeExtra(b.Header())
	if err != nil {
		panic(fmt.Sprintf("block %s was accepted with extra data that does not decode: %v", b.Hash(), err))
	}
	return consensus.Block{
		Hash: b.Hash(), Parent: b.ParentHash(), Height: b.NumberU64(),
		Epoch: extra.Epoch, View: extra.View, Proposer: b.Coinbase(), Timestamp: int64(extra.TimestampMillis),
	}
}
