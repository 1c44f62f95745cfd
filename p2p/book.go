package p2p

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/record"
	ma "github.com/multiformats/go-multiaddr"

	"cairn/crypto"
)

// book holds the addresses of peers, connected or not.
type book struct {
	self      peer.ID
	protected func(peer.ID) bool // never evicted: validators, bootnodes
	now       func() time.Time

	mu    sync.Mutex
	known map[peer.ID]*knownPeer
	dirty bool // something to remember changed
}

type knownPeer struct {
	addrs    []ma.Multiaddr // without /p2p; at most maxAddrsPerPeer
	fixed    []ma.Multiaddr // from the configuration, always tried too
	record   []byte         // signed address record, for passing on; nil = none
	sequence uint64         // of record
	seen     time.Time      // last completed handshake; zero = never
	failures int            // dials failed in a row
	next     time.Time      // no dial by the finder before
}

func newBook(self peer.ID, protected func(peer.ID) bool) *book {
	return &book{self: self, protected: protected, now: time.Now, known: map[peer.ID]*knownPeer{}}
}

// entry answers the peer's entry, new if need be; nil for this node itself.
func (b *book) entry(p peer.ID) *knownPeer {
	if p == b.self || p == "" {
		return nil
	}
	k := b.known[p]
	if k == nil {
		if len(b.known) >= maxKnownPeers {
			b.evict()
		}
		k = &knownPeer{}
		b.known[p] = k
	}
	return k
}

// evict removes the least useful entry: never seen and most failures first,
// then the one seen longest ago.
func (b *book) evict() {
	var worst peer.ID
	for p, k := range b.known {
		if b.protected(p) {
			continue
		}
		if worst == "" {
			worst = p
			continue
		}
		w := b.known[worst]
		if k.seen.Before(w.seen) || k.seen.Equal(w.seen) && k.failures > w.failures {
			worst = p
		}
	}
	delete(b.known, worst)
}

// addFixed notes configured addresses of a peer.
func (b *book) addFixed(info peer.AddrInfo) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if k := b.entry(info.ID); k != nil {
		k.fixed = mergeAddrs(k.fixed, info.Addrs)
	}
}

// addHint notes addresses that came without a signature (mDNS, the file of
// remembered peers). They never replace signed ones. It says whether p is new.
func (b *book) addHint(p peer.ID, addrs []ma.Multiaddr) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	addrs = keepDialable(addrs)
	if len(addrs) == 0 {
		return false
	}
	k := b.entry(p)
	if k == nil || k.record != nil {
		return false
	}
	fresh := len(k.addrs) == 0
	k.addrs = mergeAddrs(k.addrs, addrs)
	return fresh
}

// addRecord notes a signed address record (a libp2p envelope) if it is newer
// than the one known, and answers whose it is and whether that changed
// anything. Addresses that keep refuses are left out. Errors: ErrPeersMalformed.
func (b *book) addRecord(raw []byte, keep func(ma.Multiaddr) bool) (peer.ID, bool, error) {
	if len(raw) > maxPeerRecord {
		return "", false, fmt.Errorf("%w: record of %d bytes", ErrPeersMalformed, len(raw))
	}
	var rec peer.PeerRecord
	envelope, err := record.ConsumeTypedEnvelope(raw, &rec)
	if err != nil {
		return "", false, fmt.Errorf("%w: %v", ErrPeersMalformed, err)
	}
	if !rec.PeerID.MatchesPublicKey(envelope.PublicKey) {
		return "", false, fmt.Errorf("%w: record of %s is signed by another", ErrPeersMalformed, rec.PeerID)
	}
	addrs := slices.DeleteFunc(keepDialable(rec.Addrs), func(a ma.Multiaddr) bool { return !keep(a) })
	b.mu.Lock()
	defer b.mu.Unlock()
	k := b.entry(rec.PeerID)
	if k == nil || k.record != nil && rec.Seq <= k.sequence || len(addrs) == 0 {
		return rec.PeerID, false, nil
	}
	if !sameAddrs(k.addrs, addrs) {
		b.dirty = b.dirty || !k.seen.IsZero()
		k.failures, k.next = 0, time.Time{}
	}
	k.record, k.sequence, k.addrs = raw, rec.Seq, addrs
	return rec.PeerID, true, nil
}

// met notes that a handshake with p completed.
func (b *book) met(p peer.ID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if k := b.entry(p); k != nil {
		k.seen, k.failures, k.next = b.now(), 0, time.Time{}
		b.dirty = true
	}
}

// failed notes that p could not be reached or was refused; the finder leaves
// it alone for 2 s doubled by each failure, up to 10 min.
func (b *book) failed(p peer.ID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if k := b.known[p]; k != nil {
		k.failures++
		k.next = b.now().Add(min(2*time.Second<<min(k.failures, 10), 10*time.Minute))
	}
}

// attempt notes that p is being dialled, so that it is not a candidate again
// before the outcome.
func (b *book) attempt(p peer.ID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if k := b.known[p]; k != nil {
		k.next = b.now().Add(2 * dialLimit)
	}
}

// addrs are all addresses to try, configured ones first.
func (b *book) addrs(p peer.ID) []ma.Multiaddr {
	b.mu.Lock()
	defer b.mu.Unlock()
	k := b.known[p]
	if k == nil {
		return nil
	}
	return mergeAddrs(slices.Clone(k.fixed), k.addrs)
}

// candidates are up to n peers that skip does not refuse and that may be
// dialled now, those seen last first.
func (b *book) candidates(n int, skip func(peer.ID) bool) []peer.ID {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	var out []peer.ID
	for p, k := range b.known {
		if len(k.addrs)+len(k.fixed) > 0 && !k.next.After(now) && !skip(p) {
			out = append(out, p)
		}
	}
	slices.SortFunc(out, func(x, y peer.ID) int {
		if c := b.known[y].seen.Compare(b.known[x].seen); c != 0 {
			return c
		}
		return b.known[x].failures - b.known[y].failures
	})
	return out[:min(n, len(out))]
}

// records are up to n signed records of the peers that want accepts.
func (b *book) records(n int, want func(peer.ID, []ma.Multiaddr) bool) [][]byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out [][]byte
	for p, k := range b.known { // map order: another choice each time
		if len(out) == n {
			break
		}
		if k.record != nil && want(p, k.addrs) {
			out = append(out, k.record)
		}
	}
	return out
}

func (b *book) len() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.known)
}

// peersFile is the file of remembered peers. It is a hint: nothing in it is
// trusted, and a broken one is as good as none.
type peersFile struct {
	Genesis crypto.Hash      `json:"genesis"`
	Peers   []rememberedPeer `json:"peers"`
}

type rememberedPeer struct {
	ID    string    `json:"id"`
	Addrs []string  `json:"addrs"`
	Seen  time.Time `json:"seen"`
}

// load reads remembered peers. The error says why there are none or not all.
func (b *book) load(path string, genesis crypto.Hash) error {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the remembered peers: %w", err)
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxPeerStoreFile+1))
	if err != nil {
		return fmt.Errorf("read the remembered peers: %w", err)
	}
	return b.decode(raw, genesis)
}

func (b *book) decode(raw []byte, genesis crypto.Hash) error {
	if len(raw) > maxPeerStoreFile {
		return fmt.Errorf("%w: file of remembered peers has more than %d bytes", ErrPeersMalformed, maxPeerStoreFile)
	}
	var file peersFile
	if err := json.Unmarshal(raw, &file); err != nil {
		return fmt.Errorf("%w: file of remembered peers: %v", ErrPeersMalformed, err)
	}
	if file.Genesis != genesis {
		return fmt.Errorf("%w: the remembered peers are of %s, not %s", ErrWrongGenesis, file.Genesis.Hex(), genesis.Hex())
	}
	bad := 0
	for i, r := range file.Peers {
		if i == maxRememberedPeers {
			break
		}
		if !b.addRemembered(r) {
			bad++
		}
	}
	if bad > 0 {
		return fmt.Errorf("%w: %d of %d remembered peers", ErrPeersMalformed, bad, len(file.Peers))
	}
	return nil
}

func (b *book) addRemembered(r rememberedPeer) bool {
	p, err := peer.Decode(r.ID)
	if err != nil {
		return false
	}
	now := b.now()
	if r.Seen.After(now) {
		r.Seen = now
	}
	if now.Sub(r.Seen) > rememberFor {
		return true // forgotten, not broken
	}
	var addrs []ma.Multiaddr
	for _, s := range r.Addrs {
		a, err := ma.NewMultiaddr(s)
		if err != nil {
			return false
		}
		addrs = append(addrs, a)
	}
	if !b.addHint(p, addrs) {
		return p == b.self
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.known[p].seen = r.Seen
	return true
}

// save writes the peers met within rememberFor, the latest first, if anything
// changed. The file is replaced in one step.
func (b *book) save(path string, genesis crypto.Hash) error {
	raw, changed, err := b.encode(genesis)
	if err != nil || !changed {
		return err
	}
	if err := replaceFile(path, raw); err != nil {
		b.mu.Lock()
		b.dirty = true
		b.mu.Unlock()
		return fmt.Errorf("write the remembered peers: %w", err)
	}
	return nil
}

func (b *book) encode(genesis crypto.Hash) (raw []byte, changed bool, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.dirty {
		return nil, false, nil
	}
	b.dirty = false
	file := peersFile{Genesis: genesis, Peers: []rememberedPeer{}}
	oldest := b.now().Add(-rememberFor)
	for p, k := range b.known {
		if k.seen.Before(oldest) || len(k.addrs) == 0 {
			continue
		}
		r := rememberedPeer{ID: p.String(), Seen: k.seen.UTC()}
		for _, a := range k.addrs {
			r.Addrs = append(r.Addrs, a.String())
		}
		file.Peers = append(file.Peers, r)
	}
	slices.SortFunc(file.Peers, func(x, y rememberedPeer) int { return y.Seen.Compare(x.Seen) })
	file.Peers = file.Peers[:min(len(file.Peers), maxRememberedPeers)]
	raw, err = json.MarshalIndent(file, "", " ")
	return raw, true, err
}

func replaceFile(path string, raw []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), ".peers-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(raw)
	if cerr := tmp.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}

// keepDialable copies what can be dialled, without /p2p and at most
// maxAddrsPerPeer.
func keepDialable(addrs []ma.Multiaddr) []ma.Multiaddr {
	var out []ma.Multiaddr
	for _, a := range addrs {
		if a, _ = splitPeer(a); dialable(a) && len(out) < maxAddrsPerPeer {
			out = append(out, a)
		}
	}
	return out
}

func mergeAddrs(to, more []ma.Multiaddr) []ma.Multiaddr {
	for _, a := range more {
		if len(to) < 2*maxAddrsPerPeer && !slices.ContainsFunc(to, a.Equal) {
			to = append(to, a)
		}
	}
	return to
}

func sameAddrs(x, y []ma.Multiaddr) bool {
	return slices.EqualFunc(x, y, func(a, b ma.Multiaddr) bool { return a.Equal(b) })
}
