package consensus

import (
	"testing"

	"cairn/crypto"
)

// sign refuses on its own what must never be signed, whatever its callers looked at
// before: each case breaks one rule and no other.
func TestSignRefuses(t *testing.T) {
	t.Parallel()
	block, other := crypto.Hash{1}, crypto.Hash{2}
	notarize := Subject{Kind: Notarize, View: 5, ParentView: 4, Block: block}
	nullify := Subject{Kind: Nullify, View: 5}
	finalize := Subject{Kind: Finalize, View: 5, ParentView: 4, Block: block}
	with := func(s Subject, change func(*Subject)) Subject { change(&s); return s }
	// notarized holds the notarization that finalize needs.
	notarized := func(c *Core) { c.viewAt(5).certs[Notarize.index()] = &Certificate{Subject: notarize} }
	for _, x := range []struct {
		name    string
		prepare func(*Core)
		signed  []Subject // before, and not refused
		asked   Subject
		ok      bool
	}{
		{name: "notarize", asked: notarize, ok: true},
		{name: "nullify", asked: nullify, ok: true},
		{name: "finalize", prepare: notarized, asked: finalize, ok: true},
		{name: "nullify after notarize", signed: []Subject{notarize}, asked: nullify, ok: true},
		{name: "finalize after notarize", prepare: notarized, signed: []Subject{notarize}, asked: finalize, ok: true},

		{name: "another epoch", asked: with(notarize, func(s *Subject) { s.Epoch = 1 })},
		{name: "the last finalized view", prepare: func(c *Core) { c.final.view = 5 }, asked: notarize},
		{name: "below the last finalized view", prepare: func(c *Core) { c.final.view = 6 }, asked: nullify},
		{name: "a second notarize", signed: []Subject{notarize}, asked: with(notarize, func(s *Subject) { s.Block = other })},
		{name: "a second nullify", signed: []Subject{nullify}, asked: nullify},
		{name: "a second finalize", prepare: notarized, signed: []Subject{finalize}, asked: finalize},
		{name: "notarize after nullify", signed: []Subject{nullify}, asked: notarize},
		{name: "nullify after finalize", prepare: notarized, signed: []Subject{finalize}, asked: nullify},
		{name: "finalize after nullify", prepare: notarized, signed: []Subject{nullify}, asked: finalize},
		{name: "finalize without the notarization", signed: []Subject{notarize}, asked: finalize},
		{name: "finalize of another block", prepare: notarized, asked: with(finalize, func(s *Subject) { s.Block = other })},
		{name: "finalize on another parent view", prepare: notarized, asked: with(finalize, func(s *Subject) { s.ParentView = 3 })},
		{name: "halted", prepare: func(c *Core) { c.halted = "something" }, asked: notarize},
		{name: "paused", prepare: func(c *Core) { c.paused = true }, asked: notarize},
		{name: "observing", prepare: func(c *Core) { c.observing = true }, asked: notarize},
		{name: "another process with the key", prepare: func(c *Core) { c.twin = true }, asked: notarize},
		{name: "the epoch has ended", prepare: func(c *Core) { c.ended = true }, asked: notarize},
		{name: "records are being read", prepare: func(c *Core) { c.replaying = true }, asked: notarize},
		{name: "no member", prepare: func(c *Core) { c.cfg.Self = -1 }, asked: notarize},
	} {
		c, _, err := New(testConfig(4, 0), nil, 1000, 1000)
		if err != nil {
			t.Fatal(err)
		}
		if x.prepare != nil {
			x.prepare(c)
		}
		for _, s := range x.signed {
			if c.sign(s) == nil {
				t.Errorf("%s: %v is refused", x.name, s)
			}
		}
		before := len(c.eff.Persist)
		v := c.sign(x.asked)
		if (v != nil) != x.ok {
			t.Errorf("%s: signed %v, want %v", x.name, v != nil, x.ok)
		}
		if recorded := len(c.eff.Persist) > before; recorded != (v != nil) {
			t.Errorf("%s: signed %v, recorded %v", x.name, v != nil, recorded)
		}
	}
}
