package rpc

import (
	"encoding/json"
	"reflect"

	"github.com/ethereum/go-ethereum/common/lru"
)

// A final block never changes, so neither does its JSON. finals keeps what was
// asked for last, encoded, within Limits.CacheBytes.
type finals struct {
	cache  *lru.SizeConstrainedCache[finalKey, []byte]
	most   int // bytes of one entry: a larger one would push out all others
	meters *meters
}

// finalKey names one answer about a final block. A height has one final block.
type finalKey struct {
	height uint64
	index  uint32 // of the transaction, if the answer is about one
	kind   finalKind
}

type finalKind uint8

const (
	finalBlock       finalKind = iota // with the hashes of its transactions
	finalFullBlock                    // with its transactions
	finalReceipts                     // all of a block
	finalReceipt                      // of one transaction
	finalTransaction                  // one
)

// finalOverhead is about what an entry takes besides its bytes.
const finalOverhead = 160

func newFinals(bytes int, m *meters) *finals {
	return &finals{
		cache: lru.NewSizeConstrainedCacheWithKeySize[finalKey, []byte](uint64(bytes), func(finalKey) uint64 { return finalOverhead }),
		most:  bytes / 8, meters: m,
	}
}

// answer is the JSON under key, made by build if it is not kept. A nil value of
// build is null, and is not kept.
func (f *finals) answer(key finalKey, build func() (any, error)) ([]byte, error) {
	if raw, ok := f.cache.Get(key); ok {
		f.meters.cacheHits.Inc()
		return raw, nil
	}
	f.meters.cacheMisses.Inc()
	v, err := build()
	if v == nil || err != nil {
		return nil, err
	}
	raw, err := json.Marshal(v)
	if err == nil && len(raw) <= f.most {
		f.cache.Add(key, raw)
	}
	return raw, err
}

// final is an answer about a final block that is encoded already: the JSON of a
// T, or null.
type final[T any] struct{ raw []byte }

func (f final[T]) encoded() []byte { return f.raw }

// MarshalJSON answers the JSON as it is.
func (f final[T]) MarshalJSON() ([]byte, error) {
	if f.raw == nil {
		return []byte("null"), nil
	}
	return f.raw, nil
}

// describes is the type that the OpenRPC document shows.
func (final[T]) describes() reflect.Type { return reflect.TypeFor[T]() }
