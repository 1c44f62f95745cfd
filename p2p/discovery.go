package p2p

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	dht "github.com/libp2p/go-libp2p-kad-dht"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/discovery/mdns"
	ma "github.com/multiformats/go-multiaddr"
)

// discovery is what looks for peers.
type discovery struct {
	dht  *dht.IpfsDHT
	mdns mdns.Service
	wake chan struct{} // addresses were learned
}

func (d *discovery) poke() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// readBootnodes notes the bootnodes' addresses.
func (h *Host) readBootnodes() error {
	for _, s := range h.cfg.Bootnodes {
		info, err := parsePeerAddr(s)
		if err != nil {
			return err
		}
		if info.ID != h.ID() {
			h.bootnodes[info.ID] = struct{}{}
			h.book.addFixed(info)
		}
	}
	return nil
}

// startDiscovery keeps bootnodes connected and looks for more peers.
func (h *Host) startDiscovery() error {
	h.discovery.wake = make(chan struct{}, 1)
	if err := h.learnIdentified(); err != nil {
		return err
	}
	if h.cfg.DHT {
		if err := h.startDHT(); err != nil {
			return err
		}
	}
	if h.cfg.MDNS {
		service := "_cairn-" + hex.EncodeToString(h.cfg.Genesis[:4]) + "._udp"
		m := mdns.NewMdnsService(h.host, service, (*lanPeers)(h))
		if err := m.Start(); err != nil {
			// Often: no interface has multicast. Other ways remain.
			h.log.Warn("peers on this LAN are not looked for; turn MDNS off or give bootnodes", "err", err)
			m.Close()
		} else {
			h.discovery.mdns = m
		}
	}
	h.mu.Lock()
	for p := range h.bootnodes {
		h.conns.TagPeer(p, "bootnode", 50)
		h.keepLocked(p, 10*h.cfg.MaxReconnectInterval)
	}
	h.mu.Unlock()
	h.spawn(h.findPeers)
	if h.cfg.PeerStore != "" {
		h.spawn(h.rememberPeers)
	}
	return nil
}

func (h *Host) closeDiscovery() error {
	var err error
	if h.discovery.mdns != nil {
		err = h.discovery.mdns.Close()
	}
	if h.discovery.dht != nil {
		err = errors.Join(err, h.discovery.dht.Close())
	}
	return err
}

// startDHT takes part in this network's own Kademlia table. It holds no
// records, only peers: who is near which key, and their addresses.
func (h *Host) startDHT() error {
	d, err := dht.New(h.host,
		dht.Mode(dht.ModeServer),
		dht.ProtocolPrefix(protocol.ID(networkPrefix(h.cfg.Genesis))),
		dht.DisableProviders(),
		dht.DisableValues(),
		dht.AddressFilter(func(addrs []ma.Multiaddr) []ma.Multiaddr {
			local := allLoopback(h.host.Addrs())
			var out []ma.Multiaddr
			for _, a := range addrs {
				if keepAddr(local)(a) {
					out = append(out, a)
				}
			}
			return out
		}),
	)
	if err != nil {
		return fmt.Errorf("start the DHT: %w", err)
	}
	h.discovery.dht = d
	return nil
}

// lanPeers receives what mDNS finds.
type lanPeers Host

// HandlePeerFound implements mdns.Notifee.
func (l *lanPeers) HandlePeerFound(info peer.AddrInfo) {
	h := (*Host)(l)
	if info.ID == h.ID() {
		return
	}
	if h.book.addHint(info.ID, info.Addrs) {
		h.addressLearned(info.ID)
	}
}

// enoughPeers is how many peers a node looks for; it bears up to MaxPeers.
func (h *Host) enoughPeers() int { return min(16, max(1, h.cfg.MaxPeers*3/4)) }

// findPeers dials known peers until there are enough, and asks peers for peers:
// often at first, when the network may be starting too, then rarely.
func (h *Host) findPeers() {
	wait := exchangeFirst
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-h.ctx.Done():
			return
		case <-h.discovery.wake:
			h.dialCandidates()
			continue
		case <-timer.C:
		}
		h.dialCandidates()
		if s := h.randomPeer(); s != nil {
			h.askForPeers(s)
		}
		timer.Reset(wait)
		wait = min(2*wait, exchangeLast)
	}
}

// dialCandidates starts dials for the peers that are missing.
func (h *Host) dialCandidates() {
	count, _ := h.peerCounts()
	missing := min(h.enoughPeers()-count, dialsAtOnce)
	if missing <= 0 {
		return
	}
	for _, p := range h.book.candidates(missing, h.dontDial) {
		h.book.attempt(p)
		h.spawn(func() {
			if err := h.connect(h.ctx, p, h.book.addrs(p)); err != nil {
				h.log.Debug("peer not reached", "peer", p, "err", err)
			}
		})
	}
}

// dontDial is true for peers that are connected, kept by a keeper, or refused
// by the gater.
func (h *Host) dontDial(p peer.ID) bool {
	h.mu.Lock()
	_, connected := h.peers[p]
	_, kept := h.keepers[p]
	h.mu.Unlock()
	return connected || kept || h.gater.check(p) != nil
}

// randomPeer is any peer whose handshake is done; nil = none.
func (h *Host) randomPeer() *peerState {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range h.peers { // map order is random enough
		if s.hello != nil {
			return s
		}
	}
	return nil
}

// rememberPeers saves the peers met, soon after each change.
func (h *Host) rememberPeers() {
	tick := time.NewTicker(rememberDelay)
	defer tick.Stop()
	for {
		select {
		case <-h.ctx.Done():
			return
		case <-tick.C:
			if err := h.book.save(h.cfg.PeerStore, h.cfg.Genesis); err != nil {
				h.log.Warn("peers are not remembered; check the disk and the directory's owner", "path", h.cfg.PeerStore, "err", err)
			}
		}
	}
}

// keeper dials a validator or bootnode again whenever it is not connected.
type keeper struct {
	p      peer.ID
	last   time.Duration // longest wait between dials
	ctx    context.Context
	cancel context.CancelFunc
	wake   chan struct{} // connected or lost
	news   chan struct{} // its address was learned
}

func (k *keeper) poke() {
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

func (k *keeper) learned() {
	select {
	case k.news <- struct{}{}:
	default:
	}
}

// keepLocked starts the keeper of p, or changes how eagerly it dials.
func (h *Host) keepLocked(p peer.ID, last time.Duration) {
	if old := h.keepers[p]; old != nil {
		old.cancel()
	}
	k := &keeper{p: p, last: last, wake: make(chan struct{}, 1), news: make(chan struct{}, 1)}
	k.ctx, k.cancel = context.WithCancel(h.ctx)
	h.keepers[p] = k
	h.spawnLocked(func() { h.keep(k) })
}

// keep is a keeper's loop. After a loss the side with the smaller id dials
// first, so that both rarely do at once; after that waits double.
func (h *Host) keep(k *keeper) {
	wait := h.cfg.ReconnectInterval
	for k.ctx.Err() == nil {
		if h.state(k.p) != nil {
			if h.waitLost(k) {
				wait = h.cfg.ReconnectInterval
				pause := wait
				if h.ID() > k.p {
					pause *= 3
				}
				h.pause(k, pause)
			}
			continue
		}
		err := h.dialKept(k)
		if err == nil {
			wait = h.cfg.ReconnectInterval
			continue
		}
		h.log.Debug("validator or bootnode not reached", "peer", k.p, "err", err)
		var bad *IncompatibleError
		if errors.As(err, &bad) {
			wait = 10 * k.last // it will not change its mind within seconds
		}
		h.pause(k, wait/2+rand.N(wait))
		wait = min(2*wait, k.last)
	}
}

// waitLost returns when the peer is not connected; false = the keeper ends.
func (h *Host) waitLost(k *keeper) bool {
	for h.state(k.p) != nil {
		select {
		case <-k.wake:
		case <-k.ctx.Done():
			return false
		}
	}
	return true
}

// pause waits for d, less if the peer connects or its address is learned.
func (h *Host) pause(k *keeper, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			return
		case <-k.ctx.Done():
			return
		case <-k.news:
			return
		case <-k.wake:
			if h.state(k.p) != nil {
				return
			}
		}
	}
}

// dialKept dials with every address there is; without any it asks the DHT.
func (h *Host) dialKept(k *keeper) error {
	addrs := h.book.addrs(k.p)
	if len(addrs) == 0 && h.discovery.dht != nil {
		ctx, cancel := context.WithTimeout(k.ctx, dialLimit)
		defer cancel()
		info, err := h.discovery.dht.FindPeer(ctx, k.p)
		if err != nil {
			return fmt.Errorf("find %s: %w", k.p, err)
		}
		addrs = keepDialable(info.Addrs)
	}
	if len(addrs) == 0 && len(h.host.Peerstore().Addrs(k.p)) == 0 {
		return fmt.Errorf("find %s: no address known", k.p)
	}
	return h.connect(k.ctx, k.p, addrs)
}
