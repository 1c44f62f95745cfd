package rpc

import (
	"context"
	"fmt"
	"math/big"
	"slices"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/common/math"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/rpc"

	"cairn/ledger/chain"
)

// suggestedTip is what a transaction offers the proposer above the base fee. The
// gas target lies above what a block executes, so there is rarely a queue to
// bid in: any tip will do, and a small one keeps eviction orders sane.
const suggestedTip = 1

// tip is what a transaction should offer the proposer now: suggestedTip or, when
// the pool is full, an eighth more than what it takes to be admitted.
func (s *service) tip() *big.Int {
	least := new(big.Int).SetUint64(s.Pool.LeastTip())
	least.Add(least, new(big.Int).Rsh(least, 3))
	if suggested := big.NewInt(suggestedTip); least.Cmp(suggested) < 0 {
		return suggested
	}
	return least
}

// GasPrice answers what a legacy transaction should pay: the next base fee, one
// step of it more if it is above its floor and so may rise, and the tip; 0 on a
// free network.
func (a *ethAPI) GasPrice() *hexutil.Big {
	rules := &a.b.Ledger.Config().Rules
	if rules.Fees.Free {
		return new(hexutil.Big)
	}
	next := chain.NextBaseFee(rules, a.b.Ledger.Head())
	price := next.ToBig()
	if d := rules.Fees.BaseFeeChangeDenominator; d > 0 && (rules.Fees.MinBaseFee == nil || next.Gt(rules.Fees.MinBaseFee)) {
		price.Add(price, new(big.Int).Div(price, new(big.Int).SetUint64(d)))
	}
	return (*hexutil.Big)(price.Add(price, a.b.tip()))
}

// MaxPriorityFeePerGas answers the tip that a transaction should offer.
func (a *ethAPI) MaxPriorityFeePerGas() *hexutil.Big {
	if a.b.Ledger.Config().Rules.Fees.Free {
		return new(hexutil.Big)
	}
	return (*hexutil.Big)(a.b.tip())
}

// feeHistory is the answer of eth_feeHistory, oldest block first.
type feeHistory struct {
	OldestBlock   *hexutil.Big     `json:"oldestBlock"`
	Reward        [][]*hexutil.Big `json:"reward,omitempty"` // of each block, at each percentile
	BaseFeePerGas []*hexutil.Big   `json:"baseFeePerGas"`    // of each block and of the next one
	GasUsedRatio  []float64        `json:"gasUsedRatio"`
}

// Limits of one eth_feeHistory, geth's. More blocks than there may be is no
// error.
const (
	maxFeeHistory  = 1024 // blocks
	maxPercentiles = 100
)

// FeeHistory answers the base fees of a run of blocks and of the one after it,
// how full they were, and the tips at the asked percentiles of gas.
func (a *ethAPI) FeeHistory(ctx context.Context, blocks math.HexOrDecimal64, last rpc.BlockNumber, rewardPercentiles *[]float64) (*feeHistory, error) {
	var percentiles []float64
	if rewardPercentiles != nil {
		percentiles = *rewardPercentiles
	}
	if len(percentiles) > maxPercentiles {
		return nil, invalidParams("invalid reward percentile: over the query limit %d", maxPercentiles)
	}
	for i, p := range percentiles {
		if p < 0 || p > 100 {
			return nil, invalidParams("invalid reward percentile: %f", p)
		}
		if i > 0 && p < percentiles[i-1] {
			return nil, invalidParams("invalid reward percentile: #%d:%f >= #%d:%f", i-1, percentiles[i-1], i, p)
		}
	}
	to, head := a.height(last), a.b.heads.height()
	if to > head {
		return nil, fmt.Errorf("request beyond head block: requested %d, head %d", to, head)
	}
	n := min(uint64(blocks), maxFeeHistory, to+1)
	out := &feeHistory{OldestBlock: (*hexutil.Big)(new(big.Int)), BaseFeePerGas: []*hexutil.Big{}, GasUsedRatio: []float64{}}
	if n == 0 {
		return out, nil
	}
	from := to + 1 - n
	out.OldestBlock = (*hexutil.Big)(new(big.Int).SetUint64(from))
	rules := &a.b.Ledger.Config().Rules
	ctx, cancel := a.b.within(ctx)
	defer cancel()
	for height := from; height <= to; height++ {
		if err := a.b.pause(ctx); err != nil {
			return nil, err
		}
		h, err := a.b.Ledger.HeaderByHeight(height)
		if err != nil {
			return nil, err
		}
		out.BaseFeePerGas = append(out.BaseFeePerGas, (*hexutil.Big)(h.BaseFee))
		out.GasUsedRatio = append(out.GasUsedRatio, float64(h.GasUsed)/float64(h.GasLimit))
		if len(percentiles) > 0 {
			tips, err := a.tips(h, percentiles)
			if err != nil {
				return nil, err
			}
			out.Reward = append(out.Reward, tips)
		}
		if height == to {
			out.BaseFeePerGas = append(out.BaseFeePerGas, (*hexutil.Big)(chain.NextBaseFee(rules, h).ToBig()))
		}
	}
	return out, nil
}

// tips are the effective tips of a block at percentiles of its gas.
func (a *ethAPI) tips(h *types.Header, percentiles []float64) ([]*hexutil.Big, error) {
	out := make([]*hexutil.Big, len(percentiles))
	for i := range out {
		out[i] = new(hexutil.Big)
	}
	if h.GasUsed == 0 || a.b.Ledger.Config().Rules.Fees.Free {
		return out, nil
	}
	b, err := a.b.Ledger.BlockByHeight(h.Number.Uint64())
	if err != nil {
		return nil, err
	}
	receipts, err := a.b.Ledger.Receipts(h.Number.Uint64())
	if err != nil {
		return nil, err
	}
	type paid struct {
		tip *big.Int
		gas uint64
	}
	all := make([]paid, len(b.Transactions()))
	for i, tx := range b.Transactions() {
		all[i] = paid{tip: tx.EffectiveGasTipValue(h.BaseFee), gas: receipts[i].GasUsed}
	}
	slices.SortStableFunc(all, func(x, y paid) int { return x.tip.Cmp(y.tip) })
	sum, at := all[0].gas, 0
	for i, p := range percentiles {
		for float64(sum) < p/100*float64(h.GasUsed) && at < len(all)-1 {
			at++
			sum += all[at].gas
		}
		out[i] = (*hexutil.Big)(all[at].tip)
	}
	return out, nil
}
