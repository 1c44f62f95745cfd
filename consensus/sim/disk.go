package sim

import (
	"bytes"
	"cmp"
	"maps"
	"slices"

	"cairn/consensus"
	"cairn/crypto"
)

// disk is one database: bodies, vote records and committed blocks behind one
// write-ahead log. What was appended is readable at once and survives a crash as
// a prefix of unknown length; what was synced survives for certain.
type disk struct {
	log []write // not yet synced, in order

	// Readable: synced writes and log together.
	view tables
	// Synced.
	durable tables
}

// write is one entry of the log; one field is set.
type write struct {
	body    *block
	records []consensus.Record // one atomic batch
	commit  *commit
}

// commit is the atomic batch of one final block. floor is nil for an ancestor that
// is final only through a descendant. A closing block moves the floor to the
// start of the next epoch.
type commit struct {
	block   *block
	floor   *consensus.Certificate
	closing bool
}

// tables is what a database holds.
type tables struct {
	bodies  map[crypto.Hash]*block // not final
	finals  map[crypto.Hash]*block
	records []consensus.Record
	chain   []*block                          // by height, from block 0
	proofs  map[uint64]*consensus.Certificate // finalizations of final blocks, by height
	last    uint64                            // the highest of proofs
	endings map[uint32]*consensus.Certificate // finalizations of closing blocks, by epoch
	floor   floor
	lazy    bool // vote records are pruned much later than they may be
}

// floor is the newest block that is committed with a finalization of its own, or
// the root of an epoch in which there is none yet.
type floor struct {
	epoch        uint32
	view         uint64
	block        *block
	finalization *consensus.Certificate // nil at the start of an epoch
}

func newDisk(genesis *block, epoch uint32, lazy bool) *disk {
	d := &disk{}
	for _, t := range []*tables{&d.view, &d.durable} {
		t.lazy = lazy
		t.bodies = map[crypto.Hash]*block{}
		t.finals = map[crypto.Hash]*block{genesis.Hash: genesis}
		t.chain = []*block{genesis}
		t.proofs, t.endings = map[uint64]*consensus.Certificate{}, map[uint32]*consensus.Certificate{}
		t.floor = floor{epoch: epoch, block: genesis}
	}
	return d
}

func (d *disk) append(w write) {
	d.log = append(d.log, w)
	d.view.apply(w)
}

// sync makes all that was appended durable and returns it.
func (d *disk) sync() []write {
	synced := d.log
	for _, w := range synced {
		d.durable.apply(w)
	}
	d.log = nil
	return synced
}

// crash loses all but the first keep writes of the log and returns those that
// survived. The readable state is the durable one again.
func (d *disk) crash(keep int) []write {
	kept := d.log[:min(keep, len(d.log))]
	for _, w := range kept {
		d.durable.apply(w)
	}
	d.log = nil
	d.view = d.durable.clone()
	return kept
}

// body is a block that is here, final or proposed; nil if it is not.
func (t *tables) body(h crypto.Hash) *block {
	if b := t.finals[h]; b != nil {
		return b
	}
	return t.bodies[h]
}

func (t *tables) clone() tables {
	c := *t
	c.bodies, c.finals = maps.Clone(t.bodies), maps.Clone(t.finals)
	c.proofs, c.endings = maps.Clone(t.proofs), maps.Clone(t.endings)
	c.records = append([]consensus.Record(nil), t.records...)
	c.chain = append([]*block(nil), t.chain...)
	return c
}

func (t *tables) apply(w write) {
	switch {
	case w.body != nil:
		t.bodies[w.body.Hash] = w.body
	case w.records != nil:
		t.records = append(t.records, w.records...)
	case w.commit != nil:
		t.chain = append(t.chain, w.commit.block)
		t.finals[w.commit.block.Hash] = w.commit.block
		delete(t.bodies, w.commit.block.Hash)
		if c := w.commit.floor; c != nil {
			b := w.commit.block
			t.proofs[b.Height], t.last = c, b.Height
			t.floor = floor{epoch: c.Epoch, view: c.View, block: b, finalization: c}
			if w.commit.closing {
				t.endings[c.Epoch] = c
				t.floor = floor{epoch: c.Epoch + 1, block: b}
			}
			t.prune()
		}
	}
}

// prune drops what is at or below the floor: vote records, and bodies of views
// that can no longer become final.
func (t *tables) prune() {
	kept := t.records[:0:0]
	for _, r := range t.records {
		if epoch, view := recordPlace(r); t.lazy && epoch+1 >= t.floor.epoch || epoch > t.floor.epoch || epoch == t.floor.epoch && view > t.floor.view {
			kept = append(kept, r)
		}
	}
	t.records = kept
	height := t.head().Height
	for h, b := range t.bodies {
		if b.Height <= height {
			delete(t.bodies, h)
		}
	}
}

// recordPlace is the epoch and view a record belongs to; a halt belongs to none
// and stays.
func recordPlace(r consensus.Record) (uint32, uint64) {
	switch {
	case r.Vote != nil:
		return r.Vote.Epoch, r.Vote.View
	case r.Certificate != nil:
		return r.Certificate.Epoch, r.Certificate.View
	case r.Block != nil:
		return r.Block.Epoch, r.Block.View
	}
	return 1<<32 - 1, 0
}

func (t *tables) head() *block { return t.chain[len(t.chain)-1] }

// final says whether b is committed.
func (t *tables) final(b *block) bool {
	return b.Height < uint64(len(t.chain)) && t.chain[b.Height] == b
}

// voteLog is the records as a store gives them back: by view, blocks before
// certificates before votes, the last one written of each kind, whatever the
// order in which they were written.
func voteLog(records []consensus.Record) []consensus.Record {
	type key struct {
		epoch uint32
		view  uint64
		rank  int
		hash  crypto.Hash
	}
	at := map[key]int{}
	var out []consensus.Record
	var keys []key
	for _, r := range records {
		k := key{rank: 100}
		k.epoch, k.view = recordPlace(r)
		switch {
		case r.Block != nil:
			k.rank, k.hash = 0, r.Block.Hash
		case r.Certificate != nil:
			k.rank = 10 + int(r.Certificate.Kind)
		case r.Vote != nil:
			k.rank = 20 + int(r.Vote.Kind)
		}
		if i, ok := at[k]; ok {
			out[i] = r
			continue
		}
		at[k] = len(out)
		out, keys = append(out, r), append(keys, k)
	}
	order := make([]int, len(out))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int {
		x, y := keys[a], keys[b]
		return cmp.Or(cmp.Compare(x.epoch, y.epoch), cmp.Compare(x.view, y.view), cmp.Compare(x.rank, y.rank), bytes.Compare(x.hash[:], y.hash[:]))
	})
	sorted := make([]consensus.Record, len(out))
	for i, j := range order {
		sorted[i] = out[j]
	}
	return sorted
}
