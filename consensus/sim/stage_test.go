package sim

import (
	"testing"

	"cairn/consensus"
)

// A nullify that was sent before healing and comes late stirs whom it reaches: the
// network does not count as silent while one is on its way.
func TestSilenceWaitsForWhatFlies(t *testing.T) {
	t.Parallel()
	w := newWorld(Options{Seed: 1}) // nobody runs: only what flies can break the silence
	w.healed = true
	nullify := &consensus.Vote{Subject: consensus.Subject{Kind: consensus.Nullify, Epoch: w.plan.epoch, View: 1}}
	w.network.send(0, 1, &packet{message: &consensus.Message{Vote: nullify}})
	s := &w.stage
	s.begin(w, phaseSettle)
	s.bound = 10 * w.settleTime()
	w.now += 2 * w.settleTime()
	if w.checks.silence(w, s); s.phase != phaseSettle {
		t.Fatalf("silent with %d messages on their way", w.flying)
	}
	for w.flying > 0 {
		e, ok := w.queue.pop()
		if !ok {
			t.Fatalf("%d messages on their way, and nothing is left to happen", w.flying)
		}
		if e.kind == evDeliver {
			w.handle(&e)
		}
	}
	w.now += 2 * w.settleTime()
	if w.checks.silence(w, s); s.phase != phaseQuiet {
		t.Errorf("nothing flies and nothing is sent, and the network does not count as silent: %v", w.violation)
	}
}

// Each question for a body goes to another peer, and to one that is dead only when
// the others were asked: a long walk must not wait for it at each step.
func TestBodiesAreAskedOfWhoAnswers(t *testing.T) {
	t.Parallel()
	w := newWorld(Options{Seed: 1})
	all := len(w.nodes)
	if all < 4 {
		t.Fatalf("seed 1 has %d nodes, want at least 4: take another", all)
	}
	nd := w.nodes[0]
	nd.deaf = setOf(1)
	for drawn := range all {
		x := &want{}
		for x.tries = 1; x.tries <= wantTries; x.tries++ {
			x.peer = nd.source(drawn, x)
			switch {
			case x.peer == nd.id:
				t.Errorf("drawn %d, try %d: asks itself", drawn, x.tries)
			case x.asked.has(x.peer):
				t.Errorf("drawn %d, try %d: asks n%d again", drawn, x.tries, x.peer)
			case x.peer == 1 && x.tries < wantTries:
				t.Errorf("drawn %d, try %d: asks n1, which does not answer", drawn, x.tries)
			}
			x.asked = x.asked.with(x.peer)
		}
	}
	// The last try is open to the deaf one: it may have what nobody else has.
	if peer := nd.source(1, &want{tries: wantTries}); peer != 1 {
		t.Errorf("the last try goes to n%d, not to the drawn n1", peer)
	}
	nd.accept(1, &response{head: true})
	if peer := nd.source(1, &want{tries: 1}); peer != 1 {
		t.Errorf("n1 answered and is passed over for n%d", peer)
	}
}
