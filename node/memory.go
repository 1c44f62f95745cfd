package node

import (
	"errors"
	"fmt"

	"cairn/consensus"
	"cairn/ledger/store"
)

// carryMemory copies what a node must not forget from the database that it used
// to the one that takes its place: the vote records with their bodies, evidence,
// waiting transactions of its own wallets and, last, the tie to the home. Both
// are of one network and nobody else uses them.
//
// A validator whose memory was carried over votes on. That is safe only where
// the new database is at least as far: below its own floor the old one has no
// records any more. Where it is not, the tie stays behind, and the node observes
// before it votes. whole says which it was.
func carryMemory(to, from *store.Store) (whole bool, err error) {
	old, err := from.Head()
	if err != nil {
		return false, fmt.Errorf("the database to be replaced: %w", err)
	}
	next, err := to.Head()
	if err != nil {
		return false, fmt.Errorf("the new database: %w", err)
	}
	if err := carryVotes(to, from); err != nil {
		return false, err
	}
	txs, err := from.LocalTxs()
	if err != nil {
		return false, err
	}
	for _, tx := range txs {
		if err := to.PutLocalTx(tx.Hash, tx.Raw); err != nil {
			return false, err
		}
	}
	names := []string{evidenceList}
	floor := voteFloor{old.Floor.Epoch, old.Floor.View}
	if floor.raise(voteFloor{next.Floor.Epoch, next.Floor.View}); floor == (voteFloor{next.Floor.Epoch, next.Floor.View}) {
		names, whole = append(names, metaInstance), true
		if err := to.CarryWritten(from.Written()); err != nil {
			return false, err
		}
	}
	for _, name := range names {
		value, err := from.Meta(name)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err == nil {
			err = to.PutMeta(name, value)
		}
		if err != nil {
			return false, fmt.Errorf("carry %s over: %w", name, err)
		}
	}
	return whole, nil
}

// carryVotes copies the vote records above the new floor, and the bodies that
// they stand for.
func carryVotes(to, from *store.Store) error {
	next, err := to.Head()
	if err != nil {
		return err
	}
	below := string(recordKey(next.Floor.Epoch, next.Floor.View+1))
	var records []store.Record
	err = from.Records(func(key, value []byte) error {
		if string(key) < below {
			return nil
		}
		r, err := consensus.DecodeRecord(value)
		if err != nil {
			return fmt.Errorf("vote record %x is damaged: %w", key, err)
		}
		if r.Block != nil && r.Block.Height > next.Height {
			raw, err := from.Body(r.Block.Hash)
			if err == nil {
				err = to.PutBody(r.Block.Hash, raw)
			}
			if err != nil && !errors.Is(err, store.ErrNotFound) { // one that is gone is fetched again
				return fmt.Errorf("carry block %s over: %w", r.Block.Hash, err)
			}
		}
		records = append(records, store.Record{Key: key, Value: value})
		return nil
	})
	if err != nil {
		return err
	}
	return to.PutRecords(records)
}
