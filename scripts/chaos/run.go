//go:build linux

package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"time"

	crand "crypto/rand"
)

// state is what a run keeps in its directory between faults.
type state struct {
	Seed       uint64       `json:"seed"`
	Validators int          `json:"validators"`
	Kinds      []Kind       `json:"kinds"`
	ID         string       `json:"id"` // of the namespaces; "" on loopback
	Step       int          `json:"step"`
	Seconds    float64      `json:"seconds"` // of faults so far
	Runs       int          `json:"runs"`    // how often it was started
	Faults     map[Kind]int `json:"faults"`
	Recoveries []Recovery   `json:"recoveries"`
	Backs      []Back       `json:"backs"`
	Failure    string       `json:"failure,omitempty"`
}

const stateFile = "chaos.json"

// settings are the flags.
type settings struct {
	cairnd     string
	dir        string
	minutes    float64
	seed       uint64
	validators int
	rate       int
	limit      time.Duration
	kinds      []Kind // empty: all that this machine can do
	partitions bool
	out        io.Writer
}

// run is one call of the program on a state directory.
type run struct {
	settings
	state
	c       *cluster
	rec     *record
	load    *load
	check   *checker
	machine *machine
	quorum  int
	probes  sync.WaitGroup

	mu sync.Mutex // state's Recoveries, and the output
}

// openRun reads or begins the state directory and starts the network.
func openRun(ctx context.Context, s settings) (r *run, err error) {
	r = &run{settings: s, machine: &machine{}}
	if err := r.openState(); err != nil {
		return nil, err
	}
	f, err := r.openFabric(ctx)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.close(false))
		}
	}()
	if r.c, err = openCluster(ctx, s.cairnd, filepath.Join(s.dir, "net"), r.Validators, f); err != nil {
		if f != nil {
			f.close()
		}
		return nil, err
	}
	if r.rec, err = openRecord(filepath.Join(s.dir, "finals.jsonl"), accounts); err != nil {
		return nil, err
	}
	if r.load, err = newLoad(r.c, r.rec, s.rate); err != nil {
		return nil, err
	}
	r.check = &checker{c: r.c, rec: r.rec, logs: make([]int64, r.Validators)}
	r.quorum = quorum(r.Validators)
	if err := r.c.each(r.c.all(), r.c.start); err != nil {
		return nil, err
	}
	return r, r.check.back(ctx)
}

// quorum is that of docs/consensus.md.
func quorum(n int) int { return (n+(n-1)/3)/2 + 1 }

func (r *run) openState() error {
	if err := os.MkdirAll(r.dir, 0o755); err != nil {
		return err
	}
	path := filepath.Join(r.dir, stateFile)
	raw, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		r.state = state{Seed: r.seed, Validators: r.validators, Faults: map[Kind]int{}}
		return nil
	}
	if err != nil {
		return err
	}
	if err := json.Unmarshal(raw, &r.state); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if r.Failure != "" {
		return fmt.Errorf("%s ended with a failure and is kept as evidence: %s", r.dir, r.Failure)
	}
	if r.Validators != r.validators || r.Seed != r.seed {
		return fmt.Errorf("%s was begun with -seed %d -validators %d, not -seed %d -validators %d", r.dir, r.Seed, r.Validators, r.seed, r.validators)
	}
	return nil
}

// openFabric makes the namespaces if this machine can, and settles which kinds
// of fault the plan has. A resumed run keeps its plan.
func (r *run) openFabric(ctx context.Context) (*fabric, error) {
	begun := len(r.Kinds) > 0
	if begun && r.ID == "" || !r.partitions {
		if !begun {
			r.Kinds = choose(r.kinds, processKinds)
			r.say("-partitions=false: partitions are left out")
		}
		return nil, r.anyKind()
	}
	if !begun {
		id := make([]byte, 3)
		_, _ = crand.Read(id)
		r.ID = hex.EncodeToString(id)
	}
	f, err := newFabric(ctx, r.ID, r.Validators)
	if err != nil && begun {
		return nil, fmt.Errorf("the plan has partitions, and the namespaces cannot be made: %w", err)
	}
	if err != nil {
		r.say("no namespaces, so partitions are left out: %v", err)
		r.ID, r.Kinds = "", choose(r.kinds, processKinds)
		return nil, r.anyKind()
	}
	if !begun {
		r.Kinds = choose(r.kinds, append(append([]Kind{}, processKinds...), partitionKinds...))
	}
	return f, errors.Join(r.anyKind(), r.save())
}

func (r *run) anyKind() error {
	if len(r.Kinds) == 0 {
		return errors.New("no kind of fault is left")
	}
	return nil
}

// choose are the wanted kinds that are possible; none wanted: all.
func choose(wanted, possible []Kind) (out []Kind) {
	for _, p := range possible {
		if len(wanted) == 0 {
			out = append(out, p)
		}
		for _, w := range wanted {
			if w == p {
				out = append(out, p)
			}
		}
	}
	return out
}

// save writes the state so that a crash leaves the old or the new one.
func (r *run) save() error {
	r.mu.Lock()
	raw, err := json.MarshalIndent(r.state, "", " ")
	r.mu.Unlock()
	if err != nil {
		return err
	}
	path := filepath.Join(r.dir, stateFile)
	if err := os.WriteFile(path+".new", append(raw, '\n'), 0o644); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// rng is the randomness of a step's checks.
func (r *run) rng(step int) *rand.Rand { return rand.New(rand.NewPCG(r.Seed, 1<<63|uint64(step))) }

// faults carries out the plan until its minutes are over, then checks everything
// once more.
func (r *run) faults(ctx context.Context) error {
	loading, stop := context.WithCancel(ctx)
	defer stop()
	var done sync.WaitGroup
	done.Add(1)
	go func() { defer done.Done(); r.load.run(loading) }()
	done.Add(1)
	go func() { defer done.Done(); r.machine.watch(loading) }()
	defer done.Wait()
	defer stop()

	r.Runs++
	if err := r.save(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case err := <-r.load.failed:
			cancel(err)
		case err := <-r.c.died:
			cancel(err)
		case <-ctx.Done():
		}
	}()
	for r.Seconds < r.minutes*60 {
		begun := time.Now()
		f := draw(r.Seed, r.Step, r.Validators, r.Kinds)
		if err := r.step(ctx, f); err != nil {
			return because(ctx, err)
		}
		r.Step++
		r.Faults[f.Kind]++
		r.Seconds += time.Since(begun).Seconds()
		if err := r.save(); err != nil {
			return err
		}
	}
	return because(ctx, r.end(ctx))
}

// because is what ended a context, if that explains an error.
func because(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// end lets everything that was sent become final and holds all of the chain on
// all nodes against the record.
func (r *run) end(ctx context.Context) error {
	r.load.drain.Store(true)
	for deadline := time.Now().Add(backLimit); ; {
		open := r.load.open()
		if open == 0 {
			break
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%w: %d transfers that nodes took are not final %s after the last fault", errLost, open, backLimit)
		}
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
	if err := r.check.back(ctx); err != nil {
		return err
	}
	return r.check.all(ctx, r.rng(r.Step))
}

// open counts transfers that are sent and not final.
func (l *load) open() (n uint64) {
	for i := range accounts {
		n += l.next(i) - min(l.next(i), l.rec.finals(i))
	}
	return n
}

// close ends the processes and deletes the namespaces.
func (r *run) close(clean bool) error {
	if r.c == nil {
		return nil
	}
	err := r.c.close(clean)
	if r.rec != nil && r.rec.journal != nil {
		err = errors.Join(err, r.rec.journal.Close())
	}
	return err
}

func (r *run) note(m Recovery) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Recoveries = append(r.Recoveries, m)
}

func (r *run) say(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	fmt.Fprintf(r.out, clock(time.Now())+" "+format+"\n", args...)
}
