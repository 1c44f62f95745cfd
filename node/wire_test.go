package node

import (
	"bytes"
	"testing"

	"cairn/consensus"
	"cairn/crypto"
	"cairn/genesis"
	"cairn/node/blocksync"
	"cairn/node/statesync"
	"cairn/p2p"
)

// FuzzWire: no bytes make a decoder of the messages between nodes panic, and
// what decodes encodes to the same bytes.
func FuzzWire(f *testing.F) {
	vote := consensus.Subject{Kind: consensus.Finalize, View: 3, ParentView: 2, Block: crypto.Hash{7}}
	signers := consensus.NewBitmap(4)
	signers.Set(1)
	cert := consensus.Certificate{Subject: vote, Signers: signers, Signatures: []crypto.Signature{testKey(1).Sign(crypto.Hash{1})}}
	raw := consensus.EncodeCertificate(&cert)
	f.Add(encode(statusAnswer{Genesis: crypto.Hash{1}, Height: 9, Head: crypto.Hash{2}, View: 3, Finalization: raw, Header: []byte{0xc0}}))
	f.Add(encode(certificatesRequest{Epoch: 1, From: 2, To: 3}))
	f.Add(encodeCertificates([]consensus.Certificate{cert, cert}))
	f.Add([]byte{0xc0})
	f.Add([]byte{0xf9, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		status, err := decodeStatus(b)
		again(t, "status", b, err, func() []byte { return encode(status) })
		ranges, err := decodeCertificatesRequest(b)
		again(t, "certificates request", b, err, func() []byte { return encode(ranges) })
		certs, err := decodeCertificates(b)
		again(t, "certificates", b, err, func() []byte { return encodeCertificates(certs) })
	})
}

func again(t *testing.T, what string, b []byte, err error, encoded func() []byte) {
	t.Helper()
	if err == nil && !bytes.Equal(encoded(), b) {
		t.Errorf("%s: %x encodes to %x", what, b, encoded())
	}
}

// TestAnswerLimit: of an answer to each kind of request no more is read than it may
// need, so that nobody sends the largest of all to a small question. What remains
// is asked of one peer after the other.
func TestAnswerLimit(t *testing.T) {
	t.Parallel()
	rules := genesis.DefaultRules()
	all := (&serving{states: new(statesync.Server)}).requests(map[string]p2p.Request{
		requestStatus: nil, requestBlock: nil, requestCertificates: nil, requestSeen: nil,
	})
	for name := range all {
		most := 4 << 20 // times 32 peers, as many as are asked at once
		switch name {
		case requestCertificates, blocksync.RequestReceipts:
			most = maxAnswerBytes(&rules)
		case blocksync.RequestEpochs:
			most = 5 << 20
		}
		request := encode(&blocksync.BlocksRequest{From: 1, Count: followCount, Bytes: followBytes})
		if limit := answerLimit(name, request, &rules); limit <= 0 || limit > most {
			t.Errorf("%s: %d bytes, at most %d", name, limit, most)
		}
	}
}
