package store

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/big"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/rlp"
	"github.com/holiman/uint256"

	"cairn/crypto"
	"cairn/ledger/chain"
)

// small makes logs and memtables turn over often.
func small(fs vfs.FS) Options {
	return Options{FS: fs, CacheBytes: 1 << 20, MemTableBytes: 64 << 10, MaxOpenFiles: 64}
}

func open(t testing.TB, o Options) *Store {
	t.Helper()
	s, err := Open("/home/node/ledger", o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func openMem(t testing.TB) *Store {
	t.Helper()
	s := open(t, small(vfs.NewMem()))
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// addresses are the accounts that the test blocks move.
const addresses = 7

func address(i int) crypto.Address { return crypto.Address{byte(i + 1)} }

// testBlock is a block of height whose transactions are told from those of
// other blocks by salt. Only what the store looks at is right.
func testBlock(parent *types.Header, view uint64, salt, transactions int) *types.Block {
	h := &types.Header{
		UncleHash: types.EmptyUncleHash, Difficulty: new(big.Int), Number: new(big.Int), BaseFee: new(big.Int),
		Extra: chain.Extra{Version: 1, View: view, TimestampMillis: view}.Encode(), GasLimit: uint64(salt),
	}
	if parent != nil {
		h.Number.Add(parent.Number, big.NewInt(1))
		h.ParentHash = parent.Hash()
	}
	var txs types.Transactions
	for i := range transactions {
		to := address(i % addresses)
		txs = append(txs, types.NewTx(&types.LegacyTx{
			Nonce: uint64(i), To: &to, Gas: uint64(salt), GasPrice: big.NewInt(1), Value: new(big.Int),
			V: big.NewInt(1), R: new(big.Int).SetBytes(noise(salt, i)), S: big.NewInt(1),
		}))
	}
	return types.NewBlockWithHeader(h).WithBody(types.Body{Transactions: txs})
}

// noise is 32 bytes that do not compress.
func noise(a, b int) []byte {
	h := crypto.Keccak256(fmt.Appendf(nil, "%d %d", a, b))
	return h[:]
}

func raw(b *types.Block) []byte {
	r, err := rlp.EncodeToBytes(b)
	if err != nil {
		panic(err)
	}
	return r
}

// balance is that of an account after the block at height.
func balance(i int, height uint64) *uint256.Int { return uint256.NewInt(height*100 + uint64(i)) }

// commitOf is the batch of a block: each account changes at heights that are
// multiples of its number plus one.
func commitOf(b *types.Block, own bool) *Commit {
	c := &Commit{Hash: b.Hash(), Header: b.Header()}
	height := b.NumberU64()
	for i, tx := range b.Transactions() {
		c.Transactions = append(c.Transactions, tx.Hash())
		c.Receipts = append(c.Receipts, &types.Receipt{Status: uint64(i) % 2, GasUsed: 21_000 + uint64(i)})
	}
	for i := range addresses {
		if height%uint64(i+1) != 0 {
			continue
		}
		acc := chain.NewAccount(balance(i, height))
		acc.Nonce = height
		row := AccountRow{Address: address(i), Account: acc, Changed: true}
		for j, tx := range b.Transactions() {
			if *tx.To() == address(i) {
				row.Transactions = append(row.Transactions, uint32(j))
			}
		}
		c.Accounts = append(c.Accounts, row)
	}
	c.Slots = []SlotRow{{address(0), crypto.Hash{1}, crypto.Hash(uint256.NewInt(height).Bytes32())}}
	c.Nodes = []NodeRow{
		{Path: nil, Blob: binary.BigEndian.AppendUint64(nil, height)},
		{Path: []byte{byte(height % 16), 3}, Blob: noise(int(height), 0)},
	}
	if height > 0 {
		c.Nodes = append(c.Nodes, NodeRow{Path: []byte{byte((height - 1) % 16), 3}})
	}
	if own {
		e, err := chain.DecodeExtra(b.Header())
		if err != nil {
			panic(err)
		}
		c.Certificate = fmt.Appendf(nil, "certificate %d", height)
		c.Floor = &Floor{Epoch: e.Epoch, View: e.View}
		c.Prune = []RecordRange{{From: recordKey(0), To: recordKey(e.View + 1)}}
	}
	return c
}

func recordKey(view uint64) []byte { return binary.BigEndian.AppendUint64(nil, view) }

// checkAt says whether everything that a head at the last of blocks refers to is
// there. certified tells which heights have an own certificate.
func checkAt(s *Store, blocks []*types.Block, certified func(height uint64) bool) error {
	head := blocks[len(blocks)-1]
	at, err := s.Head()
	if err != nil || at.Hash != head.Hash() || at.Height != head.NumberU64() {
		return fmt.Errorf("head %+v %v, want %d %s", at, err, head.NumberU64(), head.Hash())
	}
	for _, b := range blocks {
		if err := checkBlock(s, b, certified(b.NumberU64())); err != nil {
			return fmt.Errorf("block %d of head %d: %w", b.NumberU64(), at.Height, err)
		}
	}
	for i := range addresses {
		last := at.Height - at.Height%uint64(i+1)
		acc, err := s.Account(address(i))
		if err != nil || acc == nil || !acc.Balance.Eq(balance(i, last)) || acc.Nonce != last {
			return fmt.Errorf("account %d: %+v %v", i, acc, err)
		}
	}
	slot, err := s.Slot(address(0), crypto.Hash{1})
	if err != nil || slot.Big().Uint64() != at.Height {
		return fmt.Errorf("slot: %s %v", slot, err)
	}
	root, err := s.Node(crypto.Hash{}, nil)
	if err != nil || binary.BigEndian.Uint64(root) != at.Height {
		return fmt.Errorf("root node %x %v", root, err)
	}
	for d := range uint64(16) {
		want := d == at.Height%16
		if blob, err := s.Node(crypto.Hash{}, []byte{byte(d), 3}); (err == nil) != want {
			return fmt.Errorf("node %d: %x %v", d, blob, err)
		}
	}
	return nil
}

func checkBlock(s *Store, b *types.Block, certified bool) error {
	height, hash := b.NumberU64(), b.Hash()
	if got, err := s.Body(hash); err != nil || !bytes.Equal(got, raw(b)) {
		return fmt.Errorf("body: %x %w", got, err)
	}
	if h, got, err := s.HeaderByHeight(height); err != nil || got != hash || h.Hash() != hash {
		return fmt.Errorf("header %s: %w", got, err)
	}
	if at, err := s.HeightByHash(hash); err != nil || at != height {
		return fmt.Errorf("height %d: %w", at, err)
	}
	outcomes, err := s.Receipts(height)
	if err != nil || len(outcomes) != len(b.Transactions()) {
		return fmt.Errorf("%d receipts: %w", len(outcomes), err)
	}
	for i, tx := range b.Transactions() {
		if o := outcomes[i]; o.Status != uint64(i)%2 || o.GasUsed != 21_000+uint64(i) {
			return fmt.Errorf("receipt %d: %+v", i, o)
		}
		places, err := s.TxLookup(tx.Hash())
		if err != nil || !slices.Contains(places, Place{height, uint32(i)}) {
			return fmt.Errorf("transaction %d at %v: %w", i, places, err)
		}
	}
	cert, err := s.Certificate(height)
	if certified && (err != nil || string(cert) != fmt.Sprintf("certificate %d", height)) || !certified && err == nil {
		return fmt.Errorf("certificate %q: %v", cert, err)
	}
	for i := range addresses {
		last := height - height%uint64(i+1)
		acc, err := s.AccountAt(address(i), height)
		if err != nil || acc == nil || !acc.Balance.Eq(balance(i, last)) {
			return fmt.Errorf("account %d: %+v %v", i, acc, err)
		}
	}
	slot, err := s.SlotAt(address(0), crypto.Hash{1}, height)
	if err != nil || slot.Big().Uint64() != height {
		return fmt.Errorf("slot: %s %v", slot, err)
	}
	return nil
}
