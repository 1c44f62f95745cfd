// Package lighttest makes ledgers whose blocks are final by real certificates,
// for tests of what checks them: everything but the agreement is real. One
// process holds the keys of all validators and signs in their names.
package lighttest

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"math/big"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/ethereum/go-ethereum/accounts/abi"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/holiman/uint256"

	"cairn/consensus"
	"cairn/crypto"
	"cairn/genesis"
	"cairn/ledger"
	"cairn/ledger/chain"
	"cairn/ledger/store"
	"cairn/light"
)

// ChainID is of every Chain.
const ChainID = 7_357

// Chain is a ledger in memory. It is safe for concurrent use.
type Chain struct {
	Spec   *genesis.Spec
	Ledger *ledger.Ledger
	Store  *store.Store // of Ledger

	t       testing.TB
	mu      sync.Mutex
	view    uint64
	millis  uint64
	members map[crypto.Address]int // number of the validator key
	pending map[crypto.Address]uint64
}

// Key is the key of validator number i ≥ 0. Account i has the key −1−i.
func Key(i int) *crypto.PrivateKey {
	h := crypto.Keccak256(fmt.Appendf(nil, "light key %d", i))
	k, err := crypto.PrivateKeyFromBytes(h[:])
	if err != nil {
		panic(err)
	}
	return k
}

// Account is the key of a funded account that is no validator's.
func Account(i int) *crypto.PrivateKey { return Key(-1 - i) }

// Validator is validator number i, of the genesis set or not.
func Validator(i int) genesis.Validator {
	seed := crypto.Keccak256(fmt.Appendf(nil, "peer key %d", i))
	public := ed25519.NewKeyFromSeed(seed[:]).Public().(ed25519.PublicKey)
	return genesis.Validator{Address: Key(i).Address(), PeerID: genesis.PeerID(public), Name: fmt.Sprintf("v%d", i)}
}

// keys is how many validator keys there are.
const keys = 16

// Spec is a network of n validators in which validators and accounts are funded.
func Spec(n int) *genesis.Spec {
	spec := &genesis.Spec{ChainID: ChainID, Name: "light", Timestamp: 1_700_000_000_123, Rules: genesis.DefaultRules()}
	spec.Rules.MinBlockInterval, spec.Rules.RemoveEquivocators = 1, true
	for i := range n {
		spec.Validators = append(spec.Validators, Validator(i))
	}
	fund := func(k *crypto.PrivateKey) {
		wei := new(uint256.Int).Mul(uint256.NewInt(1000), uint256.NewInt(1e18))
		spec.Alloc = append(spec.Alloc, genesis.Allocation{Address: k.Address(), Balance: wei})
	}
	for i := range keys {
		fund(Key(i))
	}
	for i := range 4 {
		fund(Account(i))
	}
	return spec
}

// New makes a ledger whose first n validators decide epoch 0.
func New(t testing.TB, n int) *Chain {
	t.Helper()
	return NewOf(t, Spec(n), "/data/ledger", store.Options{FS: vfs.NewMem()}, ledger.Options{})
}

// NewOf makes a ledger of a network that began as Spec, with its database in a
// directory.
func NewOf(t testing.TB, spec *genesis.Spec, dir string, so store.Options, lo ledger.Options) *Chain {
	t.Helper()
	c := &Chain{
		t: t, Spec: spec, millis: 1_700_000_000_123,
		members: make(map[crypto.Address]int), pending: make(map[crypto.Address]uint64),
	}
	for i := range keys {
		c.members[Key(i).Address()] = i
	}
	st, err := store.Open(dir, so)
	c.check(err)
	t.Cleanup(func() { c.check(st.Close()) })
	c.Store = st
	c.Ledger, err = ledger.OpenWith(st, c.Spec, lo)
	c.check(err)
	return c
}

func (c *Chain) check(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

// Network is what every certificate binds.
func (c *Chain) Network() consensus.Network {
	return consensus.Network{ChainID: ChainID, Genesis: c.Ledger.Genesis().Hash()}
}

// queue are the transactions of one block; all must go in.
type queue struct {
	txs []*types.Transaction
	err error
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
func (q *queue) Skip(err error) { q.err = err }

// Build makes a block on the head or on a block that Build made; it is not final.
func (c *Chain) Build(parent *types.Block, txs ...*types.Transaction) *types.Block {
	c.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	hash, header := c.Ledger.HeadInfo().Hash, c.Ledger.Head()
	if parent != nil {
		hash, header = parent.Hash(), parent.Header()
	}
	epoch, err := chain.NextEpoch(header)
	c.check(err)
	c.view++
	c.millis += 7
	q := &queue{txs: txs}
	set, _ := c.Ledger.Validators()
	b, err := c.Ledger.Build(hash, chain.BuildParams{Epoch: epoch, View: c.view, TimestampMillis: c.millis, Proposer: set.At(0).Address}, q)
	c.check(err)
	c.check(q.err)
	return b
}

// Finalize makes a block and those below it final by a certificate of a quorum.
func (c *Chain) Finalize(b *types.Block) {
	c.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	cert := c.certify(b)
	floor := ledger.Floor{Epoch: cert.Epoch, View: cert.View}
	if chain.IsClosing(b.Header()) {
		floor = ledger.Floor{Epoch: cert.Epoch + 1}
	}
	_, err := c.Ledger.Finalize(b.Hash(), consensus.EncodeCertificate(cert), floor, nil)
	c.check(err)
}

// Seal makes a final block of the transactions.
func (c *Chain) Seal(txs ...*types.Transaction) *types.Block {
	c.t.Helper()
	b := c.Build(nil, txs...)
	c.Finalize(b)
	return b
}

// certify signs a finalization of a block of the running epoch with the keys of
// the first quorum of its set.
func (c *Chain) certify(b *types.Block) *consensus.Certificate {
	c.t.Helper()
	extra, err := chain.DecodeExtra(b.Header())
	c.check(err)
	set, epoch := c.Ledger.Validators()
	if extra.Epoch != epoch {
		c.t.Fatalf("block %d is of epoch %d, the running one is %d", b.NumberU64(), extra.Epoch, epoch)
	}
	subject := consensus.Subject{Kind: consensus.Finalize, Epoch: epoch, View: extra.View, ParentView: extra.View - 1, Block: b.Hash()}
	var signers []int
	for i := range consensus.Quorum(set.Len()) {
		signers = append(signers, i)
	}
	return c.Sign(c.Network(), subject, set, signers...)
}

// Sign makes a certificate: the members of set at these places, ascending, sign.
func (c *Chain) Sign(net consensus.Network, s consensus.Subject, set *genesis.ValidatorSet, signers ...int) *consensus.Certificate {
	c.t.Helper()
	cert := &consensus.Certificate{Subject: s, Signers: consensus.NewBitmap(set.Len())}
	for _, i := range signers {
		key, ok := c.members[set.At(i).Address]
		if !ok {
			c.t.Fatalf("no key of %s", set.At(i).Address)
		}
		cert.Signers.Set(i)
		cert.Signatures = append(cert.Signatures, Key(key).Sign(s.Digest(net)))
	}
	return cert
}

// Transaction signs the next transaction of a key.
func (c *Chain) Transaction(key *crypto.PrivateKey, to crypto.Address, wei int64, gas uint64, data []byte) *types.Transaction {
	c.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	from := key.Address()
	acc, err := c.Ledger.Account(from)
	c.check(err)
	if acc != nil {
		c.pending[from] = max(c.pending[from], acc.Nonce)
	}
	signer := chain.NewSigner(ChainID)
	tx := types.NewTx(&types.DynamicFeeTx{
		ChainID: big.NewInt(ChainID), Nonce: c.pending[from], To: &to, Value: big.NewInt(wei), Gas: gas, Data: data,
		GasFeeCap: big.NewInt(10_000_000_000), GasTipCap: big.NewInt(1),
	})
	c.pending[from]++
	sig := key.Sign(signer.Hash(tx))
	tx, err = tx.WithSignature(signer, sig[:])
	c.check(err)
	_, err = chain.Sender(signer, tx) // cached, as the pool does
	c.check(err)
	return tx
}

// Transfer is 1 wei from account i to someone.
func (c *Chain) Transfer(i int) *types.Transaction {
	c.t.Helper()
	return c.Transaction(Account(i), crypto.Address{0x5e}, 1, 21_000, nil)
}

// Call is a call of the registry.
func (c *Chain) Call(key *crypto.PrivateKey, method string, args ...any) *types.Transaction {
	c.t.Helper()
	parsed, err := abi.JSON(bytes.NewReader(chain.RegistryABI))
	c.check(err)
	data, err := parsed.Pack(method, args...)
	c.check(err)
	return c.Transaction(key, genesis.RegistryAddress, 0, 2_000_000, data)
}

// Register makes validator i a candidate, in a block of its own.
func (c *Chain) Register(i int) {
	c.t.Helper()
	v := Validator(i)
	proof := genesis.SignRegistration(Key(i), ChainID, v, c.registrations(v.Address))
	c.Seal(c.Call(Key(i), "register", v.Address, v.PeerID, v.Name, proof[:]))
}

func (c *Chain) registrations(a crypto.Address) uint64 {
	parsed, err := abi.JSON(bytes.NewReader(chain.RegistryABI))
	c.check(err)
	input, err := parsed.Pack("registrations", a)
	c.check(err)
	out, err := chain.CallRegistry(c.Ledger.Config(), c.Ledger, chain.Call{Input: input})
	c.check(err)
	return new(big.Int).SetBytes(out).Uint64()
}

// Change makes a quorum add or remove validator i, and answers the final closing
// block.
func (c *Chain) Change(i int, add bool) *types.Block {
	c.t.Helper()
	if add {
		c.Register(i)
	}
	set, epoch := c.Ledger.Validators()
	var votes []*types.Transaction
	for k := range consensus.Quorum(set.Len()) {
		voter := Key(c.members[set.At(k).Address])
		votes = append(votes, c.Call(voter, "vote", Key(i).Address(), add))
	}
	b := c.Seal(votes...)
	if _, now := c.Ledger.Validators(); now != epoch+1 || !chain.IsClosing(b.Header()) {
		c.t.Fatalf("epoch %d after a change in epoch %d", now, epoch)
	}
	return b
}

// Step is the end of an epoch that is over.
func (c *Chain) Step(epoch uint32) light.Step {
	c.t.Helper()
	height, err := c.Ledger.EpochEnd(epoch)
	c.check(err)
	header, err := c.Ledger.HeaderByHeight(height)
	c.check(err)
	cert, err := c.Ledger.Certificate(height)
	c.check(err)
	set, _, err := c.Ledger.ValidatorsAt(height)
	c.check(err)
	s := light.Step{Header: chain.EncodeHeader(header), Finalization: cert}
	for i := range set.Len() {
		s.Next = append(s.Next, set.At(i))
	}
	return s
}

// Steps are the ends of all epochs that are over.
func (c *Chain) Steps() []light.Step {
	c.t.Helper()
	_, epoch := c.Ledger.Validators()
	var out []light.Step
	for e := range epoch {
		out = append(out, c.Step(e))
	}
	return out
}

// Finality is what makes the block at a height final.
func (c *Chain) Finality(height uint64) (header, finalization []byte, descendants [][]byte) {
	c.t.Helper()
	h, err := c.Ledger.HeaderByHeight(height)
	c.check(err)
	cert, at, err := c.Ledger.CertificateAtOrAbove(height)
	c.check(err)
	for next := height + 1; next <= at; next++ {
		d, err := c.Ledger.HeaderByHeight(next)
		c.check(err)
		descendants = append(descendants, chain.EncodeHeader(d))
	}
	return chain.EncodeHeader(h), cert, descendants
}
