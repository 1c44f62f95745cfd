package p2p

import (
	"fmt"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// MaxBan bounds the bans of an operator.
const MaxBan = 365 * 24 * time.Hour

// Disconnect closes the connections to a peer. It may come back at once; bootnodes
// and validators are dialled again. Error: ErrNotConnected.
func (h *Host) Disconnect(p peer.ID) error {
	if len(h.host.Network().ConnsToPeer(p)) == 0 {
		return fmt.Errorf("%w: %s", ErrNotConnected, p)
	}
	return h.host.Network().ClosePeer(p)
}

// Ban closes the connections to a peer and refuses it until d has passed, at most
// MaxBan; 0 lifts a ban. It does not outlive the process. Error: ErrValidator: one
// that could be banned could be silenced.
func (h *Host) Ban(p peer.ID, d time.Duration) error {
	if err := h.gater.banFor(p, min(d, MaxBan)); err != nil || d <= 0 {
		return err
	}
	h.log.Info("peer banned", "peer", p, "fault", "its operator's order", "for", min(d, MaxBan))
	return h.host.Network().ClosePeer(p)
}

func (g *gater) banFor(p peer.ID, d time.Duration) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if d <= 0 {
		delete(g.bans, p)
		delete(g.charges, p)
		return nil
	}
	if _, ok := g.validators[p]; ok {
		return fmt.Errorf("%w: %s", ErrValidator, p)
	}
	now := g.now()
	if len(g.bans) >= maxBans {
		g.forgetBans(now)
	}
	g.bans[p] = now.Add(d)
	g.count.inc(cBans)
	return nil
}
