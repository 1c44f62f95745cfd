package rpc

import (
	"context"
	"fmt"

	"cairn/crypto"
)

// Seen says which validators have a transaction that waits, by their own word.
type Seen struct {
	By         []Witness // those that have it
	NotBy      []Witness // those that answered that they do not
	NotReached []Witness // those that are not connected or did not answer in time
}

// Witness is a validator and where it has a transaction.
type Witness struct {
	Validator crypto.Address `json:"validator"`
	Name      string         `json:"name"`
	Status    string         `json:"status,omitempty"` // as in transactionStatus; empty if it has it not
}

// addSeen completes the status of a transaction that waits. A node that has been
// asked too much just now leaves it out.
func (a *cairnAPI) addSeen(ctx context.Context, s *transactionStatus) {
	if a.b.Seen == nil {
		return
	}
	turnOf(ctx).leave() // others work while this waits
	seen := a.b.Seen(ctx, s.Hash)
	if seen == nil {
		return
	}
	list := func(w []Witness) *[]Witness {
		out := append([]Witness{}, w...)
		return &out
	}
	if len(seen.By) == 0 {
		s.Why += fmt.Sprintf("; none of the %d validators that answered has it yet", len(seen.NotBy))
	}
	s.SeenBy, s.NotSeenBy, s.NotReached = list(seen.By), list(seen.NotBy), list(seen.NotReached)
}
