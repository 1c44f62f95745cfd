package rpc

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/rpc"

	"cairn/crypto"
	"cairn/ledger"
	"cairn/ledger/chain"
)

// netAPI answers the net_ methods.
type netAPI struct{ b Backend }

// Version answers the chain id in decimal, as wallets expect.
func (a *netAPI) Version() string {
	return strconv.FormatUint(a.b.Ledger.Config().ChainID, 10)
}

// Listening is true: a node that answers listens.
func (a *netAPI) Listening() bool { return true }

// PeerCount answers the number of connected peers.
func (a *netAPI) PeerCount() hexutil.Uint { return hexutil.Uint(a.b.Status().Peers) }

// web3API answers the web3_ methods.
type web3API struct{ b Backend }

// ClientVersion names the software.
func (a *web3API) ClientVersion() string { return a.b.ClientVersion }

// Sha3 answers keccak256.
func (a *web3API) Sha3(data hexutil.Bytes) hexutil.Bytes { return crypto.Keccak256(data).Bytes() }

// txpoolAPI answers the txpool_ methods.
type txpoolAPI struct{ b Backend }

// Status answers how many transactions wait: pending could be in the next
// block, queued wait for an earlier nonce.
func (a *txpoolAPI) Status() map[string]hexutil.Uint {
	s := a.b.Pool.Stats()
	return map[string]hexutil.Uint{"pending": hexutil.Uint(s.Executable), "queued": hexutil.Uint(s.Gapped)}
}

// cairnAPI answers the cairn_ methods.
type cairnAPI struct{ b Backend }

// Status answers where the node stands and what is wrong, for one screen.
func (a *cairnAPI) Status() Status { return a.b.Status() }

// validator is one member of a set.
type validator struct {
	Address crypto.Address `json:"address"`
	PeerID  string         `json:"peerId"`
	Name    string         `json:"name"`
}

// finality proves a block final to someone who knows the validator set.
type finality struct {
	Header       map[string]any  `json:"header"`
	HeaderRLP    hexutil.Bytes   `json:"headerRlp"`
	Finalization hexutil.Bytes   `json:"finalization"` // RLP; see docs/protocol.md
	FinalizedBy  hexutil.Uint64  `json:"finalizedHeight"`
	Headers      []hexutil.Bytes `json:"descendants"` // RLP of the headers up to FinalizedBy, if it is a descendant
	Validators   []validator     `json:"validators"`
	SetHash      crypto.Hash     `json:"validatorSetHash"`
}

// maxDescendants bounds the headers between a block and the descendant whose
// finalization proves it.
const maxDescendants = 1024

// Finality answers the header of a block, the finalization that covers it and
// the set that signed; null beyond the head.
func (a *cairnAPI) Finality(at rpc.BlockNumberOrHash) (*finality, error) {
	eth := ethAPI{b: a.b}
	height, err := eth.resolve(&at)
	if errors.Is(err, errHeaderNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	h, err := a.b.Ledger.HeaderByHeight(height)
	if err != nil {
		return nil, err
	}
	out := &finality{
		Header: headerFields(h), HeaderRLP: chain.EncodeHeader(h), FinalizedBy: hexutil.Uint64(height),
		Headers: []hexutil.Bytes{}, SetHash: a.b.Validators.Hash(), Validators: []validator{},
	}
	for i := range a.b.Validators.Len() {
		v := a.b.Validators.At(i)
		out.Validators = append(out.Validators, validator{Address: v.Address, PeerID: v.PeerID, Name: v.Name})
	}
	if height == 0 {
		return out, nil
	}
	cert, by, err := a.b.Ledger.CertificateAtOrAbove(height)
	if errors.Is(err, ledger.ErrNotFound) || by-height > maxDescendants {
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
