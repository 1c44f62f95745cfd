package consensus

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/rlp"

	"cairn/crypto"
)

const testMaxBytes = 1 << 20

func sampleEnvelopes(t testing.TB) []*Envelope {
	keys, _ := testKeys(t, 4)
	nullify := Subject{Kind: Nullify, Epoch: 2, View: 8}
	notarization := signedCertificate(keys, Subject{Kind: Notarize, Epoch: 2, View: 7, Block: crypto.Hash{1}}, 0, 1, 2)
	nullification := signedCertificate(keys, nullify, 1, 2, 3)
	return []*Envelope{
		{Vote: signedVote(keys, 3, testSubject)},
		{Vote: signedVote(keys, 0, nullify)},
		{Certificate: notarization},
		{Certificate: nullification},
		{Proposal: &ProposalEnvelope{Vote: *signedVote(keys, 3, testSubject), Body: []byte{}}},
		{Proposal: &ProposalEnvelope{
			Vote: *signedVote(keys, 3, testSubject), Parent: notarization,
			Nullifications: []Certificate{*nullification}, Body: bytes.Repeat([]byte{7}, 300),
		}},
	}
}

func sampleRecords(t testing.TB) []Record {
	e := sampleEnvelopes(t)
	return []Record{
		{Vote: e[0].Vote},
		{Certificate: e[3].Certificate},
		{Block: &Block{Hash: crypto.Hash{1}, Parent: crypto.Hash{2}, Height: 3, Epoch: 4, View: 5, Proposer: crypto.Address{6}, Timestamp: 7}},
		{Halt: "view 3 has two notarizations"},
	}
}

func TestCodecRoundTrips(t *testing.T) {
	for i, e := range sampleEnvelopes(t) {
		got, err := DecodeEnvelope(EncodeEnvelope(e), testMaxBytes)
		if err != nil {
			t.Fatalf("envelope %d: %v", i, err)
		}
		if !reflect.DeepEqual(got, e) {
			t.Errorf("envelope %d: got %+v, want %+v", i, got, e)
		}
		if e.Vote != nil {
			v, err := DecodeVote(EncodeVote(e.Vote))
			if err != nil || !reflect.DeepEqual(v, e.Vote) {
				t.Errorf("vote %d: got %+v, %v", i, v, err)
			}
		}
		if e.Certificate != nil {
			c, err := DecodeCertificate(EncodeCertificate(e.Certificate))
			if err != nil || !reflect.DeepEqual(c, e.Certificate) {
				t.Errorf("certificate %d: got %+v, %v", i, c, err)
			}
		}
	}
	for i, r := range sampleRecords(t) {
		got, err := DecodeRecord(EncodeRecord(r))
		if err != nil || !reflect.DeepEqual(got, r) {
			t.Errorf("record %d: got %+v, %v", i, got, err)
		}
	}
	latest := Record{Block: &Block{Hash: crypto.Hash{1}, Timestamp: MaxTimestamp}}
	if got, err := DecodeRecord(EncodeRecord(latest)); err != nil || !reflect.DeepEqual(got, latest) {
		t.Errorf("a block of the last time there is comes back as %+v, %v", got, err)
	}
	long := Record{Halt: strings.Repeat("x", MaxHaltBytes+1)}
	if got, err := DecodeRecord(EncodeRecord(long)); err != nil || len(got.Halt) != MaxHaltBytes {
		t.Errorf("a long reason comes back with %d bytes: %v", len(got.Halt), err)
	}
}

// A certificate of the largest set fits its limit.
func TestLargestCertificateFits(t *testing.T) {
	keys, _ := testKeys(t, 1)
	c := &Certificate{Subject: Subject{Kind: Notarize, Epoch: 1<<32 - 1, View: 1<<64 - 1, ParentView: 1<<64 - 2, Block: crypto.Hash{1}}, Signers: NewBitmap(MaxMembers)}
	sig := keys[0].Sign(c.Digest(testNetwork))
	for i := range MaxMembers {
		c.Signers.Set(i)
		c.Signatures = append(c.Signatures, sig)
	}
	if _, err := DecodeCertificate(EncodeCertificate(c)); err != nil {
		t.Error(err)
	}
	if _, err := DecodeRecord(EncodeRecord(Record{Certificate: c})); err != nil {
		t.Error(err)
	}
	v := &Vote{Subject: c.Subject, Signer: MaxMembers - 1, Signature: sig}
	if _, err := DecodeVote(EncodeVote(v)); err != nil {
		t.Error(err)
	}
}

func TestDecodersRefuse(t *testing.T) {
	e := sampleEnvelopes(t)
	vote := func(spoil func(*wireVote)) []byte {
		w := toWireVote(e[0].Vote)
		w.Signature = bytes.Clone(w.Signature)
		spoil(&w)
		return encode(tagged{tagVote, encode(w)})
	}
	certificate := func(spoil func(*wireCertificate)) []byte {
		w := toWireCertificate(e[2].Certificate)
		w.Signers = bytes.Clone(w.Signers)
		spoil(&w)
		return encode(tagged{tagCertificate, encode(w)})
	}
	proposal := func(spoil func(*wireProposal)) []byte {
		w := wireProposal{Vote: toWireVote(&e[5].Proposal.Vote), Body: []byte{1}}
		spoil(&w)
		return encode(tagged{tagProposal, encode(w)})
	}
	good := EncodeEnvelope(e[0])
	for name, c := range map[string]struct {
		raw  []byte
		want ErrorKind
	}{
		"empty":                      {nil, ErrEncoding},
		"not a list":                 {[]byte{0x80}, ErrEncoding},
		"cut off":                    {good[:len(good)-1], ErrEncoding},
		"byte after the end":         {append(bytes.Clone(good), 0), ErrEncoding},
		"above the limit":            {make([]byte, testMaxBytes+1), ErrTooLarge},
		"unknown tag":                {encode(tagged{9, encode(uint8(1))}), ErrTag},
		"record tag in an envelope":  {EncodeRecord(sampleRecords(t)[3]), ErrTag},
		"tag with a leading zero":    {append([]byte{0xc2, 0x81, 0x01}, 0x80), ErrEncoding},
		"vote of kind 0":             {vote(func(w *wireVote) { w.Kind = 0 }), ErrKind},
		"vote of kind 4":             {vote(func(w *wireVote) { w.Kind = 4 }), ErrKind},
		"nullify of a block":         {vote(func(w *wireVote) { w.Kind = uint8(Nullify) }), ErrSubject},
		"vote for view 0":            {vote(func(w *wireVote) { w.View = 0 }), ErrSubject},
		"signer beyond any set":      {vote(func(w *wireVote) { w.Signer = MaxMembers }), ErrSigner},
		"signature too short":        {vote(func(w *wireVote) { w.Signature = w.Signature[:64] }), ErrSignature},
		"recovery id 2":              {vote(func(w *wireVote) { w.Signature[64] = 2 }), ErrSignature},
		"high s":                     {vote(func(w *wireVote) { w.Signature[32] = 0xff }), ErrSignature},
		"zero r":                     {vote(func(w *wireVote) { clear(w.Signature[:32]) }), ErrSignature},
		"no signers":                 {certificate(func(w *wireCertificate) { w.Signers, w.Signatures = nil, nil }), ErrBitmap},
		"bitmap of zeros":            {certificate(func(w *wireCertificate) { w.Signers, w.Signatures = []byte{0}, nil }), ErrSignatures},
		"bitmap above the limit":     {certificate(func(w *wireCertificate) { w.Signers = make([]byte, MaxMembers/8+1) }), ErrBitmap},
		"signatures not 65 n":        {certificate(func(w *wireCertificate) { w.Signatures = w.Signatures[1:] }), ErrSignatures},
		"more signers than sigs":     {certificate(func(w *wireCertificate) { w.Signers[0] |= 8 }), ErrSignatures},
		"certificate of kind 0":      {certificate(func(w *wireCertificate) { w.Kind = 0 }), ErrKind},
		"certificate with bad sig":   {certificate(func(w *wireCertificate) { w.Signatures[64] = 27 }), ErrSignature},
		"proposal signed otherwise":  {proposal(func(w *wireProposal) { w.Vote.Kind = uint8(Finalize) }), ErrSubject},
		"proposal with two parents":  {proposal(func(w *wireProposal) { w.Parent = make([]wireCertificate, 2) }), ErrEncoding},
		"proposal with 17 nullified": {proposal(func(w *wireProposal) { w.Nullifications = make([]wireCertificate, 17) }), ErrEncoding},
		"nullification as parent":    {proposal(func(w *wireProposal) { w.Parent = []wireCertificate{toWireCertificate(e[3].Certificate)} }), ErrSubject},
		"parent as nullification":    {proposal(func(w *wireProposal) { w.Nullifications = []wireCertificate{toWireCertificate(e[2].Certificate)} }), ErrSubject},
		"proposal with bad vote":     {proposal(func(w *wireProposal) { w.Vote.Signature = nil }), ErrSignature},
	} {
		if _, err := DecodeEnvelope(c.raw, testMaxBytes); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	for name, c := range map[string]struct {
		raw  []byte
		want ErrorKind
	}{
		"proposal tag in a record": {EncodeEnvelope(e[4]), ErrTag},
		"empty halt":               {encode(tagged{tagHalt, encode([]byte{})}), ErrEncoding},
		"long halt":                {encode(tagged{tagHalt, encode(make([]byte, MaxHaltBytes+1))}), ErrEncoding},
		"huge halt":                {encode(tagged{tagHalt, encode(make([]byte, MaxHaltBytes+9))}), ErrTooLarge},
		"block with a field more":  {encode(tagged{tagBlock, encode([]uint64{1, 2})}), ErrEncoding},
		"block of a far future":    {encode(tagged{tagBlock, encode(wireBlock{Timestamp: MaxTimestamp + 1})}), ErrEncoding},
		"large record":             {make([]byte, MaxRecordBytes+1), ErrTooLarge},
	} {
		if _, err := DecodeRecord(c.raw); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	if _, err := DecodeVote(make([]byte, MaxVoteBytes+1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("large vote: %v", err)
	}
	if _, err := DecodeCertificate(make([]byte, MaxCertificateBytes+1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("large certificate: %v", err)
	}
}

// Every decoder accepts exactly the bytes that its encoder writes.

func FuzzDecodeVote(f *testing.F) {
	f.Add(EncodeVote(sampleEnvelopes(f)[0].Vote))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if v, err := DecodeVote(raw); err == nil && !bytes.Equal(EncodeVote(v), raw) {
			t.Errorf("not canonical: %x", raw)
		}
	})
}

func FuzzDecodeCertificate(f *testing.F) {
	f.Add(EncodeCertificate(sampleEnvelopes(f)[2].Certificate))
	f.Fuzz(func(t *testing.T, raw []byte) {
		c, err := DecodeCertificate(raw)
		if err != nil {
			return
		}
		if !bytes.Equal(EncodeCertificate(c), raw) {
			t.Errorf("not canonical: %x", raw)
		}
		_ = CheckCertificate(c.Epoch, 4, c)
	})
}

func FuzzDecodeEnvelope(f *testing.F) {
	for _, e := range sampleEnvelopes(f) {
		f.Add(EncodeEnvelope(e))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if e, err := DecodeEnvelope(raw, testMaxBytes); err == nil && !bytes.Equal(EncodeEnvelope(e), raw) {
			t.Errorf("not canonical: %x", raw)
		}
	})
}

func FuzzDecodeRecord(f *testing.F) {
	for _, r := range sampleRecords(f) {
		f.Add(EncodeRecord(r))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if r, err := DecodeRecord(raw); err == nil && !bytes.Equal(EncodeRecord(r), raw) {
			t.Errorf("not canonical: %x", raw)
		}
	})
}

// TestFuzzCorpusIsCommitted keeps a corpus beside every fuzz target. Run with
// CAIRN_WRITE_CORPUS=1 to write the samples again after a change of format.
func TestFuzzCorpusIsCommitted(t *testing.T) {
	samples := map[string][][]byte{}
	for _, e := range sampleEnvelopes(t) {
		samples["FuzzDecodeEnvelope"] = append(samples["FuzzDecodeEnvelope"], EncodeEnvelope(e))
		if e.Vote != nil {
			samples["FuzzDecodeVote"] = append(samples["FuzzDecodeVote"], EncodeVote(e.Vote))
		}
		if e.Certificate != nil {
			samples["FuzzDecodeCertificate"] = append(samples["FuzzDecodeCertificate"], EncodeCertificate(e.Certificate))
		}
	}
	for _, r := range sampleRecords(t) {
		samples["FuzzDecodeRecord"] = append(samples["FuzzDecodeRecord"], EncodeRecord(r))
	}
	for target, raws := range samples {
		for i, raw := range append(raws, nil, raws[0][:len(raws[0])/2], bytes.Repeat([]byte{0xf8}, 64)) {
			path := filepath.Join("testdata", "fuzz", target, fmt.Sprintf("sample-%d", i))
			text := []byte(fmt.Sprintf("go test fuzz v1\n[]byte(%q)\n", raw))
			if os.Getenv("CAIRN_WRITE_CORPUS") != "" {
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, text, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, text) {
				t.Errorf("%s is not the sample of today's format: %v", path, err)
			}
		}
	}
}

// The envelope's limit holds for each list inside it too.
func TestEnvelopeIsNotDecodedPastItsLimit(t *testing.T) {
	big := &Envelope{Proposal: &ProposalEnvelope{Vote: *sampleEnvelopes(t)[0].Vote, Body: make([]byte, 1000)}}
	raw := EncodeEnvelope(big)
	if _, err := DecodeEnvelope(raw, len(raw)); err != nil {
		t.Error(err)
	}
	if _, err := DecodeEnvelope(raw, len(raw)-1); !errors.Is(err, ErrTooLarge) {
		t.Errorf("one byte above the limit: %v", err)
	}
	var t9 tagged
	if err := rlp.DecodeBytes(raw, &t9); err != nil || t9.Tag != tagProposal {
		t.Errorf("tag %d, %v", t9.Tag, err)
	}
}
