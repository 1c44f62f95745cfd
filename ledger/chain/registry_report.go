package chain

import (
	"encoding/binary"
	"math/big"
	"slices"

	"github.com/ethereum/go-ethereum/accounts/abi"
	"github.com/ethereum/go-ethereum/core/types"

	"cairn/crypto"
	"cairn/genesis"
)

// Kinds of votes, as they are signed (docs/protocol.md). This package cannot
// take them from consensus: to the ledger a certificate is opaque. A test at the
// root of the module holds the two together.
const (
	voteNotarize = 1
	voteNullify  = 2
	voteFinalize = 3
)

// SignedVote is one of the two votes of a report: what it says besides epoch and
// view, and the signature r ‖ s ‖ v, 65 bytes, of VoteDigest.
type SignedVote struct {
	Kind       uint8       `abi:"kind"` // 1 notarize, 2 nullify, 3 finalize
	ParentView uint64      `abi:"parentView"`
	Block      crypto.Hash `abi:"blockHash"`
	Signature  []byte      `abi:"signature"`
}

// VoteDigest is what a validator signs when it votes: keccak256 of the 109 bytes
// of docs/protocol.md.
func VoteDigest(cfg *Config, epoch uint32, view uint64, v *SignedVote) crypto.Hash {
	b := make([]byte, 0, 93)
	b = append(b, v.Kind)
	b = binary.BigEndian.AppendUint64(b, cfg.ChainID)
	b = append(b, cfg.Genesis[:]...)
	b = binary.BigEndian.AppendUint32(b, epoch)
	b = binary.BigEndian.AppendUint64(b, view)
	b = binary.BigEndian.AppendUint64(b, v.ParentView)
	b = append(b, v.Block[:]...)
	return crypto.Digest(crypto.DomainVote, b)
}

// CheckEquivocation says whether two votes of one epoch and view prove that a
// validator contradicted itself: two notarizes or two finalizes that differ in
// parent view or block, or a nullify and a finalize, both signed by it.
// Errors: *RevertError with RevertEvidence or RevertSignature.
func CheckEquivocation(cfg *Config, member crypto.Address, epoch uint32, view uint64, a, b *SignedVote) error {
	for _, v := range []*SignedVote{a, b} {
		if err := checkSaying(view, v); err != nil {
			return err
		}
	}
	differ := a.ParentView != b.ParentView || a.Block != b.Block
	switch {
	case a.Kind == b.Kind && a.Kind != voteNullify && differ:
	case min(a.Kind, b.Kind) == voteNullify && max(a.Kind, b.Kind) == voteFinalize:
	default:
		return &RevertError{Kind: RevertEvidence}
	}
	for _, v := range []*SignedVote{a, b} {
		sig, err := crypto.ParseSignature(v.Signature)
		if err == nil {
			err = sig.Verify(VoteDigest(cfg, epoch, view, v), member)
		}
		if err != nil {
			return reverted(RevertSignature, "%s: %v", member, err)
		}
	}
	return nil
}

// checkSaying refuses a vote that says what its kind cannot say: no consensus
// takes one, so nobody may be punished for it.
func checkSaying(view uint64, v *SignedVote) error {
	blank := v.ParentView == 0 && v.Block == crypto.Hash{}
	switch {
	case v.Kind < voteNotarize || v.Kind > voteFinalize:
		return reverted(RevertEvidence, "no vote has kind %d", v.Kind)
	case view == 0:
		return reverted(RevertEvidence, "nobody votes in view 0")
	case v.Kind == voteNullify && !blank:
		return reverted(RevertEvidence, "a nullify is about no block")
	case v.Kind != voteNullify && v.Block == crypto.Hash{}:
		return reverted(RevertEvidence, "a vote of kind %d is about a block", v.Kind)
	case v.Kind == voteFinalize && v.ParentView >= view:
		return reverted(RevertEvidence, "view %d does not follow view %d", view, v.ParentView)
	}
	return nil
}

// report convicts a member of the epoch's set of two votes that contradict each
// other, of this epoch or an earlier one. A conviction covers everything up to
// the epoch in which it was made: who was voted in again is not convicted of it
// a second time.
func (g *registry) report(cfg *Config, from crypto.Address, args []any) ([]*types.Log, error) {
	if !cfg.Rules.RemoveEquivocators {
		return nil, &RevertError{Kind: RevertReports}
	}
	subject, epoch, view := args[0].(crypto.Address), args[1].(uint32), args[2].(uint64)
	if _, ok := g.set.Index(subject); !ok {
		return nil, reverted(RevertNotMember, "%s", subject)
	}
	if epoch > g.epoch {
		return nil, reverted(RevertEpoch, "%d, the last is %d", epoch, g.epoch)
	}
	if after := g.number(convictionsSlot(subject)); g.err == nil && uint64(epoch) < after {
		return nil, reverted(RevertConvicted, "%s, of everything up to epoch %d", subject, after-1)
	}
	if err := CheckEquivocation(cfg, subject, epoch, view, voteArgument(args[3]), voteArgument(args[4])); err != nil {
		return nil, err
	}
	g.putNumber(convictionsSlot(subject), uint64(g.epoch)+1)
	g.putConvicted(append(g.convicted(), subject))
	return []*types.Log{newLog("Convicted", topics(subject, from), epoch, view)}, nil
}

// voteArgument is a tuple of the ABI as what it is.
func voteArgument(arg any) *SignedVote { return abi.ConvertType(arg, new(SignedVote)).(*SignedVote) }

// convictionsSlot is the slot of convictions[addr].
func convictionsSlot(a crypto.Address) crypto.Hash { return addressSlot(slotConvictions, a) }

// convictedSlot is the slot of element i of convicted.
func convictedSlot(i int) crypto.Hash {
	slot := slotNumber(slotConvicted)
	return slotPlus(crypto.Keccak256(slot[:]), uint64(i))
}

// convicted are the members that leave with the next change, the first one
// convicted first.
func (g *registry) convicted() []crypto.Address {
	n := g.number(slotNumber(slotConvicted))
	if n > maxMembers && g.err == nil {
		g.err = invalid(ErrRegistry, "%d convicted members", n)
	}
	var out []crypto.Address
	for i := 0; i < int(n) && g.err == nil; i++ {
		v := g.slot(convictedSlot(i))
		g.checkZero(convictedSlot(i), v[:12])
		out = append(out, crypto.Address(v[12:]))
	}
	return out
}

// putConvicted replaces the list.
func (g *registry) putConvicted(list []crypto.Address) {
	old := g.number(slotNumber(slotConvicted))
	g.putNumber(slotNumber(slotConvicted), uint64(len(list)))
	for i := range max(int(old), len(list)) {
		var v crypto.Hash
		if i < len(list) {
			v = leftPad(list[i][:])
		}
		g.put(convictedSlot(i), v)
	}
}

// expel takes the convicted members out of next, as long as one is left, and
// answers them. The list keeps those that had to stay: the set needs a member.
func (g *registry) expel() []crypto.Address {
	var gone, stay []crypto.Address
	for _, a := range g.convicted() {
		i, member := g.find(a)
		switch {
		case !member: // voted out
		case len(g.next) == 1:
			stay = append(stay, a)
		default:
			g.next = slices.Delete(g.next, i, i+1)
			gone = append(gone, a)
		}
	}
	if len(gone) > 0 || len(stay) > 0 || g.number(slotNumber(slotConvicted)) > 0 {
		g.putConvicted(stay)
	}
	return gone
}

// convictionOf is what the view convictions(address) answers: the epochs below
// it are settled; 0 = never convicted.
func (g *registry) convictionOf(a crypto.Address) *big.Int {
	return new(big.Int).SetUint64(g.number(convictionsSlot(a)))
}

// ReadConvicted reads the members that leave with the next change of the set.
func ReadConvicted(r Reader) ([]crypto.Address, error) {
	g := &registry{registryReader: registryReader{Reader: r}}
	out := g.convicted()
	if g.err != nil {
		return nil, notInvalid(g.err)
	}
	return out, nil
}

// nextSet is the set that comes into force when the block ends, and the
// convicted members that leave with it; nil when what was enacted leaves the set
// as it was.
func (g *registry) nextSet() (*genesis.ValidatorSet, []crypto.Address) {
	next := mustSet(g.next)
	if next.Hash() == g.set.Hash() {
		return nil, nil
	}
	gone := g.expel()
	if len(gone) > 0 {
		next = mustSet(g.next)
	}
	return next, gone
}

// mustSet makes a set of members that checkChange has let through.
func mustSet(members []genesis.Validator) *genesis.ValidatorSet {
	set, err := genesis.NewValidatorSet(members)
	if err != nil {
		panic("the registry let through a set that is none: " + err.Error())
	}
	return set
}
