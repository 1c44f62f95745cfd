package rpc

import (
	"bytes"
	"testing"

	"github.com/ethereum/go-ethereum/accounts/abi"
	"github.com/ethereum/go-ethereum/common/hexutil"

	"cairn/crypto"
	"cairn/ledger/chain"
)

// TestLogIndexes: the index of a log counts in its block, alike in receipts and in
// eth_getLogs.
func TestLogIndexes(t *testing.T) {
	t.Parallel()
	f := newFixture(t, options{})
	registry := must(abi.JSON(bytes.NewReader(chain.RegistryABI)))
	f.add(registration(t, f, registry, 0), registration(t, f, registry, 1))
	b := f.seal()
	equal(t, "transactions", len(b.Transactions()), 2)
	type log struct {
		LogIndex, TransactionIndex hexutil.Uint64
		TransactionHash, BlockHash crypto.Hash
		Removed                    bool
	}
	var logs, inReceipts []log
	check(t, f.dial().Call(&logs, "eth_getLogs", map[string]any{"fromBlock": "0x1"}))
	for i, tx := range b.Transactions() {
		var r struct{ Logs []log }
		check(t, f.dial().Call(&r, "eth_getTransactionReceipt", tx.Hash()))
		inReceipts = append(inReceipts, r.Logs...)
		want := []log{{hexutil.Uint64(i), hexutil.Uint64(i), tx.Hash(), b.Hash(), false}}
		equal(t, "logs of a receipt", r.Logs, want)
	}
	equal(t, "eth_getLogs", logs, inReceipts)
}

// TestTimesWithinASecond: a header's time is in seconds and may repeat;
// milliseconds are in the extra data and in cairn_ answers.
func TestTimesWithinASecond(t *testing.T) {
	t.Parallel()
	f := newFixture(t, options{})
	var seconds, millis [2]uint64
	for i := range seconds {
		f.add(transfer(key(0), uint64(i)))
		b := f.seal()
		var h struct{ Timestamp hexutil.Uint64 }
		check(t, f.dial().Call(&h, "eth_getBlockByNumber", hexutil.EncodeUint64(b.NumberU64()), false))
		seconds[i] = uint64(h.Timestamp)
		var s transactionStatus
		check(t, f.dial().Call(&s, "cairn_transactionStatus", b.Transactions()[0].Hash()))
		millis[i] = uint64(*s.Timestamp)
		equal(t, "seconds", seconds[i], millis[i]/1000)
		extra, err := chain.DecodeExtra(b.Header())
		check(t, err)
		equal(t, "of the extra data", millis[i], extra.TimestampMillis)
	}
	equal(t, "the same second", seconds[0], seconds[1])
	equal(t, "later", millis[1]-millis[0], 7)
}
