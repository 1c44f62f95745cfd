package p2p

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/net/connmgr"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	ma "github.com/multiformats/go-multiaddr"
)

// Host is a running libp2p host. All methods may be called from any goroutine.
type Host struct {
	cfg      Config
	handlers Handlers
	log      *slog.Logger
	count    *counters
	waits    waits
	instance [instanceLength]byte // see hello

	ctx    context.Context
	cancel context.CancelFunc
	unhook func() bool    // from New's context
	wg     sync.WaitGroup // see spawn

	host      host.Host
	conns     *connmgr.BasicConnMgr
	gater     *gater
	book      *book
	bootnodes map[peer.ID]struct{} // never changes
	discovery discovery
	gossip    *gossip
	requests  requestServer

	changed chan struct{} // pokes the goroutine that calls PeerChange

	mu         sync.Mutex
	closed     bool
	closing    sync.Once
	closeErr   error
	peers      map[peer.ID]*peerState
	waiters    map[peer.ID][]chan error   // Connect calls
	validators map[peer.ID]struct{}       // without this node; replaced, never changed
	keepers    map[peer.ID]*keeper        // peers that are dialled again when lost
	senders    map[peer.ID]*sender        // consensus, one for each validator
	inbound    map[peer.ID]network.Stream // consensus, newest stream of each validator
}

// New starts a host: it listens, and dials bootnodes and remembered peers in
// the background. The host ends with Close, or when ctx ends.
// Errors: ErrConfig, and those of listening.
func New(ctx context.Context, cfg Config, handlers Handlers) (*Host, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg.setDefaults()
	for name := range handlers.Requests {
		if err := checkRequestName(name); err != nil {
			return nil, err
		}
	}
	h := &Host{
		cfg: cfg, handlers: handlers, log: cfg.Log, count: newCounters(), waits: cfg.waits,
		bootnodes: map[peer.ID]struct{}{}, changed: make(chan struct{}, 1),
		peers: map[peer.ID]*peerState{}, waiters: map[peer.ID][]chan error{},
		validators: map[peer.ID]struct{}{}, keepers: map[peer.ID]*keeper{},
		senders: map[peer.ID]*sender{}, inbound: map[peer.ID]network.Stream{},
	}
	rand.Read(h.instance[:])
	h.ctx, h.cancel = context.WithCancel(ctx)
	h.gater = newGater(&h.cfg, h.count)
	h.gater.onPeer = h.peersOfGroup
	var err error
	if h.host, h.conns, err = newLibp2pHost(&h.cfg, h.gater); err != nil {
		h.cancel()
		return nil, err
	}
	if err := h.start(); err != nil {
		h.Close()
		return nil, err
	}
	h.unhook = context.AfterFunc(ctx, func() { h.Close() })
	return h, nil
}

// start brings up everything that needs the libp2p host. Listening comes when
// all protocols are there, dialling last.
func (h *Host) start() error {
	h.book = newBook(h.host.ID(), h.mustKeep)
	if h.cfg.PeerStore != "" {
		if err := h.book.load(h.cfg.PeerStore, h.cfg.Genesis); err != nil {
			h.log.Warn("remembered peers were not read; the file will be replaced", "path", h.cfg.PeerStore, "err", err)
		}
	}
	if err := h.readBootnodes(); err != nil {
		return err
	}
	h.host.Network().Notify(&network.NotifyBundle{ConnectedF: h.onConnected, DisconnectedF: h.onDisconnected})
	h.host.SetStreamHandler(handshakeProtocol, h.guard(h.answerHandshake))
	h.host.SetStreamHandler(h.protocol("consensus"), h.guard(h.receiveConsensus))
	h.host.SetStreamHandler(h.protocol("transactions"), h.guard(h.receiveDirect))
	h.startRequests()
	var err error
	if h.gossip, err = startGossip(h); err != nil {
		return err
	}
	h.registerMetrics()
	if err := h.listen(); err != nil {
		return err
	}
	h.spawn(h.tellChanges)
	h.spawn(h.pingPeers)
	return h.startDiscovery()
}

// listen opens every address of Config.Listen, or fails.
func (h *Host) listen() error {
	for _, text := range h.cfg.Listen {
		a, err := ma.NewMultiaddr(text)
		if err != nil {
			return fmt.Errorf("%w: Listen: %q: %w", ErrConfig, text, err)
		}
		if err := h.host.Network().Listen(a); err != nil {
			return fmt.Errorf("listen for peers on %s (another program, or another node, may use the port): %w", text, err)
		}
	}
	return nil
}

// protocol is the id of one of this network's protocols.
func (h *Host) protocol(name string) protocol.ID {
	return protocol.ID(networkPrefix(h.cfg.Genesis) + "/" + name + "/1")
}

// spawn runs f in a goroutine that Close waits for. It says false and runs
// nothing once the host is closed.
func (h *Host) spawn(f func()) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.spawnLocked(f)
}

func (h *Host) spawnLocked(f func()) bool {
	if h.closed {
		return false
	}
	h.wg.Add(1)
	go func() {
		defer h.wg.Done()
		f()
	}()
	return true
}

// guard makes a stream handler that Close waits for. The stream is reset unless
// f says that it closed it: a reset after a close could overtake data on QUIC.
func (h *Host) guard(f func(network.Stream) (closed bool)) network.StreamHandler {
	return func(s network.Stream) {
		h.mu.Lock()
		if h.closed {
			h.mu.Unlock()
			s.Reset()
			return
		}
		h.wg.Add(1)
		h.mu.Unlock()
		defer h.wg.Done()
		if !f(s) {
			s.Reset()
		}
	}
}

// Close disconnects from all peers and remembers them. It takes milliseconds, and
// gives up with an error after closeLimit, should a connection not end.
//
// Whoever calls while another call runs waits for it: when Close returns, no
// handler runs any more and nothing is written.
func (h *Host) Close() error {
	h.closing.Do(func() { h.closeErr = h.shut() })
	return h.closeErr
}

func (h *Host) shut() error {
	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
	if h.unhook != nil {
		h.unhook()
	}
	h.cancel()

	done := make(chan error, 1)
	go func() {
		err := errors.Join(h.closeDiscovery(), h.host.Close())
		h.wg.Wait()
		done <- err
	}()
	var err error
	select {
	case err = <-done:
	case <-time.After(h.waits.close):
		err = fmt.Errorf("close the p2p host: not done after %s", h.waits.close)
	}
	if h.cfg.PeerStore != "" && h.book != nil {
		err = errors.Join(err, h.book.save(h.cfg.PeerStore, h.cfg.Genesis))
	}
	if h.cfg.Registerer != nil {
		h.cfg.Registerer.Unregister(h.count)
	}
	return err
}

// ID is this node's peer id.
func (h *Host) ID() peer.ID { return h.host.ID() }

// Addrs are the addresses told to others, each with /p2p/ID.
func (h *Host) Addrs() []string {
	id := h.host.ID().String()
	var out []string
	for _, a := range h.host.Addrs() {
		out = append(out, a.String()+"/p2p/"+id)
	}
	return out
}

// ListenAddrs are the addresses this host listens on, each with /p2p/ID,
// announced or not.
func (h *Host) ListenAddrs() []string {
	id := h.host.ID().String()
	addrs, err := h.host.Network().InterfaceListenAddresses()
	if err != nil {
		addrs = h.host.Network().ListenAddresses()
	}
	var out []string
	for _, a := range addrs {
		out = append(out, a.String()+"/p2p/"+id)
	}
	return out
}

// Connect dials a peer (multiaddr ending in /p2p/ID) and returns when the
// handshake is done. Errors: ErrAddress, ErrSelf, ErrBanned, ErrNotAllowed,
// ErrHandshake, ErrClosed, *IncompatibleError, those of ctx and of dialling.
func (h *Host) Connect(ctx context.Context, addr string) error {
	info, err := parsePeerAddr(addr)
	if err != nil {
		return err
	}
	if info.ID == h.ID() {
		return ErrSelf
	}
	if err := h.gater.check(info.ID); err != nil {
		return fmt.Errorf("connect to %s: %w", info.ID, err)
	}
	return h.connect(ctx, info.ID, info.Addrs)
}

// connect dials p unless connected and waits for the handshake.
func (h *Host) connect(ctx context.Context, p peer.ID, addrs []ma.Multiaddr) error {
	wait, ready := h.await(p)
	if ready {
		return nil
	}
	defer h.unawait(p, wait)
	h.count.inc(cDials)
	// A failed dial must not keep a peer that came back away: how often to try
	// is decided here, not in the swarm.
	if s, ok := h.host.Network().(*swarm.Swarm); ok {
		s.Backoff().Clear(p)
	}
	ctx, cancel := context.WithTimeout(ctx, h.cfg.HandshakeTimeout+dialLimit)
	defer cancel()
	if err := h.host.Connect(ctx, peer.AddrInfo{ID: p, Addrs: addrs}); err != nil {
		h.count.inc(cDialsFailed)
		h.book.failed(p)
		select {
		case refused := <-wait: // connected, refused, and gone again
			return refused
		default:
		}
		return fmt.Errorf("dial %s: %w", p, err)
	}
	select {
	case err := <-wait:
		return err
	case <-ctx.Done():
		return fmt.Errorf("handshake with %s: %w", p, ctx.Err())
	case <-h.ctx.Done():
		return ErrClosed
	}
}

// await registers for the outcome of the next handshake with p; ready = it is
// done already.
func (h *Host) await(p peer.ID) (wait chan error, ready bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if s := h.peers[p]; s != nil && s.hello != nil {
		if h.host.Network().Connectedness(p) == network.Connected {
			return nil, true
		}
		h.lostLocked(s) // onDisconnected is still to come
	}
	wait = make(chan error, 1)
	h.waiters[p] = append(h.waiters[p], wait)
	return wait, false
}

func (h *Host) unawait(p peer.ID, wait chan error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	rest := slices.DeleteFunc(h.waiters[p], func(c chan error) bool { return c == wait })
	if len(rest) == 0 {
		delete(h.waiters, p)
	} else {
		h.waiters[p] = rest
	}
}

// settleLocked tells Connect calls how the handshake with p ended.
func (h *Host) settleLocked(p peer.ID, err error) {
	for _, c := range h.waiters[p] {
		select {
		case c <- err:
		default:
		}
	}
}

// SetValidators says which peers are the validators now. They are exempt from
// limits, and consensus messages come only from them. If this node is among
// them, the host keeps a connection and a consensus stream to each other one.
func (h *Host) SetValidators(ids []peer.ID) {
	next := make(map[peer.ID]struct{}, len(ids))
	for _, p := range ids {
		next[p] = struct{}{}
	}
	_, voting := next[h.ID()]
	delete(next, h.ID())
	// The gater's map and this one are the same: neither is written again.
	h.gater.setValidators(next)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return
	}
	for p := range h.validators {
		if _, ok := next[p]; !ok {
			h.dropValidatorLocked(p)
		}
	}
	for p := range next {
		h.conns.Protect(p, "validator")
		if voting && h.senders[p] == nil {
			h.keepLocked(p, h.cfg.MaxReconnectInterval)
			h.senders[p] = h.newSenderLocked(p)
		}
	}
	for p := range h.senders {
		if _, ok := next[p]; !ok || !voting {
			h.dropSenderLocked(p)
		}
	}
	h.validators = next
	h.poke()
}

func (h *Host) dropValidatorLocked(p peer.ID) {
	h.conns.Unprotect(p, "validator")
	if s := h.inbound[p]; s != nil {
		s.Reset()
	}
}

// dropSenderLocked ends the consensus stream to p and its keeper.
func (h *Host) dropSenderLocked(p peer.ID) {
	h.senders[p].cancel()
	delete(h.senders, p)
	h.keepers[p].cancel()
	delete(h.keepers, p)
	if _, ok := h.bootnodes[p]; ok {
		h.keepLocked(p, 10*h.cfg.MaxReconnectInterval)
	}
}

// mustKeep says whether the addresses of p are never forgotten.
func (h *Host) mustKeep(p peer.ID) bool {
	if _, ok := h.bootnodes[p]; ok {
		return true
	}
	return h.gater.isValidator(p)
}

// Penalize charges a peer for a fault; enough charges ban it for
// Config.BanDuration. Validators are charged but never banned.
func (h *Host) Penalize(p peer.ID, f Fault) {
	if !h.gater.charge(p, f) {
		h.log.Debug("peer charged", "peer", p, "fault", string(f))
		return
	}
	h.log.Info("peer banned", "peer", p, "fault", string(f), "for", h.cfg.BanDuration)
	h.spawn(func() { h.host.Network().ClosePeer(p) })
}

func (h *Host) registerMetrics() {
	c := h.count
	c.addGauge("peers", "Peers whose handshake is done.", func() uint64 { n, _ := h.peerCounts(); return uint64(n) })
	c.addGauge("validators_connected", "Validators among them.", func() uint64 { _, n := h.peerCounts(); return uint64(n) })
	c.addGauge("known_peers", "Peers with a known address.", func() uint64 { return uint64(h.book.len()) })
	c.addGauge("banned_peers", "Bans in force.", func() uint64 { return uint64(h.gater.banned()) })
	c.addGauge("consensus_queue_bytes", "Bytes of consensus frames that wait to be written.", h.queuedConsensus)
	if h.cfg.Registerer != nil {
		if err := h.cfg.Registerer.Register(c); err != nil {
			h.log.Warn("p2p metrics are not shown; give each host a registry of its own", "err", err)
		}
	}
}
