package wallet

import (
	"bytes"
	"context"
	"fmt"
	"math/big"

	"cairn/crypto"
	"cairn/genesis"
	"cairn/ledger/chain"

	"github.com/ethereum/go-ethereum/accounts/abi"
	"github.com/ethereum/go-ethereum/common/hexutil"
)

// Member is a validator or a candidate, and where its node is as the asked node
// sees it; nil = it cannot tell.
type Member struct {
	Address crypto.Address
	PeerID  string
	Name    string
	Online  *bool
	Height  *uint64 // by its own word
	Synced  *bool
	Signs   *bool            // by its own word: not observing, not halted
	Votes   []crypto.Address // to remove it; of a candidate, to add it
	// Convicted of contradicting itself: it leaves with the next change.
	Convicted bool
}

// Registry is who decides about the next block, and who wants to.
type Registry struct {
	Height     uint64
	Epoch      uint64
	Quorum     int // votes that change the set
	SetHash    crypto.Hash
	Validators []Member
	Candidates []Member // the first of them
	Registered uint64   // all candidates
}

// ValidatorChange is what a change of the set would do.
type ValidatorChange struct {
	Height     uint64
	Epoch      uint64
	Quorum     int              // votes that enact it
	Votes      []crypto.Address // for it, so far
	NewQuorum  int
	NewSetHash crypto.Hash
	Validators []Member // after it
	Online     *int     // of them; nil = unknown
	Synced     *int
	Live       *bool            // a quorum of them is online and in step
	Convicted  []crypto.Address // validators that leave with any change
}

type memberAnswer struct {
	Address crypto.Address   `json:"address"`
	PeerID  string           `json:"peerId"`
	Name    string           `json:"name"`
	Online  *bool            `json:"online"`
	Height  *hexutil.Uint64  `json:"height"`
	Synced  *bool            `json:"synced"`
	Signs   *bool            `json:"signs"`
	Votes   []crypto.Address `json:"votes"`

	Convicted bool `json:"convicted"`
}

func members(list []memberAnswer) []Member {
	out := make([]Member, len(list))
	for i, m := range list {
		out[i] = Member{
			Address: m.Address, PeerID: printable(m.PeerID), Name: printable(m.Name), Online: m.Online,
			Height: (*uint64)(m.Height), Synced: m.Synced, Signs: m.Signs, Votes: append([]crypto.Address{}, m.Votes...), Convicted: m.Convicted,
		}
	}
	return out
}

// Registry answers cairn_registry. Errors: those of Call.
func (c *Client) Registry(ctx context.Context) (*Registry, error) {
	var a struct {
		Height     hexutil.Uint64 `json:"height"`
		Epoch      hexutil.Uint64 `json:"epoch"`
		Quorum     int            `json:"quorum"`
		SetHash    crypto.Hash    `json:"validatorSetHash"`
		Validators []memberAnswer `json:"validators"`
		Candidates []memberAnswer `json:"candidates"`
		Registered hexutil.Uint64 `json:"candidateCount"`
	}
	if err := c.Call(ctx, &a, "cairn_registry"); err != nil {
		return nil, err
	}
	return &Registry{
		Height: uint64(a.Height), Epoch: uint64(a.Epoch), Quorum: a.Quorum, SetHash: a.SetHash,
		Validators: members(a.Validators), Candidates: members(a.Candidates), Registered: uint64(a.Registered),
	}, nil
}

// ValidatorChange tries to add or remove a validator without doing it. A refusal
// of the registry is a *RejectedError. Errors: those of Call.
func (c *Client) ValidatorChange(ctx context.Context, subject crypto.Address, add bool) (*ValidatorChange, error) {
	var a struct {
		Height     hexutil.Uint64   `json:"height"`
		Epoch      hexutil.Uint64   `json:"epoch"`
		Quorum     int              `json:"quorum"`
		Votes      []crypto.Address `json:"votes"`
		NewQuorum  int              `json:"newQuorum"`
		NewSetHash crypto.Hash      `json:"newValidatorSetHash"`
		Validators []memberAnswer   `json:"newValidators"`
		Online     *int             `json:"online"`
		Synced     *int             `json:"synced"`
		Live       *bool            `json:"live"`
		Convicted  []crypto.Address `json:"convicted"`
	}
	if err := c.Call(ctx, &a, "cairn_validatorChange", subject, add); err != nil {
		return nil, err
	}
	if len(a.Validators) == 0 || a.NewQuorum != genesis.Quorum(len(a.Validators)) {
		return nil, fmt.Errorf("%w: cairn_validatorChange: a quorum of %d for %d validators", ErrAnswer, a.NewQuorum, len(a.Validators))
	}
	return &ValidatorChange{
		Height: uint64(a.Height), Epoch: uint64(a.Epoch), Quorum: a.Quorum, Votes: append([]crypto.Address{}, a.Votes...),
		NewQuorum: a.NewQuorum, NewSetHash: a.NewSetHash, Validators: members(a.Validators),
		Online: a.Online, Synced: a.Synced, Live: a.Live, Convicted: append([]crypto.Address{}, a.Convicted...),
	}, nil
}

var registryABI = mustParseABI(chain.RegistryABI)

func mustParseABI(b []byte) abi.ABI {
	parsed, err := abi.JSON(bytes.NewReader(b))
	if err != nil {
		panic(fmt.Sprintf("the registry's ABI: %v", err))
	}
	return parsed
}

// pack is the calldata of a method of the registry with arguments of its types.
func pack(method string, args ...any) []byte {
	data, err := registryABI.Pack(method, args...)
	if err != nil {
		panic(fmt.Sprintf("registry call %s: %v", method, err))
	}
	return data
}

// Registrations is how many times an address was registered as a candidate: the
// number that its next registration has. Errors: those of Call.
func (c *Client) Registrations(ctx context.Context, a crypto.Address) (uint64, error) {
	var out hexutil.Bytes
	call := map[string]any{"to": genesis.RegistryAddress, "data": hexutil.Bytes(pack("registrations", a))}
	if err := c.Call(ctx, &out, "eth_call", call, "latest"); err != nil {
		return 0, err
	}
	n := new(big.Int).SetBytes(out)
	if len(out) != 32 || !n.IsUint64() {
		return 0, fmt.Errorf("%w: %d registrations of %s", ErrAnswer, n, a)
	}
	return n.Uint64(), nil
}

// RegisterCall is the calldata that makes key's address a candidate of a chain,
// with v's peer id and name: its registration with this number. Errors: *genesis.FieldError for
// a malformed peer id or name.
func RegisterCall(key *crypto.PrivateKey, chainID uint64, v genesis.Validator, number uint64) ([]byte, error) {
	v.Address = key.Address()
	if err := v.Validate(); err != nil {
		return nil, err
	}
	proof := genesis.SignRegistration(key, chainID, v, number)
	return pack("register", v.Address, v.PeerID, v.Name, proof[:]), nil
}

// WithdrawCall is the calldata with which a candidate leaves the list.
func WithdrawCall() []byte { return pack("withdraw") }

// VoteCall is the calldata of a validator's vote to add or remove subject.
func VoteCall(subject crypto.Address, add bool) []byte { return pack("vote", subject, add) }

// RevokeCall is the calldata with which a validator takes its vote back.
func RevokeCall(subject crypto.Address) []byte { return pack("revoke", subject) }

// Vote is what a final vote did.
type Vote struct {
	Votes, Quorum int
	Enacted       bool // it was the last one needed: the set changes with its block
}

// Vote reads the registry's events in the receipt of a vote on subject.
// Error: ErrAnswer, if they are not there.
func (r *Receipt) Vote(subject crypto.Address) (*Vote, error) {
	var out *Vote
	about := func(topic crypto.Hash) bool { return crypto.Address(topic[12:]) == subject }
	for _, l := range r.Logs {
		if l == nil || l.Address != genesis.RegistryAddress || len(l.Topics) == 0 {
			continue
		}
		switch {
		case l.Topics[0] == registryABI.Events["Voted"].ID && len(l.Topics) == 3 && about(l.Topics[2]):
			values, err := registryABI.Unpack("Voted", l.Data)
			if err != nil {
				return nil, fmt.Errorf("%w: event Voted: %w", ErrAnswer, err)
			}
			out = &Vote{Votes: int(values[1].(*big.Int).Int64()), Quorum: int(values[2].(*big.Int).Int64())}
		case out != nil && len(l.Topics) == 2 && about(l.Topics[1]) &&
			(l.Topics[0] == registryABI.Events["ValidatorAdded"].ID || l.Topics[0] == registryABI.Events["ValidatorRemoved"].ID):
			out.Enacted = true
		}
	}
	if out == nil {
		return nil, fmt.Errorf("%w: the receipt of %s tells of no vote on %s", ErrAnswer, r.Hash, subject)
	}
	return out, nil
}
