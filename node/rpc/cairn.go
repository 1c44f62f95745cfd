package rpc

import (
	"context"
	"fmt"
	"math"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"

	"cairn/crypto"
	"cairn/ledger/chain"
)

// Status answers where the node stands and what is wrong, for one screen.
func (a *cairnAPI) Status() Status { return a.b.status() }

// Stages of a transaction that is in a block which is not final: what
// Backend.Stage answers.
const (
	StageProposed  = "proposed"  // in a block that was executed
	StageNotarized = "notarized" // in a block that a quorum has notarized
)

// The other stages.
const (
	StageUnknown  = "unknown"  // not here: never seen, or dropped long ago
	StageRejected = "rejected" // was here and was dropped
	StageGapped   = "gapped"   // waits for a transaction with an earlier nonce
	StagePending  = "pending"  // could be in the next block
	StageFinal    = "final"
)

// transactionStatus is the answer of cairn_transactionStatus.
type transactionStatus struct {
	Hash          crypto.Hash      `json:"hash"`
	Status        string           `json:"status"`
	Why           string           `json:"why,omitempty"` // not final: what it waits for, or why it was dropped
	From          *crypto.Address  `json:"from,omitempty"`
	Nonce         *hexutil.Uint64  `json:"nonce,omitempty"`
	MissingNonces []hexutil.Uint64 `json:"missingNonces,omitempty"` // gapped: what the sender must send first
	MaxFeePerGas  *hexutil.Big     `json:"maxFeePerGas,omitempty"`  // pending: what it offers
	FeeNeeded     *hexutil.Big     `json:"feeNeeded,omitempty"`     // pending: the next block's base fee
	BlockHash     *crypto.Hash     `json:"blockHash,omitempty"`     // final
	BlockNumber   *hexutil.Uint64  `json:"blockNumber,omitempty"`   // final
	Timestamp     *hexutil.Uint64  `json:"timestampMillis,omitempty"`
	Succeeded     *bool            `json:"succeeded,omitempty"`  // final
	SeenBy        *[]Witness       `json:"seenBy,omitempty"`     // waiting: validators that have it
	NotSeenBy     *[]Witness       `json:"notSeenBy,omitempty"`  // waiting: validators that have it not
	NotReached    *[]Witness       `json:"notReached,omitempty"` // waiting: validators that could not be asked
}

// TransactionStatus answers where a transaction is and, if it is not final, why.
func (a *cairnAPI) TransactionStatus(ctx context.Context, hash crypto.Hash) (*transactionStatus, error) {
	if s, err := a.finalStatus(hash); s != nil || err != nil {
		return s, err
	}
	if s := a.poolStatus(ctx, hash); s != nil {
		a.addSeen(ctx, s)
		return s, nil
	}
	if s, err := a.finalStatus(hash); s != nil || err != nil {
		return s, err // it has become final between the two
	}
	if reason, ok := a.b.Pool.Dropped(hash); ok {
		return &transactionStatus{Hash: hash, Status: StageRejected, Why: reason.Error()}, nil
	}
	return &transactionStatus{Hash: hash, Status: StageUnknown, Why: "this node has not seen it, or dropped it longer ago than it remembers; sending it again does no harm"}, nil
}

func (a *cairnAPI) finalStatus(hash crypto.Hash) (*transactionStatus, error) {
	tx, height, index, ok, err := a.b.place(hash)
	if !ok {
		return nil, err
	}
	h, err := a.b.Ledger.HeaderByHeight(height)
	if err != nil {
		return nil, err
	}
	r, err := a.b.Ledger.Receipt(tx, height, index)
	if err != nil {
		return nil, err
	}
	s := a.statusOf(tx, StageFinal)
	number, succeeded := hexutil.Uint64(height), r.Status == types.ReceiptStatusSuccessful
	s.BlockHash, s.BlockNumber, s.Timestamp, s.Succeeded = &r.BlockHash, &number, millis(h), &succeeded
	return s, nil
}

func (a *cairnAPI) statusOf(tx *types.Transaction, stage string) *transactionStatus {
	from, _ := types.Sender(a.b.Signer, tx)
	nonce := hexutil.Uint64(tx.Nonce())
	return &transactionStatus{Hash: tx.Hash(), Status: stage, From: &from, Nonce: &nonce}
}

// poolStatus tells of a transaction that waits; nil if it does not.
func (a *cairnAPI) poolStatus(ctx context.Context, hash crypto.Hash) *transactionStatus {
	tx := a.b.Pool.Get(hash)
	place, ok := a.b.Pool.Status(hash)
	if tx == nil || !ok {
		return nil
	}
	if !place.Executable {
		s := a.statusOf(tx, StageGapped)
		for _, n := range place.Missing {
			s.MissingNonces = append(s.MissingNonces, hexutil.Uint64(n))
		}
		s.Why = fmt.Sprintf("its sender must first send the %d transactions with the missing nonces", len(place.Missing))
		return s
	}
	if a.b.Stage != nil {
		if stage := a.b.Stage(ctx, hash); stage != "" {
			s := a.statusOf(tx, stage)
			s.Why = "in a block that is not final yet"
			return s
		}
	}
	s := a.statusOf(tx, StagePending)
	node := a.b.Status()
	rules := &a.b.Ledger.Config().Rules
	need := chain.NextBaseFee(rules, a.b.Ledger.Head())
	if !rules.Fees.Free {
		s.MaxFeePerGas, s.FeeNeeded = (*hexutil.Big)(tx.GasFeeCap()), (*hexutil.Big)(need.ToBig())
	}
	switch {
	case !rules.Fees.Free && tx.GasFeeCap().Cmp(need.ToBig()) < 0:
		s.Why = fmt.Sprintf("it pays at most %d wei for gas, the next block asks for %d: wait, or send it again with more", tx.GasFeeCap(), need)
	case node.Connected < node.Quorum && node.Role == "validator":
		s.Why = fmt.Sprintf("no quorum: %d of %d validators are connected, %d are needed", node.Connected, node.Validators, node.Quorum)
	case place.LeftOut > 0:
		s.Why = fmt.Sprintf("%d blocks that had room left it out: their proposers did not have it, or did not want it", place.LeftOut)
	case place.Before > 0:
		s.Why = fmt.Sprintf("%d of its sender's transactions come before it", place.Before)
	default:
		s.Why = "it waits for the next leader that has room"
	}
	return s
}

// millis is a block's time; nil if the header does not tell.
func millis(h *types.Header) *hexutil.Uint64 {
	extra, err := chain.DecodeExtra(h)
	if err != nil {
		return nil
	}
	at := hexutil.Uint64(extra.TimestampMillis)
	return &at
}

// history is one page of what happened to an account, newest first.
type history struct {
	Address crypto.Address  `json:"address"`
	Entries []historyEntry  `json:"entries"`
	Next    *hexutil.Uint64 `json:"next"` // cursor of the next page; null = this is the last
}

// historyEntry is one block that changed the account or whose transactions name
// it.
type historyEntry struct {
	Height       hexutil.Uint64  `json:"height"`
	BlockHash    crypto.Hash     `json:"blockHash"`
	Timestamp    *hexutil.Uint64 `json:"timestampMillis"`
	Balance      *hexutil.Big    `json:"balance"` // after the block
	Nonce        hexutil.Uint64  `json:"nonce"`   // after the block
	Transactions []crypto.Hash   `json:"transactions"`
}

// History answers the blocks at or below cursor, at first the head, that changed
// an account or whose transactions name it.
func (a *cairnAPI) History(ctx context.Context, addr crypto.Address, cursor *hexutil.Uint64, limit *hexutil.Uint64) (*history, error) {
	from, n := uint64(math.MaxUint64), uint64(a.b.limits.HistoryPage)
	if cursor != nil {
		from = uint64(*cursor)
	}
	if limit != nil && *limit > 0 {
		n = min(n, uint64(*limit))
	}
	touches, err := a.b.Ledger.History(addr, from, int(n)+1)
	if err != nil {
		return nil, err
	}
	ctx, cancel := a.b.within(ctx)
	defer cancel()
	out := &history{Address: addr, Entries: []historyEntry{}}
	for _, t := range touches {
		if err := a.b.pause(ctx); err != nil {
			return nil, err
		}
		if uint64(len(out.Entries)) == n {
			next := hexutil.Uint64(t.Height)
			out.Next = &next
			break
		}
		b, err := a.b.Ledger.BlockByHeight(t.Height)
		if err != nil {
			return nil, err
		}
		e := historyEntry{
			Height: hexutil.Uint64(t.Height), BlockHash: b.Hash(), Timestamp: millis(b.Header()),
			Balance: new(hexutil.Big), Transactions: []crypto.Hash{},
		}
		if t.Account != nil {
			e.Balance, e.Nonce = (*hexutil.Big)(t.Account.Balance.ToBig()), hexutil.Uint64(t.Account.Nonce)
		}
		for _, i := range t.Transactions {
			e.Transactions = append(e.Transactions, b.Transactions()[i].Hash())
		}
		out.Entries = append(out.Entries, e)
	}
	return out, nil
}

// Peer is one connected node. Addresses are on the admin interface only.
type Peer struct {
	ID        string `json:"id"`
	Validator bool   `json:"validator"`
	UserAgent string `json:"userAgent"`
}

// peersAnswer is the answer of cairn_peers.
type peersAnswer struct {
	Total      int    `json:"total"`
	Validators int    `json:"validators"`
	Peers      []Peer `json:"peers"`
}

// Peers answers who is connected, by id.
func (a *cairnAPI) Peers() *peersAnswer {
	out := &peersAnswer{Peers: []Peer{}}
	if a.b.Peers != nil {
		out.Peers = append(out.Peers, a.b.Peers()...)
	}
	out.Total = len(out.Peers)
	for _, p := range out.Peers {
		if p.Validator {
			out.Validators++
		}
	}
	return out
}

// Evidence answers the votes by which validators contradicted themselves, oldest
// first: one pair for each validator, kind of vote and epoch.
func (a *cairnAPI) Evidence() ([]Evidence, error) {
	out := []Evidence{}
	if a.b.Evidence == nil {
		return out, nil
	}
	kept, err := a.b.Evidence()
	if err != nil {
		return nil, err
	}
	return append(out, kept...), nil
}

// diagnosis is the answer of cairn_diagnose.
type diagnosis struct {
	Healthy bool        `json:"healthy"`
	Checks  []diagnosed `json:"checks"`
}

// diagnosed is one thing that was looked at.
type diagnosed struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail"` // what was found
	Advice string `json:"advice"` // what an operator can do; empty if nothing need be done
}

// Diagnose answers what was looked at and what an operator can do about it.
func (a *cairnAPI) Diagnose() *diagnosis {
	s := a.b.Status()
	out := &diagnosis{Healthy: s.Healthy}
	check := func(name string, ok bool, detail, advice string) {
		if ok {
			advice = ""
		}
		out.Checks = append(out.Checks, diagnosed{Name: name, OK: ok, Detail: detail, Advice: advice})
	}
	check("peers", s.Peers > 0 || s.Validators == 1, fmt.Sprintf("%d connected", s.Peers),
		"check bootnodes, the listen and announce addresses, and firewalls")
	check("quorum", s.Connected >= s.Quorum || s.Role != "validator", fmt.Sprintf("%d of %d validators reachable, %d needed", s.Connected, s.Validators, s.Quorum),
		"nothing becomes final until more validators run and can be reached: ask their operators")
	check("sync", !s.Syncing, fmt.Sprintf("height %d of %d", s.Height, s.Target), "wait: the node fetches what it lacks")
	check("voting", s.Voting || s.Role != "validator", fmt.Sprintf("role %s, voting %t, observing %t", s.Role, s.Voting, s.Observing), "see the problems below and the log of this node")
	check("proofs", true, fmt.Sprintf("available from height %d", a.b.Ledger.Provable()), "")
	for _, p := range s.Problems {
		check("problem", false, p, "see docs/operating.md")
	}
	return out
}
