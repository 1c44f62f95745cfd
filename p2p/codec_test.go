package p2p

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/record"
	ma "github.com/multiformats/go-multiaddr"
)

func TestReadFrame(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 100, firstAllocation, firstAllocation + 1, 5 * firstAllocation} {
		body := bytes.Repeat([]byte{7}, n)
		got, err := readFrame(iotest.OneByteReader(bytes.NewReader(appendFrame(nil, body))), n)
		if err != nil || !bytes.Equal(got, body) {
			t.Errorf("%d bytes: %d bytes, %v", n, len(got), err)
		}
	}
	for name, c := range map[string]struct {
		in   []byte
		want error
	}{
		"nothing":          {nil, io.EOF},
		"half a length":    {[]byte{0, 0}, ErrFrameTruncated},
		"no body":          {[]byte{0, 0, 0, 3}, ErrFrameTruncated},
		"half a body":      {[]byte{0, 0, 0, 3, 1}, ErrFrameTruncated},
		"empty":            {[]byte{0, 0, 0, 0}, ErrFrameEmpty},
		"above the limit":  {appendFrame(nil, make([]byte, 11)), ErrFrameTooLarge},
		"largest promised": {[]byte{255, 255, 255, 255}, ErrFrameTooLarge},
	} {
		if _, err := readFrame(bytes.NewReader(c.in), 10); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

func TestBatch(t *testing.T) {
	t.Parallel()
	raws := [][]byte{{1}, bytes.Repeat([]byte{2}, 127), bytes.Repeat([]byte{3}, 128), bytes.Repeat([]byte{4}, 20000)}
	enc := encodeBatch(raws)
	size := 0
	for _, raw := range raws {
		size += batchItemSize(raw)
	}
	if size != len(enc) {
		t.Errorf("sizes add up to %d, batch has %d", size, len(enc))
	}
	got, err := decodeBatch(enc, 20000)
	if err != nil || !slices.EqualFunc(got, raws, bytes.Equal) {
		t.Fatalf("%d transactions, %v", len(got), err)
	}
	for name, b := range map[string][]byte{
		"empty":                nil,
		"empty transaction":    {1, 9, 0},
		"cut short":            {3, 1, 2},
		"length cut short":     {0x80},
		"length not minimal":   {0x81, 0x00, 9},
		"length above 64 bits": bytes.Repeat([]byte{0xff}, 11),
		"too large":            encodeBatch([][]byte{make([]byte, 20001)}),
		"too many":             bytes.Repeat([]byte{1, 7}, maxBatchTransactions+1),
	} {
		if _, err := decodeBatch(b, 20000); !errors.Is(err, ErrBatchMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestHello(t *testing.T) {
	t.Parallel()
	good := hello{Version: 1, Lowest: 1, Genesis: testGenesis, Instance: [8]byte{1, 2, 3}, Refusal: refusalGenesis, UserAgent: "cairnd/1", RuleSets: []string{"a", "b"}}
	enc := good.encode()
	got, err := decodeHello(enc)
	if err != nil || got.UserAgent != good.UserAgent || got.Genesis != good.Genesis || got.Instance != good.Instance || got.Refusal != good.Refusal || !slices.Equal(got.RuleSets, good.RuleSets) {
		t.Fatalf("%+v, %v", got, err)
	}
	for n := range enc {
		if _, err := decodeHello(enc[:n]); !errors.Is(err, ErrHelloMalformed) {
			t.Fatalf("first %d bytes: %v", n, err)
		}
	}
	newer := good
	newer.Version = 2
	if _, err := decodeHello(append(newer.encode(), "what we do not know"...)); err != nil {
		t.Errorf("newer version: %v", err)
	}
	for name, b := range map[string][]byte{
		"bytes follow":       append(good.encode(), 0),
		"versions reversed":  (&hello{Version: 1, Lowest: 2}).encode(),
		"unknown refusal":    (&hello{Version: 1, Lowest: 1, Refusal: refusalCount}).encode(),
		"long user agent":    (&hello{Version: 1, Lowest: 1, UserAgent: strings.Repeat("x", maxUserAgent+1)}).encode(),
		"terminal escape":    (&hello{Version: 1, Lowest: 1, UserAgent: "\x1b[2J"}).encode(),
		"not UTF-8":          (&hello{Version: 1, Lowest: 1, UserAgent: "\xff"}).encode(),
		"too many rule sets": (&hello{Version: 1, Lowest: 1, RuleSets: make([]string, maxRuleSets+1)}).encode(),
		"long rule set":      (&hello{Version: 1, Lowest: 1, RuleSets: []string{strings.Repeat("x", maxRuleSetName+1)}}).encode(),
	} {
		if _, err := decodeHello(b); !errors.Is(err, ErrHelloMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// testRecord is peer n's signed address record.
func testRecord(t testing.TB, n int, seq uint64, addrs ...string) []byte {
	t.Helper()
	return sealRecord(t, n, testID(t, n), seq, addrs...)
}

func sealRecord(t testing.TB, signer int, id peer.ID, seq uint64, addrs ...string) []byte {
	t.Helper()
	rec := &peer.PeerRecord{PeerID: id, Seq: seq}
	for _, a := range addrs {
		rec.Addrs = append(rec.Addrs, ma.StringCast(a))
	}
	env, err := record.Seal(rec, testKey(t, signer))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := env.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestAddressRecords(t *testing.T) {
	t.Parallel()
	b := newBook(testID(t, 0), func(peer.ID) bool { return false })
	keep := keepAddr(false)
	p := testID(t, 1)
	add := func(raw []byte) bool {
		t.Helper()
		_, changed, err := b.addRecord(raw, keep)
		if err != nil {
			t.Fatal(err)
		}
		return changed
	}
	if b.addHint(p, []ma.Multiaddr{ma.StringCast("/ip4/10.0.0.9/tcp/1")}); len(b.addrs(p)) != 1 {
		t.Fatal("a hint was not kept")
	}
	if !add(testRecord(t, 1, 5, "/ip4/10.0.0.1/tcp/1", "/ip4/127.0.0.1/tcp/1", "/ip4/10.0.0.1/udp/1")) {
		t.Fatal("not kept")
	}
	if got := b.addrs(p); len(got) != 1 || got[0].String() != "/ip4/10.0.0.1/tcp/1" {
		t.Fatalf("addresses %v: hint, loopback and what cannot be dialled must be gone", got)
	}
	if add(testRecord(t, 1, 4, "/ip4/10.0.0.2/tcp/1")) || add(testRecord(t, 1, 5, "/ip4/10.0.0.2/tcp/1")) {
		t.Error("an older record replaced a newer one")
	}
	if !add(testRecord(t, 1, 6, "/dns4/node.example/tcp/1")) || b.addrs(p)[0].String() != "/dns4/node.example/tcp/1" {
		t.Error("a newer record did not replace an older one")
	}
	if add(testRecord(t, 2, 1, "/ip4/127.0.0.1/tcp/1")) || len(b.addrs(testID(t, 2))) != 0 {
		t.Error("loopback of another machine was kept")
	}
	if add(testRecord(t, 0, 1, "/ip4/10.0.0.1/tcp/1")) {
		t.Error("kept addresses of its own")
	}
	for name, raw := range map[string][]byte{
		"empty":           {},
		"garbage":         []byte("garbage"),
		"too large":       make([]byte, maxPeerRecord+1),
		"another's":       sealRecord(t, 3, p, 9, "/ip4/10.0.0.66/tcp/1"),
		"signature wrong": append(testRecord(t, 1, 9, "/ip4/10.0.0.66/tcp/1"), 0),
	} {
		if _, _, err := b.addRecord(raw, keep); !errors.Is(err, ErrPeersMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestBookIsBounded(t *testing.T) {
	t.Parallel()
	kept := peer.ID("validator")
	b := newBook("self", func(p peer.ID) bool { return p == kept })
	addr := []ma.Multiaddr{ma.StringCast("/ip4/10.0.0.9/tcp/1")}
	b.addFixed(peer.AddrInfo{ID: kept, Addrs: addr})
	b.addHint("met", addr)
	b.met("met")
	for i := range 2 * maxKnownPeers {
		b.addHint(peer.ID(binary.BigEndian.AppendUint32(nil, uint32(i))), addr)
	}
	if b.len() > maxKnownPeers || b.addrs(kept) == nil || b.addrs("met") == nil {
		t.Fatalf("%d peers known; validator %v, met %v", b.len(), b.addrs(kept), b.addrs("met"))
	}
	if c := b.candidates(3, func(peer.ID) bool { return false }); len(c) != 3 || c[0] != "met" {
		t.Fatalf("candidates %v", c)
	}
	b.failed("met")
	if c := b.candidates(1, func(p peer.ID) bool { return p != "met" }); len(c) != 0 {
		t.Fatal("a peer that just failed is a candidate")
	}
}

func TestPeersResponse(t *testing.T) {
	t.Parallel()
	records := [][]byte{{1}, bytes.Repeat([]byte{2}, maxPeerRecord)}
	got, err := decodePeers(encodePeers(records))
	if err != nil || !slices.EqualFunc(got, records, bytes.Equal) {
		t.Fatalf("%d records, %v", len(got), err)
	}
	for name, b := range map[string][]byte{
		"half a length": {0, 0, 0},
		"empty record":  {0, 0, 0, 0},
		"cut short":     {0, 0, 0, 2, 1},
		"too large":     appendFrame(nil, make([]byte, maxPeerRecord+1)),
		"too many":      bytes.Repeat(appendFrame(nil, []byte{1}), maxExchangedPeers+1),
	} {
		if _, err := decodePeers(b); !errors.Is(err, ErrPeersMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzReadFrame(f *testing.F) {
	f.Add(appendFrame(nil, []byte("body")))
	f.Add([]byte{0, 0, 0, 0})
	f.Add([]byte{255, 255, 255, 255, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		body, err := readFrame(bytes.NewReader(b), 1<<20)
		if err == nil && !bytes.HasPrefix(b, appendFrame(nil, body)) {
			t.Fatal("another frame than the one read")
		}
	})
}

func FuzzDecodeBatch(f *testing.F) {
	f.Add(encodeBatch([][]byte{{1}, {2, 3}}))
	f.Add([]byte{0x80, 0x00})
	f.Fuzz(func(t *testing.T, b []byte) {
		raws, err := decodeBatch(b, 1<<17)
		if err == nil && !bytes.Equal(encodeBatch(raws), b) {
			t.Fatal("a batch has two encodings")
		}
	})
}

func FuzzDecodeHello(f *testing.F) {
	f.Add((&hello{Version: 1, Lowest: 1, Genesis: testGenesis, UserAgent: "cairnd/1", RuleSets: []string{"a"}}).encode())
	f.Add((&hello{Version: 9, Lowest: 1}).encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := decodeHello(b)
		if err == nil && !bytes.HasPrefix(b, m.encode()) {
			t.Fatal("a handshake has two encodings")
		}
	})
}

func FuzzDecodePeers(f *testing.F) {
	f.Add(encodePeers([][]byte{{1}, {2, 3}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		records, err := decodePeers(b)
		if err == nil && len(b) <= maxPeersResponse && !bytes.Equal(encodePeers(records), b) {
			t.Fatal("a list of peers has two encodings")
		}
	})
}

func FuzzAddRecord(f *testing.F) {
	f.Add(testRecord(f, 1, 1, "/ip4/10.0.0.1/tcp/1"))
	f.Add([]byte{0x0a})
	f.Fuzz(func(t *testing.T, b []byte) {
		book := newBook("self", func(peer.ID) bool { return false })
		p, changed, err := book.addRecord(b, keepAddr(false))
		if changed && (err != nil || len(book.addrs(p)) == 0) {
			t.Fatal("a record without an address changed something")
		}
	})
}

func FuzzRememberedPeers(f *testing.F) {
	f.Add([]byte(`{"genesis":"` + testGenesis.Hex() + `","peers":[{"id":"12D3KooW","addrs":["/ip4/1.2.3.4/tcp/1"],"seen":"2026-01-01T00:00:00Z"}]}`))
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		book := newBook("self", func(peer.ID) bool { return false })
		book.decode(b, testGenesis)
		if book.len() > maxRememberedPeers {
			t.Fatalf("%d peers", book.len())
		}
	})
}
