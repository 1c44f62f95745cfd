package ledger

import (
	"fmt"
	"math/big"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/holiman/uint256"

	"cairn/crypto"
	"cairn/genesis"
	"cairn/ledger/chain"
	"cairn/ledger/store"
)

const (
	testChainID = 7_357
	baseFee     = 1_000_000_000 // of every block of the tests
)

func key(i int) *crypto.PrivateKey {
	h := crypto.Keccak256(fmt.Appendf(nil, "test key %d", i))
	k, err := crypto.PrivateKeyFromBytes(h[:])
	if err != nil {
		panic(err)
	}
	return k
}

func coins(n uint64) *uint256.Int {
	return new(uint256.Int).Mul(uint256.NewInt(n), uint256.NewInt(1e18))
}

func testSpec(accounts int) *genesis.Spec {
	rules := genesis.DefaultRules()
	rules.MinBlockInterval = 1
	spec := &genesis.Spec{
		ChainID: testChainID, Name: "test", Timestamp: 1_700_000_000_123, Rules: rules,
		Validators: []genesis.Validator{
			{Address: crypto.Address{2}, PeerID: "12D3KooWBuXTTzSRRDcWyC2XBGPEJNLzWu8f1x5KgqUPfoNNqBUK", Name: "b"},
			{Address: crypto.Address{1}, PeerID: "12D3KooWPkYkAyPRJaJvxGe5T8VDpcDQFxFzCdrsYcSrBjZKnXxF", Name: "a"},
		},
	}
	for i := range accounts {
		spec.Alloc = append(spec.Alloc, genesis.Allocation{Address: key(i).Address(), Balance: coins(1000)})
	}
	return spec
}

// node is a ledger over a store in memory that can lose power.
type node struct {
	t      testing.TB
	fs     *vfs.MemFS
	st     *store.Store
	l      *Ledger
	spec   *genesis.Spec
	view   uint64
	millis uint64
	opts   Options
	stOpts store.Options
}

func newNode(t testing.TB, spec *genesis.Spec, o Options) *node {
	t.Helper()
	n := &node{t: t, fs: vfs.NewCrashableMem(), spec: spec, millis: spec.Timestamp, opts: o}
	n.open()
	t.Cleanup(func() {
		if err := n.st.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return n
}

func (n *node) open() {
	n.t.Helper()
	var err error
	o := n.stOpts
	o.FS = n.fs
	if n.st, err = store.Open("/data/ledger", o); err != nil {
		n.t.Fatal(err)
	}
	if n.l, err = OpenWith(n.st, n.spec, n.opts); err != nil {
		n.t.Fatal(err)
	}
}

// reopen stops the node cleanly and starts it.
func (n *node) reopen() {
	n.t.Helper()
	if err := n.st.Close(); err != nil {
		n.t.Fatal(err)
	}
	n.open()
}

// crash cuts the power: what was not synced is lost, or some of it with a
// generator, and the node starts on the rest.
func (n *node) crash(r *rand.Rand) {
	n.t.Helper()
	cfg := vfs.CrashCloneCfg{}
	if r != nil {
		cfg.UnsyncedDataPercent, cfg.RNG = r.IntN(101), r
	}
	after := n.fs.CrashClone(cfg)
	if err := n.st.Close(); err != nil {
		n.t.Fatal(err)
	}
	n.fs = after
	n.open()
}

// queue is a list of candidates, tried in order.
type queue struct {
	txs     []*types.Transaction
	skipped []error
}

func (q *queue) Next() *types.Transaction {
	if len(q.txs) == 0 {
		return nil
	}
	tx := q.txs[0]
	q.txs = q.txs[1:]
	return tx
}

func (q *queue) Accept()        {}
func (q *queue) Skip(err error) { q.skipped = append(q.skipped, err) }

var proposer = crypto.Address{0xaa}

// build makes a block of txs, all of which must go in.
func (n *node) build(parent crypto.Hash, txs ...*types.Transaction) *types.Block {
	n.t.Helper()
	n.view++
	n.millis += 7
	q := &queue{txs: txs}
	top, err := n.l.find(parent)
	if err != nil {
		n.t.Fatal(err)
	}
	epoch, err := chain.NextEpoch(n.l.headerOf(top))
	if err != nil {
		n.t.Fatal(err)
	}
	b, err := n.l.Build(parent, chain.BuildParams{Epoch: epoch, View: n.view, TimestampMillis: n.millis, Proposer: proposer}, q)
	if err != nil {
		n.t.Fatal(err)
	}
	if len(q.skipped) > 0 {
		n.t.Fatalf("skipped: %v", q.skipped)
	}
	return b
}

func (n *node) finalize(b *types.Block) []*Final {
	n.t.Helper()
	extra, err := chain.DecodeExtra(b.Header())
	if err != nil {
		n.t.Fatal(err)
	}
	finals, err := n.l.Finalize(b.Hash(), certificate(b), Floor{Epoch: extra.Epoch, View: extra.View}, nil)
	if err != nil {
		n.t.Fatal(err)
	}
	return finals
}

func certificate(b *types.Block) []byte { return fmt.Appendf(nil, "finalization of %s", b.Hash()) }

func (n *node) head() crypto.Hash { return n.l.HeadInfo().Hash }

func sign(k *crypto.PrivateKey, data types.TxData) *types.Transaction {
	s, tx := chain.NewSigner(testChainID), types.NewTx(data)
	sig := k.Sign(s.Hash(tx))
	signed, err := tx.WithSignature(s, sig[:])
	if err != nil {
		panic(err)
	}
	if _, err := chain.Sender(s, signed); err != nil { // cached, as the pool does
		panic(err)
	}
	return signed
}

// transfer is an EIP-1559 transfer with a tip in wei.
func transfer(k *crypto.PrivateKey, nonce uint64, to crypto.Address, value, tip uint64) *types.Transaction {
	return sign(k, &types.DynamicFeeTx{
		ChainID: big.NewInt(testChainID), Nonce: nonce, To: &to, Value: new(big.Int).SetUint64(value), Gas: 21_000,
		GasTipCap: new(big.Int).SetUint64(tip), GasFeeCap: new(big.Int).SetUint64(3 * baseFee),
	})
}
