package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/klauspost/compress/zstd"

	"cairn/crypto"
	"cairn/genesis"
	"cairn/ledger"
	"cairn/ledger/chain"
	"cairn/ledger/store"
	"cairn/light/lighttest"
)

func quiet(uint64, uint64) {}

func network(c *lighttest.Chain) Chain {
	return Chain{ChainID: c.Spec.ChainID, Genesis: c.Ledger.Genesis().Hash()}
}

// grown is a chain of four epochs with blocks that are final by themselves and
// through a descendant.
func grown(t testing.TB) *lighttest.Chain {
	c := lighttest.New(t, 4)
	for i := range 3 {
		c.Change(4+i, true)
		c.Seal(c.Transfer(0), c.Transfer(1))
		b := c.Build(nil, c.Transfer(2))
		b = c.Build(b, c.Transfer(3))
		c.Finalize(c.Build(b, c.Transfer(0)))
	}
	return c
}

func exported(t testing.TB, c *lighttest.Chain, first, last uint64) []byte {
	t.Helper()
	var out bytes.Buffer
	if _, err := Export(t.Context(), &out, c.Store.View, network(c), first, last, quiet); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// joined is an empty ledger of the same network.
type joined struct {
	st   *store.Store
	live *ledger.Ledger
}

func empty(t testing.TB, spec *genesis.Spec) joined {
	t.Helper()
	st, err := store.Open("/data/joined", store.Options{FS: vfs.NewMem(), Lazy: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	live, err := ledger.Open(st, spec)
	if err != nil {
		t.Fatal(err)
	}
	return joined{st, live}
}

func (j joined) read(ctx context.Context, file []byte) error {
	r, err := NewReader(bytes.NewReader(file))
	if err != nil {
		return err
	}
	defer r.Close()
	return Apply(ctx, j.live, r.Entries(), testOptions)
}

var testOptions = Options{
	Prune:    func(ledger.Floor) store.RecordRange { return store.RecordRange{From: []byte{0}, To: []byte{1}} },
	Progress: func(uint64) {},
}

// same compares two ledgers with everything that a block leaves behind.
func same(t *testing.T, want, got *ledger.Ledger, height uint64) {
	t.Helper()
	if got.HeadInfo().Height != height {
		t.Fatalf("head %d, want %d", got.HeadInfo().Height, height)
	}
	for h := range height + 1 {
		a, err := want.HashByHeight(h)
		if err != nil {
			t.Fatal(err)
		}
		b, err := got.HashByHeight(h)
		if err != nil || a != b {
			t.Fatalf("block %d: %s, want %s: %v", h, b, a, err)
		}
		ca, err := want.Certificate(h)
		if err != nil {
			t.Fatal(err)
		}
		cb, err := got.Certificate(h)
		if err != nil || !bytes.Equal(ca, cb) {
			t.Fatalf("certificate %d: %x, want %x: %v", h, cb, ca, err)
		}
		ra, err := want.Receipts(h)
		if err != nil {
			t.Fatal(err)
		}
		rb, err := got.Receipts(h)
		if err != nil || chain.ReceiptsRoot(ra) != chain.ReceiptsRoot(rb) {
			t.Fatalf("receipts %d: %v", h, err)
		}
	}
}

// TestExportImport: a whole chain over several epochs, in one file and in two,
// and once more over what is there.
func TestExportImport(t *testing.T) {
	t.Parallel()
	c := grown(t)
	head := c.Ledger.HeadInfo()
	whole := exported(t, c, 0, 0)
	j := empty(t, c.Spec)
	for range 2 {
		if err := j.read(t.Context(), whole); err != nil {
			t.Fatal(err)
		}
		same(t, c.Ledger, j.live, head.Height)
	}
	if got := j.live.HeadInfo(); got != head {
		t.Errorf("head %+v, want %+v", got, head)
	}

	parts := empty(t, c.Spec)
	first, second := exported(t, c, 1, 5), exported(t, c, 4, 0)
	if err := parts.read(t.Context(), second); !errors.Is(err, ErrGap) {
		t.Errorf("the second part first: %v", err)
	}
	for _, part := range [][]byte{first, second} {
		if err := parts.read(t.Context(), part); err != nil {
			t.Fatal(err)
		}
	}
	same(t, c.Ledger, parts.live, head.Height)
}

// TestRange: what can be exported, and that the last block is proven.
func TestRange(t *testing.T) {
	t.Parallel()
	c := grown(t)
	head := c.Ledger.HeadInfo().Height
	unproven := uint64(0)
	for h := uint64(1); h <= head; h++ {
		cert, err := c.Ledger.Certificate(h)
		if err != nil {
			t.Fatal(err)
		}
		if cert == nil {
			unproven = h
		}
	}
	if unproven == 0 {
		t.Fatal("every block has a certificate")
	}
	for _, tc := range []struct {
		first, last         uint64
		wantFirst, wantLast uint64
		want                error
	}{
		{0, 0, 1, head, nil},
		{3, 0, 3, head, nil},
		{2, unproven, 2, unproven + 1, nil},
		{head + 1, 0, 0, 0, ErrRange},
		{1, head + 1, 0, 0, ErrRange},
		{4, 3, 0, 0, ErrRange},
	} {
		got, err := Export(t.Context(), io.Discard, c.Store.View, network(c), tc.first, tc.last, quiet)
		if !errors.Is(err, tc.want) || err == nil && (got.First != tc.wantFirst || got.Last != tc.wantLast) {
			t.Errorf("%d to %d: %+v, %v", tc.first, tc.last, got, err)
		}
	}
	if err := c.Ledger.RaiseBounds(store.Bounds{Base: 4, FirstBody: 5}); err != nil {
		t.Fatal(err)
	}
	if got, err := Export(t.Context(), io.Discard, c.Store.View, network(c), 0, 0, quiet); err != nil || got.First != 5 || got.Last != head {
		t.Errorf("all of a pruned database: %+v, %v", got, err)
	}
	empty := lighttest.New(t, 1)
	if _, err := Export(t.Context(), io.Discard, empty.Store.View, network(empty), 0, 0, quiet); !errors.Is(err, ErrRange) {
		t.Errorf("a chain of block 0: %v", err)
	}
}

// TestCut: of a file that was cut anywhere, what is whole and proven is imported,
// the error says that the end is missing, and the whole file goes on from there.
func TestCut(t *testing.T) {
	t.Parallel()
	c := grown(t)
	whole := exported(t, c, 0, 0)
	kept := uint64(0)
	for part := range 16 {
		j := empty(t, c.Spec)
		cut := whole[:len(whole)*part/16]
		err := j.read(t.Context(), cut)
		if !errors.Is(err, ErrCut) && !(part == 0 && errors.Is(err, ErrFormat)) {
			t.Fatalf("%d of %d bytes: %v", len(cut), len(whole), err)
		}
		kept += j.live.HeadInfo().Height
		if err := j.read(t.Context(), whole); err != nil {
			t.Fatal(err)
		}
		same(t, c.Ledger, j.live, c.Ledger.HeadInfo().Height)
	}
	// The stream is small: zstd gives it out in one block, at its end. Cut what
	// was compressed instead.
	plain := inflate(t, whole)
	j := empty(t, c.Spec)
	if err := j.read(t.Context(), deflate(t, plain[:len(plain)*2/3])); !errors.Is(err, ErrCut) {
		t.Fatal(err)
	}
	if h := j.live.HeadInfo().Height; h == 0 || h >= c.Ledger.HeadInfo().Height {
		t.Errorf("%d blocks of two thirds", h)
	}
}

func inflate(t testing.TB, b []byte) []byte {
	t.Helper()
	d, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	out, err := d.DecodeAll(b, nil)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func deflate(t testing.TB, b []byte) []byte {
	t.Helper()
	e, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	return e.EncodeAll(b, nil)
}

// TestAltered: every byte of the compressed file and of what is in it, changed:
// never an import of another chain, and nearly always an error.
func TestAltered(t *testing.T) {
	t.Parallel()
	c := lighttest.New(t, 4)
	c.Seal(c.Transfer(0))
	c.Change(4, true)
	whole := exported(t, c, 0, 0)
	plain := inflate(t, whole)
	head := c.Ledger.HeadInfo()
	check := func(name string, file []byte) {
		t.Helper()
		j := empty(t, c.Spec)
		err := j.read(t.Context(), file)
		var invalid *chain.InvalidError
		known := slices.ContainsFunc([]error{ErrFormat, ErrCut, ErrAltered, ErrGap, ErrConflict, ErrUnproven}, func(k error) bool { return errors.Is(err, k) })
		harmless := err == nil && bytes.Equal(inflate(t, file), plain) // a bit that zstd does not use
		if !known && !errors.As(err, &invalid) && !harmless {
			t.Fatalf("%s: %v", name, err)
		}
		if now := j.live.HeadInfo(); now.Height > head.Height {
			t.Fatalf("%s: head %+v", name, now)
		}
		for h := range j.live.HeadInfo().Height + 1 {
			a, err := c.Ledger.HashByHeight(h)
			if err != nil {
				t.Fatal(err)
			}
			if b, err := j.live.HashByHeight(h); err != nil || a != b {
				t.Fatalf("%s: block %d is %s, want %s: %v", name, h, b, a, err)
			}
		}
	}
	flip := func(b []byte, at int) []byte {
		b = bytes.Clone(b)
		b[at] ^= 1 << (at % 8)
		return b
	}
	for at := 0; at < len(whole); at += 29 {
		// The frame header has bits that mean nothing to a reader.
		if at < 8 {
			continue
		}
		check(fmt.Sprintf("byte %d of the file", at), flip(whole, at))
	}
	for at := 0; at < len(plain); at += 17 {
		// Who proposes a network's id is not signed in the first record: the reader
		// of it compares.
		if at >= len(magic)+1 && at < len(magic)+6+40 {
			continue
		}
		check(fmt.Sprintf("byte %d of the stream", at), deflate(t, flip(plain, at)))
	}
	check("something after the end", deflate(t, append(bytes.Clone(plain), 0)))
	check("twice", deflate(t, append(bytes.Clone(plain), plain...)))
}

// TestUnproven: blocks without the certificate of a quorum are not imported,
// whatever the file says.
func TestUnproven(t *testing.T) {
	t.Parallel()
	c := grown(t)
	var all []*Entry
	for e, err := range Stored(c.Store.View, 1, c.Ledger.HeadInfo().Height) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
	}
	// A rival of block 1 that no validator has seen.
	rival := lighttest.New(t, 4)
	other := rival.Seal(rival.Transfer(3))
	closing := 0
	for i, e := range all {
		b, err := chain.DecodeBlock(e.Block, &c.Spec.Rules)
		if err != nil {
			t.Fatal(err)
		}
		if chain.IsClosing(b.Header()) {
			closing = i
			break
		}
	}
	change := func(f func(all []*Entry) []*Entry) []*Entry {
		out := make([]*Entry, len(all))
		for i, e := range all {
			copied := *e
			out[i] = &copied
		}
		return f(out)
	}
	for name, tc := range map[string]struct {
		entries []*Entry
		want    error
		kept    int
	}{
		"no certificates": {change(func(all []*Entry) []*Entry {
			for _, e := range all {
				e.Certificate = nil
			}
			return all
		}), ErrUnproven, 0},
		"the last has none": {change(func(all []*Entry) []*Entry {
			all[len(all)-1].Certificate = nil
			return all
		}), ErrUnproven, len(all) - 3},
		"one of another block": {change(func(all []*Entry) []*Entry {
			all[0].Certificate = all[1].Certificate
			return all
		}), ErrUnproven, 0},
		"garbage": {change(func(all []*Entry) []*Entry {
			all[1].Certificate = []byte{1, 2, 3}
			return all
		}), ErrUnproven, 1},
		"closing block without": {change(func(all []*Entry) []*Entry {
			all[closing].Certificate = nil
			return all
		}), ErrUnproven, closing},
		"a block missing": {change(func(all []*Entry) []*Entry { return slices.Delete(all, 3, 4) }), ErrAltered, 3},
		"a rival": {change(func(all []*Entry) []*Entry {
			all[0].Block = chain.EncodeBlock(other)
			return all
		}), ErrUnproven, 0},
		"a rival below": {change(func(all []*Entry) []*Entry {
			all[0].Block, all[0].Certificate = chain.EncodeBlock(other), nil
			return all
		}), ErrConflict, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			j := empty(t, c.Spec)
			err := Apply(t.Context(), j.live, seq(tc.entries), testOptions)
			if !errors.Is(err, tc.want) {
				t.Errorf("%v, want %v", err, tc.want)
			}
			same(t, c.Ledger, j.live, uint64(tc.kept))
			if n := j.live.Layers(); err != nil && n > 0 {
				t.Errorf("%d blocks were executed that nobody proved", n)
			}
		})
	}
	// Over a chain that has another block: neither is changed.
	before := rival.Ledger.HeadInfo()
	err := Apply(t.Context(), rival.Ledger, seq(all), testOptions)
	if !errors.Is(err, ErrConflict) || rival.Ledger.HeadInfo() != before {
		t.Errorf("%v, head %+v", err, rival.Ledger.HeadInfo())
	}
}

func seq(all []*Entry) func(func(*Entry, error) bool) {
	return func(yield func(*Entry, error) bool) {
		for _, e := range all {
			if !yield(e, nil) {
				return
			}
		}
	}
}

// TestInterrupted: what was interrupted goes on.
func TestInterrupted(t *testing.T) {
	t.Parallel()
	c := grown(t)
	whole := exported(t, c, 0, 0)
	j := empty(t, c.Spec)
	ctx, cancel := context.WithCancel(t.Context())
	r, err := NewReader(bytes.NewReader(whole))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	o := testOptions
	o.Progress = func(height uint64) {
		if height >= 3 {
			cancel()
		}
	}
	stopping := func(yield func(*Entry, error) bool) {
		for e, err := range r.Entries() {
			if r.count > 8 {
				<-ctx.Done() // the blocks before have become final
				yield(nil, ctx.Err())
				return
			}
			if !yield(e, err) {
				return
			}
		}
	}
	if err := Apply(ctx, j.live, stopping, o); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if h := j.live.HeadInfo().Height; h < 3 || h >= c.Ledger.HeadInfo().Height {
		t.Errorf("head %d", h)
	}
	if err := j.read(t.Context(), whole); err != nil {
		t.Fatal(err)
	}
	same(t, c.Ledger, j.live, c.Ledger.HeadInfo().Height)
}

// FuzzReader: no stream makes the reader fail in another way than it says, or
// take more memory than what came.
func FuzzReader(f *testing.F) {
	var out bytes.Buffer
	w, err := newWriter(&out, Begin{ChainID: 1, First: 1, Last: 2})
	for i := byte(0); i < 2 && err == nil; i++ {
		block := []byte{0xc4, 0xc1, i, 0xc0, 0xc0} // [[i], [], []]
		var hash crypto.Hash
		if hash, err = blockHash(block); err == nil {
			err = w.add(hash, Entry{Block: block, Certificate: []byte{i}})
		}
	}
	if err = errors.Join(err, w.close()); err != nil {
		f.Fatal(err)
	}
	plain := inflate(f, out.Bytes())
	f.Add(plain)
	f.Add(plain[:len(plain)/2])
	f.Add([]byte(magic + "\x01\x01\x00\x00\x00\x02\xc1\x80"))
	f.Fuzz(func(t *testing.T, plain []byte) {
		r, err := newReader(bytes.NewReader(plain), func() {})
		if err == nil {
			defer r.Close()
			for err == nil {
				var e *Entry
				if e, err = r.Next(); err == nil {
					if _, err := blockHash(e.Block); err != nil {
						t.Fatal(err)
					}
				}
			}
			if errors.Is(err, io.EOF) {
				return
			}
		}
		if !errors.Is(err, ErrFormat) && !errors.Is(err, ErrCut) && !errors.Is(err, ErrAltered) {
			t.Fatal(err)
		}
	})
}

// FuzzCompressed: the same of the bytes on disk.
func FuzzCompressed(f *testing.F) {
	f.Add([]byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x00, 0x01, 0x00, 0x00})
	f.Add(deflate(f, []byte(magic+"\x01\x01\x00\x00\x00\x02\xc1\x80")))
	f.Add([]byte("cairn blocks"))
	f.Fuzz(func(t *testing.T, file []byte) {
		r, err := NewReader(bytes.NewReader(file))
		if err == nil {
			defer r.Close()
			for err == nil {
				_, err = r.Next()
			}
		}
		if !errors.Is(err, io.EOF) && !errors.Is(err, ErrFormat) && !errors.Is(err, ErrCut) && !errors.Is(err, ErrAltered) {
			t.Fatal(err)
		}
	})
}
