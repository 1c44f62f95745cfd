package consensus

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"cairn/crypto"
)

// testKeys are n keys, sorted by address.
func testKeys(t testing.TB, n int) ([]*crypto.PrivateKey, []crypto.Address) {
	t.Helper()
	keys := make([]*crypto.PrivateKey, n)
	for i := range keys {
		k, err := crypto.PrivateKeyFromBytes(crypto.Keccak256([]byte{byte(i), byte(i >> 8), 1}).Bytes())
		if err != nil {
			t.Fatal(err)
		}
		keys[i] = k
	}
	slices.SortFunc(keys, func(a, b *crypto.PrivateKey) int {
		x, y := a.Address(), b.Address()
		return bytes.Compare(x[:], y[:])
	})
	members := make([]crypto.Address, n)
	for i := range keys {
		members[i] = keys[i].Address()
	}
	return keys, members
}

func signedVote(keys []*crypto.PrivateKey, signer int, s Subject) *Vote {
	return &Vote{Subject: s, Signer: uint16(signer), Signature: keys[signer].Sign(s.Digest(testNetwork))}
}

func signedCertificate(keys []*crypto.PrivateKey, s Subject, signers ...int) *Certificate {
	c := &Certificate{Subject: s, Signers: NewBitmap(len(keys))}
	for _, i := range signers {
		c.Signers.Set(i)
		c.Signatures = append(c.Signatures, keys[i].Sign(s.Digest(testNetwork)))
	}
	return c
}

var testSubject = Subject{Kind: Notarize, Epoch: 2, View: 9, ParentView: 7, Block: crypto.Hash{0xaa}}

// TestDigestLayout holds the bytes of a vote: a contract elsewhere rebuilds them.
func TestDigestLayout(t *testing.T) {
	n := Network{ChainID: 0x0102030405060708, Genesis: crypto.Hash{31: 0x11}}
	s := Subject{Kind: Finalize, Epoch: 0x0a0b0c0d, View: 0x1112131415161718, ParentView: 0x2122232425262728, Block: crypto.Hash{0: 0x33}}
	input := []byte("cairn-vote-v1\x00\x00\x00\x03\x01\x02\x03\x04\x05\x06\x07\x08")
	input = append(input, n.Genesis[:]...)
	input = append(input, "\x0a\x0b\x0c\x0d\x11\x12\x13\x14\x15\x16\x17\x18\x21\x22\x23\x24\x25\x26\x27\x28"...)
	input = append(input, s.Block[:]...)
	if len(input) != 109 {
		t.Fatalf("the input has %d bytes", len(input))
	}
	if got, want := s.Digest(n), crypto.Keccak256(input); got != want {
		t.Errorf("digest %s, want %s", got, want)
	}
}

func TestVerifyVote(t *testing.T) {
	keys, members := testKeys(t, 4)
	good := signedVote(keys, 1, testSubject)
	if err := VerifyVote(testNetwork, 2, members, good); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		spoil func(*Vote)
		want  ErrorKind
	}{
		"another signer":      {func(v *Vote) { v.Signer = 2 }, ErrSignature},
		"no member":           {func(v *Vote) { v.Signer = 4 }, ErrSigner},
		"another view":        {func(v *Vote) { v.View++ }, ErrSignature},
		"another parent view": {func(v *Vote) { v.ParentView++ }, ErrSignature},
		"another block":       {func(v *Vote) { v.Block[3]++ }, ErrSignature},
		"another kind":        {func(v *Vote) { v.Kind = Finalize }, ErrSignature},
		"another epoch":       {func(v *Vote) { v.Epoch++ }, ErrEpoch},
		"no kind":             {func(v *Vote) { v.Kind = 0 }, ErrKind},
		"unknown kind":        {func(v *Vote) { v.Kind = 4 }, ErrKind},
		"view 0":              {func(v *Vote) { v.View = 0 }, ErrSubject},
		"no block":            {func(v *Vote) { v.Block = crypto.Hash{} }, ErrSubject},
		"nullify of a block":  {func(v *Vote) { v.Kind = Nullify }, ErrSubject},
		"recovery id":         {func(v *Vote) { v.Signature[64] ^= 1 }, ErrSignature},
		"empty signature":     {func(v *Vote) { v.Signature = crypto.Signature{} }, ErrSignature},
	} {
		v := *good
		c.spoil(&v)
		if err := VerifyVote(testNetwork, 2, members, &v); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	for name, n := range map[string]Network{
		"another chain":   {ChainID: 8, Genesis: testNetwork.Genesis},
		"another genesis": {ChainID: 7},
	} {
		if err := VerifyVote(n, 2, members, good); !errors.Is(err, ErrSignature) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestVerifyCertificate(t *testing.T) {
	keys, members := testKeys(t, 10)
	good := func() *Certificate { return signedCertificate(keys, testSubject, 0, 1, 3, 5, 7, 8, 9) }
	if err := VerifyCertificate(testNetwork, 2, members, good()); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		spoil func(*Certificate)
		want  ErrorKind
	}{
		"below the quorum":     {func(c *Certificate) { *c = *signedCertificate(keys, testSubject, 0, 1, 3, 5, 7, 8) }, ErrQuorum},
		"one signature fewer":  {func(c *Certificate) { c.Signatures = c.Signatures[1:] }, ErrSignatures},
		"one signature twice":  {func(c *Certificate) { c.Signatures[1] = c.Signatures[0] }, ErrSignature},
		"signatures out order": {func(c *Certificate) { slices.Reverse(c.Signatures) }, ErrSignature},
		"another member's bit": {func(c *Certificate) { c.Signers[0] ^= 0b11000 }, ErrSignature},
		"bitmap too long":      {func(c *Certificate) { c.Signers = append(c.Signers, 0) }, ErrBitmap},
		"bitmap too short":     {func(c *Certificate) { c.Signers = c.Signers[:1] }, ErrBitmap},
		"bit beyond the set":   {func(c *Certificate) { c.Signers[1] |= 0x80 }, ErrBitmap},
		"another epoch":        {func(c *Certificate) { c.Epoch = 3 }, ErrEpoch},
		"another view":         {func(c *Certificate) { c.View = 10 }, ErrSignature},
		"another kind":         {func(c *Certificate) { c.Kind = Finalize }, ErrSignature},
		"no kind":              {func(c *Certificate) { c.Kind = 7 }, ErrKind},
	} {
		bad := good()
		c.spoil(bad)
		if err := VerifyCertificate(testNetwork, 2, members, bad); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

func TestVerifyProposal(t *testing.T) {
	keys, members := testKeys(t, 4)
	leader := Leader(2, testSubject.View, 4)
	good := &ProposalEnvelope{Vote: *signedVote(keys, leader, testSubject)}
	if err := VerifyProposal(testNetwork, 2, members, good); err != nil {
		t.Fatal(err)
	}
	finalize := testSubject
	finalize.Kind = Finalize
	for name, c := range map[string]struct {
		p    *ProposalEnvelope
		want ErrorKind
	}{
		"another member": {&ProposalEnvelope{Vote: *signedVote(keys, (leader+1)%4, testSubject)}, ErrNotLeader},
		"a finalize":     {&ProposalEnvelope{Vote: *signedVote(keys, leader, finalize)}, ErrSubject},
		"no signature":   {&ProposalEnvelope{Vote: Vote{Subject: testSubject, Signer: uint16(leader)}}, ErrSignature},
	} {
		if err := VerifyProposal(testNetwork, 2, members, c.p); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	if err := VerifyProposal(testNetwork, 3, members, good); !errors.Is(err, ErrEpoch) {
		t.Errorf("another epoch: %v", err)
	}
}
