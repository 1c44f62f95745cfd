package wallet

import (
	"context"
	"fmt"
	"sync"

	"cairn/crypto"
	"cairn/genesis"
	"cairn/ledger/chain"
	"cairn/light"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/holiman/uint256"
)

// Verifier checks what a node says against a genesis file, and trusts nothing
// else of the node. What it answers was final; a node can still hide what is
// newer. It is safe for concurrent use.
type Verifier struct {
	client *Client
	spec   *genesis.Spec
	start  *light.Trust

	mu sync.Mutex
	at *light.Trust // of the highest epoch walked to
}

// NewVerifier starts from a genesis file. Error: ErrGenesisFile.
func NewVerifier(c *Client, spec *genesis.Spec) (*Verifier, error) {
	start, err := light.FromGenesis(spec)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrGenesisFile, err)
	}
	return &Verifier{client: c, spec: spec, start: start, at: start}, nil
}

// GenesisHash is the hash of block 0: the identity of the network.
func (v *Verifier) GenesisHash() crypto.Hash { return v.start.Block }

// ChainID is the network's chain id.
func (v *Verifier) ChainID() uint64 { return v.spec.ChainID }

// CheckNetwork compares the genesis file with what the node says of itself, for
// a clear error before a proof fails. Errors: ErrOtherNetwork; those of Call.
func (v *Verifier) CheckNetwork(ctx context.Context) error {
	s, err := v.client.Status(ctx)
	if err != nil {
		return err
	}
	if s.GenesisHash != v.start.Block {
		return fmt.Errorf("%w: block 0 is %s in the file, %s at %s", ErrOtherNetwork, v.start.Block, s.GenesisHash, v.client.URL())
	}
	return nil
}

// ProvenAccount is what an account held after a final block.
type ProvenAccount struct {
	Address crypto.Address
	Balance *uint256.Int // wei; 0 if there is no such account
	Nonce   uint64       // final transactions only
	Block   *light.Block
	Set     *genesis.ValidatorSet // whose quorum made the block final
}

// Account proves balance and nonce at the node's last final block.
// Errors: ErrUnproven, ErrAnswer; those of Call.
func (v *Verifier) Account(ctx context.Context, address crypto.Address) (*ProvenAccount, error) {
	const method = "cairn_proof"
	var answer struct {
		Account *struct {
			Proof []hexutil.Bytes `json:"accountProof"`
		} `json:"account"`
		Finality *finalityAnswer `json:"finality"`
	}
	if err := v.client.Call(ctx, &answer, method, address, []string{}, "latest"); err != nil {
		return nil, err
	}
	if answer.Account == nil || answer.Finality == nil {
		return nil, fmt.Errorf("%w: %s lacks the proof or the finality", ErrAnswer, method)
	}
	b, set, err := v.finality(ctx, answer.Finality)
	if err != nil {
		return nil, err
	}
	a, err := b.Account(address, unhex(answer.Account.Proof))
	if err != nil {
		return nil, unproven(err)
	}
	out := &ProvenAccount{Address: address, Balance: new(uint256.Int), Block: b, Set: set}
	if a != nil {
		out.Balance, out.Nonce = a.Balance, a.Nonce
	}
	return out, nil
}

// Receipt proves what a transaction did: that it is in a final block, its status
// and what it paid. Errors: ErrNotFound; ErrUnproven, ErrAnswer; those of Call.
func (v *Verifier) Receipt(ctx context.Context, hash crypto.Hash) (*Receipt, error) {
	const method = "cairn_receiptProof"
	var p *receiptProofAnswer
	if err := v.client.Call(ctx, &p, method, hash); err != nil {
		return nil, err
	}
	if p == nil {
		return nil, fmt.Errorf("proof of the receipt of %s: %w", hash, ErrNotFound)
	}
	if p.Finality == nil {
		return nil, fmt.Errorf("%w: %s lacks the finality", ErrAnswer, method)
	}
	b, _, err := v.finality(ctx, p.Finality)
	if err != nil {
		return nil, err
	}
	r, err := v.receipt(b, p, hash)
	if err != nil {
		return nil, unproven(err)
	}
	return r, nil
}

type receiptProofAnswer struct {
	Index       hexutil.Uint64  `json:"transactionIndex"`
	Transaction []hexutil.Bytes `json:"transactionProof"`
	Receipt     []hexutil.Bytes `json:"receiptProof"`
	Previous    []hexutil.Bytes `json:"previousReceiptProof"`
	Finality    *finalityAnswer `json:"finality"`
}

// receipt puts together what the block's roots prove.
func (v *Verifier) receipt(b *light.Block, p *receiptProofAnswer, hash crypto.Hash) (*Receipt, error) {
	index := uint64(p.Index)
	tx, err := b.Transaction(index, unhex(p.Transaction))
	if err != nil {
		return nil, fmt.Errorf("transaction: %w", err)
	}
	if tx.Hash() != hash {
		return nil, fmt.Errorf("the proof is of transaction %s, not %s", tx.Hash(), hash)
	}
	from, err := types.Sender(chain.NewSigner(v.spec.ChainID), tx)
	if err != nil {
		return nil, fmt.Errorf("transaction %s: %w", hash, err)
	}
	to := tx.To()
	if to == nil {
		return nil, fmt.Errorf("transaction %s has no recipient", hash)
	}
	r, err := b.Receipt(index, unhex(p.Receipt))
	if err != nil {
		return nil, fmt.Errorf("receipt: %w", err)
	}
	used := r.CumulativeGasUsed
	if index > 0 {
		before, err := b.Receipt(index-1, unhex(p.Previous))
		if err != nil {
			return nil, fmt.Errorf("receipt before it: %w", err)
		}
		used -= before.CumulativeGasUsed
	}
	price, _ := uint256.FromBig(chain.EffectiveGasPrice(&v.spec.Rules, tx, b.Header().BaseFee))
	return &Receipt{
		Hash: hash, From: from, To: *to, Type: tx.Type(), Status: r.Status, Height: b.Height(), BlockHash: b.Hash(),
		Index: index, GasUsed: used, EffectiveGasPrice: price, Logs: r.Logs,
	}, nil
}

// finalityAnswer is what of cairn_finality's answer the check needs.
type finalityAnswer struct {
	Header       hexutil.Bytes   `json:"headerRlp"`
	Finalization hexutil.Bytes   `json:"finalization"`
	Descendants  []hexutil.Bytes `json:"descendants"`
}

// finality checks a header with the set of its epoch, which it walks to.
func (v *Verifier) finality(ctx context.Context, f *finalityAnswer) (*light.Block, *genesis.ValidatorSet, error) {
	epoch := uint32(0)
	if h, err := chain.DecodeHeader(f.Header); err != nil {
		return nil, nil, unproven(err)
	} else if extra, err := chain.DecodeExtra(h); err == nil {
		epoch = extra.Epoch
	}
	t, err := v.trust(ctx, epoch)
	if err != nil {
		return nil, nil, err
	}
	b, err := t.VerifyFinality(f.Header, f.Finalization, unhex(f.Descendants))
	if err != nil {
		return nil, nil, unproven(err)
	}
	return b, t.Set, nil
}

// trust walks to an epoch, from where it got to last or else from block 0.
func (v *Verifier) trust(ctx context.Context, epoch uint32) (*light.Trust, error) {
	v.mu.Lock()
	at := v.at
	v.mu.Unlock()
	if at.Epoch > epoch {
		at = v.start
	}
	for at.Epoch < epoch {
		steps, err := v.epochs(ctx, at.Epoch)
		if err != nil {
			return nil, err
		}
		if at, err = at.Walk(steps[:min(uint64(len(steps)), uint64(epoch-at.Epoch))]); err != nil {
			return nil, unproven(err)
		}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if at.Epoch > v.at.Epoch {
		v.at = at
	}
	return at, nil
}

// epochs asks for the ends of epochs from one on; at least one.
func (v *Verifier) epochs(ctx context.Context, from uint32) ([]light.Step, error) {
	const method = "cairn_epochs"
	var ends []struct {
		Header       hexutil.Bytes `json:"headerRlp"`
		Finalization hexutil.Bytes `json:"finalization"`
		Validators   []struct {
			Address crypto.Address `json:"address"`
			PeerID  string         `json:"peerId"`
			Name    string         `json:"name"`
		} `json:"validators"`
	}
	if err := v.client.Call(ctx, &ends, method, hexutil.Uint64(from)); err != nil {
		return nil, err
	}
	if len(ends) == 0 || len(ends) > light.MaxSteps {
		return nil, fmt.Errorf("%w: %s shows %d ends of epochs from %d on", ErrAnswer, method, len(ends), from)
	}
	steps := make([]light.Step, len(ends))
	for i, e := range ends {
		steps[i] = light.Step{Header: e.Header, Finalization: e.Finalization}
		for _, m := range e.Validators {
			steps[i].Next = append(steps[i].Next, genesis.Validator{Address: m.Address, PeerID: m.PeerID, Name: m.Name})
		}
	}
	return steps, nil
}

func unproven(err error) error { return fmt.Errorf("%w: %w", ErrUnproven, err) }

func unhex(list []hexutil.Bytes) [][]byte {
	out := make([][]byte, len(list))
	for i := range list {
		out[i] = list[i]
	}
	return out
}
