// Package node wires the parts of a full node together: the consensus core, the
// ledger, the pool, the network and JSON-RPC.
//
// One goroutine, driver.run, owns the core and the ledger. Streams, gossip, sync
// and JSON-RPC send it values; nothing else changes what it owns. effects.go is
// the one file in which consensus meets the ledger.
package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"
	libp2pcrypto "github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	"golang.org/x/sync/errgroup"

	"cairn/consensus"
	"cairn/crypto"
	"cairn/genesis"
	"cairn/ledger"
	"cairn/ledger/chain"
	"cairn/ledger/pool"
	"cairn/ledger/snapshot"
	"cairn/ledger/store"
	"cairn/node/blocksync"
	"cairn/node/rpc"
	"cairn/node/statesync"
	"cairn/p2p"
)

// Version names the software in handshakes, web3_clientVersion and --version.
var Version = "0.1.0-dev"

// ErrorKind names why a node cannot start or go on.
type ErrorKind string

func (k ErrorKind) Error() string { return string(k) }

// The kinds of failure at start.
const (
	ErrLocked         = ErrorKind("another cairnd is running in this directory")
	ErrNoGenesis      = ErrorKind("the directory has no genesis file: put the network's there with 'cairnd init --genesis FILE --expect-hash HASH'")
	ErrNoData         = ErrorKind("there is no database here; a node has none before its first start")
	ErrPeerKey        = ErrorKind("the peer key is not the one that the validator set names")
	ErrDevelopmentKey = ErrorKind("a development key, which everybody knows, is used on an address that is not loopback")
)

// Node is a running full node.
type Node struct {
	cfg    Config
	log    *slog.Logger
	lock   *flock.Flock
	spec   *genesis.Spec
	store  *store.Store
	driver *driver
	// snapshots are the states that this node keeps for those who join; nil: none.
	snapshots *snapshot.Dir
	host      *p2p.Host
	peerKey   libp2pcrypto.PrivKey
	servers   servers

	states *statesync.Server // serves snapshots; nil as they are

	presences presences
}

// Open takes the lock of the home directory, opens the ledger and prepares the
// parts. Nothing listens before Run.
func Open(cfg Config, log *slog.Logger) (_ *Node, err error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	n := &Node{cfg: cfg, log: log}
	defer func() {
		if err != nil {
			_ = n.release() // err says why
		}
	}()
	if err := n.takeLock(); err != nil {
		return nil, err
	}
	if n.spec, err = readSpec(cfg.Home); err != nil {
		return nil, err
	}
	key, err := loadValidatorKey(filepath.Join(cfg.Home, ValidatorKeyFile), cfg.KeyPasswordFile)
	if err != nil {
		return nil, err
	}
	if err := refuseDevelopmentKeys(cfg, n.spec, key); err != nil {
		return nil, err
	}
	n.peerKey, err = p2p.LoadOrCreateKey(filepath.Join(cfg.Home, PeerKeyFile))
	if err != nil {
		return nil, err
	}
	own, err := p2p.PeerID(n.peerKey)
	if err != nil {
		return nil, err
	}
	if err := n.adoptJoined(); err != nil {
		return nil, err
	}
	n.store, err = store.Open(filepath.Join(cfg.Home, DataDir), storeOptions(cfg, log))
	if err != nil {
		return nil, fmt.Errorf("open the ledger: %w", err)
	}
	live, err := n.openLedger()
	if err != nil {
		return nil, fmt.Errorf("open the ledger: %w", err)
	}
	return n, n.prepare(live, key, own)
}

func (n *Node) takeLock() error {
	if err := os.MkdirAll(n.cfg.Home, 0o700); err != nil {
		return fmt.Errorf("make the home directory: %w", err)
	}
	var err error
	if n.lock, err = lockHome(n.cfg.Home); err != nil {
		return err
	}
	return finishSwitch(n.cfg.Home)
}

// prepare makes the driver around an open ledger.
func (n *Node) prepare(live *ledger.Ledger, key *crypto.PrivateKey, own peer.ID) error {
	cfg := live.Config()
	d := &driver{
		log: n.log, net: consensus.Network{ChainID: n.spec.ChainID, Genesis: live.Genesis().Hash()},
		rules: &cfg.Rules, key: key, signer: cfg.Signer(), ledger: live, store: n.store,
		meters: newMeters(), started: make(chan struct{}), endings: newPace(time.Second), reserve: uint64(n.cfg.Store.ReserveMiB) << 20,
		inbox: make(chan any, inboxLength), work: make(chan struct{}, 1), origin: time.Now(), calendar: time.Now,
		ranges: make(map[consensus.ViewRange]bool), later: newPace(time.Second), fetching: make(map[crypto.Hash]bool),
		seens: newSeens(),
	}
	d.events = rpc.NewEvents(d.signer)
	pooled := pool.DefaultConfig()
	pooled.OnDrop = d.dropped
	d.pool = pool.New(pooled, cfg)
	d.locals.hashes = make(map[crypto.Hash]struct{})
	pin, err := n.cfg.Sync.pin()
	if err != nil {
		return err
	}
	if pin != nil {
		if hash, err := live.HashByHeight(pin.Height); err == nil {
			if err := pin.Holds(pin.Height, hash); err != nil {
				return fmt.Errorf("this database is of another chain, or 'trusted' in the configuration is wrong: %w", err)
			}
		}
	}
	d.sync = newSyncer(d, pin)
	d.sync.home, d.sync.mode, d.sync.spec, d.sync.options = n.cfg.Home, n.cfg.Sync.Mode, n.spec, storeOptions(n.cfg, n.log)
	d.sync.progress.notify = n.cfg.Progress
	if n.snapshots != nil {
		n.states = statesync.NewServer(n.snapshots, live)
	}
	d.serving = newServing(blocksync.Server{Ledger: live}, n.states, n.cfg.Sync.ServeMiB<<20)
	n.driver = d
	if key != nil {
		if d.instance, err = openInstance(n.cfg.Home, n.store, key.Address()); err != nil {
			return err
		}
		if why := d.instance.doubt; why != "" {
			n.log.Warn("this node may have forgotten votes of its own: it observes and signs nothing until enough blocks are final to be safe", "why", why)
		}
		d.meters.lost.Set(float64(d.instance.lost))
		d.witness = openWitness(n.cfg.Home, n.log, d.meters.witness.Inc)
	}
	set, epoch := live.Validators()
	now, err := newEra(d.net, epoch, set, key, own, nil)
	if err != nil {
		return err
	}
	if now.moved != nil {
		return now.moved
	}
	if key != nil && now.self < 0 {
		n.log.Warn("the validator key of this directory is not in the validator set: running as a full node until it is", "address", key.Address())
	}
	d.era.Store(now)
	return nil
}

// coreConfig is what the core of an epoch is told.
func (d *driver) coreConfig(now *era) (consensus.Config, error) {
	root, err := d.root()
	if err != nil {
		return consensus.Config{}, err
	}
	cfg := consensus.Config{
		Network: d.net, Epoch: now.epoch, Members: now.addrs, Self: now.self,
		Delta: int64(d.rules.Delta), DeltaMax: int64(d.rules.DeltaMax),
		MinInterval: int64(d.rules.MinBlockInterval), Heartbeat: int64(d.rules.Heartbeat), Root: root,
	}
	if now.self >= 0 {
		cfg.Sign = d.key.Sign
	}
	d.observation(&cfg, now)
	return cfg, nil
}

// root is the last final block that consensus goes on from: the head or, if a
// crash came between the batches of one long commit, the newest block below it
// that has a finalization of its own.
func (d *driver) root() (consensus.Root, error) {
	head := d.ledger.HeadInfo()
	header := d.ledger.Head()
	root := consensus.Root{View: head.View}
	for height := head.Height; head.View > 0; height-- { // at view 0 it is block 0 or a closing block, the root of its epoch
		raw, err := d.ledger.Certificate(height)
		if err == nil && len(raw) == 0 && height > 1 {
			continue
		}
		if err != nil {
			return root, fmt.Errorf("the finalization of height %d: %w", height, err)
		}
		if root.Finalization, err = consensus.DecodeCertificate(raw); err != nil {
			return root, fmt.Errorf("the finalization of height %d: %w", height, err)
		}
		if header, err = d.ledger.HeaderByHeight(height); err != nil {
			return root, err
		}
		root.View = root.Finalization.View
		break
	}
	extra, err := chain.DecodeExtra(header)
	if err != nil {
		return root, fmt.Errorf("the header of height %s: %w", header.Number, err)
	}
	root.Block = consensus.Block{
		Hash: header.Hash(), Parent: header.ParentHash, Height: header.Number.Uint64(),
		Epoch: extra.Epoch, View: extra.View, Proposer: header.Coinbase, Timestamp: int64(extra.TimestampMillis),
	}
	root.Age = max(0, d.wall()-root.Block.Timestamp)
	return root, nil
}

// Run starts the network, consensus and the servers, and returns when ctx ends
// (nil) or when the node must not go on.
func (n *Node) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	d := n.driver
	d.ctx = ctx
	if err := n.startPool(); err != nil {
		return err
	}
	if err := n.startHost(ctx); err != nil {
		return err
	}
	records, err := loadVoteLog(n.store)
	if err != nil {
		return err
	}
	for _, addr := range n.host.Addrs() {
		n.log.Info("network", "address", addr)
	}
	n.log.Info("node", "version", Version, "chain", n.spec.ChainID, "genesis", d.net.Genesis, "height", d.ledger.HeadInfo().Height, "role", d.era.Load().role(), "peer", n.host.ID())
	cfg, err := d.coreConfig(d.era.Load())
	if err != nil {
		return err
	}
	if err := d.start(cfg, d.ownRecords(records)); err != nil {
		return err
	}
	close(d.started)
	if err := n.startServers(g); err != nil {
		return err
	}
	g.Go(func() error { return d.run(ctx) })
	g.Go(func() error { return d.sync.run(ctx) })
	g.Go(func() error { return n.refetch(ctx) }) // for ever, if nobody has a block
	g.Go(func() error { return n.fill(ctx) })
	g.Go(func() error { return n.prune(ctx) })
	if d.instance != nil {
		g.Go(func() error { d.observe(ctx); return nil })
		g.Go(func() error { d.witness.run(ctx); return nil })
	}
	g.Go(func() error {
		<-ctx.Done()
		n.log.Info("stopping")
		n.stopServers()
		return nil
	})
	err = g.Wait()
	n.log.Info("stopped", "height", d.ledger.HeadInfo().Height)
	return err
}

// startPool fills the pool with what was known at the last stop.
func (n *Node) startPool() error {
	d := n.driver
	head := d.ledger.Head()
	if err := d.pool.Reset(head, chain.NextBaseFee(&n.spec.Rules, head), d.ledger, nil); err != nil {
		return fmt.Errorf("start the pool: %w", err)
	}
	if err := d.restoreLocals(); err != nil {
		return fmt.Errorf("restore own transactions: %w", err)
	}
	return nil
}

func (n *Node) startHost(ctx context.Context) error {
	var allow []peer.ID
	for i, text := range n.cfg.P2P.Allow {
		id, err := peer.Decode(text)
		if err != nil {
			return fmt.Errorf("p2p.allow[%d]: %w", i, err)
		}
		allow = append(allow, id)
	}
	d := n.driver
	limit := maxConsensusBytes(&n.spec.Rules)
	var err error
	n.host, err = p2p.New(ctx, p2p.Config{
		Listen: n.cfg.P2P.Listen, Announce: n.cfg.P2P.Announce, Key: n.peerKey, Genesis: d.net.Genesis,
		Bootnodes: n.cfg.P2P.Bootnodes, MDNS: n.cfg.P2P.MDNS, DHT: n.cfg.P2P.DHT, AllowList: allow,
		PeerStore: filepath.Join(n.cfg.Home, "peers.json"), MaxPeers: n.cfg.P2P.MaxPeers,
		MaxConsensusBytes: limit, MaxResponseBytes: maxAnswerBytes(&n.spec.Rules),
		RequestRate: 500, UserAgent: "cairnd/" + Version, Log: n.log, Registerer: d.meters.registry,
	}, d.handlers(ctx))
	if err != nil {
		return fmt.Errorf("start the network: %w", err)
	}
	d.host = n.host
	n.host.SetValidators(d.era.Load().reachable())
	return nil
}

// Addrs are the full multiaddrs at which others reach this node, after Run has
// started the network.
func (n *Node) Addrs() []string { return n.host.Addrs() }

// Close stops what Run left, and frees the directory. It is safe after a failed
// Open or Run.
func (n *Node) Close() error {
	var errs []error
	if n.host != nil {
		errs = append(errs, n.host.Close())
	}
	if n.driver != nil && n.driver.inDoubt() == "" && n.driver.instance != nil && n.store != nil && n.store.Failed() == nil {
		errs = append(errs, n.driver.instance.renew()) // a copy of the data directory made before is noticed
	}
	return errors.Join(append(errs, n.release())...)
}

func (n *Node) release() error {
	var errs []error
	if n.driver != nil && n.driver.witness != nil {
		n.driver.witness.close()
	}
	if n.states != nil {
		errs = append(errs, n.states.Close())
		n.states = nil
	}
	if n.store != nil {
		errs = append(errs, n.store.Close()) // ends a snapshot that is being made
		n.store = nil
	}
	if n.snapshots != nil {
		n.snapshots.Close()
		n.snapshots = nil
	}
	if n.lock != nil {
		errs = append(errs, n.lock.Unlock())
		n.lock = nil
	}
	return errors.Join(errs...)
}
