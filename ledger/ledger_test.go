package ledger

import (
	"errors"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/ethereum/go-ethereum/core/types"

	"cairn/crypto"
	"cairn/ledger/chain"
	"cairn/ledger/store"
	"cairn/ledger/trie"
)

func TestOpenRefusesAnotherGenesis(t *testing.T) {
	t.Parallel()
	n := newNode(t, testSpec(2), Options{})
	other := testSpec(3)
	_, err := Open(n.st, other)
	if !errors.Is(err, ErrWrongGenesis) {
		t.Fatalf("%v, want ErrWrongGenesis", err)
	}
	wanted, _, gerr := chain.Genesis(other)
	if gerr != nil {
		t.Fatal(gerr)
	}
	for _, h := range []crypto.Hash{n.l.Genesis().Hash(), wanted.Hash()} {
		if !strings.Contains(err.Error(), h.Hex()) {
			t.Errorf("%v does not name %s", err, h)
		}
	}
}

func TestExecute(t *testing.T) {
	t.Parallel()
	spec := testSpec(3)
	a, b := newNode(t, spec, Options{}), newNode(t, spec, Options{})
	first := a.build(a.head(), transfer(key(0), 0, key(1).Address(), 1, 0))
	second := a.build(first.Hash(), transfer(key(0), 1, key(1).Address(), 1, 0))
	if err := b.l.Execute(second); !errors.Is(err, ErrMissingParent) {
		t.Errorf("without its parent: %v, want ErrMissingParent", err)
	}
	for range 2 {
		if err := b.l.Execute(first); err != nil {
			t.Errorf("again: %v", err)
		}
	}
	if !b.l.Executed(first.Hash()) || b.l.Executed(second.Hash()) || b.l.Layers() != 1 {
		t.Error("the first block is held, the second is not")
	}
	wrong := second.Header()
	wrong.Root[0]++
	var inv *chain.InvalidError
	if err := b.l.Execute(types.NewBlockWithHeader(wrong).WithBody(*second.Body())); !errors.As(err, &inv) || inv.Kind != chain.ErrStateRoot {
		t.Errorf("wrong state root: %v", err)
	}
	if b.l.Layers() != 1 {
		t.Error("an invalid block is held")
	}
	b.finalize(first)
	if err := b.l.Execute(first); err != nil {
		t.Errorf("a final block: %v", err)
	}
	if !b.l.Executed(first.Hash()) {
		t.Error("a final block counts as executed")
	}
	if err := b.l.Execute(second); err != nil {
		t.Error(err)
	}
}

func TestFinalizeErrors(t *testing.T) {
	t.Parallel()
	n := newNode(t, testSpec(3), Options{})
	rival := n.build(n.head(), transfer(key(0), 0, key(1).Address(), 1, 0))
	child := n.build(rival.Hash())
	final := n.build(n.head(), transfer(key(0), 0, key(1).Address(), 2, 0))
	if _, err := n.l.Finalize(crypto.Hash{1}, nil, Floor{}, nil); !errors.Is(err, ErrNotExecuted) {
		t.Errorf("unknown block: %v, want ErrNotExecuted", err)
	}
	n.finalize(final)
	for _, b := range []*types.Block{rival, child} {
		if _, err := n.l.Finalize(b.Hash(), nil, Floor{View: 99}, nil); !errors.Is(err, ErrNotExecuted) {
			t.Errorf("dead block: %v, want ErrNotExecuted", err)
		}
	}
	if finals, err := n.l.Finalize(final.Hash(), certificate(final), Floor{View: 3}, nil); err != nil || len(finals) != 0 {
		t.Errorf("again: %v %v", finals, err)
	}
	next := n.build(n.head())
	if _, err := n.l.Finalize(next.Hash(), certificate(next), Floor{View: 1}, nil); !errors.Is(err, store.ErrOutOfOrder) {
		t.Errorf("a floor that moves back: %v, want ErrOutOfOrder", err)
	}
}

// TestFloorAndRecords: the floor and the pruning of vote records go with the
// batch of the block that has the certificate.
func TestFloorAndRecords(t *testing.T) {
	t.Parallel()
	n := newNode(t, testSpec(3), Options{})
	if err := n.st.PutRecords([]store.Record{{Key: []byte{1}}, {Key: []byte{2}}, {Key: []byte{9}}}); err != nil {
		t.Fatal(err)
	}
	a := n.build(n.head())
	b := n.build(a.Hash())
	_, err := n.l.Finalize(b.Hash(), certificate(b), Floor{Epoch: 0, View: 2}, []store.RecordRange{{From: []byte{0}, To: []byte{3}}})
	if err != nil {
		t.Fatal(err)
	}
	n.crash(nil)
	if got, want := n.l.HeadInfo(), (HeadInfo{Height: 2, Hash: b.Hash(), View: 2}); got != want {
		t.Errorf("head %+v, want %+v", got, want)
	}
	var keys []byte
	if err := n.st.Records(func(k, _ []byte) error { keys = append(keys, k...); return nil }); err != nil {
		t.Fatal(err)
	}
	if string(keys) != "\x09" {
		t.Errorf("records %x, want 09", keys)
	}
	if c, err := n.l.Certificate(1); err != nil || c != nil {
		t.Errorf("an ancestor has certificate %q %v", c, err)
	}
}

// TestCertificateOfHead: a head that was final through a lost descendant gets its
// own certificate later.
func TestCertificateOfHead(t *testing.T) {
	t.Parallel()
	n := newNode(t, testSpec(3), Options{})
	a := n.build(n.head())
	if _, err := n.l.Finalize(a.Hash(), nil, Floor{}, nil); err != nil {
		t.Fatal(err)
	}
	n.finalize(a)
	n.crash(nil)
	if c, err := n.l.Certificate(1); err != nil || string(c) != string(certificate(a)) {
		t.Errorf("certificate %q %v", c, err)
	}
	if got := n.l.HeadInfo().View; got != 1 {
		t.Errorf("floor view %d, want 1", got)
	}
}

func TestReadsAboveHead(t *testing.T) {
	t.Parallel()
	n := newNode(t, testSpec(1), Options{})
	n.build(n.head())
	for name, call := range map[string]func() error{
		"block":       func() error { _, err := n.l.BlockByHeight(1); return err },
		"header":      func() error { _, err := n.l.HeaderByHeight(1); return err },
		"hash":        func() error { _, err := n.l.HashByHeight(1); return err },
		"receipts":    func() error { _, err := n.l.Receipts(1); return err },
		"certificate": func() error { _, err := n.l.Certificate(1); return err },
		"account":     func() error { _, err := n.l.AccountAt(key(0).Address(), 1); return err },
		"slot":        func() error { _, err := n.l.SlotAt(chain.RegistryAddress, crypto.Hash{}, 1); return err },
		"proof":       func() error { _, err := n.l.Proof(key(0).Address(), nil, 1); return err },
	} {
		if err := call(); !errors.Is(err, ErrFuture) {
			t.Errorf("%s: %v, want ErrFuture", name, err)
		}
	}
	for name, call := range map[string]func() error{
		"block":       func() error { _, err := n.l.BlockByHash(crypto.Hash{1}); return err },
		"body":        func() error { _, err := n.l.BodyBytes(crypto.Hash{1}); return err },
		"transaction": func() error { _, _, _, _, err := n.l.Transaction(crypto.Hash{1}); return err },
		"code":        func() error { _, err := n.l.Code(crypto.Hash{1}); return err },
	} {
		if err := call(); !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: %v, want ErrNotFound", name, err)
		}
	}
}

// TestProofWindow: exactly the last roots are provable, none but the head's after
// a restart, and the budget counts.
func TestProofWindow(t *testing.T) {
	t.Parallel()
	n := newNode(t, testSpec(5), Options{ProofRoots: 4})
	for i := range uint64(10) {
		n.finalize(n.build(n.head(), transfer(key(0), i, key(1).Address(), 1, 0)))
	}
	provable := func(height uint64) bool {
		p, err := n.l.Proof(key(0).Address(), nil, height)
		if err != nil && !errors.Is(err, ErrProofPruned) {
			t.Fatal(err)
		}
		return err == nil && p.Account.Nonce == height
	}
	for h := range uint64(11) {
		if got, want := provable(h), h >= 6; got != want {
			t.Errorf("height %d provable: %v, want %v", h, got, want)
		}
	}
	n.reopen()
	for h := range uint64(11) {
		if got, want := provable(h), h == 10; got != want {
			t.Errorf("after a restart height %d provable: %v, want %v", h, got, want)
		}
	}
}

// TestRegistryProof proves slots of the one account with storage.
func TestRegistryProof(t *testing.T) {
	t.Parallel()
	spec := testSpec(2)
	n := newNode(t, spec, Options{})
	n.finalize(n.build(n.head(), transfer(key(0), 0, key(1).Address(), 1, 0)))
	_, out, err := chain.Genesis(spec)
	if err != nil {
		t.Fatal(err)
	}
	slots := []crypto.Hash{{0xee}}
	for _, s := range out.Slots {
		slots = append(slots, s.Slot)
	}
	p, err := n.l.Proof(chain.RegistryAddress, slots, 1)
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range p.Storage {
		want := crypto.Hash{}
		if i > 0 {
			want = out.Slots[i-1].New
		}
		if got, err := n.l.SlotAt(chain.RegistryAddress, s.Slot, 1); err != nil || got != want || s.Value != want {
			t.Errorf("slot %s: %s, proven %s, want %s: %v", s.Slot, got, s.Value, want, err)
		}
		leaf := verify(t, p.Account.StorageRoot, crypto.Keccak256(s.Slot[:]), s.Proof)
		if (leaf == nil) != (want == crypto.Hash{}) {
			t.Errorf("slot %s has leaf %x", s.Slot, leaf)
		}
	}
	code, err := n.l.Code(p.Account.CodeHash)
	if err != nil || crypto.Keccak256(code) != p.Account.CodeHash {
		t.Errorf("code %x: %v", code, err)
	}
	if set, _, err := chain.ReadRegistry(n.l); err != nil || set.Len() != 2 {
		t.Errorf("registry: %v", err)
	}
}

func TestNoHistory(t *testing.T) {
	t.Parallel()
	n := &node{t: t, fs: vfs.NewCrashableMem(), spec: testSpec(3), millis: testSpec(0).Timestamp, stOpts: store.Options{NoHistory: true}}
	n.open()
	n.finalize(n.build(n.head(), transfer(key(0), 0, key(1).Address(), 1, 0)))
	check := func() {
		t.Helper()
		acc, err := n.l.AccountAt(key(0).Address(), 1)
		if err != nil || acc.Nonce != 1 {
			t.Errorf("at the head: %+v %v", acc, err)
		}
		if _, err := n.l.AccountAt(key(0).Address(), 0); !errors.Is(err, ErrNoHistory) {
			t.Errorf("below the head: %v, want ErrNoHistory", err)
		}
		if _, err := n.l.History(key(0).Address(), 1, 9); !errors.Is(err, ErrNoHistory) {
			t.Errorf("history: %v, want ErrNoHistory", err)
		}
	}
	check()
	// A history with a gap would answer wrongly: it stays off.
	n.stOpts.NoHistory = false
	n.reopen()
	check()
	if err := n.st.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestSlowSubscriber: the owner never waits; what is missed is a gap.
func TestSlowSubscriber(t *testing.T) {
	t.Parallel()
	n := newNode(t, testSpec(1), Options{})
	slow, cancel := n.l.Subscribe()
	gone, cancelGone := n.l.Subscribe()
	cancelGone()
	cancelGone()
	for range subscriptionBacklog + 10 {
		n.finalize(n.build(n.head()))
	}
	cancel()
	want := uint64(1)
	for f := range slow {
		if f.Block.NumberU64() != want {
			t.Fatalf("block %d, want %d", f.Block.NumberU64(), want)
		}
		want++
	}
	if want != subscriptionBacklog+1 {
		t.Errorf("%d blocks, want %d", want-1, subscriptionBacklog)
	}
	if _, ok := <-gone; ok {
		t.Error("a cancelled subscription goes on")
	}
}

// TestCommittedLayersAreFreed: on a chain that always has an unfinalized block,
// old layers and old tries do not stay in memory.
func TestCommittedLayersAreFreed(t *testing.T) {
	n := newNode(t, testSpec(50), Options{TrieNodes: 20, ProofRoots: 2})
	var freed sync.WaitGroup
	tip := n.build(n.head())
	for i := range uint64(30) {
		layer := n.l.layers[tip.Hash()]
		freed.Add(1)
		runtime.AddCleanup(layer, func(int) { freed.Done() }, 0)
		next := n.build(tip.Hash(), transfer(key(int(i)), 0, randomAddress(int(i)), 1, 0))
		n.finalize(tip)
		tip = next
		if got := n.l.layers[tip.Hash()].accounts.Resident(); got > 20+100 {
			t.Fatalf("%d trie nodes in memory", got)
		}
	}
	done := make(chan struct{})
	go func() { freed.Wait(); close(done) }()
	for range 50 {
		runtime.GC()
		select {
		case <-done:
			return
		default:
			runtime.Gosched()
		}
	}
	t.Fatal("a committed layer is still held")
}

// TestFailedCommit: a disk that refuses the sync stops the ledger where it was,
// and readers still see that state.
func TestFailedCommit(t *testing.T) {
	t.Parallel()
	mem := vfs.NewCrashableMem()
	var broken errorfs.Toggle
	broken.Injector = errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData {
			return errorfs.ErrInjected
		}
		return nil
	})
	st, err := store.Open("/data/ledger", store.Options{FS: errorfs.Wrap(mem, &broken)})
	if err != nil {
		t.Fatal(err)
	}
	spec := testSpec(3)
	l, err := Open(st, spec)
	if err != nil {
		t.Fatal(err)
	}
	n := &node{t: t, fs: mem, st: st, l: l, spec: spec, millis: spec.Timestamp}
	n.finalize(n.build(n.head(), transfer(key(0), 0, key(1).Address(), 1, 0)))
	lost := n.build(n.head(), transfer(key(0), 1, key(1).Address(), 1, 0))
	broken.On()
	for range 2 {
		if _, err := l.Finalize(lost.Hash(), certificate(lost), Floor{View: 2}, nil); !errors.Is(err, store.ErrFailed) {
			t.Fatalf("%v, want ErrFailed", err)
		}
	}
	broken.Off()
	if _, err := l.Finalize(lost.Hash(), certificate(lost), Floor{View: 2}, nil); !errors.Is(err, store.ErrFailed) {
		t.Fatalf("a failed commit was tried again: %v", err)
	}
	if acc, err := l.Account(key(0).Address()); err != nil || acc.Nonce != 1 || l.HeadInfo().Height != 1 {
		t.Errorf("head %d, account %+v: %v", l.HeadInfo().Height, acc, err)
	}
	after := mem.CrashClone(vfs.CrashCloneCfg{})
	n.fs = after
	n.open()
	if n.l.HeadInfo().Height != 1 {
		t.Errorf("head %d after a restart, want 1", n.l.HeadInfo().Height)
	}
	if err := n.st.Close(); err != nil {
		t.Error(err)
	}
}

// TestConcurrentReaders: while blocks are committed, whatever a reader is told
// belongs together. In each block account 0 sends 1 wei to account 1 and the
// fees are 0 beyond the base fee.
func TestConcurrentReaders(t *testing.T) {
	t.Parallel()
	n := newNode(t, testSpec(20), Options{TrieNodes: 8, ProofRoots: 3, BlockBytes: 1})
	a, b := key(0).Address(), key(1).Address()
	start, err := n.l.Account(b)
	if err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var readers sync.WaitGroup
	read := func(f func() error) {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if err := f(); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	read(func() error { return readAccounts(n.l, a, b, start) })
	read(func() error { return readProof(n.l, a) })
	read(func() error { return readBlocks(n.l) })
	for i := range uint64(150) {
		n.finalize(n.build(n.head(), transfer(key(0), i, b, 1, 0), transfer(key(2), i, randomAddress(int(i)), 1, 0)))
	}
	close(stop)
	readers.Wait()
}

func readAccounts(l *Ledger, a, b crypto.Address, start *chain.Account) error {
	before := l.HeadInfo().Height
	acc, h, err := l.accountAtHead(a)
	if err != nil {
		return err
	}
	if acc.Nonce != h.info.Height || h.info.Height < before {
		return errors.New("the newest account is not that of its head")
	}
	other, err := l.AccountAt(b, h.info.Height)
	if err != nil {
		return err
	}
	if got := other.Balance.Uint64() - start.Balance.Uint64(); got != h.info.Height {
		return errors.New("balance at a height is not of that height")
	}
	return nil
}

func readProof(l *Ledger, a crypto.Address) error {
	header := l.Head()
	p, err := l.Proof(a, nil, header.Number.Uint64())
	if errors.Is(err, ErrProofPruned) {
		return nil // overtaken by four blocks
	}
	if err != nil {
		return err
	}
	key := crypto.Keccak256(a[:])
	if _, err := trie.VerifyProof(header.Root, key[:], p.Proof); err != nil {
		return err
	}
	if p.Account.Nonce != header.Number.Uint64() {
		return errors.New("a proof is of another height")
	}
	return nil
}

func readBlocks(l *Ledger) error {
	info := l.HeadInfo()
	block, err := l.BlockByHash(info.Hash)
	if err != nil {
		return err
	}
	receipts, err := l.Receipts(info.Height)
	if err != nil || len(receipts) != len(block.Transactions()) {
		return errors.Join(errors.New("receipts of the head"), err)
	}
	for _, tx := range block.Transactions() {
		if _, hash, _, _, err := l.Transaction(tx.Hash()); err != nil || hash != info.Hash {
			return errors.Join(errors.New("a transaction of the head is not found"), err)
		}
	}
	cert, at, err := l.CertificateAtOrAbove(min(info.Height, 1))
	if info.Height > 0 && (err != nil || at != 1 || len(cert) == 0) {
		return errors.Join(errors.New("certificate of block 1"), err)
	}
	return nil
}
