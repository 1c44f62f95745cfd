package node

import (
	"bytes"
	"errors"
	"iter"
	"slices"

	"cairn/crypto"
	"cairn/ledger/chain"
	"cairn/ledger/store"
	"cairn/ledger/trie"
)

// keyed is one row of a table by the key that it has in its trie.
type keyed struct {
	key   crypto.Hash
	name  string // of its account or slot
	value []byte // as the trie has it
}

// keyedRows are rows in the order of their keys, which is that of the trie: both are
// read side by side, and memory does not grow with the state. A row that cannot be
// read ends them.
type keyedRows iter.Seq2[keyed, error]

// state compares the tables of accounts and slots with the tries that the head's
// state root commits to. Every node of the tries is read and checked.
func (c *checker) state() error {
	if c.header == nil || c.header.Number.Uint64() != c.head.Height {
		c.o.Note("the head's header cannot be read: the state is not checked")
		return nil
	}
	if err := c.trie("account", "accounts", crypto.Hash{}, c.header.Root, c.accounts); err != nil {
		return err
	}
	return c.strays()
}

// accounts are the rows of all accounts. With each its code and its storage are
// checked.
func (c *checker) accounts(yield func(keyed, error) bool) {
	err := c.st.AccountsFrom(crypto.Hash{}, func(key crypto.Hash, a crypto.Address, acc *chain.Account) error {
		c.result.Accounts++
		if err := c.code(a, acc.CodeHash); err != nil {
			return err
		}
		if acc.StorageRoot != trie.EmptyRoot {
			if err := c.trie("slot of "+a.Hex(), "slots", key, acc.StorageRoot, c.slots(key)); err != nil {
				return err
			}
		}
		if !yield(keyed{key: key, name: a.Hex(), value: acc.Encode()}, nil) {
			return store.ErrStop
		}
		return nil
	})
	if err != nil {
		yield(keyed{}, err)
	}
}

// slots are the rows of an account's slots.
func (c *checker) slots(owner crypto.Hash) keyedRows {
	return func(yield func(keyed, error) bool) {
		err := c.st.SlotsFrom(owner, crypto.Hash{}, func(key, slot, value crypto.Hash) error {
			if !yield(keyed{key: key, name: slot.Hex(), value: chain.EncodeSlot(value)}, nil) {
				return store.ErrStop
			}
			return nil
		})
		if err != nil {
			yield(keyed{}, err)
		}
	}
}

// strays counts the slots, and finds those of accounts that have none.
func (c *checker) strays() error {
	var last crypto.Address
	var has bool
	err := c.st.EachSlot(func(a crypto.Address, slot, _ crypto.Hash) error {
		if c.result.Slots++; c.result.Slots == 1 || a != last {
			acc, err := c.st.Account(a)
			if err := c.tolerate(err, "account %s, which has slots", a); err != nil {
				return err
			}
			last, has = a, err != nil || acc != nil && acc.StorageRoot != trie.EmptyRoot
		}
		if !has {
			c.found("slot %s of account %s: the account has no storage", slot, a)
		}
		return c.step("slots", c.result.Slots, 0)
	})
	return c.tolerate(err, "slots")
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

// trie walks a trie beside the rows of its table: each must have exactly what the
// other has. From a row that cannot be read on, only the trie is checked.
func (c *checker) trie(what, table string, owner, root crypto.Hash, rows keyedRows) error {
	pull, stop := iter.Pull2(iter.Seq2[keyed, error](rows))
	defer stop()
	var at keyed
	var more, torn bool
	var done uint64
	advance := func() error {
		var err error
		if at, err, more = pull(); err != nil {
			more, torn = false, true
			return c.tolerate(err, "%s", table)
		}
		done++
		return c.step(table, done, 0)
	}
	var holes [][]byte       // paths below which the trie cannot be read
	passed := func() error { // the row is of a key that the trie does not have
		if !slices.ContainsFunc(holes, func(path []byte) bool { return below(at.key, path) }) {
			c.found("%s %s has a row, but is not in the state root", what, at.name)
		}
		return advance()
	}
	err := advance()
	if err != nil {
		return err
	}
	t := trie.New(root, func(path []byte, _ crypto.Hash) ([]byte, error) {
		blob, err := c.st.Node(owner, path)
		if errors.Is(err, store.ErrNotFound) {
			return nil, nil
		}
		return blob, err
	})
	err = t.Visit(trie.Visitor{
		Node: func([]byte) error { return nil },
		Damaged: func(path []byte, err error) error {
			holes = append(holes, bytes.Clone(path))
			c.found("trie of %s, node at path %x: %v", what, path, err)
			return nil
		},
		Entry: func(key crypto.Hash, want []byte) error {
			for more && bytes.Compare(at.key[:], key[:]) < 0 {
				if err := passed(); err != nil {
					return err
				}
			}
			switch {
			case torn:
				return c.step(table, done, 0)
			case !more || at.key != key:
				c.found("the state root has a %s with the key %s, but there is no row for it", what, key)
				return nil
			case !bytes.Equal(at.value, want):
				c.found("%s %s: the row says %x, the state root %x", what, at.name, at.value, want)
			}
			return advance()
		},
	})
	for err == nil && more {
		err = passed()
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
