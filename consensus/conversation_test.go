package consensus

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"cairn/consensus/internal/fault"
	"cairn/crypto"
)

// TestConversations plays testdata/*.txt to one core. Each file is named after
// the rule that it shows. Rewrite the answers with
//
//	go test ./consensus -run TestConversations -rewrite
//
// and read the diff. Commands:
//
//	new n= self= [delta= delta-max= min-interval= heartbeat= epoch= skew= observer above= fault=]
//	block NAME parent= view= [height= epoch= proposer= time=]   defines a block
//	work on|off · tick +N · pause on|off · report from= view=
//	votes [from=]        lines: v1 notarize A on v0 from 3 | v1 nullify from 3
//	certificate [from=]  lines: v1 notarization A on v0 [0 1 2] | v1 nullification [0 1 2]
//	proposal v= block= on= [from= by= names=] · built v= block= [closing failed]
//	executed NAME ok|missing|no-body|invalid [closing] · durable NAME · synced v= block= on=
//	restart [forget=N epoch=]   a new core from all records but the last N
//	status · wake
//
// tick steps the core whenever it asked to be woken on the way. Each step's
// records are reported durable at once; the answers show the second step too.
func TestConversations(t *testing.T) {
	datadriven.Walk(t, "testdata/conversations", func(t *testing.T, path string) {
		t.Parallel()
		k := &conversation{t: t}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			k.d, k.out = d, strings.Builder{}
			k.run()
			if k.out.Len() == 0 {
				return "ok\n"
			}
			return k.out.String()
		})
	})
}

type conversation struct {
	t       *testing.T
	d       *datadriven.TestData
	out     strings.Builder
	core    *Core
	cfg     Config
	now     int64 // both clocks, unless skewed
	skew    int64 // wall − mono
	wakeAt  int64
	blocks  map[string]Block
	names   map[crypto.Hash]string
	records []Record
}

func (k *conversation) run() {
	switch k.d.Cmd {
	case "new":
		k.new()
	case "block":
		k.define()
	case "work":
		k.step(WorkPending{Pending: k.first() == "on"})
	case "pause":
		k.step(Pause{Paused: k.first() == "on"})
	case "report":
		k.step(ViewReported{From: k.int("from", 0), View: uint64(k.int("view", 0))})
	case "tick":
		k.tick(k.duration())
	case "votes":
		k.lines(func(line string) {
			v := k.parseVote(line)
			k.step(VoteReceived{From: k.int("from", int(v.Signer)), Vote: v})
		})
	case "certificate":
		k.lines(func(line string) {
			k.step(CertificateReceived{From: k.int("from", -1), Certificate: k.parseCertificate(line)})
		})
	case "proposal":
		k.proposal()
	case "built":
		k.step(Built{
			View: uint64(k.int("v", 0)), Block: k.blocks[k.str("block", "")],
			Closing: k.d.HasArg("closing"), Failed: k.d.HasArg("failed"),
		})
	case "executed":
		k.executed()
	case "durable":
		k.step(BlockDurable{Block: k.named(k.first())})
	case "synced":
		f := k.parseCertificate(fmt.Sprintf("v%d finalization %s on v%d [1 2 3]", k.int("v", 0), k.str("block", ""), k.int("on", 0)))
		k.step(Synced{Block: k.named(k.str("block", "")), Finalization: f})
	case "restart":
		k.records = k.records[:len(k.records)-k.int("forget", 0)]
		k.cfg.Epoch = uint32(k.int("epoch", int(k.cfg.Epoch)))
		k.start()
	case "status":
		s := k.core.Status()
		fmt.Fprintf(&k.out, "view %d leader %d final %d tip %d committed height %d%s\n",
			s.View, s.Leader, s.LastFinalizedView, s.TipView, s.CommittedHeight, flags(s))
	case "wake":
		if k.wakeAt == 0 {
			fmt.Fprintln(&k.out, "never")
		} else {
			fmt.Fprintf(&k.out, "in %d ms\n", k.wakeAt-k.now)
		}
	default:
		k.d.Fatalf(k.t, "unknown command %s", k.d.Cmd)
	}
}

// Every numbered rule of the protocol has a conversation that names it.
func TestEveryRuleHasAConversation(t *testing.T) {
	t.Parallel()
	for rule := 1; rule <= 12; rule++ {
		files, err := filepath.Glob(fmt.Sprintf("testdata/conversations/rule%02d_*.txt", rule))
		if err != nil || len(files) == 0 {
			t.Errorf("no conversation of rule %d: %v", rule, err)
		}
		for _, name := range files {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.HasPrefix(string(text), fmt.Sprintf("# Rule %d", rule)) {
				t.Errorf("%s does not say at its beginning that it is about rule %d", name, rule)
			}
		}
	}
}

func flags(s Status) string {
	out := ""
	for _, f := range []struct {
		on   bool
		name string
	}{{s.Armed, "armed"}, {s.Voting, "voting"}, {s.Observing, "observing"}, {s.Twin, "twin"}, {s.Ended, "ended"}, {s.Halted != "", "halted"}} {
		if f.on {
			out += " " + f.name
		}
	}
	return out
}

func (k *conversation) new() {
	n := k.int("n", 4)
	k.cfg = testConfig(n, k.int("self", 0))
	k.cfg.Delta, k.cfg.DeltaMax = int64(k.int("delta", 500)), int64(k.int("delta-max", 4000))
	k.cfg.MinInterval, k.cfg.Heartbeat = int64(k.int("min-interval", 0)), int64(k.int("heartbeat", 0))
	k.cfg.Epoch, k.cfg.Observer = uint32(k.int("epoch", 0)), k.d.HasArg("observer")
	k.cfg.ObserveAbove = uint64(k.int("above", 0))
	for _, f := range fault.All() {
		if f.String() == k.str("fault", "") {
			k.cfg.Fault = fault.Of(f)
		}
	}
	k.now, k.skew, k.records = 1_000_000, int64(k.int("skew", 0)), nil
	if k.blocks == nil { // defined blocks last for the whole file
		k.blocks, k.names = map[string]Block{"root": testRoot}, map[crypto.Hash]string{testRoot.Hash: "root"}
	}
	k.start()
}

func (k *conversation) start() {
	core, eff, err := New(k.cfg, k.records, k.now, k.now+k.skew)
	if err != nil {
		fmt.Fprintln(&k.out, err)
		return
	}
	k.core = core
	k.show(eff)
}

// define names a block. Its facts are right for its parent and view unless given.
func (k *conversation) define() {
	name := k.first()
	parent := k.named(k.str("parent", "root"))
	view := uint64(k.int("view", 0))
	epoch := k.int("epoch", int(k.cfg.Epoch))
	b := Block{
		Hash:      crypto.Keccak256([]byte(name)),
		Parent:    parent.Hash,
		Height:    uint64(k.int("height", int(parent.Height)+1)),
		Epoch:     uint32(epoch),
		View:      view,
		Proposer:  k.cfg.Members[k.int("proposer", Leader(k.cfg.Epoch, view, len(k.cfg.Members)))],
		Timestamp: int64(k.int("time", int(parent.Timestamp)+1000)),
	}
	k.blocks[name], k.names[b.Hash] = b, name
}

func (k *conversation) executed() {
	e := Executed{Block: k.named(k.first()).Hash, Closing: k.d.HasArg("closing"), Status: ExecutionOK}
	switch {
	case k.d.HasArg("missing"):
		e.Status = ExecutionMissing
	case k.d.HasArg("no-body"):
		e.Status = ExecutionNoBody
	case k.d.HasArg("invalid"):
		e.Status, e.Reason = ExecutionInvalid, "state root mismatch"
	}
	k.step(e)
}

// proposal delivers a proposal and then what the driver always says of it: that
// its body is durable.
func (k *conversation) proposal() {
	view := uint64(k.int("v", 0))
	b := k.named(k.str("block", ""))
	by := k.int("by", Leader(k.cfg.Epoch, view, len(k.cfg.Members)))
	v := Vote{
		Subject: Subject{
			Kind: Notarize, Epoch: k.cfg.Epoch, View: view, ParentView: uint64(k.int("on", 0)),
			Block: k.named(k.str("names", k.str("block", ""))).Hash,
		},
		Signer: uint16(by), Signature: crypto.Signature{byte(by)},
	}
	k.step(ProposalReceived{From: k.int("from", by), Proposal: Proposal{Block: b, Vote: v}})
	if !k.d.HasArg("not-durable") {
		k.step(BlockDurable{Block: b})
	}
}

func (k *conversation) tick(by int64) {
	end := k.now + by
	for k.wakeAt > 0 && k.wakeAt < end {
		at := k.wakeAt
		before := k.out.Len()
		k.now = at
		k.step(Tick{})
		if k.out.Len() > before {
			rest := k.out.String()[before:]
			text := k.out.String()[:before]
			k.out.Reset()
			fmt.Fprintf(&k.out, "%safter %d ms\n", text, by-(end-at))
			k.out.WriteString(rest)
		}
	}
	k.now = end
	k.step(Tick{})
}

func (k *conversation) step(ev Event) { k.show(k.core.Step(k.now, k.now+k.skew, ev)) }

// show prints effects in the order in which they are carried out.
func (k *conversation) show(e Effects) {
	for _, r := range e.Persist {
		fmt.Fprintf(&k.out, "persist %s\n", k.record(r))
	}
	for _, m := range e.Broadcast {
		fmt.Fprintf(&k.out, "send    %s\n", k.message(m))
	}
	for _, d := range e.SendTo {
		for _, m := range d.Messages {
			fmt.Fprintf(&k.out, "send    %s to %d\n", k.message(m), d.To)
		}
	}
	if e.Announce != AnnounceNone {
		fmt.Fprintf(&k.out, "announce to %s\n", map[Announce]string{AnnounceLeader: "the leader", AnnounceAll: "all"}[e.Announce])
	}
	if b := e.Build; b != nil {
		fmt.Fprintf(&k.out, "build   v%d on %s of v%d, time ≥ %d\n", b.View, k.name(b.Parent), b.ParentView, b.MinTimestamp)
	}
	for _, h := range e.Execute {
		fmt.Fprintf(&k.out, "execute %s\n", k.name(h))
	}
	for _, r := range e.FetchCertificates {
		fmt.Fprintf(&k.out, "fetch   certificates v%d to v%d\n", r.From, r.To)
	}
	for _, h := range e.FetchBlocks {
		fmt.Fprintf(&k.out, "fetch   block %s\n", k.name(h))
	}
	for _, c := range e.Commit {
		fmt.Fprintf(&k.out, "commit  %s by v%d\n", k.name(c.Block), c.View)
		k.cfg.Root = Root{Block: k.blocks[k.name(c.Block)], View: c.View, Finalization: &c}
	}
	for _, ev := range e.Evidence {
		fmt.Fprintf(&k.out, "evidence %s, %s\n", k.vote(&ev.A), k.vote(&ev.B))
	}
	if e.Twin != nil {
		fmt.Fprintf(&k.out, "twin    %s\n", k.vote(e.Twin))
	}
	if e.Halt != "" {
		fmt.Fprintf(&k.out, "halt    %s\n", k.shorten(e.Halt))
	}
	k.wakeAt = e.WakeAt
	k.records = append(k.records, e.Persist...)
	if len(e.Persist) > 0 && e.Halt == "" {
		k.step(Persisted{})
	}
}

// shorten puts names for hashes into a text.
func (k *conversation) shorten(text string) string {
	for h, name := range k.names {
		text = strings.ReplaceAll(text, h.String(), name)
	}
	return text
}

func (k *conversation) name(h crypto.Hash) string {
	if n, ok := k.names[h]; ok {
		return n
	}
	return h.String()
}

func (k *conversation) subject(s Subject, what string) string {
	if s.Kind == Nullify {
		return fmt.Sprintf("v%d %s", s.View, what)
	}
	return fmt.Sprintf("v%d %s %s on v%d", s.View, what, k.name(s.Block), s.ParentView)
}

func (k *conversation) vote(v *Vote) string {
	return fmt.Sprintf("%s from %d", k.subject(v.Subject, v.Kind.String()), v.Signer)
}

func (k *conversation) certificate(c *Certificate) string {
	var signers []int
	for i := range k.cfg.Members {
		if c.Signers.Has(i) {
			signers = append(signers, i)
		}
	}
	return fmt.Sprintf("%s %v", k.subject(c.Subject, c.Kind.Noun()), signers)
}

func (k *conversation) message(m Message) string {
	switch {
	case m.Vote != nil:
		return k.vote(m.Vote)
	case m.Certificate != nil:
		return k.certificate(m.Certificate)
	}
	p := m.Proposal
	out := fmt.Sprintf("v%d proposal %s on v%d", p.Vote.View, k.name(p.Block.Hash), p.Vote.ParentView)
	if p.Parent != nil {
		out += " with " + k.certificate(p.Parent)
	}
	for i := range p.Nullifications {
		out += " with " + k.certificate(&p.Nullifications[i])
	}
	return out
}

func (k *conversation) record(r Record) string {
	switch {
	case r.Vote != nil:
		return k.vote(r.Vote)
	case r.Certificate != nil:
		return k.certificate(r.Certificate)
	case r.Block != nil:
		return "block " + k.name(r.Block.Hash)
	}
	return "halt"
}

// parseVote reads "v1 notarize A on v0 from 3" or "v1 nullify from 3".
func (k *conversation) parseVote(line string) Vote {
	text, from, ok := strings.Cut(line, " from ")
	if !ok {
		k.d.Fatalf(k.t, "no signer in %q", line)
	}
	signer := k.atoi(from)
	return Vote{
		Subject: k.parseSubject(text, map[string]Kind{"notarize": Notarize, "nullify": Nullify, "finalize": Finalize}),
		Signer:  uint16(signer), Signature: crypto.Signature{byte(signer)},
	}
}

// parseCertificate reads "v1 notarization A on v0 [0 1 2]".
func (k *conversation) parseCertificate(line string) Certificate {
	text, list, ok := strings.Cut(line, " [")
	if !ok {
		k.d.Fatalf(k.t, "no signers in %q", line)
	}
	c := Certificate{
		Subject: k.parseSubject(text, map[string]Kind{"notarization": Notarize, "nullification": Nullify, "finalization": Finalize}),
		Signers: NewBitmap(len(k.cfg.Members)),
	}
	for _, f := range strings.Fields(strings.TrimSuffix(list, "]")) {
		i := k.atoi(f)
		c.Signers.Set(i)
		c.Signatures = append(c.Signatures, crypto.Signature{byte(i)})
	}
	return c
}

func (k *conversation) parseSubject(text string, kinds map[string]Kind) Subject {
	f := strings.Fields(text)
	s := Subject{Kind: kinds[f[1]], Epoch: k.cfg.Epoch, View: uint64(k.atoi(f[0][1:]))}
	if s.Kind != Nullify {
		s.Block = k.named(f[2]).Hash
		if len(f) > 4 {
			s.ParentView = uint64(k.atoi(f[4][1:]))
		}
	}
	return s
}

func (k *conversation) named(name string) Block {
	b, ok := k.blocks[name]
	if !ok {
		k.d.Fatalf(k.t, "block %q is not defined", name)
	}
	return b
}

func (k *conversation) lines(do func(string)) {
	for _, line := range strings.Split(strings.TrimSpace(k.d.Input), "\n") {
		do(strings.TrimSpace(line))
	}
}

func (k *conversation) first() string { return k.d.CmdArgs[0].Key }

func (k *conversation) duration() int64 {
	return int64(k.atoi(strings.TrimSuffix(strings.TrimPrefix(k.first(), "+"), "ms")))
}

func (k *conversation) str(key, otherwise string) string {
	for _, a := range k.d.CmdArgs {
		if a.Key == key && len(a.Vals) == 1 {
			return a.Vals[0]
		}
	}
	return otherwise
}

func (k *conversation) int(key string, otherwise int) int {
	if s := k.str(key, ""); s != "" {
		return k.atoi(strings.TrimPrefix(s, "v"))
	}
	return otherwise
}

func (k *conversation) atoi(s string) int {
	i, err := strconv.Atoi(strings.TrimSpace(s))
	if err != nil {
		k.d.Fatalf(k.t, "%q is not a number", s)
	}
	return i
}
