package node

import (
	"bytes"
	"errors"
	"slices"

	"cairn/crypto"
	"cairn/ledger/chain"
	"cairn/ledger/store"
	"cairn/ledger/trie"
)

// keyed is one row of a table by the key that it has in its trie.
type keyed struct {
	key   crypto.Hash
	row   crypto.Hash // slot, or address in its first 20 bytes
	value []byte      // of a slot, as the trie has it
}

func byKey(a, b keyed) int { return bytes.Compare(a.key[:], b.key[:]) }

// state compares the tables of accounts and slots with the tries that the head's
// state root commits to. Every node of the tries is read and checked.
func (c *checker) state() error {
	if c.header == nil || c.header.Number.Uint64() != c.head.Height {
		c.o.Note("the head's header cannot be read: the state is not checked")
		return nil
	}
	var accounts []keyed
	var storage []crypto.Address
	err := c.st.EachAccount(func(a crypto.Address, acc *chain.Account) error {
		k := keyed{key: crypto.Keccak256(a[:])}
		copy(k.row[:], a[:])
		accounts = append(accounts, k)
		if acc.StorageRoot != trie.EmptyRoot {
			storage = append(storage, a)
		}
		if err := c.code(a, acc.CodeHash); err != nil {
			return err
		}
		return c.step("accounts", uint64(len(accounts)), 0)
	})
	if err := c.tolerate(err, "accounts"); err != nil {
		return err
	}
	c.result.Accounts = uint64(len(accounts))
	slices.SortFunc(accounts, byKey)
	err = c.trie("account", crypto.Hash{}, c.header.Root, accounts, func(k *keyed) ([]byte, error) {
		acc, err := c.st.Account(crypto.Address(k.row[:20]))
		if err != nil || acc == nil {
			return nil, err
		}
		return acc.Encode(), nil
	})
	if err != nil {
		return err
	}
	return c.storage(storage)
}

// code checks that an account's code is here and hashes to its hash.
func (c *checker) code(a crypto.Address, hash crypto.Hash) error {
	if hash == chain.EmptyCodeHash {
		return nil
	}
	code, err := c.st.Code(hash)
	if err != nil {
		return c.tolerate(err, "code of account %s", a)
	}
	if got := crypto.Keccak256(code); got != hash {
		c.found("the code of account %s hashes to %s, want %s", a, got, hash)
	}
	return nil
}

// storage checks the slots of the accounts that have any.
func (c *checker) storage(owners []crypto.Address) error {
	slots := make(map[crypto.Address][]keyed, len(owners))
	for _, a := range owners {
		slots[a] = nil
	}
	err := c.st.EachSlot(func(a crypto.Address, slot, value crypto.Hash) error {
		c.result.Slots++
		of, ok := slots[a]
		if !ok {
			c.found("slot %s of account %s: the account has no storage", slot, a)
			return nil
		}
		slots[a] = append(of, keyed{key: crypto.Keccak256(slot[:]), row: slot, value: chain.EncodeSlot(value)})
		return c.step("slots", c.result.Slots, 0)
	})
	if err := c.tolerate(err, "slots"); err != nil {
		return err
	}
	for _, a := range owners {
		acc, err := c.st.Account(a)
		if err != nil {
			return err
		}
		slices.SortFunc(slots[a], byKey)
		err = c.trie("slot of "+a.Hex(), crypto.Keccak256(a[:]), acc.StorageRoot, slots[a],
			func(k *keyed) ([]byte, error) { return k.value, nil })
		if err != nil {
			return err
		}
	}
	return nil
}

// trie walks a trie beside the sorted rows of its table: each must have exactly
// what the other has.
func (c *checker) trie(what string, owner, root crypto.Hash, rows []keyed, value func(*keyed) ([]byte, error)) error {
	name := func(k *keyed) string {
		if owner == (crypto.Hash{}) {
			return crypto.Address(k.row[:20]).Hex()
		}
		return k.row.Hex()
	}
	next := 0
	var holes [][]byte // paths below which the trie cannot be read
	missing := func(k *keyed) {
		if !slices.ContainsFunc(holes, func(path []byte) bool { return below(k.key, path) }) {
			c.found("%s %s has a row, but is not in the state root", what, name(k))
		}
	}
	t := trie.New(root, func(path []byte, _ crypto.Hash) ([]byte, error) {
		blob, err := c.st.Node(owner, path)
		if errors.Is(err, store.ErrNotFound) {
			return nil, nil
		}
		return blob, err
	})
	err := t.Visit(trie.Visitor{
		Node: func([]byte) error { return nil },
		Damaged: func(path []byte, err error) error {
			holes = append(holes, bytes.Clone(path))
			c.found("trie of %s, node at path %x: %v", what, path, err)
			return nil
		},
		Entry: func(key crypto.Hash, want []byte) error {
			for ; next < len(rows) && bytes.Compare(rows[next].key[:], key[:]) < 0; next++ {
				missing(&rows[next])
			}
			if next == len(rows) || rows[next].key != key {
				c.found("the state root has a %s with the key %s, but there is no row for it", what, key)
				return nil
			}
			k := &rows[next]
			next++
			got, err := value(k)
			if err != nil {
				return c.tolerate(err, "%s %s", what, name(k))
			}
			if !bytes.Equal(got, want) {
				c.found("%s %s: the row says %x, the state root %x", what, name(k), got, want)
			}
			return c.step("state", uint64(next), uint64(len(rows)))
		},
	})
	for ; err == nil && next < len(rows); next++ {
		missing(&rows[next])
	}
	return err
}

// below says whether a trie path leads towards a key.
func below(key crypto.Hash, path []byte) bool {
	for i, nibble := range path {
		if key[i/2]>>(4*(1-uint(i%2)))&0x0f != nibble {
			return false
		}
	}
	return true
}

// history checks that the newest entry of every account and slot is what the
// head has, that heights are final and that indexes name transactions.
func (c *checker) history() error {
	if !c.st.HasHistory() {
		c.o.Note("history is off: there is none to check")
		return nil
	}
	if err := c.accountHistory(); err != nil {
		return err
	}
	return c.slotHistory()
}

func (c *checker) accountHistory() error {
	var last crypto.Address
	var newest store.Touch
	seen, present := uint64(0), uint64(0)
	compare := func() error {
		if seen == 0 {
			return nil
		}
		have, err := c.st.Account(last)
		if err != nil {
			return c.tolerate(err, "account %s", last)
		}
		if have != nil {
			present++
		}
		if (have == nil) != (newest.Account == nil) || have != nil && !bytes.Equal(have.Encode(), newest.Account.Encode()) {
			c.found("account %s: the head has another value than its history at height %d", last, newest.Height)
		}
		return nil
	}
	err := c.st.EachTouch(func(a crypto.Address, t store.Touch) error {
		if a != last || seen == 0 {
			if err := compare(); err != nil {
				return err
			}
		}
		last, newest = a, t
		seen++
		if t.Height > c.head.Height {
			c.found("history of account %s has height %d, above the head", a, t.Height)
		} else if n := len(t.Transactions); n > 0 && c.kept(t.Height) && t.Transactions[n-1] >= c.counts[t.Height] {
			c.found("history of account %s names transaction %d of block %d, which has %d", a, t.Transactions[n-1], t.Height, c.counts[t.Height])
		}
		return c.step("account history", seen, 0)
	})
	if err == nil {
		err = compare()
	}
	if err := c.tolerate(err, "account history"); err != nil {
		return err
	}
	if err == nil && present != c.result.Accounts {
		c.found("%d accounts are at the head, %d of them have a history", c.result.Accounts, present)
	}
	return nil
}

func (c *checker) slotHistory() error {
	type place struct {
		a    crypto.Address
		slot crypto.Hash
	}
	var last place
	var newest crypto.Hash
	seen, present := uint64(0), uint64(0)
	compare := func() error {
		if seen == 0 {
			return nil
		}
		have, err := c.st.Slot(last.a, last.slot)
		if err != nil {
			return c.tolerate(err, "slot %s of account %s", last.slot, last.a)
		}
		if have != (crypto.Hash{}) {
			present++
		}
		if have != newest {
			c.found("slot %s of account %s: the head has %s, its history %s", last.slot, last.a, have, newest)
		}
		return nil
	}
	err := c.st.EachSlotTouch(func(a crypto.Address, slot crypto.Hash, height uint64, value crypto.Hash) error {
		if at := (place{a, slot}); at != last || seen == 0 {
			if err := compare(); err != nil {
				return err
			}
			last = at
		}
		newest = value
		seen++
		if height > c.head.Height {
			c.found("history of slot %s of account %s has height %d, above the head", slot, a, height)
		}
		return c.step("slot history", seen, 0)
	})
	if err == nil {
		err = compare()
	}
	if err := c.tolerate(err, "slot history"); err != nil {
		return err
	}
	if err == nil && present != c.result.Slots {
		c.found("%d slots are at the head, %d of them have a history", c.result.Slots, present)
	}
	return nil
}
