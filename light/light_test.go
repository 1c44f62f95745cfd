package light_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	gethcrypto "github.com/ethereum/go-ethereum/crypto"

	"cairn/consensus"
	"cairn/crypto"
	"cairn/genesis"
	"cairn/ledger/chain"
	"cairn/ledger/trie"
	"cairn/light"
	"cairn/light/lighttest"
)

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func trust(t testing.TB, c *lighttest.Chain) *light.Trust {
	t.Helper()
	start, err := light.FromGenesis(c.Spec)
	check(t, err)
	return start
}

// wants checks that an error is of every kind, and tells if it is none at all.
func wants(t *testing.T, what string, err error, kinds ...error) {
	t.Helper()
	for _, k := range kinds {
		if !errors.Is(err, k) {
			t.Errorf("%s: error %v, want one of kind %q", what, err, k)
		}
	}
}

// grown is a chain of n validators whose set was changed three times: one added,
// one added, one removed.
func grown(t testing.TB, n int) *lighttest.Chain {
	c := lighttest.New(t, n)
	c.Seal(c.Transfer(0))
	c.Change(n, true)
	c.Seal(c.Transfer(0), c.Transfer(1))
	c.Change(n+1, true)
	c.Change(0, false)
	c.Seal(c.Transfer(1))
	return c
}

// TestWalk: from the genesis file through all epochs to the newest set, at once,
// step by step and from a trust in the middle.
func TestWalk(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 4, 7} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			c := grown(t, n)
			start, steps := trust(t, c), c.Steps()
			end, err := start.Walk(steps)
			check(t, err)
			set, epoch := c.Ledger.Validators()
			if end.Epoch != 3 || end.Epoch != epoch || end.Set.Hash() != set.Hash() || end.Network != start.Network {
				t.Errorf("epoch %d with %d validators, want %d with %d", end.Epoch, end.Set.Len(), epoch, set.Len())
			}
			middle, err := start.Walk(steps[:1])
			check(t, err)
			own := &light.Trust{Network: middle.Network, Epoch: middle.Epoch, Set: middle.Set, Block: middle.Block}
			if end, err = own.Walk(steps[1:]); err != nil || end.Set.Hash() != set.Hash() {
				t.Errorf("from epoch 1: %v", err)
			}
			if same, err := end.Walk(nil); err != nil || same != end {
				t.Errorf("no steps: %v", err)
			}
			if start.Epoch != 0 || start.Set.Len() != n {
				t.Error("Walk changed where it started")
			}
		})
	}
}

// TestWalkLies: each way in which a step can be wrong is refused by its name.
func TestWalkLies(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 4, 7} {
		c := grown(t, n)
		foreign := grown(t, n+1)
		start, steps := trust(t, c), c.Steps()
		set0, set1 := start.Set, c.Step(0).Next
		height, err := c.Ledger.EpochEnd(0)
		check(t, err)
		closing, err := c.Ledger.HeaderByHeight(height)
		check(t, err)
		extra, err := chain.DecodeExtra(closing)
		check(t, err)
		subject := consensus.Subject{Kind: consensus.Finalize, View: extra.View, ParentView: 1, Block: closing.Hash()}
		quorum := make([]int, consensus.Quorum(n))
		for i := range quorum {
			quorum[i] = i
		}
		// sign makes the first step with another certificate.
		sign := func(change func(*consensus.Subject), net consensus.Network, signers ...int) []light.Step {
			s := subject
			if change != nil {
				change(&s)
			}
			step := steps[0]
			step.Finalization = consensus.EncodeCertificate(c.Sign(net, s, set0, signers...))
			return []light.Step{step}
		}
		header := func(change func(*types.Header)) []light.Step {
			h := types.CopyHeader(closing)
			change(h)
			step := steps[0]
			step.Header = chain.EncodeHeader(h)
			return []light.Step{step}
		}
		with := func(i int, change func(*light.Step)) []light.Step {
			out := slices.Clone(steps)
			change(&out[i])
			return out
		}
		otherChain, otherGenesis := c.Network(), c.Network()
		otherChain.ChainID++
		otherGenesis.Genesis[0] ^= 1
		if _, err := start.Walk(sign(nil, c.Network(), quorum...)); err != nil {
			t.Fatalf("%d validators: the honest step: %v", n, err)
		}
		if _, err := start.Walk(sign(func(s *consensus.Subject) { s.View += 5 }, c.Network(), quorum...)); err != nil {
			t.Fatalf("%d validators: the closing block final in a later view: %v", n, err)
		}
		for _, tc := range []struct {
			what  string
			steps []light.Step
			kinds []error
		}{
			{"gap between epochs", steps[1:], []error{light.ErrGap}},
			{"epochs out of order", []light.Step{steps[0], steps[2]}, []error{light.ErrGap}},
			{"an epoch twice", []light.Step{steps[0], steps[0]}, []error{light.ErrGap}},
			{"a finalization of another epoch", sign(func(s *consensus.Subject) { s.Epoch = 1 }, c.Network(), quorum...), []error{light.ErrEpoch}},
			{"a notarization", sign(func(s *consensus.Subject) { s.Kind = consensus.Notarize }, c.Network(), quorum...), []error{light.ErrKind}},
			{"a finalization of another block", sign(func(s *consensus.Subject) { s.Block = crypto.Hash{1} }, c.Network(), quorum...), []error{light.ErrOtherBlock}},
			{"votes of another chain id", sign(nil, otherChain, quorum...), []error{light.ErrCertificate, consensus.ErrSignature}},
			{"votes of another genesis", sign(nil, otherGenesis, quorum...), []error{light.ErrCertificate, consensus.ErrSignature}},
			{"no certificate", with(0, func(s *light.Step) { s.Finalization = nil }), []error{light.ErrCertificate, consensus.ErrEncoding}},
			{"a byte after the certificate", with(0, func(s *light.Step) { s.Finalization = append(bytes.Clone(s.Finalization), 0) }), []error{light.ErrCertificate}},
			{"a certificate over its limit", with(0, func(s *light.Step) { s.Finalization = make([]byte, consensus.MaxCertificateBytes+1) }), []error{light.ErrCertificate, consensus.ErrTooLarge}},
			{"tampered header", header(func(h *types.Header) { h.Root[0] ^= 1 }), []error{light.ErrOtherBlock}},
			{"tampered mixHash", header(func(h *types.Header) { h.MixDigest[0] ^= 1 }), []error{light.ErrOtherBlock}},
			{"mixHash removed", header(func(h *types.Header) { h.MixDigest = crypto.Hash{} }), []error{light.ErrNotClosing}},
			{"not above the start of the epoch", header(func(h *types.Header) { h.Number.SetUint64(0) }), []error{light.ErrHeight}},
			{"a header that is none", with(0, func(s *light.Step) { s.Header = s.Header[1:] }), []error{light.ErrHeader, chain.ErrHeaderEncoding}},
			{"no header", with(0, func(s *light.Step) { s.Header = nil }), []error{light.ErrHeader}},
			{"the set of the epoch before as the next", with(0, func(s *light.Step) { s.Next = c.Spec.Validators }), []error{light.ErrNextSet}},
			{"a next set without one member", with(0, func(s *light.Step) { s.Next = set1[1:] }), []error{light.ErrNextSet}},
			{"a next set with another peer id", with(0, func(s *light.Step) {
				s.Next = slices.Clone(set1)
				s.Next[0].PeerID = lighttest.Validator(15).PeerID
			}), []error{light.ErrNextSet}},
			{"a next set with a member twice", with(0, func(s *light.Step) { s.Next = append(slices.Clone(set1), set1[0]) }), []error{light.ErrNextSet, genesis.ErrDuplicate}},
			{"no next set", with(0, func(s *light.Step) { s.Next = nil }), []error{light.ErrNextSet, genesis.ErrNoValidators}},
			{"too many validators", with(0, func(s *light.Step) { s.Next = make([]genesis.Validator, genesis.MaxValidators+1) }), []error{light.ErrTooMany}},
			{"a name without end", with(0, func(s *light.Step) {
				s.Next = slices.Clone(set1)
				s.Next[0].Name = string(make([]byte, light.MaxTextBytes+1))
			}), []error{light.ErrTooMany}},
			{"too many steps", make([]light.Step, light.MaxSteps+1), []error{light.ErrTooMany}},
			{"steps of another network", foreign.Steps(), []error{light.ErrCertificate}},
		} {
			_, err := start.Walk(tc.steps)
			wants(t, fmt.Sprintf("%d validators: %s", n, tc.what), err, tc.kinds...)
		}
		// The wrong set: that of epoch 1 is asked to believe the end of epoch 0
		// and the other way round.
		set, err := genesis.NewValidatorSet(set1)
		check(t, err)
		wrong := *start
		wrong.Set = set
		_, err = wrong.Walk(steps[:1])
		wants(t, fmt.Sprintf("%d validators: the wrong set", n), err, light.ErrCertificate)
		if n > 1 {
			_, err = start.Walk(sign(nil, c.Network(), quorum[1:]...))
			wants(t, "missing signer", err, light.ErrCertificate, consensus.ErrQuorum)
			_, err = start.Walk(duplicateSigner(t, steps[0]))
			wants(t, "duplicate signer", err, light.ErrCertificate, consensus.ErrSignature)
		}
		_, err = start.Walk(strippedSigner(t, steps[0]))
		wants(t, "bit without signature", err, light.ErrCertificate, consensus.ErrSignatures)
	}
}

// duplicateSigner puts the first member's signature in the place of the second.
func duplicateSigner(t *testing.T, s light.Step) []light.Step {
	c, err := consensus.DecodeCertificate(s.Finalization)
	check(t, err)
	c.Signatures[1] = c.Signatures[0]
	s.Finalization = consensus.EncodeCertificate(c)
	return []light.Step{s}
}

// strippedSigner leaves one signature fewer than bits.
func strippedSigner(t *testing.T, s light.Step) []light.Step {
	c, err := consensus.DecodeCertificate(s.Finalization)
	check(t, err)
	c.Signatures = c.Signatures[1:]
	s.Finalization = consensus.EncodeCertificate(c)
	return []light.Step{s}
}

// TestTrust: what was not filled in proves nothing.
func TestTrust(t *testing.T) {
	t.Parallel()
	c := lighttest.New(t, 1)
	good := trust(t, c)
	for what, bad := range map[string]light.Trust{
		"no set":      {Network: good.Network},
		"no chain id": {Set: good.Set, Network: consensus.Network{Genesis: good.Network.Genesis}},
		"no genesis":  {Set: good.Set, Network: consensus.Network{ChainID: 1}},
		"nothing":     {},
	} {
		_, err := bad.Walk(nil)
		wants(t, what, err, light.ErrTrust)
		_, err = bad.VerifyFinality(nil, nil, nil)
		wants(t, what, err, light.ErrTrust)
	}
	_, err := light.FromGenesis(&genesis.Spec{})
	wants(t, "an empty genesis", err, light.ErrTrust)
}

// TestFinality: by a block's own finalization, by a descendant's, in any epoch;
// block 0 and closing blocks without any.
func TestFinality(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 4, 7} {
		c := grown(t, n)
		first := c.Build(nil, c.Transfer(2))
		second := c.Build(first, c.Transfer(2))
		third := c.Build(second)
		c.Finalize(third)
		at, steps := trust(t, c), c.Steps()
		head := c.Ledger.HeadInfo().Height
		for height := uint64(0); height <= head; height++ {
			header, cert, descendants := c.Finality(max(height, 1))
			if height == 0 {
				header, cert, descendants = chain.EncodeHeader(c.Ledger.Genesis().Header()), nil, nil
			}
			want, err := c.Ledger.HeaderByHeight(height)
			check(t, err)
			b, err := at.VerifyFinality(header, cert, descendants)
			if err != nil {
				t.Fatalf("%d validators, height %d: %v", n, height, err)
			}
			extra, err := chain.DecodeExtra(want)
			check(t, err)
			if b.Hash() != want.Hash() || b.Height() != height || b.Epoch() != extra.Epoch || b.Header().Root != want.Root ||
				uint64(b.Time().UnixMilli()) != extra.TimestampMillis {
				t.Errorf("height %d: another header", height)
			}
			if len(descendants) > 1 {
				_, err := at.VerifyFinality(header, cert, descendants[1:])
				wants(t, "a header left out", err, light.ErrDescendant)
				_, err = at.VerifyFinality(header, cert, nil)
				wants(t, "a descendant's finalization alone", err, light.ErrOtherBlock)
			}
			if chain.IsClosing(want) {
				before := at
				at, err = at.Walk(steps[at.Epoch : at.Epoch+1])
				check(t, err)
				if b, err := at.VerifyFinality(header, nil, nil); err != nil || b.Epoch()+1 != at.Epoch {
					t.Errorf("a closing block is the trust of the next epoch: %v", err)
				}
				if before.Epoch == 0 {
					_, err = at.VerifyFinality(c.Finality(1))
					wants(t, "a block of the epoch before", err, light.ErrEpoch)
				}
			}
		}
	}
}

// TestFinalityLies: each way in which a proof of finality can be wrong.
func TestFinalityLies(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 4, 7} {
		c := lighttest.New(t, n)
		c.Seal(c.Transfer(0))
		low := c.Build(nil, c.Transfer(0))
		high := c.Build(low, c.Transfer(1))
		c.Finalize(high)
		at := trust(t, c)
		header, cert, descendants := c.Finality(low.NumberU64())
		if len(descendants) != 1 {
			t.Fatalf("%d headers above block %d, want 1", len(descendants), low.NumberU64())
		}
		tampered := types.CopyHeader(low.Header())
		tampered.Root[5] ^= 1
		late := types.CopyHeader(high.Header())
		late.Extra = bytes.Clone(late.Extra)
		late.Extra[4] = 1 // epoch 1
		_, ownCert, _ := c.Finality(1)
		for _, tc := range []struct {
			what         string
			header, cert []byte
			descendants  [][]byte
			kind         error
		}{
			{"tampered header", chain.EncodeHeader(tampered), cert, descendants, light.ErrDescendant},
			{"tampered header, no descendants", chain.EncodeHeader(tampered), cert, nil, light.ErrOtherBlock},
			{"another block's finalization", header, ownCert, nil, light.ErrOtherBlock},
			{"another block's finalization above", header, ownCert, descendants, light.ErrOtherBlock},
			{"a descendant of another epoch", header, cert, [][]byte{chain.EncodeHeader(late)}, light.ErrEpoch},
			{"a descendant that is none", header, cert, [][]byte{descendants[0][3:]}, light.ErrHeader},
			{"the block itself as descendant", header, cert, [][]byte{header}, light.ErrDescendant},
			{"too many descendants", header, cert, make([][]byte, light.MaxDescendants+1), light.ErrTooMany},
			{"no finalization", header, nil, descendants, light.ErrCertificate},
			{"a block of a later epoch", chain.EncodeHeader(late), cert, nil, light.ErrEpoch},
			{"no header", nil, cert, nil, light.ErrHeader},
		} {
			_, err := at.VerifyFinality(tc.header, tc.cert, tc.descendants)
			wants(t, fmt.Sprintf("%d validators: %s", n, tc.what), err, tc.kind)
		}
	}
}

// TestAccountProof: present and absent accounts and slots, and what does not
// prove them.
func TestAccountProof(t *testing.T) {
	t.Parallel()
	c := grown(t, 4)
	height := c.Ledger.HeadInfo().Height
	at, err := trust(t, c).Walk(c.Steps())
	check(t, err)
	header, cert, descendants := c.Finality(height)
	b, err := at.VerifyFinality(header, cert, descendants)
	check(t, err)
	alice := lighttest.Account(1).Address()
	p, err := c.Ledger.Proof(alice, nil, height)
	check(t, err)
	a, err := b.Account(alice, p.Proof)
	if err != nil || a == nil || a.Nonce != 2 || a.Balance.Cmp(p.Account.Balance) != 0 {
		t.Errorf("account %v, %v", a, err)
	}
	nobody := crypto.Address{0x77}
	absent, err := c.Ledger.Proof(nobody, nil, height)
	check(t, err)
	if a, err := b.Account(nobody, absent.Proof); err != nil || a != nil {
		t.Errorf("absent account: %v, %v", a, err)
	}
	slots := []crypto.Hash{{31: 1}, {31: 0x77}}
	r, err := c.Ledger.Proof(genesis.RegistryAddress, slots, height)
	check(t, err)
	if v, err := b.Slot(genesis.RegistryAddress, r.Proof, slots[0], r.Storage[0].Proof); err != nil || v != at.Set.Hash() {
		t.Errorf("slot of the set's hash: %s, %v", v, err)
	}
	if v, err := b.Slot(genesis.RegistryAddress, r.Proof, slots[1], r.Storage[1].Proof); err != nil || v != (crypto.Hash{}) {
		t.Errorf("absent slot: %s, %v", v, err)
	}
	if v, err := b.Slot(nobody, absent.Proof, slots[0], nil); err != nil || v != (crypto.Hash{}) {
		t.Errorf("slot of an absent account: %s, %v", v, err)
	}
	_, err = b.Account(nobody, p.Proof)
	wants(t, "another account's proof", err, light.ErrProof)
	_, err = b.Account(alice, p.Proof[:len(p.Proof)-1])
	wants(t, "a proof cut short", err, light.ErrProof, trie.ErrProofTooShort)
	_, err = b.Account(alice, append(slices.Clone(p.Proof), []byte{0x80}))
	wants(t, "a proof that goes on", err, light.ErrProof, trie.ErrProofExtra)
	_, err = b.Account(alice, [][]byte{make([]byte, light.MaxProofBytes+1)})
	wants(t, "a proof over the limit", err, light.ErrTooMany)
	bad := slices.Clone(p.Proof)
	bad[0] = bytes.Clone(bad[0])
	bad[0][9] ^= 1
	_, err = b.Account(alice, bad)
	wants(t, "a tampered node", err, light.ErrProof, trie.ErrProofHash)
	_, err = b.Slot(genesis.RegistryAddress, r.Proof, slots[1], r.Storage[0].Proof)
	wants(t, "another slot's proof", err, light.ErrProof)
	_, err = b.Slot(nobody, absent.Proof, slots[0], r.Storage[0].Proof)
	wants(t, "a slot's proof for an account without storage", err, light.ErrProof)
	old, err := c.Ledger.Proof(alice, nil, height-1)
	check(t, err)
	_, err = b.Account(alice, old.Proof)
	wants(t, "a proof of another height", err, light.ErrProof)
}

// TestInclusion: every transaction and receipt of blocks of many sizes, against
// the roots that the ledger put into the header.
func TestInclusion(t *testing.T) {
	t.Parallel()
	c := lighttest.New(t, 1)
	at := trust(t, c)
	for _, n := range []int{1, 2, 3, 127, 128, 129, 300} {
		var txs []*types.Transaction
		for i := range n {
			txs = append(txs, c.Transfer(i%4))
		}
		sealed := c.Seal(txs...)
		receipts, err := c.Ledger.Receipts(sealed.NumberU64())
		check(t, err)
		header, cert, descendants := c.Finality(sealed.NumberU64())
		b, err := at.VerifyFinality(header, cert, descendants)
		check(t, err)
		for i, tx := range sealed.Transactions() {
			proof := chain.ProveTransaction(sealed.Transactions(), i)
			got, err := b.Transaction(uint64(i), proof)
			if err != nil || got.Hash() != tx.Hash() {
				t.Fatalf("transaction %d of %d: %v", i, n, err)
			}
			r, err := b.Receipt(uint64(i), chain.ProveReceipt(receipts, i))
			if err != nil || r.Status != 1 || r.CumulativeGasUsed != receipts[i].CumulativeGasUsed || r.Type != tx.Type() {
				t.Fatalf("receipt %d of %d: %v, %v", i, n, r, err)
			}
			if n > 1 {
				other := uint64((i + 1) % n)
				if got, err := b.Transaction(other, proof); err == nil && got.Hash() == tx.Hash() {
					t.Fatalf("the proof of transaction %d proves it at %d", i, other)
				}
			}
			if i > 3 && i < n-3 {
				continue
			}
			_, err = b.Receipt(uint64(i), proof)
			wants(t, "a transaction's proof for a receipt", err, light.ErrProof)
			_, err = b.Transaction(uint64(i), proof[1:])
			wants(t, "no root", err, light.ErrProof)
		}
	}
}

// TestAbsentEntry: an index beyond the list is proven absent, not answered.
func TestAbsentEntry(t *testing.T) {
	t.Parallel()
	c := lighttest.New(t, 1)
	empty := c.Seal()
	full := c.Seal(c.Transfer(0))
	at := trust(t, c)
	header, cert, _ := c.Finality(empty.NumberU64())
	b, err := at.VerifyFinality(header, cert, nil)
	check(t, err)
	_, err = b.Transaction(0, nil)
	wants(t, "an empty block", err, light.ErrAbsent)
	header, cert, _ = c.Finality(full.NumberU64())
	b, err = at.VerifyFinality(header, cert, nil)
	check(t, err)
	proof := chain.ProveTransaction(full.Transactions(), 0)
	_, err = b.Transaction(9, proof)
	wants(t, "index 9 of 1", err, light.ErrAbsent)
	_, err = b.Receipt(1<<63, nil)
	wants(t, "no proof", err, light.ErrProof)
}

// TestRegistryReceipt: logs are in the proven receipt.
func TestRegistryReceipt(t *testing.T) {
	t.Parallel()
	c := lighttest.New(t, 4)
	closing := c.Change(4, true)
	receipts, err := c.Ledger.Receipts(closing.NumberU64())
	check(t, err)
	header, cert, _ := c.Finality(closing.NumberU64())
	b, err := trust(t, c).VerifyFinality(header, cert, nil)
	check(t, err)
	last := len(receipts) - 1
	r, err := b.Receipt(uint64(last), chain.ProveReceipt(receipts, last))
	check(t, err)
	if len(r.Logs) == 0 || r.Logs[0].Address != genesis.RegistryAddress || r.Bloom != types.CreateBloom(r) {
		t.Errorf("logs %v", r.Logs)
	}
}

// TestSolidityCheck: the documented 109 bytes, hashed, give with go-ethereum's
// ecrecover, which is what the precompile runs, the validators' addresses in
// order. Nothing of ours but the bytes of the answers is used.
func TestSolidityCheck(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 4, 7} {
		c := lighttest.New(t, n)
		closing := c.Change(n, true)
		for _, height := range []uint64{1, closing.NumberU64()} {
			header, raw, _ := c.Finality(height)
			cert, err := consensus.DecodeCertificate(raw)
			check(t, err)
			message := append([]byte("cairn-vote-v1\x00\x00\x00"), 3)
			message = append(message, word(lighttest.ChainID, 8)...)
			genesisHash := gethcrypto.Keccak256(chain.EncodeHeader(c.Ledger.Genesis().Header()))
			message = append(message, genesisHash...)
			message = append(message, word(uint64(cert.Epoch), 4)...)
			message = append(message, word(cert.View, 8)...)
			message = append(message, word(cert.ParentView, 8)...)
			message = append(message, gethcrypto.Keccak256(header)...)
			if len(message) != 109 {
				t.Fatalf("%d bytes", len(message))
			}
			digest := gethcrypto.Keccak256(message)
			var recovered []common.Address
			for _, sig := range cert.Signatures {
				// ecrecover takes v as 27 or 28 and high s too; ours has low s.
				public, err := gethcrypto.Ecrecover(digest, sig[:])
				check(t, err)
				recovered = append(recovered, common.BytesToAddress(gethcrypto.Keccak256(public[1:])[12:]))
			}
			var want []common.Address
			set := c.Spec.ValidatorSet()
			for i := range set.Len() {
				if cert.Signers.Has(i) {
					want = append(want, set.At(i).Address)
				}
			}
			if !slices.Equal(recovered, want) || len(want) != consensus.Quorum(n) {
				t.Errorf("%d validators, height %d: recovered %v, want %v", n, height, recovered, want)
			}
			sorted := slices.IsSortedFunc(recovered, func(a, b common.Address) int { return bytes.Compare(a[:], b[:]) })
			if !sorted {
				t.Error("the signers are not in the order of their addresses")
			}
		}
	}
}

func word(v uint64, size int) []byte {
	b := make([]byte, size)
	for i := range b {
		b[size-1-i] = byte(v >> (8 * i))
	}
	return b
}

// TestPure: no clock, disk, network or goroutine decides what is believed. (Type
// time.Time is for showing a block's time.)
func TestPure(t *testing.T) {
	t.Parallel()
	out, err := exec.Command("go", "list", "-f", `{{join .Imports " "}}`, ".").Output()
	check(t, err)
	for _, dep := range strings.Fields(string(out)) {
		if slices.Contains([]string{"os", "net", "net/http", "sync", "context", "math/rand", "math/rand/v2", "log/slog", "io"}, dep) {
			t.Errorf("light imports %s: what it needs comes in through its arguments", dep)
		}
	}
	source, err := filepath.Glob("*.go")
	check(t, err)
	for _, name := range source {
		text, err := os.ReadFile(name)
		check(t, err)
		if !strings.HasSuffix(name, "_test.go") && strings.Contains(string(text), "time.Now") {
			t.Errorf("%s reads the clock", name)
		}
	}
}
