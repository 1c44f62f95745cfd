package genesis

import "github.com/holiman/uint256"

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
