package node

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	ethcrypto "github.com/ethereum/go-ethereum/crypto"
	"github.com/prometheus/client_golang/prometheus"

	"cairn/consensus"
	"cairn/crypto"
	"cairn/genesis"
	"cairn/node/rpc"
	"cairn/wallet"
)

// equivocate makes node i, which runs with its own key and connections, finalize
// two blocks of a view to come, and tell everybody.
func (c *cluster) equivocate(i int) (view uint64) {
	c.t.Helper()
	c.own(i, func(d *driver) {
		now := d.era.Load()
		view = d.core.Status().View + 2
		for b := byte(1); b <= 2; b++ {
			v := consensus.Vote{Signer: uint16(now.self), Subject: consensus.Subject{
				Kind: consensus.Finalize, Epoch: now.epoch, View: view, ParentView: view - 1, Block: crypto.Hash{b},
			}}
			v.Signature = d.key.Sign(v.Digest(d.net))
			raw := consensus.EncodeEnvelope(&consensus.Envelope{Vote: &v})
			for j, p := range now.peers {
				if j != now.self {
					d.host.SendConsensus(p, raw)
				}
			}
		}
	})
	return view
}

// ask answers the result of a JSON-RPC method of node i over HTTP.
func (c *cluster) ask(i int, method string) json.RawMessage {
	c.t.Helper()
	backend := c.nodes[i].rpcBackend()
	backend.Registerer = prometheus.NewRegistry()
	server, err := rpc.New(rpc.Config{}, backend)
	if err != nil {
		c.t.Fatal(err)
	}
	defer server.Stop()
	listener := httptest.NewServer(server)
	defer listener.Close()
	answer, err := http.Post(listener.URL, "application/json", strings.NewReader(fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":%q,"params":[]}`, method)))
	if err != nil {
		c.t.Fatal(err)
	}
	defer answer.Body.Close()
	raw, err := io.ReadAll(answer.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	var reply struct{ Result json.RawMessage }
	if err := json.Unmarshal(raw, &reply); err != nil || reply.Result == nil {
		c.t.Fatalf("%s answers %s, %v", method, raw, err)
	}
	return reply.Result
}

// equivocations is the metric of node i for a validator.
func (c *cluster) equivocations(i int, name string) (total float64) {
	c.t.Helper()
	families, err := c.nodes[i].driver.meters.registry.Gather()
	if err != nil {
		c.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "cairn_equivocations_total" {
			continue
		}
		for _, m := range f.GetMetric() {
			if m.GetLabel()[0].GetValue() == name {
				total += m.GetCounter().GetValue()
			}
		}
	}
	return total
}

// thirdParty checks evidence with nothing but its JSON, docs/protocol.md and
// go-ethereum: both digests recover the validator's address.
func thirdParty(t *testing.T, raw json.RawMessage, chainID uint64, block0 crypto.Hash) {
	t.Helper()
	var all []struct {
		Epoch     uint32
		Validator crypto.Address
		Votes     []struct {
			Kind             string
			View, ParentView uint64
			Block            crypto.Hash
			Signature        string
		}
	}
	if err := json.Unmarshal(raw, &all); err != nil || len(all) != 1 || len(all[0].Votes) != 2 {
		t.Fatalf("evidence %s, %v", raw, err)
	}
	e := all[0]
	if e.Votes[0].Kind != "finalize" || e.Votes[1].Kind != "finalize" || e.Votes[0].View != e.Votes[1].View || e.Votes[0].Block == e.Votes[1].Block {
		t.Errorf("no contradiction: %s", raw)
	}
	for _, v := range e.Votes {
		b := append([]byte("cairn-vote-v1\x00\x00\x00"), 3)
		b = binary.BigEndian.AppendUint64(b, chainID)
		b = append(b, block0[:]...)
		b = binary.BigEndian.AppendUint32(b, e.Epoch)
		b = binary.BigEndian.AppendUint64(b, v.View)
		b = binary.BigEndian.AppendUint64(b, v.ParentView)
		b = append(b, v.Block[:]...)
		sig, err := hex.DecodeString(strings.TrimPrefix(v.Signature, "0x"))
		if err != nil || len(b) != 109 {
			t.Fatalf("%d bytes signed, %v", len(b), err)
		}
		public, err := ethcrypto.SigToPub(ethcrypto.Keccak256(b), sig)
		if err != nil || ethcrypto.PubkeyToAddress(*public) != e.Validator {
			t.Errorf("a vote of %s is not signed by it: %v", e.Validator, err)
		}
	}
}

// TestEquivocation: a member that runs with its key and signs two votes is caught
// by everybody; the proof survives a restart, is over JSON-RPC and in the metrics
// and convinces somebody who trusts none of us; reported, it costs the member its
// place at the next change of the set.
func TestEquivocation(t *testing.T) {
	t.Parallel()
	c := running(t, 4, 0, func(s *genesis.Spec) { s.Rules.RemoveEquivocators = true })
	c.pay(0, 0, 0, 1, 2, 3)
	c.equivocate(3)
	for i := range 3 {
		c.await(fmt.Sprintf("node %d has evidence", i), func() bool {
			kept, err := c.nodes[i].driver.evidence()
			return err == nil && len(kept) == 1
		})
	}
	block0 := c.nodes[0].driver.net.Genesis
	before := c.ask(0, "cairn_evidence")
	thirdParty(t, before, c.spec.ChainID, block0)
	if n := c.equivocations(0, "node3"); n != 1 {
		t.Errorf("the metric is %v", n)
	}
	c.equivocate(3) // one pair for each member, kind and epoch
	c.pay(1, 1, 0, 1, 2)
	c.stop(0)
	c.start(0)
	if after := c.ask(0, "cairn_evidence"); !bytes.Equal(after, before) {
		t.Errorf("evidence after a restart: %s, before %s", after, before)
	}
	if n := c.equivocations(0, "node3"); n != 1 {
		t.Errorf("the metric after a restart is %v", n)
	}
	c.connected(2)

	kept, err := wallet.ParseEvidence(before)
	if err != nil || len(kept) != 1 {
		t.Fatalf("%v, %v", kept, err)
	}
	if err := kept[0].Check(c.spec.ChainID, block0); err != nil {
		t.Error(err)
	}
	c.submit(0, c.sign(c.keys[2], genesis.RegistryAddress, 0, 300_000, kept[0].ReportCall()), 0, 1, 2)
	address := func(i int) crypto.Address { return testKey(byte(i + 1)).Address() }
	for i := range 3 {
		if s := c.nodes[i].Status(); s.Validators != 4 {
			t.Errorf("node %d has a set of %d before the next change", i, s.Validators)
		}
	}
	for i := range 3 {
		c.call(i, "vote", []any{address(2), false}, 0, 1, 2)
	}
	c.members(2)
	c.pay(0, 3, 0, 1, 2)
	for i, role := range []string{"validator", "validator", "full", "full"} {
		c.await(fmt.Sprintf("node %d is a %s", i, role), func() bool { return c.nodes[i].Status().Role == role })
	}
	c.sameChain()
}
