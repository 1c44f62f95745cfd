package chain

import (
	"bytes"
	"fmt"
	"math/big"
	"slices"

	"github.com/ethereum/go-ethereum/core/types"
	"github.com/holiman/uint256"

	"cairn/crypto"
	"cairn/genesis"
	"cairn/ledger/trie"
)

// ruleSet names the set of chain rules that this package executes. It is the
// first thing that RulesHash hashes.
const ruleSet = "cairn-rules-1"

// encodedRules is what RulesHash hashes, field by field, so that a field added
// to genesis.Rules cannot change the hash of a network that does not use it.
type encodedRules struct {
	RuleSet            string
	ChainID            uint64
	Name               string
	GasLimit           uint64
	BlockBytes         uint64
	BlockTransactions  uint64
	Fees               encodedFees
	MinBlockInterval   uint64
	Heartbeat          uint64
	Delta              uint64
	DeltaMax           uint64
	CheckpointInterval uint64
	RemoveEquivocators bool `rlp:"optional"` // left out when false
}

type encodedFees struct {
	Free                     bool
	InitialBaseFee           *uint256.Int
	MinBaseFee               *uint256.Int
	BaseFeeChangeDenominator uint64
	GasTarget                uint64
	BaseFeeRecipient         []byte // empty = burned
}

// RulesHash commits to everything in spec that is neither in the other fields
// of block 0's header nor in its state: chain id, name and rules. It is the
// mixHash of block 0: keccak256(RLP([ruleSet, chainId, name, …])).
func RulesHash(spec *genesis.Spec) crypto.Hash {
	r, f := &spec.Rules, &spec.Rules.Fees
	e := encodedRules{
		RuleSet: ruleSet, ChainID: spec.ChainID, Name: spec.Name,
		GasLimit: r.GasLimit, BlockBytes: r.BlockBytes, BlockTransactions: r.BlockTransactions,
		Fees: encodedFees{
			Free: f.Free, InitialBaseFee: orZero(f.InitialBaseFee), MinBaseFee: orZero(f.MinBaseFee),
			BaseFeeChangeDenominator: f.BaseFeeChangeDenominator, GasTarget: f.GasTarget,
		},
		MinBlockInterval: r.MinBlockInterval, Heartbeat: r.Heartbeat,
		Delta: r.Delta, DeltaMax: r.DeltaMax, CheckpointInterval: r.CheckpointInterval, RemoveEquivocators: r.RemoveEquivocators,
	}
	if f.BaseFeeRecipient != nil {
		e.Fees.BaseFeeRecipient = f.BaseFeeRecipient[:]
	}
	return crypto.Keccak256(mustEncode(&e))
}

func orZero(v *uint256.Int) *uint256.Int {
	if v == nil {
		return new(uint256.Int)
	}
	return v
}

// Genesis makes block 0 and its state. The hash commits to every field of spec:
// chain id, name and rules by mixHash, the timestamp by the header, allocation
// and validators by the state root. Errors: ErrSpec.
func Genesis(spec *genesis.Spec) (*types.Block, *Output, error) {
	set, err := genesis.NewValidatorSet(spec.Validators)
	if err != nil {
		return nil, nil, invalid(ErrSpec, "%v", err)
	}
	if set.Len() > maxMembers {
		return nil, nil, invalid(ErrSpec, "%d validators, at most %d", set.Len(), maxMembers)
	}
	out := &Output{Receipts: types.Receipts{}}
	registry, err := genesisRegistry(set, out)
	if err != nil {
		return nil, nil, err
	}
	if out.Changes, err = genesisAccounts(spec, registry); err != nil {
		return nil, nil, err
	}
	out.Accounts, out.AccountNodes, err = trie.New(trie.EmptyRoot, nil).Update(accountEntries(out.Changes))
	if err != nil {
		return nil, nil, fmt.Errorf("make the state trie of block 0: %w", err)
	}
	extra := Extra{Version: ExtraVersion, TimestampMillis: spec.Timestamp}
	header := &types.Header{
		UncleHash: types.EmptyUncleHash, Root: out.Accounts.Hash(),
		TxHash: types.EmptyTxsHash, ReceiptHash: types.EmptyReceiptsHash,
		Difficulty: new(big.Int), Number: new(big.Int), GasLimit: spec.Rules.GasLimit,
		Time: spec.Timestamp / 1000, Extra: extra.Encode(),
		MixDigest: RulesHash(spec), BaseFee: new(big.Int),
	}
	if !spec.Rules.Fees.Free {
		header.BaseFee = orZero(spec.Rules.Fees.InitialBaseFee).ToBig()
	}
	if _, err := DecodeExtra(header); err != nil {
		return nil, nil, invalid(ErrSpec, "%v", err)
	}
	return types.NewBlockWithHeader(header), out, nil
}

// genesisRegistry puts the registry's storage and code into out and answers its
// account.
func genesisRegistry(set *genesis.ValidatorSet, out *Output) (*Account, error) {
	out.Slots = RegistrySlots(set, 0)
	out.Codes = []CodeChange{{Hash: RegistryCodeHash, Code: bytes.Clone(registryCode)}}
	storage, nodes, err := trie.New(trie.EmptyRoot, nil).Update(slotEntries(out.Slots))
	if err != nil {
		return nil, fmt.Errorf("make the registry's storage trie: %w", err)
	}
	out.StorageNodes = []StorageNodes{{Address: RegistryAddress, Trie: storage, Nodes: nodes}}
	return &Account{Balance: new(uint256.Int), StorageRoot: storage.Hash(), CodeHash: RegistryCodeHash}, nil
}

// genesisAccounts are the accounts of block 0, sorted by address. The sum of
// all balances must fit in 256 bits: execution relies on it. An allocation of 0
// makes no account, as EIP-161 has it.
func genesisAccounts(spec *genesis.Spec, registry *Account) ([]AccountChange, error) {
	changes := []AccountChange{{Address: RegistryAddress, New: registry}}
	seen, total := map[crypto.Address]bool{RegistryAddress: true}, new(uint256.Int)
	for _, a := range spec.Alloc {
		if seen[a.Address] {
			return nil, invalid(ErrSpec, "allocation to %s is a second one or to the registry", a.Address)
		}
		seen[a.Address] = true
		if _, over := total.AddOverflow(total, a.Balance); over {
			return nil, invalid(ErrSpec, "the sum of all balances is above 2^256-1")
		}
		if !a.Balance.IsZero() {
			changes = append(changes, AccountChange{Address: a.Address, New: NewAccount(a.Balance.Clone())})
		}
	}
	slices.SortFunc(changes, func(a, b AccountChange) int { return bytes.Compare(a.Address[:], b.Address[:]) })
	return changes, nil
}
