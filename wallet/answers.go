package wallet

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/big"
	"time"

	"cairn/crypto"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/holiman/uint256"
)

// Block is a final block's header and what it holds.
type Block struct {
	Header       *types.Header
	Hash         crypto.Hash // of Header, computed here
	Transactions []crypto.Hash
	Size         uint64 // bytes
	Epoch        uint32
	View         uint64
	Time         time.Time // milliseconds
}

// BlockByHeight answers a final block. Errors: ErrNotFound; those of Call.
func (c *Client) BlockByHeight(ctx context.Context, height uint64) (*Block, error) {
	b, err := c.block(ctx, "eth_getBlockByNumber", hexutil.Uint64(height))
	if err != nil {
		return nil, fmt.Errorf("block %d: %w", height, err)
	}
	if b.Header.Number.Uint64() != height {
		return nil, fmt.Errorf("%w: block %s, asked for %d", ErrAnswer, b.Header.Number, height)
	}
	return b, nil
}

// BlockByHash answers a final block. Errors: ErrNotFound; those of Call.
func (c *Client) BlockByHash(ctx context.Context, hash crypto.Hash) (*Block, error) {
	b, err := c.block(ctx, "eth_getBlockByHash", hash)
	if err != nil {
		return nil, fmt.Errorf("block %s: %w", hash, err)
	}
	if b.Hash != hash {
		return nil, fmt.Errorf("%w: block %s, asked for %s", ErrAnswer, b.Hash, hash)
	}
	return b, nil
}

// LatestBlock answers the last final block. Errors: those of Call.
func (c *Client) LatestBlock(ctx context.Context) (*Block, error) {
	return c.block(ctx, "eth_getBlockByNumber", "latest")
}

func (c *Client) block(ctx context.Context, method string, which any) (*Block, error) {
	var raw json.RawMessage
	if err := c.Call(ctx, &raw, method, which, false); err != nil {
		return nil, err
	}
	if string(raw) == "null" {
		return nil, ErrNotFound
	}
	var rest struct {
		Hash         crypto.Hash    `json:"hash"`
		Transactions []crypto.Hash  `json:"transactions"`
		Size         hexutil.Uint64 `json:"size"`
	}
	b := &Block{Header: new(types.Header)}
	if err := json.Unmarshal(raw, b.Header); err != nil {
		return nil, fmt.Errorf("%w: %s: %s", ErrAnswer, method, printable(err.Error()))
	}
	if err := json.Unmarshal(raw, &rest); err != nil {
		return nil, fmt.Errorf("%w: %s: %s", ErrAnswer, method, printable(err.Error()))
	}
	b.Hash, b.Transactions, b.Size = b.Header.Hash(), rest.Transactions, uint64(rest.Size)
	if b.Hash != rest.Hash {
		return nil, fmt.Errorf("%w: %s: a block called %s whose header hashes to %s", ErrAnswer, method, rest.Hash, b.Hash)
	}
	if !b.Header.Number.IsUint64() {
		return nil, fmt.Errorf("%w: %s: block number %s", ErrAnswer, method, b.Header.Number)
	}
	b.readExtra()
	return b, nil
}

// readExtra takes epoch, view and time from extraData, 21 big-endian bytes:
// version(1) epoch(4) view(8) timestampMillis(8).
func (b *Block) readExtra() {
	b.Time = time.Unix(int64(b.Header.Time), 0)
	if x := b.Header.Extra; len(x) == 21 && x[0] == 1 {
		b.Epoch = binary.BigEndian.Uint32(x[1:])
		b.View = binary.BigEndian.Uint64(x[5:])
		b.Time = time.UnixMilli(int64(binary.BigEndian.Uint64(x[13:])))
	}
}

// Transaction is a transaction as the node knows it.
type Transaction struct {
	*types.Transaction
	From crypto.Address
	// Final says that it is in a final block; the rest is zero otherwise.
	Final     bool
	Height    uint64
	BlockHash crypto.Hash
	Index     uint64
}

// Transaction answers a transaction, its hash and sender checked.
// Errors: ErrNotFound, ErrAnswer; those of Call.
func (c *Client) Transaction(ctx context.Context, hash crypto.Hash) (*Transaction, error) {
	const method = "eth_getTransactionByHash"
	var raw json.RawMessage
	if err := c.Call(ctx, &raw, method, hash); err != nil {
		return nil, err
	}
	if string(raw) == "null" {
		return nil, fmt.Errorf("transaction %s: %w", hash, ErrNotFound)
	}
	var where struct {
		BlockHash   *crypto.Hash    `json:"blockHash"`
		BlockNumber *hexutil.Uint64 `json:"blockNumber"`
		Index       *hexutil.Uint64 `json:"transactionIndex"`
		From        crypto.Address  `json:"from"`
	}
	t := &Transaction{Transaction: new(types.Transaction)}
	if err := json.Unmarshal(raw, t.Transaction); err != nil {
		return nil, fmt.Errorf("%w: %s: %s", ErrAnswer, method, printable(err.Error()))
	}
	if err := json.Unmarshal(raw, &where); err != nil {
		return nil, fmt.Errorf("%w: %s: %s", ErrAnswer, method, printable(err.Error()))
	}
	if got := t.Hash(); got != hash {
		return nil, fmt.Errorf("%w: %s: transaction %s, asked for %s", ErrAnswer, method, got, hash)
	}
	from, err := types.Sender(types.LatestSignerForChainID(t.ChainId()), t.Transaction)
	if err != nil || from != where.From {
		return nil, fmt.Errorf("%w: %s: transaction %s is signed by %s, said to be from %s", ErrAnswer, method, hash, from, where.From)
	}
	t.From = from
	if where.BlockHash != nil && where.BlockNumber != nil && where.Index != nil {
		t.Final, t.BlockHash, t.Height, t.Index = true, *where.BlockHash, uint64(*where.BlockNumber), uint64(*where.Index)
	}
	return t, nil
}

// Receipt is what a final transaction did. A node shows none before.
type Receipt struct {
	Hash              crypto.Hash
	From              crypto.Address
	To                crypto.Address
	Type              uint8
	Status            uint64 // 1 done, 0 failed
	Height            uint64
	BlockHash         crypto.Hash
	Index             uint64
	GasUsed           uint64
	EffectiveGasPrice *uint256.Int // wei
	Logs              []*types.Log
}

// Fee is what the transaction paid, in wei.
func (r *Receipt) Fee() *uint256.Int {
	return new(uint256.Int).Mul(r.EffectiveGasPrice, uint256.NewInt(r.GasUsed))
}

// Err is a *FailedError for a receipt with status 0.
func (r *Receipt) Err() error {
	if r.Status == 1 {
		return nil
	}
	return &FailedError{Hash: r.Hash, Height: r.Height}
}

// Receipt answers the receipt of a final transaction.
// Errors: ErrNotFound, also while it is pending; those of Call.
func (c *Client) Receipt(ctx context.Context, hash crypto.Hash) (*Receipt, error) {
	var raw json.RawMessage
	if err := c.Call(ctx, &raw, "eth_getTransactionReceipt", hash); err != nil {
		return nil, err
	}
	r, err := parseReceipt(raw, hash)
	if err == nil && r == nil {
		err = fmt.Errorf("receipt of %s: %w", hash, ErrNotFound)
	}
	return r, err
}

// parseReceipt answers nil for null.
func parseReceipt(raw []byte, hash crypto.Hash) (*Receipt, error) {
	if len(raw) == 0 || string(raw) == "null" {
		return nil, nil
	}
	var j struct {
		Hash      crypto.Hash     `json:"transactionHash"`
		From      crypto.Address  `json:"from"`
		To        crypto.Address  `json:"to"`
		Type      hexutil.Uint64  `json:"type"`
		Status    *hexutil.Uint64 `json:"status"`
		Height    *hexutil.Uint64 `json:"blockNumber"`
		BlockHash *crypto.Hash    `json:"blockHash"`
		Index     hexutil.Uint64  `json:"transactionIndex"`
		GasUsed   *hexutil.Uint64 `json:"gasUsed"`
		Price     *quantity       `json:"effectiveGasPrice"`
		Logs      []*types.Log    `json:"logs"`
	}
	if err := json.Unmarshal(raw, &j); err != nil {
		return nil, fmt.Errorf("%w: receipt: %s", ErrAnswer, printable(err.Error()))
	}
	if j.Hash != hash || j.Status == nil || *j.Status > 1 || j.Height == nil || j.BlockHash == nil ||
		j.GasUsed == nil || j.Price == nil || j.Type > 0x7f {
		return nil, fmt.Errorf("%w: receipt of %s is incomplete or another's", ErrAnswer, hash)
	}
	return &Receipt{
		Hash: j.Hash, From: j.From, To: j.To, Type: uint8(j.Type), Status: uint64(*j.Status),
		Height: uint64(*j.Height), BlockHash: *j.BlockHash, Index: uint64(j.Index),
		GasUsed: uint64(*j.GasUsed), EffectiveGasPrice: j.Price.int(), Logs: j.Logs,
	}, nil
}

// Status is a node's own view of itself and the network, the answer of
// cairn_status.
type Status struct {
	Version         string         `json:"version"`
	ChainID         hexutil.Uint64 `json:"chainId"`
	GenesisHash     crypto.Hash    `json:"genesisHash"`
	Height          hexutil.Uint64 `json:"height"`
	Hash            crypto.Hash    `json:"hash"`
	StateRoot       crypto.Hash    `json:"stateRoot"`
	TimestampMillis hexutil.Uint64 `json:"timestampMillis"`
	Epoch           hexutil.Uint64 `json:"epoch"`
	View            hexutil.Uint64 `json:"view"`
	Leader          string         `json:"leader"`
	Role            string         `json:"role"` // validator or full
	Name            string         `json:"name"` // of the validator
	Voting          bool           `json:"voting"`
	Observing       bool           `json:"observing"` // it votes no more until it is safe to
	Peers           int            `json:"peers"`
	Validators      int            `json:"validators"`
	Quorum          int            `json:"quorum"`
	Connected       int            `json:"validatorsConnected"`
	Syncing         bool           `json:"syncing"`
	Target          hexutil.Uint64 `json:"targetHeight"`
	Pending         int            `json:"pendingTransactions"`
	Queued          int            `json:"queuedTransactions"`
	Healthy         bool           `json:"healthy"`
	Problems        []string       `json:"problems"`
}

// Status answers cairn_status. Errors: those of Call.
func (c *Client) Status(ctx context.Context) (*Status, error) {
	s := new(Status)
	if err := c.Call(ctx, s, "cairn_status"); err != nil {
		return nil, err
	}
	s.Version, s.Leader, s.Role, s.Name = printable(s.Version), printable(s.Leader), printable(s.Role), printable(s.Name)
	for i, p := range s.Problems {
		s.Problems[i] = printable(p)
	}
	return s, nil
}

// toBig is for go-ethereum's fields.
func toBig(v *uint256.Int) *big.Int { return v.ToBig() }
