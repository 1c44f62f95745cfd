package node

import (
	"fmt"

	"github.com/libp2p/go-libp2p/core/peer"

	"cairn/consensus"
	"cairn/crypto"
	"cairn/genesis"
)

// era is one epoch as this node sees it: the set, where its members are on the
// network, and which of them we are. It is immutable; the driver swaps it whole
// when a closing block is final.
type era struct {
	epoch  uint32
	set    *genesis.ValidatorSet
	addrs  []crypto.Address // of the set, in order
	peers  []peer.ID        // of the set, in order
	member map[peer.ID]int
	self   int // own index in the set, −1 = full node
	verify *verifier
	moved  error           // our key is in the set with another peer id
	before map[peer.ID]int // members of the epoch before, which may not know that it ended
}

// newEra looks up the members of a set. key may be nil; own is this node's peer
// id. A key that is in the set under another peer id does not sign, as the others
// would not listen to it here: moved says so.
func newEra(net consensus.Network, epoch uint32, set *genesis.ValidatorSet, key *crypto.PrivateKey, own peer.ID, before *era) (*era, error) {
	e := &era{epoch: epoch, set: set, addrs: set.Addresses(), member: make(map[peer.ID]int), self: -1}
	e.verify = newVerifier(net, epoch, e.addrs)
	for i := range set.Len() {
		id, err := peer.Decode(set.At(i).PeerID)
		if err != nil {
			return nil, fmt.Errorf("validator %s: peer id: %w", set.At(i).Name, err)
		}
		e.peers = append(e.peers, id)
		e.member[id] = i
	}
	if before != nil {
		e.before = before.member
	}
	if key == nil {
		return e, nil
	}
	if i, ok := set.Index(key.Address()); ok {
		if e.peers[i] != own {
			e.moved = fmt.Errorf("%w: validator %s is %s in the set, but %s holds the key of %s", ErrPeerKey, set.At(i).Name, e.peers[i], PeerKeyFile, own)
			return e, nil
		}
		e.self = i
	}
	return e, nil
}

// indexOf is the member index of a peer, or −1.
func (e *era) indexOf(p peer.ID) int {
	if i, ok := e.member[p]; ok {
		return i
	}
	return -1
}

// reachable are the peers to stay connected to: the members, and those of the
// epoch before, so that they hear that it is over.
func (e *era) reachable() []peer.ID {
	out := append([]peer.ID(nil), e.peers...)
	for p := range e.before {
		if e.indexOf(p) < 0 {
			out = append(out, p)
		}
	}
	return out
}

func (e *era) role() string {
	if e.self >= 0 {
		return "validator"
	}
	return "full"
}

// enterEpoch starts consensus anew after a final closing block: its archive is
// durable, the core of the old epoch is dropped, and the core of the new one has
// the closing block as its root. There are never two live cores.
func (d *driver) enterEpoch() error {
	set, epoch := d.ledger.Validators()
	old := d.era.Load()
	if epoch == old.epoch {
		return nil
	}
	next, err := newEra(d.net, epoch, set, d.key, d.host.ID(), old)
	if err != nil {
		return err
	}
	cfg, err := d.coreConfig(next)
	if err != nil {
		return err
	}
	if next.moved != nil {
		d.log.Warn("the validator key of this node is in the set with another peer: this node follows as a full node", "err", next.moved)
	}
	// What stopped the old core from signing stops the new one before it signs.
	var records []consensus.Record
	if halted := d.core.Status().Halted; halted != "" {
		records = append(records, consensus.Record{Halt: halted})
	}
	cfg.Paused = d.mustPause()
	core, effects, err := consensus.New(cfg, records, d.mono(), d.wall())
	if err != nil {
		return fmt.Errorf("start epoch %d: %w", epoch, err)
	}
	d.core, d.hadWork, d.latest = core, false, executedBlock{}
	d.era.Store(next)
	d.host.SetValidators(next.reachable())
	d.meters.epoch.Set(float64(epoch))
	d.log.Info("new validator set", "epoch", epoch, "validators", set.Len(), "quorum", consensus.Quorum(set.Len()), "role", next.role())
	return d.carryOut(effects)
}
