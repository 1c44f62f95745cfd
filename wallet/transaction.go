package wallet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"cairn/crypto"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/holiman/uint256"
)

// TransferGas is the gas of a transfer without data.
const TransferGas = 21000

// FeeLimit is the most wei that Prepare lets a node's own suggestion cost: one
// coin. A node that lies about fees must not empty an account; whoever means it
// sets the fee.
var FeeLimit = uint256.NewInt(1e18)

// Transfer is what a person wants. Nil and zero fields are asked of the node.
type Transfer struct {
	From, To crypto.Address
	Value    *uint256.Int // wei
	Data     []byte

	Nonce    *uint64
	GasLimit uint64
	ChainID  uint64 // zero: whatever chain the node is on

	Legacy      bool
	GasPrice    *uint256.Int // wei per gas; legacy only
	MaxFee      *uint256.Int // wei per gas; EIP-1559 only
	PriorityFee *uint256.Int // wei per gas; EIP-1559 only
}

// Draft is a transaction ready to be signed.
type Draft struct {
	From        crypto.Address
	ChainID     uint64
	Transaction *types.Transaction
	// Next is the nonce that the account's next transaction has; with a higher
	// one the transaction waits for those between.
	Next uint64
}

// MaxFee is the most that the draft can pay in fees, in wei.
func (d *Draft) MaxFee() *uint256.Int {
	price, _ := uint256.FromBig(d.Transaction.GasFeeCap())
	fee, overflow := new(uint256.Int).MulOverflow(price, uint256.NewInt(d.Transaction.Gas()))
	if overflow {
		return new(uint256.Int).SetAllOne()
	}
	return fee
}

// Prepare asks the node for what the transfer leaves open and builds it:
// EIP-1559 unless Legacy, the next pending nonce, a fee cap of twice the next
// base fee plus the tip. On a free network every fee comes out as zero.
// Errors: ErrFee, ErrFeeTooHigh, ErrChainID; those of Call.
func (c *Client) Prepare(ctx context.Context, t Transfer) (*Draft, error) {
	if err := t.check(); err != nil {
		return nil, err
	}
	s, err := c.survey(ctx, t)
	if err != nil {
		return nil, err
	}
	if t.ChainID != 0 && t.ChainID != s.chainID {
		return nil, fmt.Errorf("%w: %d, not %d", ErrChainID, s.chainID, t.ChainID)
	}
	d := &Draft{From: t.From, ChainID: s.chainID, Next: s.nonce}
	nonce := s.nonce
	if t.Nonce != nil {
		nonce = *t.Nonce
	}
	to := t.To
	if t.Legacy {
		d.Transaction = types.NewTx(&types.LegacyTx{
			Nonce: nonce, GasPrice: toBig(s.gasPrice(t)), Gas: s.gas, To: &to, Value: toBig(t.Value), Data: t.Data,
		})
	} else {
		maxFee, tip := s.fees(t)
		if tip.Gt(maxFee) {
			return nil, fmt.Errorf("%w: the priority fee of %s is above the maximum fee of %s", ErrFee, FormatShort(tip), FormatShort(maxFee))
		}
		d.Transaction = types.NewTx(&types.DynamicFeeTx{
			ChainID: toBig(uint256.NewInt(s.chainID)), Nonce: nonce, GasFeeCap: toBig(maxFee), GasTipCap: toBig(tip),
			Gas: s.gas, To: &to, Value: toBig(t.Value), Data: t.Data,
		})
	}
	chosen := t.MaxFee != nil || t.GasPrice != nil
	if fee := d.MaxFee(); !chosen && fee.Gt(FeeLimit) {
		return nil, fmt.Errorf("%w: up to %s, limit %s", ErrFeeTooHigh, FormatShort(fee), FormatShort(FeeLimit))
	}
	return d, nil
}

func (t *Transfer) check() error {
	if t.Legacy && (t.MaxFee != nil || t.PriorityFee != nil) {
		return fmt.Errorf("%w: a legacy transaction has a gas price, no maximum or priority fee", ErrFee)
	}
	if !t.Legacy && t.GasPrice != nil {
		return fmt.Errorf("%w: only a legacy transaction has a gas price", ErrFee)
	}
	if t.MaxFee != nil && t.PriorityFee != nil && t.PriorityFee.Gt(t.MaxFee) {
		return fmt.Errorf("%w: the priority fee is above the maximum fee", ErrFee)
	}
	if t.Value == nil {
		t.Value = new(uint256.Int)
	}
	return nil
}

// survey is what a node says before a transaction is built.
type survey struct {
	chainID uint64
	nonce   uint64
	baseFee *uint256.Int // of the next block
	tip     *uint256.Int
	price   *uint256.Int
	gas     uint64
}

func (c *Client) survey(ctx context.Context, t Transfer) (*survey, error) {
	var (
		chainID, nonce hexutil.Uint64
		tip, price     quantity
		history        struct {
			BaseFee []quantity `json:"baseFeePerGas"`
		}
		code hexutil.Bytes
	)
	err := c.batch(ctx,
		call{"eth_chainId", nil, &chainID},
		call{"eth_getTransactionCount", []any{t.From, "pending"}, &nonce},
		call{"eth_feeHistory", []any{"0x1", "latest", []float64{}}, &history},
		call{"eth_maxPriorityFeePerGas", nil, &tip},
		call{"eth_gasPrice", nil, &price},
		call{"eth_getCode", []any{t.To, "latest"}, &code})
	if err != nil {
		return nil, err
	}
	if chainID == 0 || len(history.BaseFee) == 0 {
		return nil, fmt.Errorf("%w: chain id %d, %d base fees", ErrAnswer, chainID, len(history.BaseFee))
	}
	s := &survey{
		chainID: uint64(chainID), nonce: uint64(nonce), tip: tip.int(), price: price.int(),
		baseFee: history.BaseFee[len(history.BaseFee)-1].int(), gas: t.GasLimit,
	}
	switch {
	case s.gas != 0:
	case len(t.Data) == 0 && len(code) == 0:
		s.gas = TransferGas
	default:
		s.gas, err = c.estimateGas(ctx, t)
	}
	return s, err
}

func (c *Client) estimateGas(ctx context.Context, t Transfer) (uint64, error) {
	var gas hexutil.Uint64
	err := c.Call(ctx, &gas, "eth_estimateGas", map[string]any{
		"from": t.From, "to": t.To, "value": (*hexutil.Big)(t.Value.ToBig()), "data": hexutil.Bytes(t.Data),
	})
	return uint64(gas), err
}

// fees doubles the base fee, so that the transaction stays good for some full
// blocks; what is not needed is not paid.
func (s *survey) fees(t Transfer) (maxFee, tip *uint256.Int) {
	tip = s.tip
	if t.PriorityFee != nil {
		tip = t.PriorityFee
	}
	if t.MaxFee != nil {
		if t.PriorityFee == nil && tip.Gt(t.MaxFee) {
			tip = t.MaxFee
		}
		return t.MaxFee, tip
	}
	maxFee = new(uint256.Int)
	if _, overflow := maxFee.AddOverflow(s.baseFee, s.baseFee); overflow {
		return maxFee.SetAllOne(), tip
	}
	if _, overflow := maxFee.AddOverflow(maxFee, tip); overflow {
		maxFee.SetAllOne()
	}
	return maxFee, tip
}

// gasPrice is paid in full, so it is not doubled.
func (s *survey) gasPrice(t Transfer) *uint256.Int {
	if t.GasPrice != nil {
		return t.GasPrice
	}
	needed, overflow := new(uint256.Int).AddOverflow(s.baseFee, s.tip)
	if overflow {
		needed.SetAllOne()
	}
	if s.price.Gt(needed) {
		return s.price
	}
	return needed
}

// Sign signs a draft for its chain. Errors: ErrWrongKey.
func (d *Draft) Sign(key *crypto.PrivateKey) (*types.Transaction, error) {
	if key.Address() != d.From {
		return nil, fmt.Errorf("%w: %s, not %s", ErrWrongKey, key.Address(), d.From)
	}
	signer := types.NewLondonSigner(toBig(uint256.NewInt(d.ChainID)))
	sig := key.Sign(signer.Hash(d.Transaction))
	signed, err := d.Transaction.WithSignature(signer, sig[:])
	if err != nil {
		return nil, fmt.Errorf("sign a transaction: %w", err)
	}
	return signed, nil
}

// alreadyKnown is what a node says of a transaction it holds: not a refusal.
const alreadyKnown = "already known"

// Submit hands a signed transaction to the node. It is nil too when the node
// has the transaction already. After ErrUnreachable the node may or may not
// have it; submitting it again is safe. Errors: ErrAnswer; those of Call.
func (c *Client) Submit(ctx context.Context, tx *types.Transaction) error {
	raw, err := tx.MarshalBinary()
	if err != nil {
		return fmt.Errorf("encode a transaction: %w", err)
	}
	var answer json.RawMessage
	err = c.Call(ctx, &answer, "eth_sendRawTransaction", hexutil.Bytes(raw))
	if rejected, ok := errors.AsType[*RejectedError](err); ok && hasPrefixFold(rejected.Message, alreadyKnown) {
		return nil
	}
	if err != nil {
		return err
	}
	var hash crypto.Hash
	if err := json.Unmarshal(answer, &hash); err != nil || hash != tx.Hash() {
		return fmt.Errorf("%w: eth_sendRawTransaction took %s and answered %.80s", ErrAnswer, tx.Hash(), answer)
	}
	return nil
}
