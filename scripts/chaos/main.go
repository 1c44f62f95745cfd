//go:build linux

// Command chaos breaks a network of real cairnd processes, again and again, while
// transfers go on, and checks that nothing final is ever lost or contradicted and
// that finality comes back at once. docs/chaos.md says what it does and measures.
//
//	go run ./scripts/chaos -minutes 30 -seed 1 -validators 7
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"cairn/scripts/internal/testnet"
)

func main() {
	s := settings{out: os.Stdout}
	var kinds string
	flag.Float64Var(&s.minutes, "minutes", 30, "of faults, over all runs in one directory")
	flag.Uint64Var(&s.seed, "seed", 1, "of the plan")
	flag.IntVar(&s.validators, "validators", 7, "from 1 to 16")
	flag.StringVar(&s.dir, "dir", "", "keep everything in this directory; a run that is there goes on. Without it a temporary one, deleted after a success")
	flag.IntVar(&s.rate, "rate", 100, "transfers a second")
	flag.DurationVar(&s.limit, "recover", 5*time.Second, "from a connected quorum to a fresh transfer's finality, at most")
	flag.StringVar(&kinds, "faults", "", "only these, separated by commas; all: "+list())
	flag.BoolVar(&s.partitions, "partitions", true, "run the nodes in network namespaces, if this machine can, and partition them")
	flag.StringVar(&s.cairnd, "cairnd", filepath.Join(testnet.Root(), "bin", "cairnd"), "the program")
	asJSON := flag.Bool("json", false, "print the summary as JSON, and everything else to stderr")
	latency := flag.Bool("latency", false, "measure the finality of single transfers instead, with all of 4 and of 7 validators and with 1 and 2 dead")
	singles := flag.Int("singles", 100, "with -latency: transfers of one measurement")
	flag.Parse()
	if *asJSON {
		s.out = os.Stderr
	}
	if err := s.check(kinds, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	var err error
	if *latency {
		err = measureLatency(ctx, s, *singles, *asJSON)
	} else {
		err = chaos(ctx, s, *asJSON)
	}
	switch {
	case err == nil:
	case ctx.Err() != nil:
		fmt.Fprintln(os.Stderr, "chaos: interrupted")
		stop()
		os.Exit(130)
	default:
		fmt.Fprintln(os.Stderr, "chaos:", err)
		stop()
		os.Exit(1)
	}
}

func list() string {
	var names []string
	for _, k := range append(append([]Kind{}, processKinds...), partitionKinds...) {
		names = append(names, string(k))
	}
	return strings.Join(names, ",")
}

// check refuses flags that make no sense.
func (s *settings) check(kinds string, rest []string) error {
	if len(rest) > 0 {
		return fmt.Errorf("unexpected argument %q", rest[0])
	}
	if s.validators < 1 || s.validators > 16 {
		return fmt.Errorf("-validators %d: want 1 to 16", s.validators)
	}
	if s.rate < 1 || s.rate > 10_000 {
		return fmt.Errorf("-rate %d: want 1 to 10000 transfers a second", s.rate)
	}
	if s.limit <= 0 || s.minutes <= 0 {
		return errors.New("-recover and -minutes must be above 0")
	}
	for name := range strings.SplitSeq(kinds, ",") {
		if name == "" {
			continue
		}
		if !slices.Contains(strings.Split(list(), ","), name) {
			return fmt.Errorf("no fault %q: there are %s", name, list())
		}
		s.kinds = append(s.kinds, Kind(name))
	}
	if _, err := os.Stat(s.cairnd); err != nil {
		return fmt.Errorf("no program %s: run 'make build'", s.cairnd)
	}
	return nil
}

// chaos is one run: open, faults, close, summary.
func chaos(ctx context.Context, s settings, asJSON bool) (err error) {
	temporary := s.dir == ""
	if temporary {
		if s.dir, err = os.MkdirTemp("", "cairn-chaos-"); err != nil {
			return err
		}
	}
	if s.dir, err = filepath.Abs(s.dir); err != nil {
		return err
	}
	fmt.Fprintf(s.out, "chaos: seed %d, %d validators, %d transfers a second, for %g minutes; state and logs in %s\n", s.seed, s.validators, s.rate, s.minutes, s.dir)
	r, err := openRun(ctx, s)
	if err != nil {
		return err
	}
	err = r.faults(ctx)
	interrupted := err != nil && ctx.Err() != nil
	if err != nil && !interrupted {
		r.Failure = err.Error()
		r.tellNodes(context.WithoutCancel(ctx))
	}
	if closing := r.close(!interrupted); closing != nil && err == nil {
		err, r.Failure = closing, closing.Error()
	}
	if saving := r.save(); saving != nil && err == nil {
		err = saving
	}
	sum := r.summary(interrupted)
	sum.Machine = testnet.ThisMachine(context.WithoutCancel(ctx))
	if err := sum.print(s.out, asJSON); err != nil {
		return err
	}
	if err != nil {
		return err
	}
	if err := sum.tooSlow(s.limit); err != nil {
		return err
	}
	if temporary {
		return os.RemoveAll(s.dir)
	}
	return nil
}
