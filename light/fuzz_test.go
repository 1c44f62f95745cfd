package light_test

import (
	"testing"

	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/rlp"

	"cairn/consensus"
	"cairn/crypto"
	"cairn/genesis"
	"cairn/ledger/chain"
	"cairn/light"
	"cairn/light/lighttest"
)

// FuzzVerifyFinality: bytes make a header final only if they are a header's only
// encoding and every link holds. Nothing panics.
func FuzzVerifyFinality(f *testing.F) {
	c := lighttest.New(f, 4)
	c.Seal(c.Transfer(0))
	low := c.Build(nil, c.Transfer(0))
	c.Finalize(c.Build(low))
	at := trust(f, c)
	add := func(header, cert []byte, descendants [][]byte) {
		list, err := rlp.EncodeToBytes(descendants)
		check(f, err)
		f.Add(header, cert, list)
	}
	add(c.Finality(1))
	add(c.Finality(2))
	add(chain.EncodeHeader(c.Ledger.Genesis().Header()), nil, nil)
	add([]byte{0xc0}, []byte{0xc0}, [][]byte{{0xc0}})
	final := map[crypto.Hash]bool{}
	for height := range c.Ledger.HeadInfo().Height + 1 {
		hash, err := c.Ledger.HashByHeight(height)
		check(f, err)
		final[hash] = true
	}
	f.Fuzz(func(t *testing.T, header, cert, list []byte) {
		var descendants [][]byte
		if rlp.DecodeBytes(list, &descendants) != nil {
			return
		}
		b, err := at.VerifyFinality(header, cert, descendants)
		if err == nil && !final[b.Hash()] {
			t.Fatalf("a block that nobody made is final: %x", header)
		}
	})
}

// FuzzWalk: only the set that the ledger has follows epoch 0.
func FuzzWalk(f *testing.F) {
	c := lighttest.New(f, 4)
	c.Change(4, true)
	at, step := trust(f, c), c.Step(0)
	set, err := rlp.EncodeToBytes(step.Next)
	check(f, err)
	f.Add(step.Header, step.Finalization, set)
	f.Add(step.Header, []byte{}, []byte{0xc0})
	f.Add([]byte{}, step.Finalization, set)
	want, _ := c.Ledger.Validators()
	f.Fuzz(func(t *testing.T, header, cert, set []byte) {
		var next []genesis.Validator
		if rlp.DecodeBytes(set, &next) != nil {
			return
		}
		end, err := at.Walk([]light.Step{{Header: header, Finalization: cert, Next: next}})
		if err == nil && end.Set.Hash() != want.Hash() {
			t.Fatalf("a set that nobody made: %x", set)
		}
	})
}

// FuzzProofs: proofs of accounts, slots, transactions and receipts prove what
// the ledger has or nothing.
func FuzzProofs(f *testing.F) {
	c := lighttest.New(f, 1)
	sealed := c.Seal(c.Transfer(0), c.Transfer(1), c.Transfer(2))
	header, cert, _ := c.Finality(1)
	b, err := trust(f, c).VerifyFinality(header, cert, nil)
	check(f, err)
	alice := lighttest.Account(0).Address()
	p, err := c.Ledger.Proof(genesis.RegistryAddress, []crypto.Hash{{31: 1}}, 1)
	check(f, err)
	q, err := c.Ledger.Proof(alice, nil, 1)
	check(f, err)
	receipts, err := c.Ledger.Receipts(1)
	check(f, err)
	add := func(index uint64, proof, second [][]byte) {
		a, err := rlp.EncodeToBytes(proof)
		check(f, err)
		b, err := rlp.EncodeToBytes(second)
		check(f, err)
		f.Add(index, a, b)
	}
	add(0, q.Proof, nil)
	add(1, p.Proof, p.Storage[0].Proof)
	add(1, chain.ProveTransaction(sealed.Transactions(), 1), nil)
	add(2, chain.ProveReceipt(receipts, 2), nil)
	f.Fuzz(func(t *testing.T, index uint64, first, second []byte) {
		var one, two [][]byte
		if rlp.DecodeBytes(first, &one) != nil || rlp.DecodeBytes(second, &two) != nil {
			return
		}
		if a, err := b.Account(alice, one); err == nil && (a == nil || a.Balance.Cmp(q.Account.Balance) != 0) {
			t.Fatalf("account %v", a)
		}
		if v, err := b.Slot(genesis.RegistryAddress, one, crypto.Hash{31: 1}, two); err == nil && v != p.Storage[0].Value {
			t.Fatalf("slot %s", v)
		}
		if tx, err := b.Transaction(index, one); err == nil && tx.Hash() != sealed.Transactions()[index].Hash() {
			t.Fatalf("transaction %d: %s", index, tx.Hash())
		}
		if r, err := b.Receipt(index, one); err == nil && (r.Status != types.ReceiptStatusSuccessful || r.CumulativeGasUsed != 21_000*(index+1)) {
			t.Fatalf("receipt %d: %v", index, r)
		}
	})
}

// TestCertificateLimit: the largest set there can be still fits a certificate.
func TestCertificateLimit(t *testing.T) {
	t.Parallel()
	if genesis.MaxValidators > consensus.MaxMembers {
		t.Errorf("%d validators, certificates hold %d", genesis.MaxValidators, consensus.MaxMembers)
	}
}
