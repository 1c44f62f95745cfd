package sim

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"strings"

	"cairn/consensus"
	"cairn/crypto"
)

// trace is a running hash of all that happens and, if out is set, its text.
type trace struct {
	hash uint64
	out  io.Writer
}

func (t *trace) mix(x uint64) { t.hash = mix(t.hash ^ x) }

func (t *trace) line(w *world, nd *node, format string, args ...any) {
	if t.out == nil {
		return
	}
	who := "world"
	if nd != nil {
		who = nd.String()
	}
	fmt.Fprintf(t.out, "%10.3f %-5s %s\n", float64(w.now)/1000, who, fmt.Sprintf(format, args...))
}

func (w *world) note(nd *node, format string, args ...any) {
	if w.trace.out != nil {
		w.trace.line(w, nd, format, args...)
	}
}

// traceStep mixes an event and its effects into the hash.
func (w *world) traceStep(nd *node, ev consensus.Event, eff *consensus.Effects) {
	t := &w.trace
	t.mix(uint64(nd.id)<<32 ^ uint64(len(eff.Persist))<<24 ^ uint64(len(eff.Broadcast))<<16 ^ uint64(len(eff.SendTo))<<8 ^ uint64(len(eff.Commit)))
	for i := range eff.Persist {
		if v := eff.Persist[i].Vote; v != nil {
			t.mix(v.View<<8 ^ uint64(v.Kind) ^ binary.BigEndian.Uint64(v.Block[:8]))
		}
	}
	for i := range eff.Commit {
		t.mix(binary.BigEndian.Uint64(eff.Commit[i].Block[:8]))
	}
	if t.out == nil {
		return
	}
	t.line(w, nd, "< %s", describeEvent(ev))
	describeEffects(eff, func(s string) { t.line(w, nd, "    > %s", s) })
}

func short(h crypto.Hash) string { return hex.EncodeToString(h[:3]) }

func (b *block) String() string {
	if b == nil {
		return "no block"
	}
	return fmt.Sprintf("%s (height %d, view %d)", short(b.Hash), b.Height, b.View)
}

func describeSubject(s consensus.Subject) string {
	if s.Kind == consensus.Nullify {
		return fmt.Sprintf("v%d nullify", s.View)
	}
	return fmt.Sprintf("v%d %s %s on v%d", s.View, kindName(s.Kind), short(s.Block), s.ParentView)
}

func describeVote(v *consensus.Vote) string {
	return fmt.Sprintf("%s by %d", describeSubject(v.Subject), v.Signer)
}

func describeCertificate(c *consensus.Certificate) string {
	if c == nil {
		return "none"
	}
	var who []string
	for i := range maxNodes {
		if c.Signers.Has(i) {
			who = append(who, fmt.Sprint(i))
		}
	}
	return fmt.Sprintf("certificate %s [%s]", describeSubject(c.Subject), strings.Join(who, " "))
}

func describeProposal(p *consensus.Proposal) string {
	var nulls []string
	for i := range p.Nullifications {
		nulls = append(nulls, fmt.Sprint(p.Nullifications[i].View))
	}
	return fmt.Sprintf("proposal v%d %s height %d on v%d, parent %s, nullifications [%s]", p.Vote.View, short(p.Block.Hash),
		p.Block.Height, p.Vote.ParentView, describeCertificate(p.Parent), strings.Join(nulls, " "))
}

func describeMessage(m *consensus.Message) string {
	switch {
	case m.Vote != nil:
		return describeVote(m.Vote)
	case m.Certificate != nil:
		return describeCertificate(m.Certificate)
	case m.Proposal != nil:
		return describeProposal(m.Proposal)
	}
	return "nothing"
}

func describeEvent(ev consensus.Event) string {
	switch e := ev.(type) {
	case consensus.ProposalReceived:
		return fmt.Sprintf("from %d: %s", e.From, describeProposal(&e.Proposal))
	case consensus.VoteReceived:
		return fmt.Sprintf("from %d: %s", e.From, describeVote(&e.Vote))
	case consensus.CertificateReceived:
		return fmt.Sprintf("from %d: %s", e.From, describeCertificate(&e.Certificate))
	case consensus.Built:
		return fmt.Sprintf("built v%d %s failed=%v", e.View, short(e.Block.Hash), e.Failed)
	case consensus.Executed:
		return fmt.Sprintf("executed %s status %d %s", short(e.Block), e.Status, e.Reason)
	case consensus.BlockDurable:
		return fmt.Sprintf("durable %s height %d view %d", short(e.Block.Hash), e.Block.Height, e.Block.View)
	case consensus.Synced:
		return fmt.Sprintf("synced to height %d by %s", e.Block.Height, describeCertificate(&e.Finalization))
	}
	return fmt.Sprintf("%T%+v", ev, ev)
}

func describeRecord(r *consensus.Record) string {
	switch {
	case r.Vote != nil:
		return describeVote(r.Vote)
	case r.Certificate != nil:
		return describeCertificate(r.Certificate)
	case r.Block != nil:
		return fmt.Sprintf("block %s view %d", short(r.Block.Hash), r.Block.View)
	}
	return "halt " + r.Halt
}

func describeEffects(eff *consensus.Effects, say func(string)) {
	for i := range eff.Persist {
		say("persist " + describeRecord(&eff.Persist[i]))
	}
	for i := range eff.Broadcast {
		say("send all: " + describeMessage(&eff.Broadcast[i]))
	}
	for _, d := range eff.SendTo {
		for i := range d.Messages {
			say(fmt.Sprintf("send %d: %s", d.To, describeMessage(&d.Messages[i])))
		}
	}
	if b := eff.Build; b != nil {
		say(fmt.Sprintf("build v%d on v%d %s", b.View, b.ParentView, short(b.Parent)))
	}
	for _, h := range eff.Execute {
		say("execute " + short(h))
	}
	for _, r := range eff.FetchCertificates {
		say(fmt.Sprintf("fetch certificates %d to %d", r.From, r.To))
	}
	for _, h := range eff.FetchBlocks {
		say("fetch block " + short(h))
	}
	for i := range eff.Commit {
		say("commit " + describeCertificate(&eff.Commit[i]))
	}
	if eff.Announce != consensus.AnnounceNone {
		say(fmt.Sprintf("announce %d", eff.Announce))
	}
	for i := range eff.Evidence {
		say("evidence " + describeVote(&eff.Evidence[i].A) + " and " + describeVote(&eff.Evidence[i].B))
	}
	if eff.Halt != "" {
		say("HALT " + eff.Halt)
	}
}
