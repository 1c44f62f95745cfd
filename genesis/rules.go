package genesis

import (
	"github.com/ethereum/go-ethereum/rlp"
	"github.com/holiman/uint256"

	"cairn/crypto"
)

// rulesVersion names the rule set. A later set has a later name.
const rulesVersion = "cairn-rules-v1"

// DefaultRules suit a network on good links: fees rest at 1 gwei, the first
// transaction after a pause is in a block at once, and an idle network makes one
// empty block a minute.
func DefaultRules() Rules {
	return Rules{
		GasLimit:          150_000_000,
		BlockBytes:        2 << 20,
		BlockTransactions: 10_000,
		Fees: FeeRules{
			InitialBaseFee:           uint256.NewInt(1_000_000_000),
			MinBaseFee:               uint256.NewInt(1_000_000_000),
			BaseFeeChangeDenominator: 8,
			// More than the hardware executes in a block interval: the base
			// fee stays at its minimum and tips order the pool.
			GasTarget: 150_000_000,
		},
		MinBlockInterval:   20,
		Heartbeat:          60_000,
		Delta:              400,
		DeltaMax:           4_000,
		CheckpointInterval: 10_000,
	}
}

// Hash commits to every rule: keccak256(RLP([version, gasLimit, blockBytes,
// blockTransactions, free (0 or 1), initialBaseFee, minBaseFee,
// baseFeeChangeDenominator, gasTarget, baseFeeRecipient (20 bytes, or empty for
// burned), minBlockInterval, heartbeat, delta, deltaMax, checkpointInterval])).
func (r *Rules) Hash() crypto.Hash {
	f := &r.Fees
	recipient := []byte{}
	if f.BaseFeeRecipient != nil {
		recipient = f.BaseFeeRecipient[:]
	}
	return hashRLP([]any{
		rulesVersion, r.GasLimit, r.BlockBytes, r.BlockTransactions,
		f.Free, orZero(f.InitialBaseFee), orZero(f.MinBaseFee), f.BaseFeeChangeDenominator, f.GasTarget, recipient,
		r.MinBlockInterval, r.Heartbeat, r.Delta, r.DeltaMax, r.CheckpointInterval,
	})
}

// RulesHash is what block 0 carries in mixHash. It commits to what no other
// header field of block 0 does: keccak256(RLP([chainId, name, Rules.Hash,
// timestampMillis])).
func (s *Spec) RulesHash() crypto.Hash {
	return hashRLP([]any{s.ChainID, s.Name, s.Rules.Hash(), s.Timestamp})
}

func orZero(n *uint256.Int) *uint256.Int {
	if n == nil {
		return new(uint256.Int)
	}
	return n
}

func hashRLP(list []any) crypto.Hash {
	raw, err := rlp.EncodeToBytes(list)
	if err != nil {
		panic(err) // integers, strings and byte strings always encode
	}
	return crypto.Keccak256(raw)
}
