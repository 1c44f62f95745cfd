package node

import (
	"github.com/ethereum/go-ethereum/core/types"

	"cairn/crypto"
	"cairn/node/rpc"
)

// rpcBackend is what JSON-RPC answers from.
func (n *Node) rpcBackend() rpc.Backend {
	d := n.driver
	return rpc.Backend{
		Ledger: d.ledger, Pool: d.pool, Signer: d.signer, Submit: d.submit, Status: n.Status, Peers: n.rpcPeers,
		Presence: n.presence, Sync: d.sync.progress.get, Evidence: d.Evidence,
		Events: d.events, Stage: d.stage, Seen: d.seen, ClientVersion: "cairnd/" + Version, Registerer: d.meters.registry, Log: n.log,
	}
}

// rpcPeers are the connected peers without their addresses.
func (n *Node) rpcPeers() []rpc.Peer {
	peers := n.host.Peers()
	out := make([]rpc.Peer, len(peers))
	for i, p := range peers {
		out[i] = rpc.Peer{ID: p.ID.String(), Validator: p.Validator, UserAgent: p.UserAgent}
	}
	return out
}

// openBlock is a block above the final head.
type openBlock struct {
	block     *types.Block
	notarized bool
}

// openBlocks are the newest notarized block and the one executed last, with
// those between them and the final head.
func (d *driver) openBlocks(tip crypto.Hash) []openBlock {
	var out []openBlock
	above := d.ledger.HeadInfo().Height
	notarized := make(map[crypto.Hash]bool)
	for b := d.bodies.get(tip); b != nil && b.NumberU64() > above; b = d.bodies.get(b.ParentHash()) {
		notarized[b.Hash()] = true
		out = append(out, openBlock{b, true})
	}
	for b := d.bodies.get(d.latest.hash); b != nil && b.NumberU64() > above && !notarized[b.Hash()]; b = d.bodies.get(b.ParentHash()) {
		out = append(out, openBlock{b, false})
	}
	return out
}
