package rpc

import (
	"errors"
	"fmt"
	"sync"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/rpc"

	"cairn/consensus"
	"cairn/crypto"
	"cairn/genesis"
	"cairn/ledger"
	"cairn/ledger/chain"
)

// cairnAPI answers the cairn_ methods.
type cairnAPI struct {
	b    *service
	sets setCache
}

// validator is one member of a set.
type validator struct {
	Address crypto.Address `json:"address"`
	PeerID  string         `json:"peerId"`
	Name    string         `json:"name"`
}

func membersOf(set *genesis.ValidatorSet) []validator {
	out := make([]validator, set.Len())
	for i := range out {
		v := set.At(i)
		out[i] = validator{Address: v.Address, PeerID: v.PeerID, Name: v.Name}
	}
	return out
}

// maxSets bounds the validator sets that are kept read. A set never changes
// within its epoch.
const maxSets = 16

type setCache struct {
	mu      sync.Mutex
	byEpoch map[uint32]*genesis.ValidatorSet
}

// setOf is the set that decides about the block at height: the registry of the
// block before it, for a block may change the set of those after it.
func (a *cairnAPI) setOf(height uint64) (*genesis.ValidatorSet, uint32, error) {
	h, err := a.b.Ledger.HeaderByHeight(height)
	if err != nil {
		return nil, 0, err
	}
	extra, err := chain.DecodeExtra(h)
	if err != nil {
		return nil, 0, err
	}
	a.sets.mu.Lock()
	set := a.sets.byEpoch[extra.Epoch]
	a.sets.mu.Unlock()
	if set != nil {
		return set, extra.Epoch, nil
	}
	if set, _, err = a.b.Ledger.ValidatorsAt(max(height, 1) - 1); err != nil {
		return nil, 0, err
	}
	a.sets.mu.Lock()
	defer a.sets.mu.Unlock()
	if a.sets.byEpoch == nil || len(a.sets.byEpoch) >= maxSets {
		a.sets.byEpoch = make(map[uint32]*genesis.ValidatorSet)
	}
	a.sets.byEpoch[extra.Epoch] = set
	return set, extra.Epoch, nil
}

// validatorsAnswer is the answer of cairn_validators.
type validatorsAnswer struct {
	Height     hexutil.Uint64 `json:"height"`
	Epoch      hexutil.Uint64 `json:"epoch"`
	Quorum     int            `json:"quorum"` // votes that make a certificate
	Validators []validator    `json:"validators"`
	SetHash    crypto.Hash    `json:"validatorSetHash"`
}

// Validators answers the set that decides about a block; null beyond the head.
func (a *cairnAPI) Validators(at *rpc.BlockNumberOrHash) (*validatorsAnswer, error) {
	height, err := (&ethAPI{b: a.b}).resolve(at)
	if missing(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	set, epoch, err := a.setOf(height)
	if err != nil {
		return nil, err
	}
	return &validatorsAnswer{
		Height: hexutil.Uint64(height), Epoch: hexutil.Uint64(epoch), Quorum: consensus.Quorum(set.Len()),
		Validators: membersOf(set), SetHash: set.Hash(),
	}, nil
}

// finality proves a block final to someone who knows the validator set.
type finality struct {
	Header       *header         `json:"header"`
	HeaderRLP    hexutil.Bytes   `json:"headerRlp"`
	Finalization hexutil.Bytes   `json:"finalization"`    // RLP; 0x for block 0, which needs none
	FinalizedBy  hexutil.Uint64  `json:"finalizedHeight"` // of the block that the finalization names
	Headers      []hexutil.Bytes `json:"descendants"`     // RLP of the headers from the next one to that block's
	Validators   []validator     `json:"validators"`
	SetHash      crypto.Hash     `json:"validatorSetHash"`
}

// maxDescendants bounds the headers between a block and the descendant whose
// finalization proves it.
const maxDescendants = 1024

// Finality answers the header of a block, the finalization that covers it and
// the set that signed; null beyond the head.
func (a *cairnAPI) Finality(at *rpc.BlockNumberOrHash) (*finality, error) {
	height, err := (&ethAPI{b: a.b}).resolve(at)
	if missing(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return a.finalityOf(height)
}

func (a *cairnAPI) finalityOf(height uint64) (*finality, error) {
	h, err := a.b.Ledger.HeaderByHeight(height)
	if err != nil {
		return nil, err
	}
	set, _, err := a.setOf(height)
	if err != nil {
		return nil, err
	}
	out := &finality{
		Header: headerOf(h), HeaderRLP: chain.EncodeHeader(h), FinalizedBy: hexutil.Uint64(height),
		Headers: []hexutil.Bytes{}, Validators: membersOf(set), SetHash: set.Hash(),
	}
	if height == 0 {
		return out, nil
	}
	cert, by, err := a.b.Ledger.CertificateAtOrAbove(height)
	if errors.Is(err, ledger.ErrNotFound) || err == nil && by-height > maxDescendants {
		return nil, fmt.Errorf("no finalization of height %d or of the %d heights above it is kept", height, maxDescendants)
	}
	if err != nil {
		return nil, err
	}
	out.Finalization, out.FinalizedBy = cert, hexutil.Uint64(by)
	for next := height + 1; next <= by; next++ {
		d, err := a.b.Ledger.HeaderByHeight(next)
		if err != nil {
			return nil, err
		}
		out.Headers = append(out.Headers, chain.EncodeHeader(d))
	}
	return out, nil
}

// proof is the answer of cairn_proof: an account with everything that proves it
// to someone who knows the validator set.
type proof struct {
	Height   hexutil.Uint64 `json:"height"`
	Account  *accountProof  `json:"account"`
	Finality *finality      `json:"finality"`
}

// Proof answers an account's proof against a header's state root, that header
// and its finalization. Old blocks are not provable: see docs/rpc.md.
func (a *cairnAPI) Proof(addr crypto.Address, keys *[]string, at *rpc.BlockNumberOrHash) (*proof, error) {
	height, err := (&ethAPI{b: a.b}).resolve(at)
	if err != nil {
		return nil, err
	}
	if keys == nil {
		keys = new([]string)
	}
	acc, err := a.b.accountProof(addr, *keys, height)
	if err != nil {
		return nil, err
	}
	f, err := a.finalityOf(height)
	if err != nil {
		return nil, err
	}
	return &proof{Height: hexutil.Uint64(height), Account: acc, Finality: f}, nil
}
