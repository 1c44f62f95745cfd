package node

import (
	"runtime"
	"sync"

	"github.com/ethereum/go-ethereum/core/types"
	"golang.org/x/sync/errgroup"

	"cairn/consensus"
	"cairn/crypto"
	"cairn/ledger/chain"
	"cairn/ledger/pool"
)

// maxVerified bounds the certificates remembered as verified: a certificate
// comes from every member and again inside proposals.
const maxVerified = 4096

// verifier is the door at which bytes from other nodes become values that the
// core may trust to be authentic. It is safe for concurrent use: signatures are
// checked in the goroutines of the streams that they came from.
type verifier struct {
	net   consensus.Network
	epoch uint32
	addrs []crypto.Address

	mu   sync.Mutex
	seen map[consensus.Subject]*consensus.Certificate
}

func newVerifier(net consensus.Network, epoch uint32, addrs []crypto.Address) *verifier {
	return &verifier{net: net, epoch: epoch, addrs: addrs, seen: make(map[consensus.Subject]*consensus.Certificate)}
}

// certificate verifies c, or answers the one verified before that says the same:
// each member sends the certificate that it made, of other signers, and one of
// them is enough to check.
func (v *verifier) certificate(c *consensus.Certificate) (*consensus.Certificate, error) {
	v.mu.Lock()
	known := v.seen[c.Subject]
	v.mu.Unlock()
	if known != nil {
		return known, nil
	}
	if err := consensus.VerifyCertificate(v.net, v.epoch, v.addrs, c); err != nil {
		return nil, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.seen) >= maxVerified {
		clear(v.seen)
	}
	v.seen[c.Subject] = c
	return c, nil
}

// finalization decodes and verifies a finalization.
func (v *verifier) finalization(raw []byte) (*consensus.Certificate, error) {
	if len(raw) > maxCertificateBytes {
		return nil, errOversize
	}
	c, err := consensus.DecodeCertificate(raw)
	if err != nil {
		return nil, err
	}
	if c.Kind != consensus.Finalize {
		return nil, errUnasked
	}
	return v.certificate(c)
}

// recoverSenders fills the sender cache of every transaction of a block on all
// cores. A transaction whose sender does not recover keeps none: execution
// finds that the block is invalid.
func recoverSenders(signer types.Signer, txs types.Transactions) {
	workers := min(runtime.GOMAXPROCS(0), (len(txs)+63)/64)
	if workers <= 1 {
		for _, tx := range txs {
			_, _ = chain.Sender(signer, tx)
		}
		return
	}
	var g errgroup.Group
	chunk := (len(txs) + workers - 1) / workers
	for from := 0; from < len(txs); from += chunk {
		part := txs[from:min(from+chunk, len(txs))]
		g.Go(func() error {
			for _, tx := range part {
				_, _ = chain.Sender(signer, tx)
			}
			return nil
		})
	}
	_ = g.Wait()
}

// withKnownSenders puts the pool's own copy of each transaction, whose sender is
// known, in the place of the decoded one, and recovers the others.
func withKnownSenders(p *pool.Pool, signer types.Signer, b *types.Block) *types.Block {
	txs := make(types.Transactions, len(b.Transactions()))
	var unknown types.Transactions
	for i, tx := range b.Transactions() {
		if known := p.Get(tx.Hash()); known != nil {
			txs[i] = known
			continue
		}
		txs[i] = tx
		unknown = append(unknown, tx)
	}
	recoverSenders(signer, unknown)
	return types.NewBlockWithHeader(b.Header()).WithBody(types.Body{Transactions: txs})
}
