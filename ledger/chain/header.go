package chain

import (
	"github.com/ethereum/go-ethereum/core/types"

	"cairn/crypto"
)

// CheckHeader holds every rule of a header that needs its parent but no
// execution: what is left are transactions root, receipts root, bloom, gas used,
// state root and mixHash of a closing block. Whether the miner led the view is
// consensus's. Errors: the block kinds.
func CheckHeader(cfg *Config, parent, h *types.Header) error {
	if err := checkConstants(cfg, h); err != nil {
		return err
	}
	if want := parent.Hash(); h.ParentHash != want {
		return invalid(ErrParentHash, "%s, want %s", h.ParentHash, want)
	}
	if !h.Number.IsUint64() || h.Number.Uint64() != parent.Number.Uint64()+1 {
		return invalid(ErrHeight, "%d, want %d", h.Number, parent.Number.Uint64()+1)
	}
	if want := NextBaseFee(&cfg.Rules, parent); h.BaseFee == nil || h.BaseFee.Cmp(want.ToBig()) != 0 {
		return invalid(ErrBaseFee, "%v, want %d", h.BaseFee, want)
	}
	return checkExtra(cfg, parent, h)
}

// checkConstants holds the fields that are the same in every block of the
// network but block 0.
func checkConstants(cfg *Config, h *types.Header) error {
	switch {
	case h.Difficulty == nil || h.Difficulty.Sign() != 0:
		return invalid(ErrDifficulty, "%v", h.Difficulty)
	case h.Nonce != (types.BlockNonce{}):
		return invalid(ErrHeaderNonce, "%x", h.Nonce)
	case h.UncleHash != types.EmptyUncleHash:
		return invalid(ErrUncles, "uncle hash %s", h.UncleHash)
	case h.GasLimit != cfg.Rules.GasLimit:
		return invalid(ErrBlockGasLimit, "%d, want %d", h.GasLimit, cfg.Rules.GasLimit)
	case h.Number == nil:
		return invalid(ErrHeight, "none")
	case h.WithdrawalsHash != nil, h.BlobGasUsed != nil, h.ExcessBlobGas != nil, h.ParentBeaconRoot != nil,
		h.RequestsHash != nil, h.BlockAccessListHash != nil, h.SlotNumber != nil:
		return &InvalidError{Kind: ErrLaterFork}
	}
	return nil
}

// checkExtra: the epoch is the one that the parent leaves, the timestamp is at
// least max(1, MinBlockInterval) milliseconds after the parent's, and the
// header's seconds are those of the milliseconds. The view is consensus's.
func checkExtra(cfg *Config, parent, h *types.Header) error {
	before, err := DecodeExtra(parent)
	if err != nil {
		return err
	}
	extra, err := DecodeExtra(h)
	if err != nil {
		return err
	}
	if want := nextEpoch(parent, before); extra.Epoch != want {
		return invalid(ErrEpoch, "%d, want %d", extra.Epoch, want)
	}
	if least := MinTimestamp(cfg, before); extra.TimestampMillis < least {
		return invalid(ErrTimestamp, "%d ms, at least %d", extra.TimestampMillis, least)
	}
	if h.Time != extra.TimestampMillis/1000 {
		return invalid(ErrTimestamp, "%d s, but extra data says %d ms", h.Time, extra.TimestampMillis)
	}
	return nil
}

// MinTimestamp is the least timestamp in milliseconds of a child of the block
// that carries parent.
func MinTimestamp(cfg *Config, parent Extra) uint64 {
	return parent.TimestampMillis + max(1, cfg.Rules.MinBlockInterval)
}

// NextEpoch is the epoch of parent's children: the next one after a closing
// block, else its own. Errors: ErrExtra.
func NextEpoch(parent *types.Header) (uint32, error) {
	extra, err := DecodeExtra(parent)
	return nextEpoch(parent, extra), err
}

func nextEpoch(parent *types.Header, extra Extra) uint32 {
	if IsClosing(parent) {
		return extra.Epoch + 1
	}
	return extra.Epoch
}

// IsClosing says whether a header, which CheckHeader and execution have let
// through, is of a closing block: it carries the hash of the next validator set.
// Block 0 carries that of the rules in its place.
func IsClosing(h *types.Header) bool { return h.Number.Sign() > 0 && h.MixDigest != (crypto.Hash{}) }

// checkMixHash: the hash of the next set in a closing block, else zero.
func checkMixHash(h *types.Header, next crypto.Hash) error {
	if h.MixDigest != next {
		return invalid(ErrMixHash, "%s, want %s", h.MixDigest, next)
	}
	return nil
}
