package chain

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/holiman/uint256"

	"cairn/crypto"
	"cairn/ledger/trie"
)

// overlay holds the accounts that a block has read or changed, so that each is
// read once and the trie is updated once.
type overlay struct {
	reader  Reader
	entries map[crypto.Address]*entry
}

// entry is one account under execution. account.Balance points to balance.
type entry struct {
	old     *Account // nil = absent before the block
	account Account
	balance uint256.Int
}

func newOverlay(r Reader) *overlay {
	return &overlay{reader: r, entries: make(map[crypto.Address]*entry)}
}

// get reads an account; an absent one is an empty entry.
func (o *overlay) get(addr crypto.Address) (*entry, error) {
	if e, ok := o.entries[addr]; ok {
		return e, nil
	}
	old, err := o.reader.Account(addr)
	if err != nil {
		return nil, fmt.Errorf("read account %s: %w", addr, err)
	}
	e := &entry{old: old}
	if old != nil {
		e.account = *old
		e.balance.Set(old.Balance)
	} else {
		e.account = Account{StorageRoot: trie.EmptyRoot, CodeHash: EmptyCodeHash}
	}
	e.account.Balance = &e.balance
	o.entries[addr] = e
	return e, nil
}

// credit adds to a balance. The sum of all balances fits in 256 bits (Genesis
// checks it and execution never creates value), so no single one overflows.
func (e *entry) credit(amount *uint256.Int) {
	if _, over := e.balance.AddOverflow(&e.balance, amount); over {
		panic(fmt.Sprintf("balance overflow: %d more than 2^256-1", amount))
	}
}

// debit subtracts what the caller has checked to be there.
func (e *entry) debit(amount *uint256.Int) {
	if _, under := e.balance.SubOverflow(&e.balance, amount); under {
		panic(fmt.Sprintf("balance underflow: %d less than 0", amount))
	}
}

// changed says whether the block leaves the account other than it was. An
// absent account that was only touched stays absent (EIP-161).
func (e *entry) changed() bool {
	if e.old == nil {
		return !e.account.Empty()
	}
	return e.old.Nonce != e.account.Nonce || !e.old.Balance.Eq(&e.balance) ||
		e.old.StorageRoot != e.account.StorageRoot || e.old.CodeHash != e.account.CodeHash
}

// changes are the changed accounts, sorted by address. The overlay must not be
// used afterwards: New points into it.
func (o *overlay) changes() []AccountChange {
	out := make([]AccountChange, 0, len(o.entries))
	for addr, e := range o.entries {
		if !e.changed() {
			continue
		}
		c := AccountChange{Address: addr, Old: e.old}
		if !e.account.Empty() {
			c.New = &e.account
		}
		out = append(out, c)
	}
	slices.SortFunc(out, func(a, b AccountChange) int { return bytes.Compare(a.Address[:], b.Address[:]) })
	return out
}

// accountEntries are the leaves of the state trie that the changes set.
func accountEntries(changes []AccountChange) []trie.Entry {
	entries := make([]trie.Entry, len(changes))
	for i, c := range changes {
		entries[i].Key = crypto.Keccak256(c.Address[:])
		if c.New != nil {
			entries[i].Value = c.New.Encode()
		}
	}
	return entries
}
