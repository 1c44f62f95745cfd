package ledger

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ethereum/go-ethereum/core/types"

	"cairn/crypto"
	"cairn/genesis"
	"cairn/ledger/chain"
	"cairn/ledger/snapshot"
	"cairn/ledger/store"
	"cairn/ledger/trie"
)

// Floor is the epoch and view of the last block whose own finalization was
// committed: the vote log signs nothing at or below it.
type Floor = store.Floor

// Limits of memory. They are variables of an Options, not of the chain.
const (
	defaultTrieNodes    = 1 << 17  // nodes of the account trie in memory, about 350 bytes each
	defaultAccounts     = 1 << 16  // accounts in the owner's cache, about 200 bytes each
	defaultProofRoots   = 128      // final roots before the head that stay provable
	defaultProofBytes   = 64 << 20 // of overwritten nodes kept for them
	defaultBlockBytes   = 2 << 20  // RLP of final blocks kept decoded
	maxBatchBytes       = 64 << 20 // of one commit; more ancestors go in several
	subscriptionBacklog = 128      // final blocks that wait for one slow subscriber
)

// Options are the operator's choices. The zero value is the default of each.
type Options struct {
	TrieNodes  int // trie nodes kept in memory
	Accounts   int // accounts kept in memory
	ProofRoots int // final roots before the head that stay provable
	ProofBytes int // memory for them; fewer roots stay if it is used up
	BlockBytes int // RLP bytes of final blocks kept decoded

	// Snapshots is where the state at each multiple of the network's checkpoint
	// interval is kept for those who join; nil: nowhere.
	Snapshots *snapshot.Dir
	// OnSnapshot is told, in a goroutine of its own, of each state that was kept
	// and how long that took, or why it was not.
	OnSnapshot func(height uint64, took time.Duration, err error)
}

// HeadInfo says where the final head is. Epoch and View are the floor: those of
// the head's own finalization.
type HeadInfo struct {
	Height uint64
	Hash   crypto.Hash
	Epoch  uint32
	View   uint64
}

// head is the final head with what belongs to it. It is immutable.
type head struct {
	header   *types.Header
	info     HeadInfo
	accounts *trie.Trie // reads from proofSource

	validators *genesis.ValidatorSet // they decide its children
	epoch      uint32                // of validators
}

// Ledger is the live chain. See the package comment for who may call what.
type Ledger struct {
	st      *store.Store
	cfg     *chain.Config
	signer  types.Signer
	genesis *types.Block
	options Options

	head atomic.Pointer[head]
	// commits counts commits begun and ended: odd while the state on disk may be
	// ahead of head. Readers that find it even and unchanged around a read of
	// the newest state read that of head.
	commits  atomic.Uint64
	commitMu sync.RWMutex // held while commits is odd, for readers without history
	old      overwritten
	blocks   *blockCache
	subs     subscriptions

	// The owner's.
	layers   map[crypto.Hash]*layer
	base     *trie.Trie    // the head's account trie; reads from the store
	accounts *accountCache // of the final state
}

// Open loads the chain of a genesis, and writes block 0 into an empty store.
// Errors: ErrWrongGenesis with both hashes, store.ErrCorrupt, chain.ErrSpec.
func Open(st *store.Store, spec *genesis.Spec) (*Ledger, error) {
	return OpenWith(st, spec, Options{})
}

// OpenWith is Open with limits other than the default ones.
func OpenWith(st *store.Store, spec *genesis.Spec, o Options) (*Ledger, error) {
	block, out, err := chain.Genesis(spec)
	if err != nil {
		return nil, fmt.Errorf("make block 0: %w", err)
	}
	o.TrieNodes, o.Accounts = orDefault(o.TrieNodes, defaultTrieNodes), orDefault(o.Accounts, defaultAccounts)
	o.ProofRoots, o.ProofBytes = orDefault(o.ProofRoots, defaultProofRoots), orDefault(o.ProofBytes, defaultProofBytes)
	o.BlockBytes = orDefault(o.BlockBytes, defaultBlockBytes)
	l := &Ledger{
		st: st, cfg: chain.NewConfig(spec, block.Hash()), genesis: block, options: o,
		layers: map[crypto.Hash]*layer{}, accounts: newAccountCache(o.Accounts), blocks: newBlockCache(o.BlockBytes),
	}
	l.signer = l.cfg.Signer()
	l.old.maxRoots, l.old.maxBytes = o.ProofRoots, o.ProofBytes
	at, err := st.Head()
	if errors.Is(err, ErrNotFound) {
		if err := l.writeGenesis(block, out); err != nil {
			return nil, err
		}
		at, err = st.Head()
	}
	if err != nil {
		return nil, err
	}
	return l, l.load(at)
}

func orDefault(v, d int) int {
	if v == 0 {
		return d
	}
	return v
}

// writeGenesis commits block 0.
func (l *Ledger) writeGenesis(block *types.Block, out *chain.Output) error {
	if err := l.st.PutBody(block.Hash(), chain.EncodeBlock(block)); err != nil {
		return fmt.Errorf("write block 0: %w", err)
	}
	c, err := l.commitRows(newLayer(block, nil, out))
	if err != nil {
		return fmt.Errorf("write block 0: %w", err)
	}
	c.Floor = &Floor{}
	if err := l.st.Commit(c); err != nil {
		return fmt.Errorf("write block 0: %w", err)
	}
	return nil
}

// load checks that the store is of this genesis and whole at its head, and
// starts there.
func (l *Ledger) load(at store.Head) error {
	first, err := l.st.HashByHeight(0)
	if err != nil {
		return err
	}
	if first != l.genesis.Hash() {
		return fmt.Errorf("%w: it holds the chain of genesis %s, this network's genesis is %s", ErrWrongGenesis, first, l.genesis.Hash())
	}
	header, hash, err := l.st.HeaderByHeight(at.Height)
	if err != nil {
		return fmt.Errorf("read the head: %w", err)
	}
	if hash != at.Hash || header.Hash() != hash {
		return fmt.Errorf("%w: head %d is %s, its header hashes to %s", store.ErrCorrupt, at.Height, at.Hash, header.Hash())
	}
	l.base = trie.New(header.Root, l.storeSource(crypto.Hash{}))
	if _, err := l.base.Get(crypto.Keccak256(nil).Bytes()); err != nil {
		return fmt.Errorf("%w: state of head %d: %w", store.ErrCorrupt, at.Height, err)
	}
	validators, epoch, err := chain.ReadRegistry(l.st)
	if err != nil {
		return fmt.Errorf("%w: validators at head %d: %w", store.ErrCorrupt, at.Height, err)
	}
	l.publish(header, at, validators, epoch)
	return nil
}

// publish makes a committed block the head that readers see. validators, of
// epoch, decide its children.
func (l *Ledger) publish(header *types.Header, at store.Head, validators *genesis.ValidatorSet, epoch uint32) {
	l.head.Store(&head{
		header:   header,
		info:     HeadInfo{Height: at.Height, Hash: at.Hash, Epoch: at.Floor.Epoch, View: at.Floor.View},
		accounts: l.base.WithSource(l.proofSource(crypto.Hash{})),

		validators: validators, epoch: epoch,
	})
}

// Genesis is block 0.
func (l *Ledger) Genesis() *types.Block { return l.genesis }

// Config is what execution needs to know of the network.
func (l *Ledger) Config() *chain.Config { return l.cfg }

// Head is the header of the final head. It must not be changed.
func (l *Ledger) Head() *types.Header { return l.head.Load().header }

// HeadInfo says where the final head is.
func (l *Ledger) HeadInfo() HeadInfo { return l.head.Load().info }
