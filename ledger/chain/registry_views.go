package chain

import (
	"fmt"
	"math/big"

	"github.com/ethereum/go-ethereum/accounts/abi"

	"cairn/crypto"
	"cairn/genesis"
)

// maxCandidateAnswer bounds the candidates in one answer.
const maxCandidateAnswer = 512

// view answers a view, ABI-encoded. Errors: *RevertError, or a failure.
func (g *registry) view(m *abi.Method, args []any) ([]byte, error) {
	values, err := g.viewValues(m.RawName, args)
	switch {
	case g.err != nil:
		return nil, notInvalid(g.err)
	case err != nil:
		return nil, err
	}
	out, err := m.Outputs.Pack(values...)
	if err != nil {
		panic(fmt.Sprintf("view %s with %v: %v", m.Sig, values, err))
	}
	return out, nil
}

func (g *registry) viewValues(name string, args []any) ([]any, error) {
	one := func(v any) []any { return []any{v} }
	switch name {
	case "validators":
		return one(abiValidators(g.next)), nil
	case "isValidator":
		_, ok := g.set.Index(args[0].(crypto.Address))
		return one(ok), nil
	case "candidates":
		vs, err := g.candidateRange(0, g.candidateCount())
		return one(abiValidators(vs)), err
	case "candidateRange":
		start, count := clamp(args[0].(*big.Int)), clamp(args[1].(*big.Int))
		vs, err := g.candidateRange(start, count)
		return one(abiValidators(vs)), err
	case "candidateCount":
		return one(new(big.Int).SetUint64(g.candidateCount())), nil
	case "candidate":
		v, ok := g.candidate(args[0].(crypto.Address))
		return []any{ok, v.PeerID, v.Name}, nil
	case "registrations":
		return one(new(big.Int).SetUint64(g.number(registrationsSlot(args[0].(crypto.Address))))), nil
	case "votes":
		return one(g.voters(args[0].(crypto.Address))), nil
	case "convicted":
		return one(append([]crypto.Address{}, g.convicted()...)), nil
	case "convictions":
		return one(g.convictionOf(args[0].(crypto.Address))), nil
	case "quorum":
		return one(bigInt(genesis.Quorum(g.set.Len()))), nil
	case "epoch":
		return one(new(big.Int).SetUint64(uint64(g.epoch))), nil
	case "setHash":
		return one([32]byte(g.set.Hash())), nil
	case "closingHeight":
		height, err := g.closingHeight(clamp(args[0].(*big.Int)))
		return one(new(big.Int).SetUint64(height)), err
	default:
		panic("a view of the registry without code: " + name)
	}
}

// clamp makes a uint256 a uint64: what is above is as good as the largest.
func clamp(n *big.Int) uint64 {
	if !n.IsUint64() {
		return 1<<64 - 1
	}
	return n.Uint64()
}

// candidateRange are the candidates [start, start+count) of the list, as far as
// there are so many.
func (g *registry) candidateRange(start, count uint64) ([]genesis.Validator, error) {
	total := g.candidateCount()
	start = min(start, total)
	count = min(count, total-start)
	if count > maxCandidateAnswer {
		return nil, reverted(RevertRange, "%d, at most %d: ask with candidateRange", count, maxCandidateAnswer)
	}
	out := make([]genesis.Validator, 0, count)
	for i := start; i < start+count && g.err == nil; i++ {
		out = append(out, g.validator(candidateSlot(i)))
	}
	return out, nil
}

// voters are the members whose vote on subject counts.
func (g *registry) voters(subject crypto.Address) []crypto.Address {
	votes, out := g.votes(subject), []crypto.Address{}
	for i := range g.set.Len() {
		if votes.has(i) {
			out = append(out, g.set.At(i).Address)
		}
	}
	return out
}

func (g *registry) closingHeight(epoch uint64) (uint64, error) {
	if epoch > uint64(g.epoch) {
		return 0, reverted(RevertEpoch, "%d, the last is %d", epoch, g.epoch)
	}
	return g.number(closingSlot(uint32(epoch))), nil
}

// ClosingHeight is the height of the block whose execution began an epoch: 0 for
// epoch 0. Errors: *RevertError with RevertEpoch for an epoch that has not begun,
// or a failure to read r.
func ClosingHeight(r Reader, epoch uint32) (uint64, error) {
	g := &registry{registryReader: registryReader{Reader: r}}
	g.epoch = uint32(g.number(slotNumber(slotEpoch)))
	if g.err != nil {
		return 0, notInvalid(g.err)
	}
	height, err := g.closingHeight(uint64(epoch))
	if g.err != nil {
		return 0, notInvalid(g.err)
	}
	return height, err
}
