package rpc

import (
	"context"
	"errors"
	"slices"

	"github.com/ethereum/go-ethereum/common/hexutil"

	"cairn/crypto"
	"cairn/genesis"
	"cairn/ledger/chain"
)

// Presence is what a node knows of where another one is.
type Presence struct {
	Connected bool   // or this node itself
	Answered  bool   // it said a moment ago where it is
	Height    uint64 // of the last block that is final there, by its own word
	Own       uint64 // of the last block that was final here when it was asked
	Signs     bool   // by its own word: it signs votes, or would as a validator
}

// syncedWithin is how many heights below ours a node may say to be and still
// count as in step: blocks become final while it is asked.
const syncedWithin = 16

// maxCandidates bounds the candidates of one answer.
const maxCandidates = 256

// member is a validator or candidate, and where it is. What the node cannot tell
// is null.
type member struct {
	Address crypto.Address   `json:"address"`
	PeerID  string           `json:"peerId"`
	Name    string           `json:"name"`
	Online  *bool            `json:"online"` // connected to this node, or this node
	Height  *hexutil.Uint64  `json:"height"` // final there, by its own word
	Synced  *bool            `json:"synced"` // online and in step
	Signs   *bool            `json:"signs"`  // online and, by its own word, fit to sign votes: not observing, not halted
	Votes   []crypto.Address `json:"votes"`  // validators that vote to remove it, of a candidate to add it
	// Convicted of contradicting itself: it leaves with the next change.
	Convicted bool `json:"convicted"`
}

// registryAnswer is the answer of cairn_registry.
type registryAnswer struct {
	Height     hexutil.Uint64 `json:"height"`
	Epoch      hexutil.Uint64 `json:"epoch"`  // of the next block
	Quorum     int            `json:"quorum"` // votes that enact a change
	SetHash    crypto.Hash    `json:"validatorSetHash"`
	Validators []member       `json:"validators"`
	Candidates []member       `json:"candidates"`     // the first of them, at most 256
	Registered hexutil.Uint64 `json:"candidateCount"` // all of them
}

// Registry answers the validators of the next block, the candidates, the open
// votes, and who of them is here and in step.
func (a *cairnAPI) Registry(ctx context.Context) (*registryAnswer, error) {
	r, err := a.b.registry()
	if err != nil {
		return nil, err
	}
	candidates, total, err := chain.ReadCandidates(r.state, maxCandidates)
	if err != nil {
		return nil, err
	}
	all := append(setMembers(r.set), candidates...)
	members, err := r.members(ctx, all)
	if err != nil {
		return nil, err
	}
	return &registryAnswer{
		Height: hexutil.Uint64(r.height), Epoch: hexutil.Uint64(r.epoch), Quorum: genesis.Quorum(r.set.Len()), SetHash: r.set.Hash(),
		Validators: members[:r.set.Len()], Candidates: members[r.set.Len():], Registered: hexutil.Uint64(total),
	}, nil
}

// validatorChange is the answer of cairn_validatorChange.
type validatorChange struct {
	Height     hexutil.Uint64   `json:"height"`
	Epoch      hexutil.Uint64   `json:"epoch"`
	Quorum     int              `json:"quorum"` // votes that enact the change
	Votes      []crypto.Address `json:"votes"`  // for it, so far
	NewQuorum  int              `json:"newQuorum"`
	NewSetHash crypto.Hash      `json:"newValidatorSetHash"`
	Validators []member         `json:"newValidators"`
	Convicted  []crypto.Address `json:"convicted"` // validators that leave with any change, this one too
	Online     *int             `json:"online"`    // members of the new set that are here; null = unknown
	Synced     *int             `json:"synced"`    // of them, in step; null = unknown
	// Live says that a quorum of the new set is here, in step and fit to sign, so
	// that blocks go on becoming final after the change; null = unknown.
	Live *bool `json:"live"`
}

// ValidatorChange tries to add or remove a validator without doing it: the set
// that a quorum of votes would make, and who of it is here and in step. What the
// registry refuses is error 3 with its reason.
func (a *cairnAPI) ValidatorChange(ctx context.Context, subject crypto.Address, add bool) (*validatorChange, error) {
	r, err := a.b.registry()
	if err != nil {
		return nil, err
	}
	next, err := chain.SetAfter(r.state, subject, add)
	var refused *chain.RevertError
	if errors.As(err, &refused) {
		return nil, &callError{code: codeReverted, text: refused.Error(), data: hexutil.Encode(refused.Output())}
	}
	if err != nil {
		return nil, err
	}
	votes, err := chain.ReadVotes(r.state, []crypto.Address{subject})
	if err != nil {
		return nil, err
	}
	members, err := r.members(ctx, setMembers(next))
	if err != nil {
		return nil, err
	}
	convicted, err := chain.ReadConvicted(r.state)
	if err != nil {
		return nil, err
	}
	out := &validatorChange{
		Height: hexutil.Uint64(r.height), Epoch: hexutil.Uint64(r.epoch), Quorum: genesis.Quorum(r.set.Len()), Votes: votes[0],
		NewQuorum: genesis.Quorum(next.Len()), NewSetHash: next.Hash(), Validators: members,
		Convicted: append([]crypto.Address{}, convicted...),
	}
	if a.b.Presence != nil {
		out.count()
	}
	return out, nil
}

// count sums up who is there.
func (c *validatorChange) count() {
	var online, synced, ready int
	for _, m := range c.Validators {
		if *m.Online {
			online++
		}
		if *m.Synced {
			synced++
		}
		if *m.Synced && *m.Signs {
			ready++
		}
	}
	live := ready >= c.NewQuorum
	c.Online, c.Synced, c.Live = &online, &synced, &live
}

// registryView is the registry after the last final block.
type registryView struct {
	b      *service
	height uint64
	state  chain.Reader
	set    *genesis.ValidatorSet // of the next block
	epoch  uint32
}

func (s *service) registry() (*registryView, error) {
	height := s.Ledger.HeadInfo().Height
	state, err := s.Ledger.StateAt(height)
	if err != nil {
		return nil, err
	}
	set, epoch, err := chain.ReadRegistry(state)
	if err != nil {
		return nil, err
	}
	return &registryView{b: s, height: height, state: state, set: set, epoch: epoch}, nil
}

func setMembers(set *genesis.ValidatorSet) []genesis.Validator {
	out := make([]genesis.Validator, set.Len())
	for i := range out {
		out[i] = set.At(i)
	}
	return out
}

// members adds the votes and, where the node can tell, who is here.
func (r *registryView) members(ctx context.Context, vs []genesis.Validator) ([]member, error) {
	ids, addresses := make([]string, len(vs)), make([]crypto.Address, len(vs))
	for i, v := range vs {
		ids[i], addresses[i] = v.PeerID, v.Address
	}
	votes, err := chain.ReadVotes(r.state, addresses)
	if err != nil {
		return nil, err
	}
	convicted, err := chain.ReadConvicted(r.state)
	if err != nil {
		return nil, err
	}
	out := make([]member, len(vs))
	for i, v := range vs {
		out[i] = member{Address: v.Address, PeerID: v.PeerID, Name: v.Name, Votes: votes[i], Convicted: slices.Contains(convicted, v.Address)}
	}
	if r.b.Presence == nil {
		return out, nil
	}
	turnOf(ctx).leave() // others work while this waits
	for i, p := range r.b.Presence(ctx, ids) {
		online, signs := p.Connected, p.Connected && p.Answered && p.Signs
		synced := p.Connected && p.Answered && p.Height+syncedWithin >= p.Own
		out[i].Online, out[i].Synced, out[i].Signs = &online, &synced, &signs
		if p.Connected && p.Answered {
			height := hexutil.Uint64(p.Height)
			out[i].Height = &height
		}
	}
	return out, nil
}
