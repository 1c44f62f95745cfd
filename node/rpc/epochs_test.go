package rpc

import (
	"context"
	"slices"
	"testing"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/rpc"

	"cairn/crypto"
	"cairn/genesis"
	"cairn/light"
	"cairn/light/lighttest"
)

// lightServer serves a chain with real certificates. Presence answers what the
// test says of each peer id.
func lightServer(t *testing.T, c *lighttest.Chain, where func(peerID string) Presence) *rpc.Client {
	t.Helper()
	b := Backend{Ledger: c.Ledger, Signer: c.Ledger.Config().Signer(), Status: func() Status { return Status{} }}
	if where != nil {
		b.Presence = func(_ context.Context, ids []string) []Presence {
			out := make([]Presence, len(ids))
			for i, id := range ids {
				out[i] = where(id)
			}
			return out
		}
	}
	s, err := New(Config{}, b)
	check(t, err)
	t.Cleanup(s.Stop)
	client := rpc.DialInProc(s.rpc)
	t.Cleanup(client.Close)
	return client
}

// wireFinality and the like are what a client reads; fields of no use to a proof
// are left out.
type wireFinality struct {
	HeaderRLP    hexutil.Bytes   `json:"headerRlp"`
	Finalization hexutil.Bytes   `json:"finalization"`
	Descendants  []hexutil.Bytes `json:"descendants"`
}

type wireEpoch struct {
	Epoch        hexutil.Uint64      `json:"epoch"`
	HeaderRLP    hexutil.Bytes       `json:"headerRlp"`
	Finalization hexutil.Bytes       `json:"finalization"`
	Validators   []genesis.Validator `json:"validators"`
}

func nodes(list []hexutil.Bytes) [][]byte {
	out := make([][]byte, len(list))
	for i := range list {
		out[i] = list[i]
	}
	return out
}

// TestEpochs: cairn_epochs leads package light from the genesis file to the
// newest set, page by page; cairn_receiptProof and cairn_proof hold there.
func TestEpochs(t *testing.T) {
	t.Parallel()
	c := lighttest.New(t, 1)
	for i := 1; i < 4; i++ {
		c.Change(i, true)
	}
	for range maxEpochs {
		_, epoch := c.Ledger.Validators()
		c.Change(3, epoch%2 == 0)
	}
	sealed := c.Seal(c.Transfer(0), c.Transfer(1), c.Transfer(2))
	client := lightServer(t, c, nil)
	at, err := light.FromGenesis(c.Spec)
	check(t, err)
	for pages := 0; ; pages++ {
		var ends []wireEpoch
		check(t, client.Call(&ends, "cairn_epochs", hexutil.Uint64(at.Epoch)))
		if len(ends) == 0 {
			if pages != 2 {
				t.Errorf("%d pages", pages)
			}
			break
		}
		if len(ends) > maxEpochs || maxEpochs > light.MaxSteps {
			t.Errorf("%d epochs in an answer, light walks %d", len(ends), light.MaxSteps)
		}
		var steps []light.Step
		for i, e := range ends {
			if uint32(e.Epoch) != at.Epoch+uint32(i) {
				t.Errorf("epoch %d at place %d after %d", e.Epoch, i, at.Epoch)
			}
			steps = append(steps, light.Step{Header: e.HeaderRLP, Finalization: e.Finalization, Next: e.Validators})
		}
		at, err = at.Walk(steps)
		check(t, err)
	}
	if set, epoch := c.Ledger.Validators(); at.Epoch != epoch || at.Set.Hash() != set.Hash() || epoch != 3+maxEpochs {
		t.Fatalf("walked to epoch %d, the ledger is in %d", at.Epoch, epoch)
	}
	var none []wireEpoch
	check(t, client.Call(&none, "cairn_epochs", hexutil.Uint64(1<<40)))
	if none == nil || len(none) != 0 {
		t.Errorf("epochs that are far away: %v", none)
	}
	for i, tx := range sealed.Transactions() {
		var p struct {
			Index       hexutil.Uint64  `json:"transactionIndex"`
			Transaction []hexutil.Bytes `json:"transactionProof"`
			Receipt     []hexutil.Bytes `json:"receiptProof"`
			Previous    []hexutil.Bytes `json:"previousReceiptProof"`
			Finality    wireFinality    `json:"finality"`
		}
		check(t, client.Call(&p, "cairn_receiptProof", tx.Hash()))
		b, err := at.VerifyFinality(p.Finality.HeaderRLP, p.Finality.Finalization, nodes(p.Finality.Descendants))
		check(t, err)
		got, err := b.Transaction(uint64(p.Index), nodes(p.Transaction))
		if err != nil || got.Hash() != tx.Hash() || b.Hash() != sealed.Hash() {
			t.Errorf("transaction %d: %v", i, err)
		}
		r, err := b.Receipt(uint64(p.Index), nodes(p.Receipt))
		if err != nil || r.Status != 1 {
			t.Errorf("receipt %d: %v", i, err)
		}
		if i == 0 {
			continue
		}
		before, err := b.Receipt(uint64(p.Index)-1, nodes(p.Previous))
		if err != nil || r.CumulativeGasUsed-before.CumulativeGasUsed != tx.Gas() {
			t.Errorf("receipt before %d: %v", i, err)
		}
	}
}

type wireMember struct {
	Name   string           `json:"name"`
	Online *bool            `json:"online"`
	Height *hexutil.Uint64  `json:"height"`
	Synced *bool            `json:"synced"`
	Signs  *bool            `json:"signs"`
	Votes  []crypto.Address `json:"votes"`
}

// TestRegistryPresence: validators, candidates and votes, and who is where.
func TestRegistryPresence(t *testing.T) {
	t.Parallel()
	c := lighttest.New(t, 4)
	c.Register(4)
	c.Register(5)
	c.Seal(c.Call(lighttest.Key(0), "vote", lighttest.Key(4).Address(), true), c.Call(lighttest.Key(1), "vote", lighttest.Key(3).Address(), false))
	for range 2 * syncedWithin {
		c.Seal()
	}
	head := c.Ledger.HeadInfo().Height
	client := lightServer(t, c, func(id string) Presence {
		switch id {
		case lighttest.Validator(0).PeerID:
			return Presence{Connected: true, Answered: true, Height: head + 3, Own: head, Signs: true}
		case lighttest.Validator(1).PeerID:
			return Presence{Connected: true, Answered: true, Height: head - syncedWithin, Own: head, Signs: true}
		case lighttest.Validator(2).PeerID:
			return Presence{Connected: true, Answered: true, Height: head - syncedWithin - 1, Own: head}
		case lighttest.Validator(3).PeerID:
			return Presence{Connected: true}
		case lighttest.Validator(4).PeerID:
			return Presence{Connected: true, Answered: true, Height: head, Own: head} // observes
		default:
			return Presence{}
		}
	})
	var r struct {
		Epoch      hexutil.Uint64 `json:"epoch"`
		Quorum     int            `json:"quorum"`
		Validators []wireMember   `json:"validators"`
		Candidates []wireMember   `json:"candidates"`
		Registered hexutil.Uint64 `json:"candidateCount"`
	}
	check(t, client.Call(&r, "cairn_registry"))
	if r.Epoch != 0 || r.Quorum != 3 || len(r.Validators) != 4 || len(r.Candidates) != 2 || r.Registered != 2 {
		t.Fatalf("%+v", r)
	}
	for _, m := range append(r.Validators, r.Candidates...) {
		online, synced, votes := m.Name != "v5", slices.Contains([]string{"v0", "v1", "v4"}, m.Name), []crypto.Address{}
		switch m.Name {
		case "v4":
			votes = append(votes, lighttest.Key(0).Address())
		case "v3":
			votes = append(votes, lighttest.Key(1).Address())
		}
		if m.Online == nil || *m.Online != online || m.Synced == nil || *m.Synced != synced || !slices.Equal(m.Votes, votes) {
			t.Errorf("%s: %+v", m.Name, m)
		}
		if m.Signs == nil || *m.Signs != slices.Contains([]string{"v0", "v1"}, m.Name) {
			t.Errorf("%s: signs %v", m.Name, m.Signs)
		}
		if (m.Height == nil) != (m.Name == "v3" || m.Name == "v5") {
			t.Errorf("%s: height %v", m.Name, m.Height)
		}
	}
}

// TestValidatorChange: the dry run says what would be, and what the registry
// refuses.
func TestValidatorChange(t *testing.T) {
	t.Parallel()
	c := lighttest.New(t, 3)
	c.Register(3)
	c.Register(4)
	c.Seal(c.Call(lighttest.Key(0), "vote", lighttest.Key(3).Address(), true))
	mute := ""
	dead := map[string]bool{lighttest.Validator(2).PeerID: true, lighttest.Validator(4).PeerID: true}
	client := lightServer(t, c, func(id string) Presence {
		return Presence{Connected: !dead[id], Answered: !dead[id], Height: c.Ledger.HeadInfo().Height, Own: c.Ledger.HeadInfo().Height, Signs: id != mute}
	})
	type change struct {
		Quorum     int              `json:"quorum"`
		NewQuorum  int              `json:"newQuorum"`
		Votes      []crypto.Address `json:"votes"`
		Validators []wireMember     `json:"newValidators"`
		Online     *int             `json:"online"`
		Synced     *int             `json:"synced"`
		Live       *bool            `json:"live"`
	}
	for _, tc := range []struct {
		subject                       int
		add                           bool
		size, quorum, online, hasVote int
		live                          bool
	}{
		{3, true, 4, 3, 3, 1, true},
		{4, true, 4, 3, 2, 0, false},
		{2, false, 2, 2, 2, 0, true},
		{0, false, 2, 2, 1, 0, false},
	} {
		var got change
		check(t, client.Call(&got, "cairn_validatorChange", lighttest.Key(tc.subject).Address(), tc.add))
		if got.Quorum != 2 || got.NewQuorum != tc.quorum || len(got.Validators) != tc.size || len(got.Votes) != tc.hasVote ||
			*got.Online != tc.online || *got.Synced != tc.online || *got.Live != tc.live {
			t.Errorf("validator %d, add %t: %+v", tc.subject, tc.add, got)
		}
	}
	// A member that is here, in step and observes counts for no quorum.
	mute = lighttest.Validator(1).PeerID
	var muted change
	check(t, client.Call(&muted, "cairn_validatorChange", lighttest.Key(3).Address(), true))
	if *muted.Live || *muted.Synced != 3 || *muted.Online != 3 {
		t.Errorf("with one that observes: %+v", muted)
	}
	mute = ""
	if before, _ := c.Ledger.Validators(); before.Len() != 3 {
		t.Error("a dry run changed the set")
	}
	for subject, add := range map[int]bool{0: true, 9: true, 8: false} {
		err := client.Call(new(change), "cairn_validatorChange", lighttest.Key(subject).Address(), add)
		if e, ok := err.(rpc.DataError); !ok || e.ErrorData() == nil {
			t.Errorf("validator %d, add %t: %v", subject, add, err)
		} else if coded := err.(rpc.Error); coded.ErrorCode() != codeReverted {
			t.Errorf("code %d", coded.ErrorCode())
		}
	}
	blind := lightServer(t, c, nil)
	var unknown change
	check(t, blind.Call(&unknown, "cairn_validatorChange", lighttest.Key(3).Address(), true))
	if unknown.Live != nil || unknown.Online != nil || unknown.Synced != nil || unknown.Validators[0].Online != nil {
		t.Errorf("a node that cannot tell: %+v", unknown)
	}
}
