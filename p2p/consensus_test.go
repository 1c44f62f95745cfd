package p2p

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
)

// validators starts n connected hosts that are each other's validators.
func validators(t testing.TB, n int, change func(i int, cfg *Config)) ([]*Host, []*inbox) {
	t.Helper()
	hosts, boxes := startHosts(t, n, change)
	var ids []peer.ID
	for _, h := range hosts {
		ids = append(ids, h.ID())
	}
	for _, h := range hosts {
		h.SetValidators(ids)
	}
	for _, h := range hosts {
		eventually(t, "a stream from each other validator", func() bool {
			h.mu.Lock()
			defer h.mu.Unlock()
			return len(h.inbound) == n-1
		})
	}
	return hosts, boxes
}

func TestConsensusStreamKeepsOrder(t *testing.T) {
	t.Parallel()
	hosts, boxes := validators(t, 2, nil)
	var want []string
	for i := range 2000 {
		msg := fmt.Sprint("vote ", i)
		want = append(want, msg)
		if !hosts[0].SendConsensus(hosts[1].ID(), []byte(msg)) {
			t.Fatalf("vote %d dropped", i)
		}
	}
	big := make([]byte, hosts[0].cfg.MaxConsensusBytes)
	want = append(want, string(big))
	if !hosts[0].SendConsensus(hosts[1].ID(), big) {
		t.Fatal("largest frame dropped")
	}
	eventually(t, "all frames", func() bool { return len(boxes[1].got(&boxes[1].consensus)) == len(want) })
	if !slices.Equal(boxes[1].got(&boxes[1].consensus), want) {
		t.Fatal("frames in another order")
	}
	if got := boxes[0].got(&boxes[0].consensus); len(got) != 0 {
		t.Fatalf("the sender got %q", got)
	}
}

func TestSendConsensusRefuses(t *testing.T) {
	t.Parallel()
	hosts, _ := validators(t, 2, func(_ int, cfg *Config) { cfg.MaxConsensusBytes = 4 << 10 })
	h, to := hosts[0], hosts[1].ID()
	for name, sent := range map[string]bool{
		"empty":                h.SendConsensus(to, nil),
		"above the limit":      h.SendConsensus(to, make([]byte, 4<<10+1)),
		"to no validator":      h.SendConsensus(testID(t, 99), []byte("vote")),
		"to itself":            h.SendConsensus(h.ID(), []byte("vote")),
		"from no validator":    sentByFullNode(h, to),
		"from validator again": !backAsValidator(t, h, to),
	} {
		if sent {
			t.Errorf("%s: not dropped", name)
		}
	}
}

func sentByFullNode(h *Host, to peer.ID) bool {
	h.SetValidators([]peer.ID{to})
	return h.SendConsensus(to, []byte("vote"))
}

func backAsValidator(t *testing.T, h *Host, to peer.ID) bool {
	h.SetValidators([]peer.ID{to, h.ID()})
	return h.SendConsensus(to, []byte("vote"))
}

func TestConsensusQueueIsBounded(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t, 0)
	cfg.MaxConsensusBytes = 1 << 10
	cfg.MaxConsensusQueue = 10 << 10
	h := startHost(t, cfg, Handlers{})
	away := testID(t, 1)
	h.SetValidators([]peer.ID{h.ID(), away})
	sent := 0
	for range 20 {
		if h.SendConsensus(away, make([]byte, 1<<10)) {
			sent++
		}
	}
	if sent != 10 || h.Metrics()["consensus_queue_bytes"] != 10<<10 || h.Metrics()["consensus_dropped_total"] != 10 {
		t.Fatalf("queued %d, metrics %v", sent, h.Metrics())
	}
	h.mu.Lock()
	s := h.senders[away]
	h.mu.Unlock()
	s.mu.Lock()
	for i := range s.queue {
		s.queue[i].at = time.Now().Add(-time.Minute)
	}
	s.mu.Unlock()
	if !h.SendConsensus(away, make([]byte, 1<<10)) || h.Metrics()["consensus_queue_bytes"] != 1<<10 {
		t.Fatalf("stale frames did not make room: %v", h.Metrics())
	}
}

func TestConsensusOnlyFromValidators(t *testing.T) {
	t.Parallel()
	hosts, boxes := validators(t, 2, nil)
	full := startHost(t, testConfig(t, 7), Handlers{})
	connect(t, full, hosts[0])
	s := openStream(t, full, hosts[0], "consensus")
	s.Write(appendFrame(nil, []byte("vote of a stranger")))
	expectEnd(t, s)
	if got := boxes[0].got(&boxes[0].consensus); len(got) != 0 {
		t.Fatalf("a stranger's frame was handed over: %q", got)
	}
	eventually(t, "the refusal is counted", func() bool { return hosts[0].Metrics()["consensus_refused_total"] == 1 })
}

// TestValidatorRestarts: the same key on the same port is back within a second,
// without the others knowing more than its last address.
func TestValidatorRestarts(t *testing.T) {
	t.Parallel()
	hosts, boxes := validators(t, 3, nil)
	cfg := testConfig(t, 1)
	a, err := listenAddr(hosts[1])
	if err != nil {
		t.Fatal(err)
	}
	cfg.Listen = []string{a}
	closeHost(t, hosts[1])
	for _, i := range []int{0, 2} {
		eventually(t, "the loss is seen", func() bool { return !hasPeer(hosts[i], hosts[1].ID()) })
	}
	began := time.Now()
	var again *Host                                 // knows nobody: the others must dial it
	eventually(t, "its port is free", func() bool { // somebody's connection may have it for a while
		again, err = New(context.Background(), cfg, boxes[1].handlers())
		return err == nil
	})
	t.Cleanup(func() { closeHost(t, again) })
	again.SetValidators([]peer.ID{hosts[0].ID(), hosts[1].ID(), hosts[2].ID()})
	for _, i := range []int{0, 2} {
		eventually(t, "frames flow again", func() bool {
			return hosts[i].SendConsensus(again.ID(), []byte(fmt.Sprint("from ", i))) &&
				slices.Contains(boxes[1].got(&boxes[1].consensus), fmt.Sprint("from ", i)) &&
				again.SendConsensus(hosts[i].ID(), []byte("from 1")) &&
				slices.Contains(boxes[i].got(&boxes[i].consensus), "from 1")
		})
	}
	t.Logf("back after %s", time.Since(began))
}

func listenAddr(h *Host) (string, error) {
	addrs, err := h.host.Network().InterfaceListenAddresses()
	if err != nil {
		return "", err
	}
	return addrs[0].String(), nil
}

func TestBadConsensusFrames(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		bytes  []byte
		metric string
	}{
		"oversize":  {binary.BigEndian.AppendUint32(nil, 64<<20), "frames_oversize_total"},
		"empty":     {make([]byte, 4), "frames_malformed_total"},
		"truncated": {appendFrame(nil, []byte("vote"))[:6], "frames_malformed_total"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			hosts, boxes := validators(t, 2, nil)
			hosts[1].SetValidators([]peer.ID{hosts[0].ID()})
			s := openStream(t, hosts[1], hosts[0], "consensus")
			s.Write(c.bytes)
			s.CloseWrite()
			expectEnd(t, s)
			eventually(t, "it is counted", func() bool { return hosts[0].Metrics()[c.metric] == 1 })
			// The validator is not banned, and its own stream works again.
			hosts[1].SetValidators([]peer.ID{hosts[0].ID(), hosts[1].ID()})
			eventually(t, "frames flow", func() bool {
				hosts[1].SendConsensus(hosts[0].ID(), []byte("vote"))
				return slices.Contains(boxes[0].got(&boxes[0].consensus), "vote")
			})
		})
	}
}

func TestSlowConsensusFrame(t *testing.T) {
	t.Parallel()
	hosts, _ := validators(t, 2, func(_ int, cfg *Config) {
		cfg.waits.consensus = 50 * time.Millisecond
	})
	// Without a stream of its own, which would end the one below.
	hosts[1].SetValidators([]peer.ID{hosts[0].ID()})
	s := openStream(t, hosts[1], hosts[0], "consensus")
	before := hosts[0].Metrics()["streams_slow_total"] // on a busy machine others may be slow, too
	s.Write([]byte{0, 0})                              // and never the rest
	expectEnd(t, s)
	eventually(t, "it is counted", func() bool { return hosts[0].Metrics()["streams_slow_total"] > before })
}

// openStream opens a raw stream of one of the network's protocols.
func openStream(t testing.TB, from, to *Host, name string) network.Stream {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s, err := from.host.NewStream(ctx, to.ID(), from.protocol(name))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Reset() })
	return s
}

// expectEnd waits until the other side ends the stream.
func expectEnd(t testing.TB, s network.Stream) {
	t.Helper()
	s.SetReadDeadline(time.Now().Add(patience))
	if _, err := io.Copy(io.Discard, s); isTimeout(err) {
		t.Fatal("the stream was left open")
	}
}

func TestTwelveValidatorsOnOneAddress(t *testing.T) {
	t.Parallel()
	began := time.Now()
	hosts, boxes := validators(t, 12, func(_ int, cfg *Config) { cfg.MaxPeers, cfg.MaxPeersPerAddress = 1, 1 })
	t.Logf("connected after %s", time.Since(began))
	for i, from := range hosts {
		for j, to := range hosts {
			if i != j && !from.SendConsensus(to.ID(), []byte(fmt.Sprint(i))) {
				t.Fatalf("%d to %d: dropped", i, j)
			}
		}
	}
	for _, box := range boxes {
		eventually(t, "eleven frames", func() bool { return len(box.got(&box.consensus)) == 11 })
	}
}

// BenchmarkConsensusRoundTrip is two one-way trips of a small frame on loopback.
func BenchmarkConsensusRoundTrip(b *testing.B) {
	back := make(chan struct{}, 1)
	var hosts [2]*Host
	for i := range hosts {
		hosts[i] = startHost(b, testConfig(b, i), Handlers{Consensus: func(from peer.ID, msg []byte) {
			if i == 1 {
				hosts[1].SendConsensus(from, msg)
			} else {
				back <- struct{}{}
			}
		}})
	}
	for _, h := range hosts {
		h.SetValidators([]peer.ID{hosts[0].ID(), hosts[1].ID()})
	}
	connect(b, hosts[0], hosts[1])
	msg := make([]byte, 200)
	for b.Loop() {
		hosts[0].SendConsensus(hosts[1].ID(), msg)
		<-back
	}
}
