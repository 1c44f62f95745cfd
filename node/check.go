package node

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/ethereum/go-ethereum/core/types"

	"cairn/consensus"
	"cairn/crypto"
	"cairn/genesis"
	"cairn/ledger/chain"
	"cairn/ledger/store"
)

// CheckOptions are what Check tells while it works. None may be nil.
type CheckOptions struct {
	Finding  func(text string)                      // what is wrong, and where
	Note     func(text string)                      // what could not be looked at
	Progress func(stage string, done, total uint64) // total 0 = not known
}

// CheckResult is what Check looked at.
type CheckResult struct {
	Height       uint64 `json:"height"`
	Transactions uint64 `json:"transactions"`
	Certificates uint64 `json:"certificates"`
	Epoch        uint32 `json:"epoch"`
	Accounts     uint64 `json:"accounts"`
	Slots        uint64 `json:"slots"`
	Findings     uint64 `json:"findings"`

	// What is older is not kept; see docs/storage.md. 0 = everything is.
	FirstState uint64 `json:"firstState"` // height
	FirstBody  uint64 `json:"firstBody"`  // height
}

// Check verifies a whole database against the genesis file: headers link from
// block 0 to the head, bodies and receipts hash to their roots, certificates
// verify with the set of their epoch as the registry had it, every transaction
// is in the index and nothing else, accounts and slots are those of the state
// root, and the history ends where the state is. Of a database that does not keep
// everything it looks at what must be there. It changes nothing. The error is a
// failure to go on; what is wrong with the data goes to Finding.
func Check(ctx context.Context, st *store.Store, spec *genesis.Spec, o CheckOptions) (CheckResult, error) {
	snap, err := st.Snapshot()
	if err != nil {
		return CheckResult{}, err
	}
	c := &checker{ctx: ctx, st: snap, signer: chain.NewSigner(spec.ChainID), o: o}
	err = c.run(spec)
	return c.result, errors.Join(err, snap.Close())
}

// checkEvery is how many rows pass between two looks at the context.
const checkEvery = 1 << 10

type checker struct {
	ctx    context.Context
	st     *store.Snapshot
	cfg    *chain.Config
	signer types.Signer
	o      CheckOptions
	net    consensus.Network
	head   store.Head
	header *types.Header // of the head
	result CheckResult
	rows   uint64

	set    *genesis.ValidatorSet // that decides the next block; nil = not known
	epoch  uint32
	counts []uint32 // transactions by height

	unread map[uint64]bool // blocks that were damaged and are to be fetched
}

func (c *checker) found(format string, a ...any) {
	c.result.Findings++
	c.o.Finding(fmt.Sprintf(format, a...))
}

// step counts a row, tells how far a stage is and notices when it must end.
func (c *checker) step(stage string, done, total uint64) error {
	if c.rows++; c.rows%checkEvery != 0 {
		return nil
	}
	c.o.Progress(stage, done, total)
	return c.ctx.Err()
}

func (c *checker) run(spec *genesis.Spec) error {
	block0, _, err := chain.Genesis(spec)
	if err != nil {
		return fmt.Errorf("make block 0: %w", err)
	}
	c.net = consensus.Network{ChainID: spec.ChainID, Genesis: block0.Hash()}
	c.cfg = chain.NewConfig(spec, block0.Hash())
	c.set = spec.ValidatorSet()
	if c.head, err = c.st.Head(); errors.Is(err, store.ErrNotFound) {
		c.found("the database has no head: not even block 0 was written")
		return nil
	} else if err != nil {
		return err
	}
	c.result.Height = c.head.Height
	c.result.FirstState, c.result.FirstBody = c.st.Base(), c.st.FirstBody()
	if err := c.tolerate(c.readAwaited(), "blocks to be fetched"); err != nil {
		return err
	}
	for _, part := range []func() error{c.blocks, c.index, c.state, c.history, c.records} {
		if err := part(); err != nil {
			return err
		}
	}
	return nil
}

// readAwaited reads which blocks were damaged and are to be fetched: they are not
// looked at.
func (c *checker) readAwaited() error {
	heights, err := c.st.Awaited()
	if len(heights) > 0 {
		c.o.Note(fmt.Sprintf("%d damaged blocks from %d to %d are not here until the node has fetched them", len(heights), heights[0], heights[len(heights)-1]))
	}
	c.unread = make(map[uint64]bool, len(heights))
	for _, h := range heights {
		c.unread[h] = true
	}
	return err
}

// tolerate turns damage into a finding and passes failures on.
func (c *checker) tolerate(err error, format string, a ...any) error {
	if err == nil {
		return nil
	}
	var invalid *chain.InvalidError
	if !errors.Is(err, store.ErrNotFound) && !errors.Is(err, store.ErrCorrupt) && !errors.As(err, &invalid) {
		return err
	}
	c.found("%s: %v", fmt.Sprintf(format, a...), err)
	return nil
}

// blocks walks from block 0 to the head.
func (c *checker) blocks() error {
	c.counts = make([]uint32, 0, min(c.head.Height+1, 1<<20))
	parent := crypto.Hash{}
	for height := uint64(0); height <= c.head.Height; height++ {
		if err := c.step("blocks", height, c.head.Height+1); err != nil {
			return err
		}
		c.counts = append(c.counts, 0)
		if c.unread[height] {
			hash, err := c.st.HashByHeight(height)
			if err := c.tolerate(err, "block %d", height); err != nil {
				return err
			}
			parent = hash
			continue
		}
		header, hash, err := c.st.HeaderByHeight(height)
		if err != nil {
			parent = crypto.Hash{}
			if !c.kept(height) && (errors.Is(err, store.ErrPruned) || errors.Is(err, store.ErrNotFound)) {
				continue // of these only headers that end an epoch must be here
			}
			if err := c.tolerate(err, "block %d", height); err != nil {
				return err
			}
			continue
		}
		c.link(header, hash, height, parent)
		parent = hash
		if c.kept(height) {
			if err := c.block(header, hash, height); err != nil {
				return err
			}
		}
		if err := c.certificate(header, hash, height); err != nil {
			return err
		}
		if chain.IsClosing(header) {
			if err := c.nextEpoch(header, height); err != nil {
				return err
			}
		}
		c.header = header
	}
	if parent != c.head.Hash {
		c.found("head: the database says %s, the block of height %d is %s", c.head.Hash, c.head.Height, parent)
	}
	c.result.Epoch = c.epoch
	return nil
}

// kept says whether a block must be here with its body, receipts and index.
func (c *checker) kept(height uint64) bool {
	return height == 0 || height >= c.st.FirstBody() && !c.unread[height]
}

// link checks a header's own hash, its place and its parent. A zero parent is
// one that could not be read.
func (c *checker) link(header *types.Header, hash crypto.Hash, height uint64, parent crypto.Hash) {
	if got := header.Hash(); got != hash {
		c.found("header %d hashes to %s, the final block of that height is %s", height, got, hash)
	}
	if header.Number.Uint64() != height {
		c.found("header %d says that it is of height %s", height, header.Number)
	}
	if height == 0 && hash != c.net.Genesis {
		c.found("block 0 is %s, the genesis file makes %s", hash, c.net.Genesis)
	}
	if parent != (crypto.Hash{}) && header.ParentHash != parent {
		c.found("header %d has the parent %s, block %d is %s", height, header.ParentHash, height-1, parent)
	}
	if extra, err := chain.DecodeExtra(header); err != nil {
		c.found("header %d: %v", height, err)
	} else if extra.Epoch != c.epoch && height > 0 {
		c.found("header %d is of epoch %d, want %d", height, extra.Epoch, c.epoch)
	}
}

// block checks body, receipts and the index of one block.
func (c *checker) block(header *types.Header, hash crypto.Hash, height uint64) error {
	if at, err := c.st.HeightByHash(hash); err != nil {
		if err := c.tolerate(err, "height of block %d", height); err != nil {
			return err
		}
	} else if at != height {
		c.found("block %s of height %d is looked up at height %d", hash, height, at)
	}
	raw, err := c.st.Body(hash)
	var block *types.Block
	if err == nil {
		block, err = chain.DecodeBlock(raw, &c.cfg.Rules)
	}
	if err != nil {
		return c.tolerate(err, "body %d", height)
	}
	txs := block.Transactions()
	if root := chain.TransactionsRoot(txs); root != header.TxHash {
		c.found("body %d has the transactions root %s, its header says %s", height, root, header.TxHash)
		return nil
	}
	c.counts[height] = uint32(len(txs))
	c.result.Transactions += uint64(len(txs))
	for i, tx := range txs {
		places, err := c.st.TxLookup(tx.Hash())
		if err != nil {
			return c.tolerate(err, "transaction index of block %d", height)
		}
		if !slices.Contains(places, store.Place{Height: height, Index: uint32(i)}) {
			c.found("transaction %s, block %d index %d, is not in the index", tx.Hash(), height, i)
		}
	}
	if err := c.touches(txs, height); err != nil {
		return err
	}
	return c.receipts(header, txs, height)
}

// touches checks that the history of both accounts of a transaction names it.
func (c *checker) touches(txs types.Transactions, height uint64) error {
	if !c.st.HasHistory() || c.st.Base() > 0 && height <= c.st.Base() {
		return nil
	}
	recoverSenders(c.signer, txs)
	for i, tx := range txs {
		from, err := chain.Sender(c.signer, tx)
		if err != nil {
			c.found("transaction %s, block %d index %d: %v", tx.Hash(), height, i, err)
			continue
		}
		parties := []crypto.Address{from}
		if to := tx.To(); to != nil && *to != from {
			parties = append(parties, *to)
		}
		for _, a := range parties {
			touched, err := c.st.AddressHistory(a, height, 1)
			if err != nil {
				return c.tolerate(err, "history of account %s", a)
			}
			if len(touched) == 0 || touched[0].Height != height || !slices.Contains(touched[0].Transactions, uint32(i)) {
				c.found("transaction %s, block %d index %d, is not in the history of account %s", tx.Hash(), height, i, a)
			}
		}
	}
	return nil
}

// receipts derives the receipts again and compares what the header commits to.
func (c *checker) receipts(header *types.Header, txs types.Transactions, height uint64) error {
	outcomes, err := c.st.Receipts(height)
	if err != nil {
		return c.tolerate(err, "receipts %d", height)
	}
	if len(outcomes) != len(txs) {
		c.found("block %d has %d transactions and %d receipts", height, len(txs), len(outcomes))
		return nil
	}
	receipts, used := make(types.Receipts, len(txs)), uint64(0)
	for i, o := range outcomes {
		used += o.GasUsed
		r := &types.Receipt{Type: txs[i].Type(), Status: o.Status, CumulativeGasUsed: used, Logs: o.Logs}
		if len(o.Logs) > 0 {
			r.Bloom = types.CreateBloom(r)
		}
		receipts[i] = r
	}
	if root := chain.ReceiptsRoot(receipts); root != header.ReceiptHash {
		c.found("receipts %d have the root %s, the header says %s", height, root, header.ReceiptHash)
	}
	if used != header.GasUsed {
		c.found("receipts %d use %d gas, the header says %d", height, used, header.GasUsed)
	}
	return nil
}

// certificate verifies the finalization of exactly this block, if it has one.
func (c *checker) certificate(header *types.Header, hash crypto.Hash, height uint64) error {
	raw, err := c.st.Certificate(height)
	if errors.Is(err, store.ErrNotFound) {
		if chain.IsClosing(header) {
			c.found("closing block %d has no finalization of its own", height)
		} else if height == c.head.Height && height > 0 {
			return c.awaited(hash, height)
		}
		return nil
	}
	if err != nil {
		return c.tolerate(err, "certificate %d", height)
	}
	cert, err := consensus.DecodeCertificate(raw)
	if err != nil {
		c.found("certificate %d: %v", height, err)
		return nil
	}
	c.result.Certificates++
	if cert.Kind != consensus.Finalize || cert.Block != hash {
		c.found("certificate %d is a %s of %s, the block is %s", height, cert.Kind.Noun(), cert.Block, hash)
		return nil
	}
	if c.set == nil {
		return nil
	}
	if err := consensus.VerifyCertificate(c.net, c.epoch, c.set.Addresses(), cert); err != nil {
		c.found("certificate %d: %v", height, err)
	}
	return nil
}

// awaited looks for the finalization of a head that a crash left without: it is
// in the vote log then, and the node commits it at the next start.
func (c *checker) awaited(hash crypto.Hash, height uint64) error {
	waiting := false
	err := c.st.Records(func(_, value []byte) error {
		r, err := consensus.DecodeRecord(value)
		if err == nil && r.Certificate != nil && r.Certificate.Kind == consensus.Finalize {
			waiting = true
		}
		return nil
	})
	if err == nil && !waiting {
		c.found("head %d %s has no finalization", height, hash)
	}
	return err
}

// nextEpoch reads the set that a closing block began.
func (c *checker) nextEpoch(header *types.Header, height uint64) error {
	c.epoch++
	if height < c.st.Base() {
		return c.tolerate(c.keptSet(header), "validators of epoch %d", c.epoch)
	}
	if !c.st.HasHistory() && height < c.head.Height {
		c.set = nil
		c.o.Note(fmt.Sprintf("history is off: the set of epoch %d is not known, and its certificates are not verified", c.epoch))
		return nil
	}
	set, epoch, err := chain.ReadRegistry(stateAfter{c.st, height})
	if err != nil {
		c.set = nil
		return c.tolerate(err, "registry after closing block %d", height)
	}
	if epoch != c.epoch || set.Hash() != header.MixDigest {
		c.found("after closing block %d the registry has the set %s of epoch %d, the header says %s, epoch %d",
			height, set.Hash(), epoch, header.MixDigest, c.epoch)
	}
	c.set = set
	return nil
}

// keptSet reads the set of an epoch that began before the first state.
func (c *checker) keptSet(closing *types.Header) error {
	c.set = nil
	raw, err := c.st.EpochSet(c.epoch)
	if err != nil {
		return err
	}
	set, err := genesis.DecodeValidatorSet(raw)
	if err != nil {
		return fmt.Errorf("%w: %w", store.ErrCorrupt, err)
	}
	if set.Hash() != closing.MixDigest {
		c.found("the validators kept for epoch %d are %s, the closing block before it says %s", c.epoch, set.Hash(), closing.MixDigest)
		return nil
	}
	c.set = set
	return nil
}

// stateAfter reads the state after a final block from the history.
type stateAfter struct {
	st     *store.Snapshot
	height uint64
}

func (s stateAfter) Account(a crypto.Address) (*chain.Account, error) {
	if !s.st.HasHistory() {
		return s.st.Account(a)
	}
	return s.st.AccountAt(a, s.height)
}

func (s stateAfter) Slot(a crypto.Address, slot crypto.Hash) (crypto.Hash, error) {
	if !s.st.HasHistory() {
		return s.st.Slot(a, slot)
	}
	return s.st.SlotAt(a, slot, s.height)
}

// index looks for rows of the transaction index and for certificates that lead
// nowhere.
func (c *checker) index() error {
	rows := uint64(0)
	err := c.st.EachPlace(func(prefix [8]byte, p store.Place) error {
		rows++
		if !c.kept(p.Height) {
			return c.step("transaction index", rows, c.result.Transactions) // the pruner is on its way
		}
		if p.Height >= uint64(len(c.counts)) || p.Index >= c.counts[p.Height] {
			c.found("the transaction index has %x… in block %d index %d, where there is none", prefix, p.Height, p.Index)
		}
		return c.step("transaction index", rows, c.result.Transactions)
	})
	if err := c.tolerate(err, "transaction index"); err != nil {
		return err
	}
	if c.st.FirstBody() <= 1 && len(c.unread) == 0 && rows > c.result.Transactions {
		c.found("the transaction index has %d rows for %d transactions", rows, c.result.Transactions)
	}
	return c.tolerate(c.st.EachCertificate(func(height uint64) error {
		if height > c.head.Height {
			c.found("there is a certificate of height %d, above the head %d", height, c.head.Height)
		}
		return nil
	}), "certificates")
}

// records reads the vote log, and what else is this node's own.
func (c *checker) records() error {
	if err := c.tolerate(c.st.ReadLocal(), "this node's own rows"); err != nil {
		return err
	}
	return c.tolerate(c.st.Records(func(key, value []byte) error {
		if _, err := consensus.DecodeRecord(value); err != nil {
			c.found("vote record %x: %v", key, err)
		}
		return nil
	}), "vote records")
}
