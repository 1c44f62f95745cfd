package chain

import (
	"fmt"
	"math/big"
	"math/rand/v2"
	"testing"

	"github.com/ethereum/go-ethereum/core/types"
	"github.com/holiman/uint256"

	"cairn/crypto"
	"cairn/genesis"
	"cairn/ledger/trie"
)

const testChainID = 7_357

// coins is n·10^18 wei.
func coins(n uint64) *uint256.Int {
	return new(uint256.Int).Mul(uint256.NewInt(n), uint256.NewInt(1e18))
}

// key is the i-th account of the tests.
func key(t testing.TB, i int) *crypto.PrivateKey {
	t.Helper()
	h := crypto.Keccak256(fmt.Appendf(nil, "test key %d", i))
	k, err := crypto.PrivateKeyFromBytes(h[:])
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func testRules() genesis.Rules {
	return genesis.Rules{
		GasLimit: 30_000_000, BlockBytes: 1 << 20, BlockTransactions: 2000,
		Fees: genesis.FeeRules{
			InitialBaseFee: uint256.NewInt(1_000_000_000), MinBaseFee: uint256.NewInt(7),
			BaseFeeChangeDenominator: 8, GasTarget: 15_000_000,
		},
		MinBlockInterval: 5, Heartbeat: 0, Delta: 100, DeltaMax: 1000, CheckpointInterval: 1024,
	}
}

func testSpec(t testing.TB, accounts int) *genesis.Spec {
	t.Helper()
	spec := &genesis.Spec{
		ChainID: testChainID, Name: "test", Timestamp: 1_700_000_000_123, Rules: testRules(),
		Validators: []genesis.Validator{
			{Address: crypto.Address{2}, PeerID: "12D3KooWBuXTTzSRRDcWyC2XBGPEJNLzWu8f1x5KgqUPfoNNqBUK", Name: "b"},
			{Address: crypto.Address{1}, PeerID: "12D3KooWPkYkAyPRJaJvxGe5T8VDpcDQFxFzCdrsYcSrBjZKnXxF", Name: "a-name-of-32-characters-no-less-x"[:32]},
		},
	}
	for i := range accounts {
		spec.Alloc = append(spec.Alloc, genesis.Allocation{Address: key(t, i).Address(), Balance: coins(1000)})
	}
	return spec
}

// memory is a whole ledger state in maps: the flat side of State.
type memory struct {
	cfg      *Config
	head     *types.Header
	accounts map[crypto.Address]*Account
	slots    map[crypto.Address]map[crypto.Hash]crypto.Hash
	trie     *trie.Trie
	storage  map[crypto.Address]*trie.Trie
}

func (m *memory) Account(a crypto.Address) (*Account, error) { return m.accounts[a], nil }

func (m *memory) Slot(a crypto.Address, s crypto.Hash) (crypto.Hash, error) {
	return m.slots[a][s], nil
}

func (m *memory) state() State {
	return State{Reader: m, Accounts: m.trie, StorageTrie: func(a crypto.Address, root crypto.Hash) *trie.Trie {
		if s := m.storage[a]; s != nil && s.Hash() == root {
			return s
		}
		panic(fmt.Sprintf("storage trie of %s at %s", a, root))
	}}
}

func newMemory(t testing.TB, spec *genesis.Spec) *memory {
	t.Helper()
	block, out, err := Genesis(spec)
	if err != nil {
		t.Fatal(err)
	}
	m := &memory{
		cfg: NewConfig(spec, block.Hash()), accounts: make(map[crypto.Address]*Account),
		slots: make(map[crypto.Address]map[crypto.Hash]crypto.Hash), storage: make(map[crypto.Address]*trie.Trie),
	}
	m.commit(block, out)
	return m
}

// commit makes block the head.
func (m *memory) commit(block *types.Block, out *Output) {
	m.head, m.trie = block.Header(), out.Accounts
	for _, c := range out.Changes {
		if c.New == nil {
			delete(m.accounts, c.Address)
		} else {
			m.accounts[c.Address] = c.New
		}
	}
	for _, s := range out.Slots {
		if m.slots[s.Address] == nil {
			m.slots[s.Address] = make(map[crypto.Hash]crypto.Hash)
		}
		if s.New == (crypto.Hash{}) {
			delete(m.slots[s.Address], s.Slot)
		} else {
			m.slots[s.Address][s.Slot] = s.New
		}
	}
	for _, s := range out.StorageNodes {
		m.storage[s.Address] = s.Trie
	}
}

func (m *memory) balance(a crypto.Address) *uint256.Int {
	if acc := m.accounts[a]; acc != nil {
		return acc.Balance
	}
	return new(uint256.Int)
}

func (m *memory) params() BuildParams {
	extra, _ := DecodeExtra(m.head)
	epoch, _ := NextEpoch(m.head)
	return BuildParams{Epoch: epoch, View: extra.View + 1, TimestampMillis: MinTimestamp(m.cfg, extra), Proposer: proposer}
}

var proposer = crypto.Address{0xaa}

// queue is Candidates in a fixed order.
type queue struct {
	txs      []*types.Transaction
	accepted int
	skipped  []error
}

func (q *queue) Next() *types.Transaction {
	if len(q.txs) == 0 {
		return nil
	}
	tx := q.txs[0]
	q.txs = q.txs[1:]
	return tx
}

func (q *queue) Accept()        { q.accepted++ }
func (q *queue) Skip(err error) { q.skipped = append(q.skipped, err) }

// build makes a block of txs, which must all be accepted, without committing it.
func (m *memory) build(t testing.TB, txs ...*types.Transaction) (*types.Block, *Output) {
	t.Helper()
	q := &queue{txs: txs}
	block, out, err := Build(m.cfg, m.head, m.state(), m.params(), q)
	if err != nil {
		t.Fatal(err)
	}
	if len(q.skipped) > 0 {
		t.Fatalf("skipped: %v", q.skipped)
	}
	return block, out
}

// sign puts k's signature on the transaction.
func sign(t testing.TB, k *crypto.PrivateKey, data types.TxData) *types.Transaction {
	t.Helper()
	return signFor(t, testChainID, k, data)
}

func signFor(t testing.TB, chainID uint64, k *crypto.PrivateKey, data types.TxData) *types.Transaction {
	t.Helper()
	s, tx := NewSigner(chainID), types.NewTx(data)
	sig := k.Sign(s.Hash(tx))
	signed, err := tx.WithSignature(s, sig[:])
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

// dynamic is an EIP-1559 transfer.
func dynamic(nonce uint64, to crypto.Address, value *uint256.Int, tip, feeCap uint64) *types.DynamicFeeTx {
	return &types.DynamicFeeTx{
		ChainID: big.NewInt(testChainID), Nonce: nonce, To: &to, Value: value.ToBig(), Gas: 21_000,
		GasTipCap: new(big.Int).SetUint64(tip), GasFeeCap: new(big.Int).SetUint64(feeCap),
	}
}

// legacy is a transfer of type 0.
func legacy(nonce uint64, to crypto.Address, value *uint256.Int, price uint64) *types.LegacyTx {
	return &types.LegacyTx{Nonce: nonce, To: &to, Value: value.ToBig(), Gas: 21_000, GasPrice: new(big.Int).SetUint64(price)}
}

// randomBytes of length n.
func randomBytes(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		if r.IntN(3) > 0 {
			b[i] = byte(r.Uint32())
		}
	}
	return b
}
