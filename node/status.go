package node

import (
	"fmt"

	"github.com/ethereum/go-ethereum/common/hexutil"

	"cairn/consensus"
	"cairn/ledger/chain"
	"cairn/node/rpc"
)

// connectedMembers counts the members of the set that are reachable now, this
// node included if it is one.
func (d *driver) connectedMembers(now *era) (members, peers int) {
	if now.self >= 0 {
		members++
	}
	for _, p := range d.host.Peers() {
		peers++
		if now.indexOf(p.ID) >= 0 {
			members++
		}
	}
	return members, peers
}

// connected says whether the node can hear of new blocks: a validator needs a
// quorum, a full node needs a peer.
func (n *Node) connected(s *rpc.Status) bool {
	if s.Role == "validator" {
		return s.Connected >= s.Quorum
	}
	return s.Peers > 0
}

// Status is what cairn_status answers.
func (n *Node) Status() rpc.Status {
	d := n.driver
	head := d.ledger.Head()
	state := d.state.Load()
	now := state.era
	s := rpc.Status{
		Version: Version, ChainID: hexutil.Uint64(n.spec.ChainID), GenesisHash: d.net.Genesis,
		Height: hexutil.Uint64(head.Number.Uint64()), Hash: head.Hash(), StateRoot: head.Root,
		Epoch: hexutil.Uint64(state.Epoch), View: hexutil.Uint64(state.View),
		FinalizedView: hexutil.Uint64(state.LastFinalizedView),
		Leader:        now.set.At(state.Leader).Name, Role: now.role(), Voting: state.Voting, Observing: state.Observing, Armed: state.Armed,
		Validators: now.set.Len(), Quorum: consensus.Quorum(now.set.Len()), Problems: []string{},
	}
	if extra, err := chain.DecodeExtra(head); err == nil {
		s.Timestamp = hexutil.Uint64(extra.TimestampMillis)
	}
	if now.self >= 0 {
		s.Name = now.set.At(now.self).Name
	}
	s.Connected, s.Peers = d.connectedMembers(now)
	s.Target = s.Height
	if at := d.sync.progress.get(); at != nil && at.Target > s.Height+behindLimit {
		s.Syncing, s.Target = true, at.Target
	}
	stats := d.pool.Stats()
	s.Pending, s.Queued = stats.Executable, stats.Gapped
	if state.Halted != "" {
		s.Problems = append(s.Problems, "consensus halted, this node signs nothing more: "+state.Halted)
	}
	if state.twin != "" {
		s.Problems = append(s.Problems, state.twin)
	}
	switch d.room() {
	case noVotes:
		s.Problems = append(s.Problems, fmt.Sprintf("the disk has less than %d MiB free: this node does not vote; make room", d.reserve>>20))
	case readsOnly:
		s.Problems = append(s.Problems, fmt.Sprintf("the disk is nearly full: this node answers reads only, it neither follows the chain nor takes transactions, until %d MiB are free; make room", (d.reserve+d.reserve/2)>>20))
	}
	s.Healthy = len(s.Problems) == 0
	if state.Observing && state.twin == "" {
		s.Problems = append(s.Problems, state.observing())
	}
	if k := d.awaited.Load(); k > 0 {
		s.Problems = append(s.Problems, fmt.Sprintf("%d damaged blocks are being fetched from other nodes; until then this node answers that it does not have them; it needs a peer that keeps them", k))
	}
	if w := d.witness; w != nil && w.problem() != "" {
		s.Problems = append(s.Problems, w.problem())
	}
	if !n.connected(&s) {
		if s.Role == "validator" {
			s.Problems = append(s.Problems, fmt.Sprintf("no quorum: %d of %d validators are connected, %d are needed; nothing becomes final until more of them run and can be reached", s.Connected, s.Validators, s.Quorum))
		} else {
			s.Problems = append(s.Problems, "no peers: check bootnodes and the network")
		}
	}
	return s
}
