package ledger

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/ethereum/go-ethereum/core/types"

	"cairn/crypto"
	"cairn/ledger/chain"
	"cairn/ledger/store"
)

// Final is one block that became final. It is shared and must not be changed.
type Final struct {
	Block       *types.Block
	Receipts    types.Receipts
	Certificate []byte // nil: final through a descendant
}

// Finalize makes a held block and its unfinalized ancestors final, oldest first,
// in one atomic batch, and drops the layers that do not descend from it. The
// certificate is of exactly this block. The floor, which never moves back, and
// the pruning of records go with the same batch: a crash leaves all of it or
// nothing. Only when the ancestors are too many for one batch of maxBatchBytes
// do the older ones go before, without floor and pruning.
//
// A batch also ends at a height at which the state is kept for others (see
// Options.Snapshots).
//
// It answers the new final blocks, none if the block was final before; a
// certificate for the head is then kept if it had none.
// Errors: ErrNotExecuted, which a block that can never be final any more is too,
// or a failure, after which the process must stop.
func (l *Ledger) Finalize(hash crypto.Hash, certificate []byte, floor Floor, prune []store.RecordRange) ([]*Final, error) {
	return l.FinalizeRun(hash, map[crypto.Hash][]byte{hash: certificate}, floor, prune)
}

// FinalizeRun is Finalize of a run of blocks of which any may have a certificate
// of their own, by hash. If that of hash is not among them, neither floor nor
// records change: then something else must say that the run is final.
func (l *Ledger) FinalizeRun(hash crypto.Hash, certificates map[crypto.Hash][]byte, floor Floor, prune []store.RecordRange) ([]*Final, error) {
	top, ok := l.layers[hash]
	if !ok {
		return nil, l.refinalize(hash, certificates[hash], floor, prune)
	}
	var path []*layer
	for n := top; n != nil; n = n.parent.Load() {
		path = append(path, n)
	}
	slices.Reverse(path)
	var finals []*Final
	for len(path) > 0 {
		count, err := l.commit(path, certificates, floor, prune)
		if err != nil {
			return finals, err
		}
		for _, n := range path[:count] {
			finals = append(finals, &Final{Block: n.block, Receipts: n.receipts, Certificate: certificates[n.block.Hash()]})
		}
		l.keepSnapshot(path[count-1].block.NumberU64())
		path = path[count:]
	}
	for _, f := range finals {
		l.blocks.put(f.Block, f.Receipts)
	}
	for _, f := range finals {
		l.subs.send(f)
	}
	return finals, nil
}

// refinalize is Finalize of a block that is not held.
func (l *Ledger) refinalize(hash crypto.Hash, certificate []byte, floor Floor, prune []store.RecordRange) error {
	h := l.head.Load()
	if _, err := l.st.HeightByHash(hash); errors.Is(err, ErrNotFound) {
		return fmt.Errorf("%w: %s", ErrNotExecuted, hash)
	} else if err != nil {
		return err
	}
	if h.info.Hash != hash || certificate == nil {
		return nil
	}
	if own, err := l.Certificate(h.info.Height); err != nil || own != nil {
		return err
	}
	if err := l.st.Certify(hash, certificate, floor, prune); err != nil {
		return err
	}
	l.publish(h.header, store.Head{Height: h.info.Height, Hash: hash, Floor: floor}, h.validators, h.epoch)
	return nil
}

// commit writes as many blocks of path as go into one batch, moves the head to
// the last of them and rebases the layers. Floor and pruning are for the last
// block of path.
func (l *Ledger) commit(path []*layer, certificates map[crypto.Hash][]byte, floor Floor, prune []store.RecordRange) (int, error) {
	var batch []*store.Commit
	size := 0
	for _, n := range path {
		c, err := l.commitRows(n)
		if err != nil {
			return 0, fmt.Errorf("commit block %d: %w", n.block.NumberU64(), err)
		}
		c.Certificate = certificates[c.Hash]
		if size += c.Size(); len(batch) > 0 && size > maxBatchBytes {
			break
		}
		if batch = append(batch, c); l.snapshotAt(n.block.NumberU64()) {
			break
		}
	}
	info := l.head.Load().info
	at := store.Head{Floor: Floor{Epoch: info.Epoch, View: info.View}}
	if last := batch[len(batch)-1]; len(batch) == len(path) && last.Certificate != nil {
		last.Floor, last.Prune = &floor, prune
		at.Floor = floor
	}
	committed := path[:len(batch)]
	last := committed[len(committed)-1]
	at.Height, at.Hash = last.block.NumberU64(), last.block.Hash()

	l.commitMu.Lock()
	defer l.commitMu.Unlock()
	l.old.add(committed) // before the disk changes, so that readers always find a node
	l.commits.Add(1)
	if err := l.st.Commit(batch...); err != nil {
		// commits stays odd: what is on disk now is not known.
		return 0, fmt.Errorf("commit block %d: %w", at.Height, err)
	}
	l.rebase(committed)
	validators, epoch := l.Validators()
	for _, n := range committed {
		if n.nextSet != nil {
			validators, epoch = n.nextSet, epoch+1
		}
	}
	l.publish(last.block.Header(), at, validators, epoch)
	l.commits.Add(1)
	return len(batch), nil
}

// rebase moves the owner's view of the final state to the last of the committed
// layers and drops those that do not descend from it.
func (l *Ledger) rebase(committed []*layer) {
	for _, n := range committed {
		for _, c := range n.changes {
			l.accounts.update(c.Address, c.New)
		}
		delete(l.layers, n.block.Hash())
	}
	last := committed[len(committed)-1]
	l.base = last.accounts.Bound(l.options.TrieNodes).WithSource(l.storeSource(crypto.Hash{}))
	for hash, n := range l.layers {
		if !n.descendsFrom(last) {
			delete(l.layers, hash)
		}
	}
	for _, n := range l.layers {
		if n.parent.Load() == last {
			n.parent.Store(nil)
		}
	}
	// Nothing may lead from a committed layer to an older one: whoever still
	// holds one would hold the whole chain.
	for _, n := range committed {
		n.parent.Store(nil)
	}
}

func (n *layer) descendsFrom(m *layer) bool {
	for n != nil && n != m {
		n = n.parent.Load()
	}
	return n == m
}

// commitRows are the rows of a block's batch.
func (l *Ledger) commitRows(n *layer) (*store.Commit, error) {
	c := &store.Commit{Hash: n.block.Hash(), Header: n.block.Header(), Receipts: n.receipts}
	for _, tx := range n.block.Transactions() {
		c.Transactions = append(c.Transactions, tx.Hash())
	}
	var err error
	if c.Accounts, err = l.accountRows(n); err != nil {
		return nil, err
	}
	for _, s := range n.slots {
		c.Slots = append(c.Slots, store.SlotRow{Address: s.Address, Slot: s.Slot, Value: s.New})
	}
	for _, code := range n.codes {
		c.Codes = append(c.Codes, store.CodeRow{Hash: code.Hash, Code: code.Code})
	}
	total := 0
	for _, o := range n.nodes {
		total += len(o.nodes)
	}
	c.Nodes = make([]store.NodeRow, 0, total)
	for _, o := range n.nodes {
		for i := range o.nodes {
			c.Nodes = append(c.Nodes, store.NodeRow{Owner: o.owner, Path: o.nodes[i].Path, Blob: o.nodes[i].Blob})
		}
	}
	return c, nil
}

// touch is a transaction that names an account.
type touch struct {
	address crypto.Address
	index   uint32
}

// touches are the accounts that a block's transactions name as sender or
// recipient, sorted by address and index, each pair once.
func (l *Ledger) touches(block *types.Block) ([]touch, error) {
	txs := block.Transactions()
	all := make([]touch, 0, 2*len(txs))
	for i, tx := range txs {
		from, err := chain.Sender(l.signer, tx)
		if err != nil {
			return nil, fmt.Errorf("sender of transaction %d: %w", i, err)
		}
		all = append(all, touch{from, uint32(i)})
		if to := tx.To(); to != nil && *to != from {
			all = append(all, touch{*to, uint32(i)})
		}
	}
	slices.SortFunc(all, func(a, b touch) int {
		if o := bytes.Compare(a.address[:], b.address[:]); o != 0 {
			return o
		}
		return cmp.Compare(a.index, b.index)
	})
	return all, nil
}

// accountRows merges the accounts that changed with those that were only named.
func (l *Ledger) accountRows(n *layer) ([]store.AccountRow, error) {
	touches, err := l.touches(n.block)
	if err != nil {
		return nil, err
	}
	indexes := make([]uint32, 0, len(touches))
	rows := make([]store.AccountRow, 0, len(n.changes)+8)
	changes := n.changes
	before := layerReader{n.parent.Load(), cachedReader{l}}
	for len(changes) > 0 || len(touches) > 0 {
		var row store.AccountRow
		if len(touches) == 0 || len(changes) > 0 && bytes.Compare(changes[0].Address[:], touches[0].address[:]) <= 0 {
			row = store.AccountRow{Address: changes[0].Address, Account: changes[0].New, Changed: true}
			changes = changes[1:]
		} else {
			row.Address = touches[0].address
			if row.Account, err = before.Account(row.Address); err != nil {
				return nil, fmt.Errorf("read account %s: %w", row.Address, err)
			}
		}
		start := len(indexes)
		for len(touches) > 0 && touches[0].address == row.Address {
			indexes = append(indexes, touches[0].index)
			touches = touches[1:]
		}
		row.Transactions = indexes[start:len(indexes):len(indexes)]
		rows = append(rows, row)
	}
	return rows, nil
}
