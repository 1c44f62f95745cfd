package genesis

import (
	"fmt"
	"strings"

	"github.com/holiman/uint256"

	"cairn/crypto"
)

// Limits of a genesis file.
const (
	MaxFileBytes   = 16 << 20
	MaxValidators  = 256
	MaxAllocations = 100_000
	MaxNameLength  = 64 // of the network
	MaxLabelLength = 32 // of a validator
)

// Bounds of the rules. Durations are milliseconds. They keep every derived
// number far from overflow and every value exact in JSON readers that hold
// numbers as float64.
const (
	MaxChainID                  = 1<<53 - 1
	MaxTimestamp                = 253_402_300_799_999 // the last millisecond of the year 9999
	MinGasLimit                 = 21_000              // one transfer
	MaxGasLimit                 = 1_000_000_000_000
	MinBlockBytes               = 4 << 10
	MaxBlockBytes               = 16 << 20
	MaxBlockTransactions        = 1_000_000
	MaxBaseFeeChangeDenominator = 1_000_000
	MaxMinBlockInterval         = 60_000
	MaxHeartbeat                = 7 * 24 * 3_600_000
	MaxDelta                    = 60_000
	MaxDeltaMax                 = 600_000
	MaxCheckpointInterval       = 1_000_000_000
)

// MaxBaseFee bounds the initial and the minimum base fee: one coin (10^18 wei)
// per gas.
var MaxBaseFee = uint256.NewInt(1_000_000_000_000_000_000)

// RegistryAddress is the account that holds the validator registry. Nobody has
// its key, so that a genesis may not give it a balance.
var RegistryAddress = crypto.Address{18: 0xca, 19: 0x10}

// Validate says whether the network can exist: every rule within its bounds, at
// least one validator, no account, validator, peer id or validator name twice,
// every balance positive and their sum within 256 bits. Every error is a
// *FieldError.
func (s *Spec) Validate() error {
	if err := within("chainId", s.ChainID, 1, MaxChainID); err != nil {
		return err
	}
	if len(s.Name) < 1 || len(s.Name) > MaxNameLength || strings.ContainsFunc(s.Name, notPrintable) {
		return fieldError("name", ErrText, "%.80q: want 1 to %d printable ASCII characters", s.Name, MaxNameLength)
	}
	if err := within("timestampMillis", s.Timestamp, 0, MaxTimestamp); err != nil {
		return err
	}
	if err := s.Rules.validate("rules"); err != nil {
		return err
	}
	if err := validateValidators("validators", s.Validators); err != nil {
		return err
	}
	return validateAlloc("alloc", s.Alloc)
}

// Validate says whether every rule is within its bounds. Every error is a
// *FieldError with a path such as rules.gasLimit.
func (r *Rules) Validate() error { return r.validate("rules") }

func (r *Rules) validate(path string) error {
	bounds := []struct {
		name     string
		value    uint64
		min, max uint64
	}{
		{"gasLimit", r.GasLimit, MinGasLimit, MaxGasLimit},
		{"blockBytes", r.BlockBytes, MinBlockBytes, MaxBlockBytes},
		{"blockTransactions", r.BlockTransactions, 1, MaxBlockTransactions},
		{"fees.baseFeeChangeDenominator", r.Fees.BaseFeeChangeDenominator, 1, MaxBaseFeeChangeDenominator},
		{"fees.gasTarget", r.Fees.GasTarget, 1, r.GasLimit},
		{"minBlockIntervalMillis", r.MinBlockInterval, 1, MaxMinBlockInterval},
		{"deltaMillis", r.Delta, 1, MaxDelta},
		{"deltaMaxMillis", r.DeltaMax, r.Delta, MaxDeltaMax},
		{"checkpointInterval", r.CheckpointInterval, 1, MaxCheckpointInterval},
	}
	for _, b := range bounds {
		if err := within(join(path, b.name), b.value, b.min, b.max); err != nil {
			return err
		}
	}
	if r.Heartbeat != 0 && (r.Heartbeat < r.MinBlockInterval || r.Heartbeat > MaxHeartbeat) {
		return fieldError(join(path, "heartbeatMillis"), ErrRange, "%d: want 0 (never), or minBlockIntervalMillis %d to %d", r.Heartbeat, r.MinBlockInterval, MaxHeartbeat)
	}
	return r.Fees.validate(join(path, "fees"))
}

func (f *FeeRules) validate(path string) error {
	fees := []struct {
		name  string
		value *uint256.Int
	}{{"minBaseFee", f.MinBaseFee}, {"initialBaseFee", f.InitialBaseFee}}
	for _, fee := range fees {
		switch at := join(path, fee.name); {
		case fee.value == nil:
			return fieldError(at, ErrMissingField, "")
		case fee.value.Gt(MaxBaseFee):
			return fieldError(at, ErrRange, "%s: want at most %s wei per gas", fee.value.Dec(), MaxBaseFee.Dec())
		case f.Free && !fee.value.IsZero():
			return fieldError(at, ErrRange, "%s: want 0, because the network is free", fee.value.Dec())
		}
	}
	if f.InitialBaseFee.Lt(f.MinBaseFee) {
		return fieldError(join(path, "initialBaseFee"), ErrRange, "%s is below minBaseFee %s", f.InitialBaseFee.Dec(), f.MinBaseFee.Dec())
	}
	if f.BaseFeeRecipient != nil {
		return notReserved(join(path, "baseFeeRecipient"), *f.BaseFeeRecipient)
	}
	return nil
}

func validateValidators(path string, validators []Validator) error {
	switch n := len(validators); {
	case n == 0:
		return &FieldError{Path: path, Kind: ErrNoValidators}
	case n > MaxValidators:
		return fieldError(path, ErrTooMany, "%d, at most %d are allowed", n, MaxValidators)
	}
	addresses, peers, names := map[crypto.Address]int{}, map[string]int{}, map[string]int{}
	for i, v := range validators {
		at := fmt.Sprintf("%s[%d]", path, i)
		if err := v.validate(at); err != nil {
			return err
		}
		if err := once(addresses, v.Address, i, path, "address"); err != nil {
			return err
		}
		if err := once(peers, v.PeerID, i, path, "peerId"); err != nil {
			return err
		}
		if err := once(names, v.Name, i, path, "name"); err != nil {
			return err
		}
	}
	return nil
}

// Validate checks one validator alone. Every error is a *FieldError.
func (v *Validator) Validate() error { return v.validate("") }

func (v *Validator) validate(path string) error {
	if err := notReserved(join(path, "address"), v.Address); err != nil {
		return err
	}
	if err := checkPeerID(v.PeerID); err != nil {
		return fieldError(join(path, "peerId"), ErrPeerID, "%.80q: %s", v.PeerID, err)
	}
	if len(v.Name) < 1 || len(v.Name) > MaxLabelLength || strings.ContainsFunc(v.Name, notLabel) {
		return fieldError(join(path, "name"), ErrText, "%.80q: want 1 to %d characters of a to z, 0 to 9 and -", v.Name, MaxLabelLength)
	}
	return nil
}

func validateAlloc(path string, alloc []Allocation) error {
	if len(alloc) > MaxAllocations {
		return fieldError(path, ErrTooMany, "%d, at most %d are allowed", len(alloc), MaxAllocations)
	}
	seen := make(map[crypto.Address]int, len(alloc))
	var supply uint256.Int
	for i, a := range alloc {
		at := fmt.Sprintf("%s[%d]", path, i)
		if err := notReserved(at+".address", a.Address); err != nil {
			return err
		}
		if err := once(seen, a.Address, i, path, "address"); err != nil {
			return err
		}
		if a.Balance == nil || a.Balance.IsZero() {
			return fieldError(at+".balance", ErrRange, "want more than 0 wei")
		}
		if _, overflow := supply.AddOverflow(&supply, a.Balance); overflow {
			return fieldError(at+".balance", ErrOverflow, "the sum of all balances does not fit 256 bits")
		}
	}
	return nil
}

func within(path string, value, low, high uint64) error {
	if value < low || value > high {
		return fieldError(path, ErrRange, "%d: want %d to %d", value, low, high)
	}
	return nil
}

// once refuses a value that an earlier entry of the same array has.
func once[K comparable](seen map[K]int, value K, i int, path, name string) error {
	if j, ok := seen[value]; ok {
		return fieldError(fmt.Sprintf("%s[%d].%s", path, i, name), ErrDuplicate, "%v is also that of %s[%d]", value, path, j)
	}
	seen[value] = i
	return nil
}

// notReserved refuses the zero address, which in a genesis is a forgotten field,
// and the registry.
func notReserved(path string, a crypto.Address) error {
	if a == (crypto.Address{}) || a == RegistryAddress {
		return fieldError(path, ErrReserved, "%s", a)
	}
	return nil
}

func notPrintable(r rune) bool { return r < ' ' || r > '~' }

func notLabel(r rune) bool {
	return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-'
}
