package trie

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"

	"cairn/crypto"
)

const benchAccounts = 100_000

func benchKey(i int) crypto.Hash {
	return crypto.Keccak256(binary.BigEndian.AppendUint64(nil, uint64(i)))
}

// benchValue has the size of an account without code: 68 bytes and more.
func benchValue(r *rand.Rand) []byte { return randomBytes(r, 76) }

func benchTrie(b *testing.B, r *rand.Rand) (*Trie, disk) {
	b.Helper()
	entries := make([]Entry, benchAccounts)
	for i := range entries {
		entries[i] = Entry{Key: benchKey(i), Value: benchValue(r)}
	}
	d := disk{}
	v, set, err := New(EmptyRoot, d.source).Update(entries)
	if err != nil {
		b.Fatal(err)
	}
	d.put(set)
	return v, d
}

func (d disk) put(set *NodeSet) {
	for _, n := range set.Nodes {
		if n.Blob == nil {
			delete(d, string(n.Path))
		} else {
			d[string(n.Path)] = n.Blob
		}
	}
}

// BenchmarkUpdate is one block's changes of existing accounts: with all nodes
// in memory, with a bound of 50,000 nodes, and with none (a map as the disk).
func BenchmarkUpdate(b *testing.B) {
	for _, changes := range []int{10, 1000, 5000} {
		for _, bound := range []int{1 << 30, 50_000, 0} {
			b.Run(fmt.Sprintf("changes=%d/bound=%d", changes, bound), func(b *testing.B) {
				r := rand.New(rand.NewPCG(1, 2))
				v, d := benchTrie(b, r)
				entries := make([]Entry, changes)
				nodes := 0
				b.ReportAllocs()
				b.ResetTimer()
				for b.Loop() {
					b.StopTimer()
					for i := range entries {
						entries[i] = Entry{Key: benchKey(r.IntN(benchAccounts)), Value: benchValue(r)}
					}
					b.StartTimer()
					next, set, err := v.Update(entries)
					if err != nil {
						b.Fatal(err)
					}
					v = next.Bound(bound)
					nodes += len(set.Nodes)
					b.StopTimer()
					d.put(set)
					b.StartTimer()
				}
				b.ReportMetric(float64(nodes)/float64(b.N), "nodes/op")
			})
		}
	}
}

// BenchmarkBuild is block 0 with 100,000 accounts.
func BenchmarkBuild(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	entries := make([]Entry, benchAccounts)
	for i := range entries {
		entries[i] = Entry{Key: benchKey(i), Value: benchValue(r)}
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := New(EmptyRoot, nil).Update(entries); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkProve(b *testing.B) {
	v, d := benchTrie(b, rand.New(rand.NewPCG(1, 2)))
	for _, c := range []struct {
		name string
		v    *Trie
	}{{"memory", v}, {"source", New(v.Hash(), d.source)}} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				k := benchKey(i % benchAccounts)
				if _, err := c.v.Prove(k[:]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkVerifyProof(b *testing.B) {
	v, _ := benchTrie(b, rand.New(rand.NewPCG(1, 2)))
	k := benchKey(7)
	proof, err := v.Prove(k[:])
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := VerifyProof(v.Hash(), k[:], proof); err != nil {
			b.Fatal(err)
		}
	}
}
