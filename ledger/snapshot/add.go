package snapshot

import (
	"errors"
	"fmt"

	"cairn/crypto"
	"cairn/ledger/chain"
	"cairn/ledger/store"
	"cairn/ledger/trie"
)

// AddAccounts checks an answer to a segment against the target's state root and
// keeps it. If the range ends before the segment does, Next hands out the rest.
// What lies above the segment is checked, and not kept.
//
// Errors: ErrAnswer and ErrProof say that the peer is wrong, ErrSegment that the
// segment is not handed out; anything else is a failure. After an error nothing
// was kept, and the segment stays handed out until Fail.
func (s *Staging) AddAccounts(seg Segment, r *AccountRange) error {
	if err := s.handedOut(seg, Accounts); err != nil {
		return err
	}
	entries := make([]trie.Entry, len(r.Accounts))
	for i, l := range r.Accounts {
		entries[i] = trie.Entry{Key: crypto.Keccak256(l.Address[:]), Value: l.Account}
	}
	more, err := s.verify(s.target.Header.Root, seg, entries, r.Proof)
	if err != nil {
		return err
	}
	var rows store.StateRows
	size := 0
	for i, l := range r.Accounts {
		if entries[i].Key.Cmp(seg.To) > 0 {
			break
		}
		acc, err := chain.DecodeAccount(l.Account)
		if err != nil {
			return fmt.Errorf("%w: account %s: %w", ErrProof, l.Address, err)
		}
		rows.Accounts = append(rows.Accounts, store.AccountRow{Address: l.Address, Account: acc})
		size += crypto.AddressLength + len(l.Account)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	at := int(seg.To[0] >> (8 - laneBits))
	l := s.lanes[at]
	if !s.out[seg] || l.next != seg.From || l.to != seg.To {
		return refuse(ErrSegment, "accounts from %s", seg.From)
	}
	last := seg.From
	if n := len(entries); n > 0 {
		last = entries[n-1].Key
	}
	l.advance(last, more)
	pending, err := s.follow(rows.Accounts)
	if err != nil {
		return err
	}
	totals := s.totals
	totals.Accounts += uint64(len(rows.Accounts))
	totals.Bytes += uint64(size)
	rows.Progress = append(pending, store.Record{Key: record(recordLane, byte(at)), Value: l.encode()})
	if err := s.put(seg, rows, totals, len(pending)); err != nil {
		return err
	}
	s.lanes[at] = l
	return nil
}

// follow are the records of the storage tries and codes that accounts lead to
// and that are not here.
func (s *Staging) follow(accounts []store.AccountRow) ([]store.Record, error) {
	var out []store.Record
	codes := make(map[crypto.Hash]bool)
	for _, row := range accounts {
		acc := row.Account
		if acc.StorageRoot != trie.EmptyRoot {
			h := crypto.Keccak256(row.Address[:])
			p := pendingTrie{owner: row.Address, root: acc.StorageRoot}
			out = append(out, store.Record{Key: record(recordTrie, h[:]...), Value: p.encode()})
		}
		if acc.CodeHash == chain.EmptyCodeHash || codes[acc.CodeHash] {
			continue
		}
		codes[acc.CodeHash] = true
		wanted := store.Record{Key: record(recordCode, acc.CodeHash[:]...), Value: row.Address[:]}
		_, here := s.j.Code(acc.CodeHash)
		_, known := s.j.ProgressOf(wanted.Key)
		switch {
		case here == nil, known == nil:
		case !errors.Is(here, store.ErrNotFound):
			return nil, here
		case !errors.Is(known, store.ErrNotFound):
			return nil, known
		default:
			out = append(out, wanted)
		}
	}
	return out, nil
}

// AddSlots is AddAccounts for slots, against the storage root of their account.
func (s *Staging) AddSlots(seg Segment, r *SlotRange) error {
	if err := s.handedOut(seg, Slots); err != nil {
		return err
	}
	h := crypto.Keccak256(seg.Owner[:])
	k := record(recordTrie, h[:]...)
	p, err := s.pendingTrie(k)
	if err != nil {
		return err
	}
	entries := make([]trie.Entry, len(r.Slots))
	var rows store.StateRows
	size := 0
	for i, l := range r.Slots {
		if len(l.Value) == 0 || len(l.Value) > crypto.HashLength || l.Value[0] == 0 {
			return refuse(ErrAnswer, "slot %s has no canonical value", l.Slot)
		}
		row := store.SlotRow{Address: seg.Owner, Slot: l.Slot}
		copy(row.Value[crypto.HashLength-len(l.Value):], l.Value)
		entries[i] = trie.Entry{Key: crypto.Keccak256(l.Slot[:]), Value: chain.EncodeSlot(row.Value)}
		rows.Slots = append(rows.Slots, row)
		size += crypto.HashLength + len(l.Value)
	}
	more, err := s.verify(p.root, seg, entries, r.Proof)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.out[seg] || p.next != seg.From {
		return refuse(ErrSegment, "slots of %s from %s", seg.Owner, seg.From)
	}
	progress, ended := store.Record{Key: k}, -1
	if more {
		p.next, ended = following(entries[len(entries)-1].Key), 0
		progress.Value = p.encode()
	}
	totals := s.totals
	totals.Slots += uint64(len(rows.Slots))
	totals.Bytes += uint64(size)
	rows.Progress = []store.Record{progress}
	return s.put(seg, rows, totals, ended)
}

func (s *Staging) pendingTrie(k []byte) (p pendingTrie, err error) {
	raw, err := s.j.ProgressOf(k)
	if errors.Is(err, store.ErrNotFound) {
		return p, refuse(ErrSegment, "the trie is whole")
	}
	if err == nil && !p.decode(raw) {
		err = fmt.Errorf("%w: record %x of a join", store.ErrCorrupt, k)
	}
	return p, err
}

// AddCode is AddAccounts for code.
func (s *Staging) AddCode(seg Segment, code []byte) error {
	if err := s.handedOut(seg, Code); err != nil {
		return err
	}
	if len(code) > MaxCodeBytes {
		return refuse(ErrAnswer, "code of %d bytes, at most %d", len(code), MaxCodeBytes)
	}
	if got := crypto.Keccak256(code); got != seg.Code {
		return refuse(ErrProof, "code hashes to %s, not %s", got, seg.Code)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.out[seg] {
		return refuse(ErrSegment, "code %s", seg.Code)
	}
	totals := s.totals
	totals.Codes++
	totals.Bytes += uint64(len(code))
	return s.put(seg, store.StateRows{
		Codes:    []store.CodeRow{{Hash: seg.Code, Code: code}},
		Progress: []store.Record{{Key: record(recordCode, seg.Code[:]...)}},
	}, totals, -1)
}

// handedOut refuses a segment that nobody has to answer.
func (s *Staging) handedOut(seg Segment, kind Kind) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if seg.Kind != kind || !s.out[seg] || s.finished {
		return refuse(ErrSegment, "%s from %s", seg.Kind, seg.From)
	}
	return nil
}

// verify is trie.VerifyRange within the limits.
func (s *Staging) verify(root crypto.Hash, seg Segment, entries []trie.Entry, proof [][]byte) (more bool, err error) {
	if err := checkProof(proof); err != nil {
		return false, err
	}
	size := 0
	for i := range entries {
		if len(entries[i].Value) > MaxLeafBytes {
			return false, refuse(ErrAnswer, "a leaf of %d bytes", len(entries[i].Value))
		}
		if size += len(entries[i].Value); size > MaxRangeBytes {
			return false, refuse(ErrAnswer, "more than %d bytes", MaxRangeBytes)
		}
	}
	if more, err = trie.VerifyRange(root, seg.From, entries, proof); err != nil {
		return false, fmt.Errorf("%w: %w", ErrProof, err)
	}
	return more, nil
}

// put keeps the rows of a segment with all that is known of the progress.
func (s *Staging) put(seg Segment, rows store.StateRows, totals Progress, pending int) error {
	rows.Progress = append(rows.Progress, store.Record{Key: record(recordTotal), Value: totals.encodeTotals()})
	if err := s.j.Put(rows); err != nil {
		return err
	}
	delete(s.out, seg)
	s.totals = totals
	s.pending += pending
	return nil
}
