package consensus

import (
	"errors"
	"testing"

	"cairn/crypto"
)

func TestQuorumTable(t *testing.T) {
	for _, c := range []struct{ n, f, q int }{
		{1, 0, 1},
		{2, 0, 2},
		{3, 0, 2},
		{4, 1, 3},
		{5, 1, 4},
		{6, 1, 4},
		{7, 2, 5},
		{8, 2, 6},
		{9, 2, 6},
		{10, 3, 7},
		{13, 4, 9},
		{100, 33, 67},
		{1024, 341, 683},
	} {
		if f, q := Faults(c.n), Quorum(c.n); f != c.f || q != c.q {
			t.Errorf("n=%d: f=%d q=%d, want f=%d q=%d", c.n, f, q, c.f, c.q)
		}
	}
}

// Any two quorums share more members than can be faulty, and the honest alone
// make a quorum.
func TestQuorumsIntersectInAnHonestMember(t *testing.T) {
	for n := 1; n <= MaxMembers; n++ {
		f, q := Faults(n), Quorum(n)
		if shared := 2*q - n; shared <= f {
			t.Errorf("n=%d: two quorums of %d share only %d, f=%d", n, q, shared, f)
		}
		if n-f < q {
			t.Errorf("n=%d: %d honest members make no quorum of %d", n, n-f, q)
		}
		// No smaller quorum is safe.
		if shared := 2*(q-1) - n; shared > f {
			t.Errorf("n=%d: a quorum of %d would do", n, q-1)
		}
	}
}

func TestLeaderRotates(t *testing.T) {
	for _, n := range []int{1, 4, 7} {
		seen := map[int]int{}
		for v := uint64(1); v <= uint64(3*n); v++ {
			seen[Leader(5, v, n)]++
		}
		for m := range n {
			if seen[m] != 3 {
				t.Errorf("n=%d: member %d leads %d of %d views", n, m, seen[m], 3*n)
			}
		}
	}
	if Leader(0, 1, 4) != 1 || Leader(1, 1, 4) != 2 || Leader(1<<32-1, 1<<64-1, 4) != 2 {
		t.Error("leader is not (view + epoch) mod n")
	}
}

func TestBitmap(t *testing.T) {
	b := NewBitmap(9)
	if len(b) != 2 {
		t.Fatalf("9 members take %d bytes", len(b))
	}
	b.Set(0)
	b.Set(8)
	if !b.Has(0) || b.Has(1) || !b.Has(8) || b.Has(-1) || b.Has(16) || b.Count() != 2 {
		t.Errorf("bitmap %08b", []byte(b))
	}
}

func TestConfigIsChecked(t *testing.T) {
	for name, spoil := range map[string]func(*Config){
		"no members":           func(c *Config) { c.Members = nil },
		"too many members":     func(c *Config) { c.Members = testMembers(MaxMembers + 1) },
		"self beyond the set":  func(c *Config) { c.Self = 4 },
		"self below -1":        func(c *Config) { c.Self = -2 },
		"member without a key": func(c *Config) { c.Sign = nil },
		"no delta":             func(c *Config) { c.Delta = 0 },
		"cap below delta":      func(c *Config) { c.DeltaMax = c.Delta - 1 },
		"negative interval":    func(c *Config) { c.MinInterval = -1 },
		"negative heartbeat":   func(c *Config) { c.Heartbeat = -1 },
		"members out of order": func(c *Config) { c.Members[0], c.Members[1] = c.Members[1], c.Members[0] },
		"member twice":         func(c *Config) { c.Members[1] = c.Members[0] },
		"root without proof":   func(c *Config) { c.Root.View = 3 },
		"root of another proof": func(c *Config) {
			c.Root.Finalization = &Certificate{Subject: Subject{Kind: Finalize, Block: crypto.Hash{1}}}
		},
	} {
		cfg := testConfig(4, 0)
		spoil(&cfg)
		if _, _, err := New(cfg, nil, 0, 0); !errors.Is(err, ErrConfig) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRecordsAreChecked(t *testing.T) {
	vote := func(signer uint16, s Subject) Record { return Record{Vote: &Vote{Subject: s, Signer: signer}} }
	a := Subject{Kind: Notarize, View: 1, Block: crypto.Hash{1}}
	b := Subject{Kind: Notarize, View: 1, Block: crypto.Hash{2}}
	for name, records := range map[string][]Record{
		"empty":             {{}},
		"of another member": {vote(1, a)},
		"two notarizes":     {vote(0, a), vote(0, b)},
		"of no kind":        {vote(0, Subject{Kind: 9, View: 1})},
	} {
		if _, _, err := New(testConfig(4, 0), records, 0, 0); !errors.Is(err, ErrRecordInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
