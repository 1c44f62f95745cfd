// Command sim plays seeds of the consensus simulator and says which broke a rule.
package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync"
	"time"

	"cairn/consensus/sim"
)

type flags struct {
	seeds, start, seed uint64
	trace              bool
	resume, plant      string
	profile            string
	workers, failures  int
	skipKept           bool
}

func main() {
	var f flags
	flag.Uint64Var(&f.seeds, "seeds", 1000, "number of seeds to play")
	flag.Uint64Var(&f.start, "start", 1, "first seed")
	flag.Uint64Var(&f.seed, "seed", 0, "play this one seed only")
	flag.BoolVar(&f.trace, "trace", false, "with -seed: print every step")
	flag.StringVar(&f.resume, "resume", "", "file that keeps the next seed to play; an interrupted run goes on there")
	flag.StringVar(&f.plant, "plant", "", "a mistake to plant in every honest node, or all: each of them, one after another")
	flag.StringVar(&f.profile, "cpuprofile", "", "write a processor profile to this file")
	flag.IntVar(&f.workers, "workers", runtime.GOMAXPROCS(0), "seeds played at once")
	flag.IntVar(&f.failures, "failures", 10, "stop after so many failing seeds")
	flag.BoolVar(&f.skipKept, "skip-kept", false, "do not play the kept seeds first")
	flag.Parse()
	code, err := run(&f)
	if err != nil {
		fmt.Fprintln(os.Stderr, "sim:", err)
		os.Exit(2)
	}
	os.Exit(code)
}

func run(f *flags) (int, error) {
	if flag.NArg() > 0 {
		return 0, fmt.Errorf("unexpected argument %q", flag.Arg(0))
	}
	var planted sim.Mutant
	if f.plant != "" && f.plant != "all" {
		var err error
		if planted, err = sim.FindMutant(f.plant); err != nil {
			return 0, err
		}
	}
	if f.profile != "" {
		out, err := os.Create(f.profile)
		if err != nil {
			return 0, err
		}
		defer out.Close()
		if err := pprof.StartCPUProfile(out); err != nil {
			return 0, err
		}
		defer pprof.StopCPUProfile()
	}
	debug.SetGCPercent(400)
	switch {
	case f.plant == "all":
		return mutants(f), nil
	case f.seed != 0:
		return one(f, planted)
	}
	return many(f, planted)
}

func options(seed uint64, planted *sim.Mutant) sim.Options {
	return sim.Options{Seed: seed, Faults: planted.Faults, Drivers: planted.Drivers, Ignored: planted.Ignored}
}

// one plays a single seed and prints its plan, and its trace if asked.
func one(f *flags, planted sim.Mutant) (int, error) {
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	o := options(f.seed, &planted)
	if f.trace {
		o.Trace = io.Writer(out)
	}
	r := sim.Run(o)
	fmt.Fprintln(out, r.Plan)
	fmt.Fprintf(out, "trace hash %016x, recovered in %.1f ms of %.1f allowed\n", r.Hash, float64(r.Healed)/1000, float64(r.Bound)/1000)
	t := tally{count: 1, virtual: r.Virtual, views: r.Views, blocks: r.Blocks}
	if r.Violation != nil {
		fmt.Fprintln(out, r.Violation)
		t.violations = 1
	}
	fmt.Fprintln(out, t.String())
	return t.violations, nil
}

// tally sums up many runs.
type tally struct {
	count, views, blocks uint64
	virtual              int64
	violations           int
	slowest              float64 // largest part of its recovery bound that a run took
	slowestSeed          uint64
	coverage             sim.Coverage
	took                 time.Duration
}

func (t *tally) add(r *sim.Result) {
	t.count++
	t.views += r.Views
	t.blocks += r.Blocks
	t.virtual += r.Virtual
	t.coverage.Add(&r.Coverage)
	if r.Bound > 0 {
		if part := float64(r.Healed) / float64(r.Bound); part > t.slowest {
			t.slowest, t.slowestSeed = part, r.Seed
		}
	}
	if r.Violation != nil {
		t.violations++
	}
}

func (t *tally) String() string {
	rate := ""
	if t.took > 0 {
		rate = fmt.Sprintf(", %.1f s, %.0f seeds/s", t.took.Seconds(), float64(t.count)/t.took.Seconds())
	}
	return fmt.Sprintf("%d seeds, %d violations, %.0f s virtual time, %d views, %d blocks%s",
		t.count, t.violations, float64(t.virtual)/1e6, t.views, t.blocks, rate)
}

// many plays the kept seeds and then a range, on all processors.
func many(f *flags, planted sim.Mutant) (int, error) {
	next, err := readResume(f)
	if err != nil {
		return 0, err
	}
	b := &batch{flags: f, next: next, end: f.start + f.seeds, running: map[uint64]bool{}, saved: time.Now()}
	if !f.skipKept {
		if b.kept, err = sim.KeptSeeds(); err != nil {
			return 0, err
		}
	}
	began := time.Now()
	var wg sync.WaitGroup
	for range f.workers {
		wg.Go(func() {
			for seed, ranged, ok := b.take(); ok; seed, ranged, ok = b.take() {
				r := sim.Run(options(seed, &planted))
				b.done(&r, ranged)
			}
		})
	}
	wg.Wait()
	b.save()
	if b.err != nil {
		return 0, b.err
	}
	b.total.took = time.Since(began)
	if b.total.count > 0 {
		fmt.Println("seen:", b.total.coverage.String())
		fmt.Printf("slowest recovery: %.0f%% of its bound (seed %d)\n", 100*b.total.slowest, b.total.slowestSeed)
	}
	fmt.Println(b.total.String())
	return min(b.total.violations, 1), nil
}

// batch is many seeds under way.
type batch struct {
	flags *flags

	mu        sync.Mutex
	kept      []uint64 // to be played first
	next, end uint64
	running   map[uint64]bool // of the range
	total     tally
	saved     time.Time
	err       error
}

// take answers the next seed to play and whether it is one of the range.
func (b *batch) take() (seed uint64, ranged, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.err != nil || b.total.violations >= b.flags.failures:
		return 0, false, false
	case len(b.kept) > 0:
		seed, b.kept = b.kept[0], b.kept[1:]
		return seed, false, true
	case b.next >= b.end:
		return 0, false, false
	}
	seed = b.next
	b.next++
	b.running[seed] = true
	return seed, true, true
}

// done adds up a finished run and reports a broken rule.
func (b *batch) done(r *sim.Result, ranged bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.total.add(r)
	if r.Violation != nil {
		fmt.Printf("%v\n%s\nreplay: %s\n\n", r.Violation, r.Plan, replay(r.Seed, b.flags.plant))
	}
	if ranged {
		delete(b.running, r.Seed)
	}
	if time.Since(b.saved) >= time.Second {
		b.save()
	}
}

// save writes the first seed of the range that is not finished.
func (b *batch) save() {
	if b.flags.resume == "" || b.err != nil {
		return
	}
	next := b.next
	for seed := range b.running {
		next = min(next, seed)
	}
	b.saved = time.Now()
	b.err = writeResume(b.flags.resume, next)
}

func replay(seed uint64, plant string) string {
	c := sim.ReplayCommand(seed)
	if plant != "" {
		c += fmt.Sprintf(" PLANT=%q", plant)
	}
	return c
}

func readResume(f *flags) (uint64, error) {
	if f.resume == "" {
		return f.start, nil
	}
	b, err := os.ReadFile(f.resume)
	if errors.Is(err, os.ErrNotExist) {
		return f.start, nil
	}
	if err != nil {
		return 0, fmt.Errorf("resume: %w", err)
	}
	next, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("resume: %s: %w", f.resume, err)
	}
	return max(next, f.start), nil
}

func writeResume(path string, next uint64) error {
	tmp := path + ".new"
	if err := os.WriteFile(tmp, []byte(strconv.FormatUint(next, 10)+"\n"), 0o644); err != nil {
		return fmt.Errorf("resume: %w", err)
	}
	return os.Rename(tmp, path)
}
