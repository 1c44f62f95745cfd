//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"syscall"
	"time"

	"cairn/scripts/internal/testnet"
)

// giveUp is when a transfer that is not final yet ends the run: the chain stands
// still.
const giveUp = 90 * time.Second

// quietGrace is how long after the quorum's end a block may still be made that
// becomes final: a leader's clock may be ahead of the block before by this much.
const quietGrace = 2 * time.Second

// Recovery is one measured time: from a moment since when a quorum of validators
// runs and every two of them reach each other, to the first final block with a
// transfer that was sent after that moment.
type Recovery struct {
	Step   int     `json:"step"`
	Kind   Kind    `json:"kind"`
	Phase  Phase   `json:"phase"`
	Millis float64 `json:"millis"`
	Block  float64 `json:"firstBlockMillis"` // to the first final block at all
	Start  float64 `json:"startMillis"`      // before the moment: from the fault's end until a quorum answers JSON-RPC
	Stall  float64 `json:"stallMillis"`      // the longest that this program itself was kept waiting meanwhile
	CPU    float64 `json:"cpuPressure"`      // part of the time in which something waited for a processor, 0 to 1
	Disk   float64 `json:"diskPressure"`     // … for the disk
	Nodes  []int   `json:"among"`            // the quorum
}

// Phase is which moment a time is measured from.
type Phase string

// The moments: Regained is the hard one.
const (
	Regained Phase = "regained" // a quorum is connected again that was not
	Kept     Phase = "kept"     // the fault ends; a quorum was there all the time
	During   Phase = "during"   // within the fault, which leaves a quorum; the first is from its beginning
)

// step carries out one fault and everything around it. A slow recovery is noted
// in the state, anything worse is the error.
func (r *run) step(ctx context.Context, f Fault) error {
	r.say("%4d %s", f.Step, f)
	begun := time.Now()
	if err := r.begin(ctx, f); err != nil {
		return err
	}
	members, most := r.left(f)
	quorate := len(members) >= r.quorum
	since := time.Now()
	if err := r.hold(ctx, f, members, quorate, since); err != nil {
		return err
	}
	if err := r.quiet(f, most, since); err != nil {
		return err
	}
	ended, err := r.heal(ctx, f)
	if err != nil {
		return err
	}
	answering, err := r.answering(ctx)
	if err != nil {
		return err
	}
	healed := time.Now()
	phase := Kept
	if !quorate {
		phase = Regained
	}
	m := Recovery{Step: f.Step, Kind: f.Kind, Phase: phase, Start: millis(healed.Sub(ended)), Nodes: answering}
	took, err := r.measure(ctx, m, probeAfter, f.Probe, healed)
	if err != nil {
		return err
	}
	if err := r.check.back(ctx); err != nil {
		return err
	}
	back := time.Since(healed)
	r.mu.Lock()
	r.Backs = append(r.Backs, Back{Step: f.Step, Kind: f.Kind, Millis: millis(back)})
	r.mu.Unlock()
	r.probes.Wait()
	if err := r.check.after(ctx, r.rng(f.Step)); err != nil {
		return err
	}
	blocks, finals := r.rec.size()
	r.say("     %-8s fault took %s, quorum of %d runs after %s: final %s, all back %s; height %d, %d final",
		phase, short(ended.Sub(begun)), len(answering), short(healed.Sub(ended)), short(took), short(back), blocks-1, finals)
	return pause(ctx, f.Rest)
}

// begin makes the fault happen.
func (r *run) begin(ctx context.Context, f Fault) error {
	if f.Cuts != nil {
		if err := r.c.fabric.cut(ctx, f.Cuts); err != nil {
			return err
		}
	}
	switch f.Kind {
	case Kill, KillSeveral, KillAll, CrashLoop:
		return r.c.each(f.Nodes, func(v *node) error { return v.end(syscall.SIGKILL) })
	case Pause, PauseMany:
		return r.c.each(f.Nodes, func(v *node) error { return v.pause(true) })
	case Restart, RestartAll:
		return r.c.each(f.Nodes, func(v *node) error { return v.end(syscall.SIGTERM) })
	}
	return nil
}

// left is who can make blocks final while a fault lasts: a largest set that runs
// and is connected all the time, and how many of one part run at some time.
func (r *run) left(f Fault) (always []int, most int) {
	up := func(i int) bool { return r.c.nodes[i].up() }
	most = len(clique(len(r.c.nodes), up, f.Cuts))
	always = clique(len(r.c.nodes), func(i int) bool {
		return up(i) && !(f.Kind == KillInCut && slices.Contains(f.Nodes, i))
	}, f.Cuts)
	return always, most
}

// quiet checks, before a fault ends, that no block became final for which there
// was no quorum. With one-way cuts votes may still reach everybody through others.
func (r *run) quiet(f Fault, most int, since time.Time) error {
	if most >= r.quorum || f.Kind == OneWay {
		return nil
	}
	b, ok := r.rec.madeAfter(since.Add(quietGrace))
	if !ok {
		return nil
	}
	return fmt.Errorf("%w: block %d %s of %s is final on node %d, but since %s at most %d validators are connected, a quorum is %d",
		errWrong, b.Height, b.Hash, clock(time.Unix(int64(b.Time), 0)), b.Node, clock(since), most, r.quorum)
}

// hold lets the fault last. While a quorum is left, transfers must go on.
func (r *run) hold(ctx context.Context, f Fault, members []int, quorate bool, since time.Time) error {
	held, cancel := context.WithDeadline(ctx, since.Add(f.Hold))
	defer cancel()
	var wg sync.WaitGroup
	var probing error
	if quorate {
		wg.Add(1)
		go func() {
			defer wg.Done()
			probing = r.probeWhile(ctx, held, f, members, since)
		}()
	}
	err := r.within(held, f)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		err = nil
	}
	if err != nil || ctx.Err() != nil {
		wg.Wait()
		return errors.Join(err, ctx.Err())
	}
	// A probe that is on its way ends on its own; the fault's end does not wait.
	r.probes.Add(1)
	go func() {
		defer r.probes.Done()
		wg.Wait()
		if probing != nil {
			r.load.fail(probing)
		}
	}()
	return nil
}

// within is what happens between the fault and its end.
func (r *run) within(held context.Context, f Fault) error {
	if f.Kind == KillInCut {
		v := r.c.nodes[f.Nodes[0]]
		if err := pause(held, f.Down[0]); err != nil {
			return err
		}
		if err := v.end(syscall.SIGKILL); err != nil {
			return err
		}
		if err := pause(held, f.Down[1]-f.Down[0]); err != nil {
			return err
		}
		if err := r.c.start(v); err != nil {
			return err
		}
	}
	<-held.Done()
	return nil
}

// probeWhile measures transfer after transfer while a fault lasts that leaves a
// quorum.
func (r *run) probeWhile(ctx, held context.Context, f Fault, members []int, since time.Time) error {
	for k := uint64(0); held.Err() == nil; k++ {
		m := Recovery{Step: f.Step, Kind: f.Kind, Phase: During, Nodes: members}
		if _, err := r.measure(ctx, m, probeDuring, f.Probe+k, since); err != nil {
			return err
		}
		if pause(held, time.Second) != nil {
			return nil
		}
		since = time.Now()
	}
	return nil
}

// heal ends the fault, and says when it began to.
func (r *run) heal(ctx context.Context, f Fault) (ended time.Time, err error) {
	for _, life := range f.Loops {
		v := r.c.nodes[f.Nodes[0]]
		if err := r.c.start(v); err != nil {
			return ended, err
		}
		if err := pause(ctx, life); err != nil {
			return ended, err
		}
		if err := v.end(syscall.SIGKILL); err != nil {
			return ended, err
		}
	}
	ended = time.Now()
	if f.Cuts != nil {
		if err := r.c.fabric.cut(ctx, nil); err != nil {
			return ended, err
		}
	}
	return ended, r.c.each(r.c.all(), func(v *node) error { return errors.Join(v.pause(false), r.c.start(v)) })
}

// answering waits until a quorum of nodes answers JSON-RPC, that is, runs, and
// says which ones.
func (r *run) answering(ctx context.Context) ([]int, error) {
	ctx, cancel := context.WithTimeout(ctx, backLimit)
	defer cancel()
	var mu sync.Mutex
	var up []int
	enough := make(chan struct{})
	for _, v := range r.c.nodes {
		go func() {
			for ctx.Err() == nil {
				call, cancel := context.WithTimeout(ctx, time.Second)
				_, err := testnet.Head(call, v.client)
				cancel()
				if err == nil {
					break
				}
				_ = pause(ctx, 10*time.Millisecond)
			}
			mu.Lock()
			defer mu.Unlock()
			if up = append(up, v.index); len(up) == r.quorum && ctx.Err() == nil {
				close(enough)
			}
		}()
	}
	select {
	case <-enough:
		mu.Lock()
		defer mu.Unlock()
		return slices.Sorted(slices.Values(up)), nil
	case <-ctx.Done():
		return nil, fmt.Errorf("no quorum of nodes answers: %w", ctx.Err())
	}
}

// measure notes how long a fresh transfer takes from a moment on. It is sent to
// one node of the quorum, which pick draws.
func (r *run) measure(ctx context.Context, m Recovery, account int, pick uint64, since time.Time) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, giveUp)
	defer cancel()
	slow := time.AfterFunc(time.Until(since.Add(r.limit)), func() { r.tellNodes(ctx) })
	defer slow.Stop()
	at, err := r.load.probe(ctx, account, m.Nodes, pick)
	if err != nil {
		return 0, err
	}
	took := at.Sub(since)
	if first, ok := r.rec.firstAfter(since); ok {
		m.Block = millis(first.Sub(since))
	}
	m.Millis, m.Stall = millis(took), millis(r.machine.longest(since))
	m.CPU, m.Disk = r.machine.waited(since)
	if r.note(m); took > r.limit {
		r.say("     SLOW %s", r.story(m))
	}
	return took, nil
}

// story is a measured time with what it takes to look for its cause.
func (r *run) story(m Recovery) string {
	return fmt.Sprintf("%s: final after %.2fs, first block after %.2fs, quorum of nodes %s; waited for a processor %.0f %% of the time, for the disk %.0f %%, this program at once up to %.2fs; step %d: %s",
		m.Phase, m.Millis/1000, m.Block/1000, numbers(m.Nodes), 100*m.CPU, 100*m.Disk, m.Stall/1000, m.Step, draw(r.Seed, m.Step, r.Validators, r.Kinds))
}

// tellNodes prints where every node stands, for who looks for the cause.
func (r *run) tellNodes(ctx context.Context) {
	if ctx.Err() != nil {
		return
	}
	for _, v := range r.c.nodes {
		call, cancel := context.WithTimeout(ctx, time.Second)
		var s json.RawMessage
		err := v.client.CallContext(call, &s, "cairn_status")
		cancel()
		if err != nil {
			s = []byte(err.Error())
		}
		r.say("     %s: %s", v.name, s)
	}
}

// pause waits, or answers the context's error.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

func clock(t time.Time) string { return t.Format("15:04:05.000") }

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func short(d time.Duration) string { return fmt.Sprintf("%.2fs", d.Seconds()) }
