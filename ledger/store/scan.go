package store

import (
	"encoding/binary"
	"fmt"

	"cairn/crypto"
	"cairn/ledger/chain"
)

// Whole tables in key order, for checks and figures. A row that does not decode
// ends a scan with ErrCorrupt.

// table scans the rows of a prefix whose keys have this many bytes after it.
func (v View) table(what string, prefix byte, length int, f func(k, value []byte) error) error {
	return v.scan(what, []byte{prefix}, []byte{prefix + 1}, func(k, value []byte) error {
		if len(k) != 1+length {
			return corrupt(what+": key", fmt.Sprintf("%x", k))
		}
		return f(k[1:], value)
	})
}

// EachAccount calls f with every account at the head, in the order of the trie:
// by keccak256(address).
func (v View) EachAccount(f func(crypto.Address, *chain.Account) error) error {
	return v.AccountsFrom(crypto.Hash{}, func(_ crypto.Hash, a crypto.Address, acc *chain.Account) error { return f(a, acc) })
}

// AccountsFrom is EachAccount from a key on; f gets the key as well. ErrStop, as
// f's answer, ends it early and without an error.
func (v View) AccountsFrom(from crypto.Hash, f func(key crypto.Hash, a crypto.Address, acc *chain.Account) error) error {
	return v.scan("accounts", key(prefixAccount, from[:]), []byte{prefixAccount + 1}, func(k, value []byte) error {
		a, acc, err := parseAccountRow(k[1:], value)
		if err != nil {
			return err
		}
		return f(crypto.Hash(k[1:]), a, acc)
	})
}

// EachSlot calls f with every storage slot at the head, in the order of the
// tries: by keccak256 of address and slot.
func (v View) EachSlot(f func(a crypto.Address, slot, value crypto.Hash) error) error {
	return v.scan("slots", []byte{prefixSlot}, []byte{prefixSlot + 1}, func(k, value []byte) error {
		r, err := parseSlotRow(k[1:], value)
		if err != nil {
			return err
		}
		return f(r.Address, r.Slot, r.Value)
	})
}

// SlotsFrom calls f with the slots of one account, whose keccak256 is owner, from
// a key on in the order of its trie; f gets the key as well. ErrStop, as f's answer,
// ends it early and without an error.
func (v View) SlotsFrom(owner, from crypto.Hash, f func(key, slot, value crypto.Hash) error) error {
	prefix := key(prefixSlot, owner[:])
	return v.scan("slots", append(prefix[:len(prefix):len(prefix)], from[:]...), after(prefix), func(k, value []byte) error {
		r, err := parseSlotRow(k[1:], value)
		if err != nil {
			return err
		}
		return f(crypto.Hash(k[1+crypto.HashLength:]), r.Slot, r.Value)
	})
}

// EachTouch calls f with the history of every account, by address and height.
func (v View) EachTouch(f func(crypto.Address, Touch) error) error {
	return v.table("account history", prefixHistory, 28, func(k, value []byte) error {
		t := Touch{Height: binary.BigEndian.Uint64(k[20:])}
		acc, rest, err := parseAccount(value)
		if err != nil {
			return err
		}
		t.Account = acc
		if t.Transactions, err = parseIndexes(rest); err != nil {
			return err
		}
		return f(crypto.Address(k[:20]), t)
	})
}

// EachSlotTouch calls f with the history of every slot, by address, slot and
// height.
func (v View) EachSlotTouch(f func(a crypto.Address, slot crypto.Hash, height uint64, value crypto.Hash) error) error {
	return v.table("slot history", prefixSlotHistory, 60, func(k, value []byte) error {
		h, err := bytesToHash(value, nil)
		if err != nil {
			return err
		}
		return f(crypto.Address(k[:20]), crypto.Hash(k[20:52]), binary.BigEndian.Uint64(k[52:]), h)
	})
}

// EachPlace calls f with every row of the transaction index: how the hash
// begins, and where the transaction is.
func (v View) EachPlace(f func(prefix [transactionPrefixLength]byte, p Place) error) error {
	return v.scan("transaction index", []byte{prefixTransaction}, []byte{prefixTransaction + 1}, func(k, _ []byte) error {
		p, err := parsePlace(k)
		if err != nil {
			return err
		}
		return f([transactionPrefixLength]byte(k[1:]), p)
	})
}

// EachCertificate calls f with the height of every block that has a certificate
// of its own.
func (v View) EachCertificate(f func(height uint64) error) error {
	return v.table("certificates", prefixCertificate, 8, func(k, _ []byte) error {
		return f(binary.BigEndian.Uint64(k))
	})
}

// HasHistory says whether every change since block 0 is in the history.
func (v View) HasHistory() bool { return !v.noHistory }

// Table is what one part of the database takes.
type Table struct {
	Name  string
	Rows  uint64
	Bytes uint64 // of keys and values, before compression
	Disk  uint64 // of table files, roughly; what is only in the log is not in it
}

// tables are the parts, in key order.
var tables = []struct {
	prefix byte
	name   string
}{
	{prefixFormat, "format"},
	{prefixHead, "head"},
	{prefixBounds, "bounds"},
	{prefixJoining, "unfinished join"},
	{prefixWritten, "vote log writes"},
	{prefixAwaited, "blocks to be fetched"},
	{prefixAccount, "accounts"},
	{prefixBody, "bodies"},
	{prefixCanonical, "final blocks"},
	{prefixEpoch, "validator sets below the base"},
	{prefixCertificate, "certificates"},
	{prefixHeader, "headers"},
	{prefixHeight, "heights by hash"},
	{prefixCode, "code"},
	{prefixLocal, "own waiting transactions"},
	{prefixMeta, "local values"},
	{prefixNode, "account trie"},
	{prefixStorageNode, "storage tries"},
	{prefixReceipts, "receipts"},
	{prefixRecord, "vote records"},
	{prefixSlot, "slots"},
	{prefixTransaction, "transaction index"},
	{prefixHistory, "account history"},
	{prefixSlotHistory, "slot history"},
}

// ReadLocal reads every row that is this node's own and not the chain's: local
// values, waiting transactions, and what the store notes of itself. What damaged
// table files hide of them is ErrCorrupt.
func (v View) ReadLocal() error {
	for _, t := range tables {
		switch t.prefix {
		case prefixFormat, prefixHead, prefixBounds, prefixJoining, prefixWritten, prefixAwaited, prefixEpoch, prefixLocal, prefixMeta:
			if err := v.scan(t.name, []byte{t.prefix}, []byte{t.prefix + 1}, func(_, _ []byte) error { return nil }); err != nil {
				return err
			}
		}
	}
	return nil
}

// Tables counts every part of the database; it reads all of it.
func (s *Store) Tables() ([]Table, error) {
	var out []Table
	for _, t := range tables {
		from, to := []byte{t.prefix}, []byte{t.prefix + 1}
		table := Table{Name: t.name}
		if err := s.scan(t.name, from, to, func(k, v []byte) error {
			table.Rows++
			table.Bytes += uint64(len(k) + len(v))
			return nil
		}); err != nil {
			return nil, err
		}
		if !s.guard.enter() {
			return nil, ErrClosed
		}
		disk, err := s.db.EstimateDiskUsage(from, to)
		s.guard.leave()
		if err != nil {
			return nil, fmt.Errorf("size of %s: %w", t.name, err)
		}
		table.Disk = disk
		out = append(out, table)
	}
	return out, nil
}

// DeleteRecords forgets records of the vote log, durably. A vote that is
// forgotten can be contradicted: it is for an operator who knows the risk.
func (s *Store) DeleteRecords(keys [][]byte) error {
	b := s.db.NewBatch()
	for _, k := range keys {
		_ = b.Delete(key(prefixRecord, k), nil)
	}
	return s.apply("the deletion of vote records", b, true)
}
