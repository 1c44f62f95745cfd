package snapshot_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"cairn/crypto"
	"cairn/ledger/snapshot"
	"cairn/ledger/store"
)

// proofLies change the nodes of a proof, wherever they are.
var proofLies = []struct {
	name string
	tell func([][]byte) [][]byte
}{
	{"no root node", func(p [][]byte) [][]byte { return p[1:] }},
	{"no last node", func(p [][]byte) [][]byte { return p[:len(p)-1] }},
	{"no proof", func([][]byte) [][]byte { return nil }},
	{"a changed node", func(p [][]byte) [][]byte { p[0] = flip(p[0], 40); return p }},
	{"a node twice", func(p [][]byte) [][]byte { return append(p, p[0]) }},
	{"a node too many", func(p [][]byte) [][]byte { return append(p, []byte("a node")) }},
	{"an empty node", func(p [][]byte) [][]byte { return append(p, nil) }},
	{"a large node", func(p [][]byte) [][]byte { return append(p, make([]byte, snapshot.MaxProofNodeBytes+1)) }},
	{"too many nodes", func(p [][]byte) [][]byte {
		for i := range snapshot.MaxProofNodes {
			p = append(p, []byte{byte(i), 1})
		}
		return p
	}},
}

func flip(b []byte, at int) []byte {
	b = bytes.Clone(b)
	b[at%len(b)] ^= 1
	return b
}

var accountLies = []struct {
	name string
	tell func(*snapshot.AccountRange)
}{
	{"another address", func(r *snapshot.AccountRange) { r.Accounts[1].Address[3] ^= 1 }},
	{"another account", func(r *snapshot.AccountRange) { r.Accounts[1].Account = r.Accounts[2].Account }},
	{"another nonce", func(r *snapshot.AccountRange) { r.Accounts[1].Account = flip(r.Accounts[1].Account, 2) }},
	{"another balance", func(r *snapshot.AccountRange) { r.Accounts[1].Account = flip(r.Accounts[1].Account, 3) }},
	{"another storage root", func(r *snapshot.AccountRange) { r.Accounts[1].Account = flip(r.Accounts[1].Account, 20) }},
	{"another code hash", func(r *snapshot.AccountRange) {
		r.Accounts[1].Account = flip(r.Accounts[1].Account, len(r.Accounts[1].Account)-1)
	}},
	{"an empty account", func(r *snapshot.AccountRange) { r.Accounts[1].Account = nil }},
	{"a long account", func(r *snapshot.AccountRange) { r.Accounts[1].Account = make([]byte, snapshot.MaxLeafBytes+1) }},
	{"no first account", func(r *snapshot.AccountRange) { r.Accounts = r.Accounts[1:] }},
	{"an account left out", func(r *snapshot.AccountRange) { r.Accounts = slices.Delete(r.Accounts, 1, 2) }},
	{"no last account", func(r *snapshot.AccountRange) { r.Accounts = r.Accounts[:len(r.Accounts)-1] }},
	{"no account", func(r *snapshot.AccountRange) { r.Accounts = nil }},
	{"nothing at all", func(r *snapshot.AccountRange) { *r = snapshot.AccountRange{} }},
	{"an account twice", func(r *snapshot.AccountRange) { r.Accounts = slices.Insert(r.Accounts, 1, r.Accounts[1]) }},
	{"an account that is none", func(r *snapshot.AccountRange) {
		r.Accounts = append(r.Accounts, snapshot.AccountLeaf{Address: crypto.Address{1}, Account: r.Accounts[0].Account})
	}},
	{"another order", func(r *snapshot.AccountRange) { slices.Reverse(r.Accounts) }},
}

var slotLies = []struct {
	name string
	tell func(*snapshot.SlotRange)
}{
	{"another slot", func(r *snapshot.SlotRange) { r.Slots[1].Slot[3] ^= 1 }},
	{"another value", func(r *snapshot.SlotRange) { r.Slots[1].Value = append([]byte{7}, r.Slots[1].Value...)[:1] }},
	{"no value", func(r *snapshot.SlotRange) { r.Slots[1].Value = nil }},
	{"a value with a leading zero", func(r *snapshot.SlotRange) { r.Slots[1].Value = []byte{0, 1} }},
	{"a long value", func(r *snapshot.SlotRange) { r.Slots[1].Value = bytes.Repeat([]byte{1}, 33) }},
	{"no first slot", func(r *snapshot.SlotRange) { r.Slots = r.Slots[1:] }},
	{"a slot left out", func(r *snapshot.SlotRange) { r.Slots = slices.Delete(r.Slots, 1, 2) }},
	{"no last slot", func(r *snapshot.SlotRange) { r.Slots = r.Slots[:len(r.Slots)-1] }},
	{"nothing at all", func(r *snapshot.SlotRange) { *r = snapshot.SlotRange{} }},
	{"another order", func(r *snapshot.SlotRange) { slices.Reverse(r.Slots) }},
}

// TestLies: an answer that is wrong in any field is refused as the peer's fault,
// and nothing of it is stored; the honest answers then complete the join.
func TestLies(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, 300)
	height := n.grow()
	src, err := n.dir.Open(height)
	check(t, err)
	defer func() { check(t, src.Close()) }()
	fs := vfs.NewMem()
	s, err := snapshot.Create("/data/joining", n.Spec, n.target(t, height), store.Options{FS: fs})
	check(t, err)
	told := map[snapshot.Kind]int{}
	for !s.Done() {
		segs, err := s.Next(1)
		check(t, err)
		seg := segs[0]
		refused := func(name string, err error) {
			t.Helper()
			if !errors.Is(err, snapshot.ErrProof) && !errors.Is(err, snapshot.ErrAnswer) {
				t.Fatalf("%s, %s: %v, want ErrProof or ErrAnswer", seg.Kind, name, err)
			}
			told[seg.Kind]++
		}
		before := s.Progress()
		switch seg.Kind {
		case snapshot.Accounts:
			lieOfAccounts(t, src, s, seg, refused)
		case snapshot.Slots:
			lieOfSlots(t, src, s, seg, refused)
		default:
			code, err := src.Code(seg.Code)
			check(t, err)
			refused("another code", s.AddCode(seg, flip(code, 5)))
			refused("short code", s.AddCode(seg, code[1:]))
			refused("no code", s.AddCode(seg, nil))
			refused("long code", s.AddCode(seg, make([]byte, snapshot.MaxCodeBytes+1)))
		}
		if after := s.Progress(); after != before {
			t.Fatalf("%s: progress %+v after lies, %+v before", seg.Kind, after, before)
		}
		check(t, answer(src, s, seg, 900))
	}
	for _, kind := range []snapshot.Kind{snapshot.Accounts, snapshot.Slots, snapshot.Code} {
		if told[kind] == 0 {
			t.Errorf("no lie of %s was told", kind)
		}
	}
	check(t, s.Finish(context.Background()))
	st, _ := n.joined(t, fs)
	check(t, sameState(n.Store.View, st.View, n.Ledger.Head().Root))
}

func lieOfAccounts(t *testing.T, src *snapshot.Source, s *snapshot.Staging, seg snapshot.Segment, refused func(string, error)) {
	t.Helper()
	honest := func() *snapshot.AccountRange {
		r, err := src.Accounts(seg.From, seg.To, 600)
		check(t, err)
		return r
	}
	if len(honest().Accounts) < 4 {
		return // the lies need some to choose from
	}
	for _, lie := range accountLies {
		r := honest()
		lie.tell(r)
		refused(lie.name, s.AddAccounts(seg, r))
	}
	for _, lie := range proofLies {
		r := honest()
		r.Proof = lie.tell(r.Proof)
		refused(lie.name, s.AddAccounts(seg, r))
	}
	elsewhere, err := src.Accounts(crypto.Hash{0x7f, seg.From[0]}, seg.To, 600)
	check(t, err)
	if elsewhere.Accounts[0].Address == honest().Accounts[0].Address {
		return
	}
	refused("a true range of another place", s.AddAccounts(seg, elsewhere))
}

func lieOfSlots(t *testing.T, src *snapshot.Source, s *snapshot.Staging, seg snapshot.Segment, refused func(string, error)) {
	t.Helper()
	honest := func() *snapshot.SlotRange {
		r, err := src.Slots(seg.Owner, seg.From, seg.To, 300)
		check(t, err)
		return r
	}
	if len(honest().Slots) < 4 {
		return
	}
	for _, lie := range slotLies {
		r := honest()
		lie.tell(r)
		refused(lie.name, s.AddSlots(seg, r))
	}
	for _, lie := range proofLies {
		r := honest()
		r.Proof = lie.tell(r.Proof)
		refused(lie.name, s.AddSlots(seg, r))
	}
}

// TestSegments: what was not handed out is not taken.
func TestSegments(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, 50)
	height := n.grow()
	src, err := n.dir.Open(height)
	check(t, err)
	defer func() { check(t, src.Close()) }()
	s, err := snapshot.Create("/data/joining", n.Spec, n.target(t, height), store.Options{FS: vfs.NewMem()})
	check(t, err)
	defer func() { check(t, s.Close()) }()
	segs, err := s.Next(100)
	check(t, err)
	if len(segs) != 32 {
		t.Fatalf("%d segments", len(segs))
	}
	seg := segs[0]
	r, err := src.Accounts(seg.From, seg.To, 1<<20)
	check(t, err)
	other := seg
	other.From[31]++
	for name, err := range map[string]error{
		"another start":    s.AddAccounts(other, r),
		"slots":            s.AddSlots(seg, &snapshot.SlotRange{}),
		"slots of nobody":  s.AddSlots(snapshot.Segment{Kind: snapshot.Slots}, &snapshot.SlotRange{}),
		"code":             s.AddCode(seg, nil),
		"code nobody has":  s.AddCode(snapshot.Segment{Kind: snapshot.Code}, nil),
		"of no known kind": s.AddAccounts(snapshot.Segment{}, r),
	} {
		if !errors.Is(err, snapshot.ErrSegment) {
			t.Errorf("%s: %v, want ErrSegment", name, err)
		}
	}
	s.Fail(seg)
	if err := s.AddAccounts(seg, r); !errors.Is(err, snapshot.ErrSegment) {
		t.Errorf("given back: %v, want ErrSegment", err)
	}
}

// TestTargets: a target from which no database can begin is refused.
func TestTargets(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, 1)
	height := n.grow()
	for name, change := range map[string]func(*snapshot.Target){
		"no header":      func(t *snapshot.Target) { t.Header = nil },
		"block 0":        func(t *snapshot.Target) { t.Header = n.Ledger.Genesis().Header() },
		"epoch's header": func(t *snapshot.Target) { t.Epochs[0].Header = nil },
		"certificate":    func(t *snapshot.Target) { t.Epochs[0].Certificate = nil },
		"next set":       func(t *snapshot.Target) { t.Epochs[0].Next = nil },
		"members twice":  func(t *snapshot.Target) { t.Epochs[0].Next = append(t.Epochs[0].Next, t.Epochs[0].Next...) },
		"order":          func(t *snapshot.Target) { slices.Reverse(t.Epochs) },
		"epoch above":    func(t *snapshot.Target) { t.Header = t.Epochs[0].Header },
	} {
		target := n.target(t, height)
		change(&target)
		if _, err := snapshot.Create("/data/joining", n.Spec, target, store.Options{FS: vfs.NewMem()}); !errors.Is(err, snapshot.ErrTarget) {
			t.Errorf("%s: %v, want ErrTarget", name, err)
		}
	}
}
