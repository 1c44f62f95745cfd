package genesis

import (
	"bytes"
	"encoding/json"
	"slices"

	"github.com/holiman/uint256"
)

// Parse reads a genesis file: strict JSON in which every field of Spec stands
// exactly once (only rules.fees.baseFeeRecipient may be absent or null, and
// rules.removeEquivocators be absent for false), then Validate. Durations are milliseconds, amounts are strings of decimal digits in
// wei, addresses 0x and 40 hex digits. Every error is a *FieldError whose path
// counts entries as they stand in the file.
func Parse(b []byte) (*Spec, error) {
	r := newReader(b, MaxFileBytes)
	s := &Spec{}
	r.object("",
		field{name: "chainId", read: func(p string) { s.ChainID = r.uint64(p) }},
		field{name: "name", read: func(p string) { s.Name = r.text(p) }},
		field{name: "timestampMillis", read: func(p string) { s.Timestamp = r.uint64(p) }},
		field{name: "rules", read: func(p string) { s.Rules = r.rules(p) }},
		field{name: "validators", read: func(p string) {
			r.array(p, MaxValidators, func(p string) { s.Validators = append(s.Validators, r.validator(p)) })
		}},
		field{name: "alloc", read: func(p string) { s.Alloc = r.alloc(p) }},
	)
	if err := r.end(); err != nil {
		return nil, err
	}
	if err := s.Validate(); err != nil {
		return nil, err
	}
	s.sort()
	return s, nil
}

// ParseAlloc reads the allocation alone: an array of {"address", "balance"} as
// in the alloc field of a genesis file, with the same rules.
func ParseAlloc(b []byte) ([]Allocation, error) {
	r := newReader(b, MaxFileBytes)
	alloc := r.alloc("")
	if err := r.end(); err != nil {
		return nil, err
	}
	if err := validateAlloc("", alloc); err != nil {
		return nil, err
	}
	return alloc, nil
}

func (r *reader) rules(path string) Rules {
	var rules Rules
	number := func(name string, to *uint64) field {
		return field{name: name, read: func(p string) { *to = r.uint64(p) }}
	}
	amount := func(name string, to **uint256.Int) field {
		return field{name: name, read: func(p string) { *to = r.wei(p) }}
	}
	fees := &rules.Fees
	r.object(path,
		number("gasLimit", &rules.GasLimit),
		number("blockBytes", &rules.BlockBytes),
		number("blockTransactions", &rules.BlockTransactions),
		field{name: "fees", read: func(p string) {
			r.object(p,
				field{name: "free", read: func(p string) { fees.Free = r.boolean(p) }},
				amount("initialBaseFee", &fees.InitialBaseFee),
				amount("minBaseFee", &fees.MinBaseFee),
				number("baseFeeChangeDenominator", &fees.BaseFeeChangeDenominator),
				number("gasTarget", &fees.GasTarget),
				field{name: "baseFeeRecipient", optional: true, read: func(p string) { fees.BaseFeeRecipient = r.optionalAddress(p) }},
			)
		}},
		number("minBlockIntervalMillis", &rules.MinBlockInterval),
		number("heartbeatMillis", &rules.Heartbeat),
		number("deltaMillis", &rules.Delta),
		number("deltaMaxMillis", &rules.DeltaMax),
		number("checkpointInterval", &rules.CheckpointInterval),
		field{name: "removeEquivocators", optional: true, read: func(p string) { rules.RemoveEquivocators = r.boolean(p) }},
	)
	return rules
}

func (r *reader) validator(path string) (v Validator) {
	r.object(path, r.validatorFields(&v)...)
	return v
}

func (r *reader) validatorFields(v *Validator) []field {
	return []field{
		{name: "address", read: func(p string) { v.Address = r.address(p) }},
		{name: "peerId", read: func(p string) { v.PeerID = r.text(p) }},
		{name: "name", read: func(p string) { v.Name = r.text(p) }},
	}
}

func (r *reader) alloc(path string) (out []Allocation) {
	r.array(path, MaxAllocations, func(p string) {
		var a Allocation
		r.object(p,
			field{name: "address", read: func(p string) { a.Address = r.address(p) }},
			field{name: "balance", read: func(p string) { a.Balance = r.wei(p) }},
		)
		out = append(out, a)
	})
	return out
}

func (s *Spec) sort() {
	slices.SortFunc(s.Validators, func(a, b Validator) int { return bytes.Compare(a.Address[:], b.Address[:]) })
	slices.SortFunc(s.Alloc, func(a, b Allocation) int { return bytes.Compare(a.Address[:], b.Address[:]) })
}

// The file's shape for writing; field order is the file's.
type (
	specFile struct {
		ChainID    uint64           `json:"chainId"`
		Name       string           `json:"name"`
		Timestamp  uint64           `json:"timestampMillis"`
		Rules      rulesFile        `json:"rules"`
		Validators []validatorEntry `json:"validators"`
		Alloc      []allocEntry     `json:"alloc"`
	}
	rulesFile struct {
		GasLimit           uint64   `json:"gasLimit"`
		BlockBytes         uint64   `json:"blockBytes"`
		BlockTransactions  uint64   `json:"blockTransactions"`
		Fees               feesFile `json:"fees"`
		MinBlockInterval   uint64   `json:"minBlockIntervalMillis"`
		Heartbeat          uint64   `json:"heartbeatMillis"`
		Delta              uint64   `json:"deltaMillis"`
		DeltaMax           uint64   `json:"deltaMaxMillis"`
		CheckpointInterval uint64   `json:"checkpointInterval"`
		RemoveEquivocators bool     `json:"removeEquivocators"`
	}
	feesFile struct {
		Free                     bool    `json:"free"`
		InitialBaseFee           string  `json:"initialBaseFee"`
		MinBaseFee               string  `json:"minBaseFee"`
		BaseFeeChangeDenominator uint64  `json:"baseFeeChangeDenominator"`
		GasTarget                uint64  `json:"gasTarget"`
		BaseFeeRecipient         *string `json:"baseFeeRecipient"`
	}
	validatorEntry struct {
		Address string `json:"address"`
		PeerID  string `json:"peerId"`
		Name    string `json:"name"`
	}
	allocEntry struct {
		Address string `json:"address"`
		Balance string `json:"balance"`
	}
)

// Marshal writes the canonical genesis file: indented JSON that ends in a
// newline, validators and allocation by address, addresses in EIP-55. Parse
// reads it back to an equal Spec.
func (s *Spec) Marshal() []byte {
	sorted := *s
	sorted.Validators, sorted.Alloc = slices.Clone(s.Validators), slices.Clone(s.Alloc)
	sorted.sort()
	fees := s.Rules.Fees
	file := specFile{
		ChainID:   s.ChainID,
		Name:      s.Name,
		Timestamp: s.Timestamp,
		Rules: rulesFile{
			GasLimit:          s.Rules.GasLimit,
			BlockBytes:        s.Rules.BlockBytes,
			BlockTransactions: s.Rules.BlockTransactions,
			Fees: feesFile{
				Free:                     fees.Free,
				InitialBaseFee:           decimal(fees.InitialBaseFee),
				MinBaseFee:               decimal(fees.MinBaseFee),
				BaseFeeChangeDenominator: fees.BaseFeeChangeDenominator,
				GasTarget:                fees.GasTarget,
			},
			MinBlockInterval:   s.Rules.MinBlockInterval,
			Heartbeat:          s.Rules.Heartbeat,
			Delta:              s.Rules.Delta,
			DeltaMax:           s.Rules.DeltaMax,
			CheckpointInterval: s.Rules.CheckpointInterval,
			RemoveEquivocators: s.Rules.RemoveEquivocators,
		},
		Validators: make([]validatorEntry, 0, len(s.Validators)),
		Alloc:      allocEntries(sorted.Alloc),
	}
	if fees.BaseFeeRecipient != nil {
		text := fees.BaseFeeRecipient.Hex()
		file.Rules.Fees.BaseFeeRecipient = &text
	}
	for _, v := range sorted.Validators {
		file.Validators = append(file.Validators, validatorEntry{v.Address.Hex(), v.PeerID, v.Name})
	}
	return marshalIndent(file)
}

// MarshalAlloc writes what ParseAlloc reads, in the given order.
func MarshalAlloc(alloc []Allocation) []byte { return marshalIndent(allocEntries(alloc)) }

func allocEntries(alloc []Allocation) []allocEntry {
	out := make([]allocEntry, 0, len(alloc))
	for _, a := range alloc {
		out = append(out, allocEntry{a.Address.Hex(), decimal(a.Balance)})
	}
	return out
}

// decimal writes a missing amount as 0, so that Marshal never panics on a Spec
// that Validate would refuse.
func decimal(n *uint256.Int) string {
	if n == nil {
		return "0"
	}
	return n.Dec()
}

func marshalIndent(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false) // names may hold & and <
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		panic(err) // strings and integers always encode
	}
	return b.Bytes()
}
