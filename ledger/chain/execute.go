package chain

import (
	"errors"
	"fmt"
	"math/big"

	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/rlp"
	"github.com/holiman/uint256"

	"cairn/crypto"
	"cairn/genesis"
)

// execution applies transactions to an overlay, one after the other.
type execution struct {
	cfg       *Config
	signer    types.Signer
	state     *overlay
	baseFee   *uint256.Int // 0 on a free network
	bigFee    *big.Int
	proposer  crypto.Address
	gasLeft   uint64 // of the block
	gasUsed   uint64
	receipts  types.Receipts
	slab      []types.Receipt // the receipts' memory, allocated in pieces
	recipient *crypto.Address // of the base fee; nil = burned

	height   uint64
	registry *registry             // nil until the first call
	changer  *types.Receipt        // of the last call that enacted a change
	nextSet  *genesis.ValidatorSet // nil unless the block is closing
}

// newExecution begins the execution of a block with this header, of which only
// number, base fee and coinbase are read.
func newExecution(cfg *Config, r Reader, header *types.Header) *execution {
	baseFee := uint256.MustFromBig(header.BaseFee)
	return &execution{
		cfg: cfg, signer: cfg.Signer(), state: newOverlay(r), height: header.Number.Uint64(),
		baseFee: baseFee, bigFee: header.BaseFee, proposer: header.Coinbase,
		gasLeft: cfg.Rules.GasLimit, recipient: cfg.Rules.Fees.BaseFeeRecipient,
	}
}

// apply executes one transaction. An *InvalidError leaves the state untouched.
func (x *execution) apply(tx *types.Transaction) error {
	if err := CheckTransaction(x.cfg, tx); err != nil {
		return err
	}
	if tx.Gas() > x.gasLeft {
		return invalid(ErrGasLimitReached, "have %d, want %d", x.gasLeft, tx.Gas())
	}
	from, err := Sender(x.signer, tx)
	if err != nil {
		return err
	}
	sender, err := x.state.get(from)
	if err != nil {
		return err
	}
	if err := CheckNonce(from, tx.Nonce(), sender.account.Nonce); err != nil {
		return err
	}
	if sender.account.CodeHash != EmptyCodeHash {
		return invalid(ErrSenderNoEOA, "address %s, codehash: %s", from, sender.account.CodeHash)
	}
	if !x.cfg.Rules.Fees.Free {
		if err := checkFeeCap(tx, from, x.bigFee); err != nil {
			return err
		}
	}
	var value uint256.Int
	value.SetFromBig(tx.Value()) // CheckTransaction has its length
	cost, over := costWith(&x.cfg.Rules, tx, &value)
	if over || sender.balance.Lt(&cost) {
		return insufficient(from, &sender.balance, &cost, over)
	}
	if *tx.To() == RegistryAddress {
		return x.call(tx, from, sender, &value)
	}
	return x.transfer(tx, sender, &value)
}

// transfer moves value and fees of a transaction that passed every check.
func (x *execution) transfer(tx *types.Transaction, sender *entry, value *uint256.Int) error {
	recipient, err := x.state.get(*tx.To())
	if err != nil {
		return err
	}
	gas := IntrinsicGas(tx)
	if err := x.chargeFees(tx, gas, sender); err != nil {
		return err
	}
	sender.account.Nonce++
	sender.debit(value)
	recipient.credit(value)
	x.addReceipt(tx, gas, types.ReceiptStatusSuccessful)
	return nil
}

// call runs a transaction to the registry that passed every check. Value never
// moves: the registry refuses it.
func (x *execution) call(tx *types.Transaction, from crypto.Address, sender *entry, value *uint256.Int) error {
	if x.registry == nil {
		g, err := loadRegistry(x.state.reader)
		if err != nil {
			return err
		}
		x.registry = g
	}
	gas, status, enacted := Gas(tx), types.ReceiptStatusFailed, x.registry.enacted
	var logs []*types.Log
	if gas > tx.Gas() {
		gas = tx.Gas() // out of gas
	} else {
		var err error
		logs, err = x.registry.call(x.cfg, from, value, tx.Data())
		var revert *RevertError
		switch {
		case err == nil:
			status = types.ReceiptStatusSuccessful
		case !errors.As(err, &revert):
			return err
		}
	}
	if err := x.chargeFees(tx, gas, sender); err != nil {
		return err
	}
	sender.account.Nonce++
	r := x.addReceipt(tx, gas, status)
	addLogs(r, logs...)
	if x.registry.enacted != enacted {
		x.changer = r
	}
	return nil
}

func addLogs(r *types.Receipt, logs ...*types.Log) {
	if len(logs) > 0 {
		r.Logs = append(r.Logs, logs...)
		r.Bloom = types.CreateBloom(r)
	}
}

// close ends the transactions: the changes of the validator set that were
// enacted come into force. The events of it end the receipt of the last call
// that enacted one.
func (x *execution) close() error {
	if x.changer == nil {
		return nil
	}
	next, logs, err := x.registry.close(x.height)
	if err != nil || next == nil {
		return err
	}
	x.nextSet = next
	addLogs(x.changer, logs...)
	return nil
}

// mixHash is that of the block's header: the hash of the next set in a closing
// block, else zero.
func (x *execution) mixHash() crypto.Hash {
	if x.nextSet == nil {
		return crypto.Hash{}
	}
	return x.nextSet.Hash()
}

func (x *execution) addReceipt(tx *types.Transaction, gas, status uint64) *types.Receipt {
	x.gasLeft -= gas
	x.gasUsed += gas
	r := x.newReceipt()
	r.Type, r.Status, r.CumulativeGasUsed, r.Logs = tx.Type(), status, x.gasUsed, []*types.Log{}
	x.receipts = append(x.receipts, r)
	return r
}

// receiptSlab is how many receipts are allocated at once.
const receiptSlab = 64

func (x *execution) newReceipt() *types.Receipt {
	if len(x.slab) == 0 {
		x.slab = make([]types.Receipt, receiptSlab)
	}
	r := &x.slab[0]
	x.slab = x.slab[1:]
	return r
}

// chargeFees takes gas · effective price from the sender, gives the tip to the
// proposer and the base fee to its recipient, or burns it. It reads before it
// writes: a failure leaves the state untouched.
func (x *execution) chargeFees(tx *types.Transaction, gas uint64, sender *entry) error {
	if x.cfg.Rules.Fees.Free {
		return nil
	}
	proposer, err := x.state.get(x.proposer)
	if err != nil {
		return err
	}
	var baseTo *entry
	if x.recipient != nil {
		if baseTo, err = x.state.get(*x.recipient); err != nil {
			return err
		}
	}
	tip, _ := EffectiveTip(tx, x.baseFee)
	units := uint256.NewInt(gas)
	base := new(uint256.Int).Mul(x.baseFee, units)
	tip.Mul(&tip, units)
	// Both are at most gas · fee cap, which the sender was checked to hold.
	sender.debit(base)
	sender.debit(&tip)
	proposer.credit(&tip)
	if baseTo != nil {
		baseTo.credit(base)
	}
	return nil
}

// CheckNonce compares the nonce of a transaction with that of its sender's
// account. Errors: ErrNonceTooLow, ErrNonceTooHigh.
func CheckNonce(from crypto.Address, tx, account uint64) error {
	switch {
	case tx < account:
		return invalid(ErrNonceTooLow, "address %s, tx: %d state: %d", from, tx, account)
	case tx > account:
		return invalid(ErrNonceTooHigh, "address %s, tx: %d state: %d", from, tx, account)
	}
	return nil
}

func checkFeeCap(tx *types.Transaction, from crypto.Address, baseFee *big.Int) error {
	if tx.GasFeeCapIntCmp(baseFee) < 0 {
		return invalid(ErrFeeCapTooLow, "address %s, maxFeePerGas: %d, baseFee: %d", from, tx.GasFeeCap(), baseFee)
	}
	return nil
}

// Cost is the balance in wei that tx needs: value, and gas limit · fee cap
// unless the network is free. over says that it is above 2^256−1.
func Cost(rules *genesis.Rules, tx *types.Transaction) (cost uint256.Int, over bool) {
	var value uint256.Int
	if value.SetFromBig(tx.Value()) {
		return value, true
	}
	return costWith(rules, tx, &value)
}

func costWith(rules *genesis.Rules, tx *types.Transaction, value *uint256.Int) (cost uint256.Int, over bool) {
	if rules.Fees.Free {
		return *value, false
	}
	if cost.SetFromBig(tx.GasFeeCap()) {
		return cost, true
	}
	if _, over = cost.MulOverflow(&cost, uint256.NewInt(tx.Gas())); over {
		return cost, true
	}
	_, over = cost.AddOverflow(&cost, value)
	return cost, over
}

func insufficient(from crypto.Address, have, want *uint256.Int, over bool) error {
	if over {
		return invalid(ErrInsufficientFunds, "address %s have %d want more than 2^256-1", from, have)
	}
	return invalid(ErrInsufficientFunds, "address %s have %d want %d", from, have, want)
}

// bloom is the union of the receipts' blooms.
func (x *execution) bloom() types.Bloom { return types.MergeBloom(x.receipts) }

// finish puts the changes into the tries.
func (x *execution) finish(st State) (*Output, error) {
	out := &Output{Receipts: x.receipts, Closing: x.nextSet != nil, NextSet: x.nextSet}
	if err := x.finishRegistry(st, out); err != nil {
		return nil, err
	}
	out.Changes = x.state.changes()
	var err error
	if out.Accounts, out.AccountNodes, err = st.Accounts.Update(accountEntries(out.Changes)); err != nil {
		return nil, fmt.Errorf("update the state trie: %w", err)
	}
	return out, nil
}

// finishRegistry puts the changes of the registry's slots into its storage trie
// and the new root into its account.
func (x *execution) finishRegistry(st State, out *Output) error {
	if x.registry == nil {
		return nil
	}
	account, err := x.state.get(RegistryAddress)
	if err != nil {
		return err
	}
	slots, nodes, err := x.registry.finish(st, account.account.StorageRoot)
	if err != nil {
		return fmt.Errorf("update the registry's storage trie: %w", err)
	}
	if nodes != nil {
		out.Slots, out.StorageNodes = slots, []StorageNodes{*nodes}
		account.account.StorageRoot = nodes.Trie.Hash()
	}
	return nil
}

// Execute checks every field of block's header against parent and execution,
// executes the transactions on st, which must be the state after parent, and
// answers what changes. Errors: *InvalidError for a broken rule, another error
// when state could not be read.
func Execute(cfg *Config, parent *types.Header, st State, block *types.Block) (*Output, error) {
	header := block.Header()
	if err := CheckHeader(cfg, parent, header); err != nil {
		return nil, err
	}
	if err := checkBody(cfg, block, header); err != nil {
		return nil, err
	}
	x := newExecution(cfg, st.Reader, header)
	txs := block.Transactions()
	x.receipts = make(types.Receipts, 0, len(txs))
	for i, tx := range txs {
		if err := x.apply(tx); err != nil {
			return nil, inTransaction(i, err)
		}
	}
	if err := x.close(); err != nil {
		return nil, err
	}
	if err := x.checkResult(header); err != nil {
		return nil, err
	}
	out, err := x.finish(st)
	if err != nil {
		return nil, err
	}
	if root := out.Accounts.Hash(); root != header.Root {
		return nil, invalid(ErrStateRoot, "%s, want %s", header.Root, root)
	}
	DeriveReceipts(cfg, header, txs, out.Receipts)
	return out, nil
}

// checkBody holds the rules of a body that need no state.
func checkBody(cfg *Config, block *types.Block, header *types.Header) error {
	txs := block.Transactions()
	if n := uint64(len(txs)); n > cfg.Rules.BlockTransactions {
		return invalid(ErrBlockTransactions, "%d, at most %d", n, cfg.Rules.BlockTransactions)
	}
	if size := blockSize(header, txs); size > cfg.Rules.BlockBytes {
		return invalid(ErrBlockBytes, "%d bytes, at most %d", size, cfg.Rules.BlockBytes)
	}
	if len(block.Uncles()) != 0 {
		return invalid(ErrUncles, "%d of them", len(block.Uncles()))
	}
	if block.Withdrawals() != nil {
		return invalid(ErrLaterFork, "withdrawals")
	}
	if root := transactionsRoot(txs); root != header.TxHash {
		return invalid(ErrTransactionsRoot, "%s, want %s", header.TxHash, root)
	}
	return nil
}

// blockSize is the length of EncodeBlock, from the sizes that the transactions
// know already.
func blockSize(header *types.Header, txs types.Transactions) uint64 {
	var content uint64
	for _, tx := range txs {
		size := tx.Size()
		if tx.Type() != types.LegacyTxType {
			size = rlp.ListSize(size) // a string's header is as long as a list's
		}
		content += size
	}
	const noUncles = 1
	return rlp.ListSize(uint64(len(EncodeHeader(header))) + rlp.ListSize(content) + noUncles)
}

// checkResult compares what execution gave with the header; the state root is
// left, because it costs most.
func (x *execution) checkResult(header *types.Header) error {
	if header.GasUsed != x.gasUsed {
		return invalid(ErrGasUsed, "%d, want %d", header.GasUsed, x.gasUsed)
	}
	if want := x.bloom(); header.Bloom != want {
		return &InvalidError{Kind: ErrBloom}
	}
	if want := receiptsRoot(x.receipts); header.ReceiptHash != want {
		return invalid(ErrReceiptsRoot, "%s, want %s", header.ReceiptHash, want)
	}
	return checkMixHash(header, x.mixHash())
}

// DeriveReceipts fills in the fields of receipts that are not in their encoding:
// hash, gas used, effective price, block and index; logs likewise. There must be
// as many receipts as transactions. They share one BlockNumber.
func DeriveReceipts(cfg *Config, header *types.Header, txs types.Transactions, receipts types.Receipts) {
	hash, number, at := header.Hash(), new(big.Int).Set(header.Number), ReceiptPlace{}
	for i, r := range receipts {
		at.Index = uint(i)
		deriveReceipt(cfg, header, hash, txs[i], r, at)
		r.BlockNumber = number
		at.GasBefore, at.LogsBefore = r.CumulativeGasUsed, at.LogsBefore+uint(len(r.Logs))
	}
}

// ReceiptPlace says where in its block a receipt is.
type ReceiptPlace struct {
	Index      uint
	GasBefore  uint64 // used by the transactions before it
	LogsBefore uint   // of the transactions before it
}

// DeriveReceipt does for one receipt what DeriveReceipts does for all of a block.
func DeriveReceipt(cfg *Config, header *types.Header, tx *types.Transaction, r *types.Receipt, at ReceiptPlace) {
	deriveReceipt(cfg, header, header.Hash(), tx, r, at)
	r.BlockNumber = new(big.Int).Set(header.Number)
}

func deriveReceipt(cfg *Config, header *types.Header, hash crypto.Hash, tx *types.Transaction, r *types.Receipt, at ReceiptPlace) {
	r.Type, r.TxHash = tx.Type(), tx.Hash()
	r.GasUsed = r.CumulativeGasUsed - at.GasBefore
	r.EffectiveGasPrice = EffectiveGasPrice(&cfg.Rules, tx, header.BaseFee)
	r.BlockHash, r.TransactionIndex = hash, at.Index
	if r.Logs == nil {
		r.Logs = []*types.Log{}
	}
	if len(r.Logs) > 0 {
		r.Bloom = types.CreateBloom(r)
	}
	for i, l := range r.Logs {
		l.BlockNumber, l.BlockHash, l.BlockTimestamp = header.Number.Uint64(), hash, header.Time
		l.TxHash, l.TxIndex, l.Index = r.TxHash, at.Index, at.LogsBefore+uint(i)
	}
}
