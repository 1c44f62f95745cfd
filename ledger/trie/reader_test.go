package trie

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"cairn/crypto"
)

// Readers of old and new versions while the owner makes, stores and bounds
// further ones. A reader sees the value of its version or, once the disk has
// moved on, that a node is missing. Run with -race.
func TestReadersWhileUpdating(t *testing.T) {
	t.Parallel()
	const accounts, rounds, readers = 300, 60, 4
	type version struct {
		trie   *Trie
		number uint64 // of the round whose values it has
	}
	var mu sync.RWMutex
	d := disk{}
	source := func(path []byte, _ crypto.Hash) ([]byte, error) {
		mu.RLock()
		defer mu.RUnlock()
		return d[string(path)], nil
	}
	value := func(round uint64, account int) []byte {
		b := binary.BigEndian.AppendUint64(make([]byte, 40, 64), round+1)
		return binary.BigEndian.AppendUint64(b, uint64(account))
	}
	// Every round changes every account, so that a mix of versions shows.
	round := func(v *Trie, number uint64) *Trie {
		entries := make([]Entry, accounts)
		for i := range entries {
			entries[i] = Entry{Key: benchKey(i), Value: value(number, i)}
		}
		next, set, err := v.Update(entries)
		if err != nil {
			t.Error(err)
			return v
		}
		mu.Lock()
		d.put(set)
		mu.Unlock()
		return next
	}

	first := round(New(EmptyRoot, source), 0)
	var latest atomic.Pointer[version]
	latest.Store(&version{first, 0})
	var stop atomic.Bool
	var wg sync.WaitGroup
	for id := range readers {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(id), 0))
			for !stop.Load() {
				v := latest.Load()
				if id == 0 {
					v = &version{first, 0} // whole in memory, so never missing
				}
				i := r.IntN(accounts)
				k, want := benchKey(i), value(v.number, i)
				got, err := v.trie.Get(k[:])
				var missing *MissingNodeError
				if err == nil && !bytes.Equal(got, want) || err != nil && (id == 0 || !errors.As(err, &missing)) {
					t.Errorf("round %d: %x, %v, want %x", v.number, got, err, want)
					return
				}
				proof, err := v.trie.Prove(k[:])
				if err != nil {
					if id == 0 || !errors.As(err, &missing) {
						t.Error(err)
						return
					}
					continue
				}
				if got, err := VerifyProof(v.trie.Hash(), k[:], proof); err != nil || !bytes.Equal(got, want) {
					t.Errorf("round %d: proof of %x, %v, want %x", v.number, got, err, want)
					return
				}
			}
		})
	}
	v := first
	for number := range uint64(rounds) {
		v = round(v, number+1)
		if number%3 == 1 {
			v = v.Bound(50)
		}
		latest.Store(&version{v, number + 1})
	}
	stop.Store(true)
	wg.Wait()
}
