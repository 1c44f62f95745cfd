package node

import (
	"context"
	"log/slog"
	"path/filepath"
	"testing"

	"cairn/consensus"
	"cairn/ledger/store"
)

// BenchmarkPersist is what one vote waits for: its synced record on the machine's
// disk, with the note in the witness and without.
func BenchmarkPersist(b *testing.B) {
	for _, witnessed := range []bool{false, true} {
		name := "store alone"
		if witnessed {
			name = "with witness"
		}
		b.Run(name, func(b *testing.B) {
			home := b.TempDir()
			st, err := store.Open(filepath.Join(home, DataDir), store.Options{})
			if err != nil {
				b.Fatal(err)
			}
			defer st.Close()
			d := &driver{store: st}
			if witnessed {
				d.instance = &instance{}
				d.witness = openWitness(home, slog.New(slog.DiscardHandler), func() { b.Error("the witness fails") })
				defer d.witness.close()
				ctx, stop := context.WithCancel(context.Background())
				defer stop()
				go d.witness.run(ctx)
			}
			b.ResetTimer()
			for i := range b.N {
				v := consensus.Vote{Subject: consensus.Subject{Kind: consensus.Notarize, View: uint64(i % 1000)}}
				if err := d.persist([]consensus.Record{{Vote: &v}}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkWitness is one note.
func BenchmarkWitness(b *testing.B) {
	w := openWitness(b.TempDir(), slog.New(slog.DiscardHandler), func() { b.Error("the witness fails") })
	defer w.close()
	for i := range b.N {
		w.note(instanceID{1}, uint64(i))
	}
}
