package wallettest

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"

	"cairn/consensus"
	"cairn/crypto"
	"cairn/genesis"
	"cairn/ledger/chain"
	"cairn/ledger/pool"
	"cairn/light/lighttest"
	"cairn/node/rpc"
)

// Ledger is a real ledger behind the real JSON-RPC server, without agreement:
// every transaction becomes a final block of its own, with a finalization by the
// keys of a quorum. Tests of what the wallet can prove use it.
type Ledger struct {
	*lighttest.Chain

	t      testing.TB
	server *httptest.Server
	pool   *pool.Pool

	mu     sync.Mutex
	lies   map[string]func(result map[string]any)
	absent map[string]bool // peer ids that are not connected
	silent map[string]bool // peer ids that are, and sign nothing
	guilty []rpc.Evidence
}

// NewLedger starts a network of n validators on a loopback port.
func NewLedger(t testing.TB, n int) *Ledger {
	t.Helper()
	l := &Ledger{Chain: lighttest.New(t, n), t: t, lies: make(map[string]func(map[string]any)), absent: make(map[string]bool), silent: make(map[string]bool)}
	l.pool = pool.New(pool.DefaultConfig(), l.Chain.Ledger.Config())
	l.reset(nil)
	s, err := rpc.New(rpc.Config{}, rpc.Backend{
		Ledger: l.Chain.Ledger, Pool: l.pool, Signer: l.Chain.Ledger.Config().Signer(), Submit: l.submit,
		Status: l.status, ClientVersion: "cairnd/test", Log: slog.New(slog.DiscardHandler), Presence: l.presence, Evidence: l.evidence,
	})
	if err != nil {
		t.Fatal(err)
	}
	l.server = httptest.NewServer(l.tamper(s))
	t.Cleanup(func() { s.Stop(); l.server.CloseClientConnections(); l.server.Close() })
	return l
}

// URL is the http:// URL.
func (l *Ledger) URL() string { return l.server.URL }

// Lie changes the object that a method answers over HTTP; nil ends it.
func (l *Ledger) Lie(method string, change func(result map[string]any)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if delete(l.lies, method); change != nil {
		l.lies[method] = change
	}
}

// Leave disconnects validator i's node.
func (l *Ledger) Leave(i int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.absent[lighttest.Validator(i).PeerID] = true
}

// Equivocate lets validator i sign two finalizes of a view of an epoch; the node
// has them as evidence.
func (l *Ledger) Equivocate(i int, epoch uint32, view uint64) {
	e := rpc.Evidence{Epoch: epoch, Validator: lighttest.Key(i).Address(), Name: lighttest.Validator(i).Name}
	for j := range e.Votes {
		s := consensus.Subject{Kind: consensus.Finalize, Epoch: epoch, View: view, ParentView: view - 1, Block: crypto.Hash{byte(1 + j)}}
		digest := s.Digest(consensus.Network{ChainID: lighttest.ChainID, Genesis: l.Chain.Ledger.Genesis().Hash()})
		sig := lighttest.Key(i).Sign(digest)
		e.Votes[j] = rpc.SignedVote{Kind: s.Kind.String(), View: view, ParentView: s.ParentView, Block: s.Block, Digest: digest, Signature: sig[:]}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.guilty = append(l.guilty, e)
}

func (l *Ledger) evidence() ([]rpc.Evidence, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.guilty), nil
}

// Observe makes validator i sign nothing, or again what it signed before.
func (l *Ledger) Observe(i int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	id := lighttest.Validator(i).PeerID
	l.silent[id] = !l.silent[id]
}

func (l *Ledger) presence(_ context.Context, peerIDs []string) []rpc.Presence {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make([]rpc.Presence, len(peerIDs))
	for i, id := range peerIDs {
		if !l.absent[id] {
			out[i] = rpc.Presence{Connected: true, Answered: true, Height: l.Chain.Ledger.HeadInfo().Height, Signs: !l.silent[id]}
		}
	}
	return out
}

func (l *Ledger) status() rpc.Status {
	head := l.Chain.Ledger.Head()
	set, epoch := l.Chain.Ledger.Validators()
	height := hexutil.Uint64(head.Number.Uint64())
	return rpc.Status{
		Version: "test", ChainID: lighttest.ChainID, GenesisHash: l.Chain.Ledger.Genesis().Hash(), Height: height, Target: height,
		Hash: head.Hash(), StateRoot: head.Root, Epoch: hexutil.Uint64(epoch), Leader: set.At(0).Name, Role: "full",
		Validators: set.Len(), Quorum: genesis.Quorum(set.Len()), Connected: set.Len(), Healthy: true, Problems: []string{},
	}
}

// submit seals a block of the transaction if the pool takes it.
func (l *Ledger) submit(_ context.Context, tx *types.Transaction) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.pool.Add(tx, true); err != nil {
		return err
	}
	if place, ok := l.pool.Status(tx.Hash()); !ok || !place.Executable {
		return nil // it waits for one with an earlier nonce
	}
	l.reset(l.Seal(tx).Transactions())
	return nil
}

func (l *Ledger) reset(included []*types.Transaction) {
	head, cfg := l.Chain.Ledger.Head(), l.Chain.Ledger.Config()
	if err := l.pool.Reset(head, chain.NextBaseFee(&cfg.Rules, head), l.Chain.Ledger, included); err != nil {
		l.t.Error(err)
	}
}

// tamper lets the lies into the answers of single calls.
func (l *Ledger) tamper(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		var call struct {
			Method string `json:"method"`
		}
		_ = json.Unmarshal(body, &call) // a batch has no method of its own
		l.mu.Lock()
		lie := l.lies[call.Method]
		l.mu.Unlock()
		if lie == nil {
			next.ServeHTTP(w, r)
			return
		}
		recorder := httptest.NewRecorder()
		next.ServeHTTP(recorder, r)
		var answer map[string]any
		if json.Unmarshal(recorder.Body.Bytes(), &answer) == nil {
			switch result := answer["result"].(type) {
			case map[string]any:
				lie(result)
			case []any:
				for _, one := range result {
					lie(one.(map[string]any))
				}
			}
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(answer) // the client may be gone
	})
}
