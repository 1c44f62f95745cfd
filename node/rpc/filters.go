package rpc

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"strings"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/rpc"

	"cairn/crypto"
)

// filterKind says what a filter reports.
type filterKind int

const (
	filterBlocks filterKind = iota
	filterPending
	filterLogs
)

// filter remembers how far its owner has read: it costs no more, however much
// happens.
type filter struct {
	kind  filterKind
	query logQuery
	next  uint64 // height, or number of the event, that was not reported yet
	used  time.Time
	host  string
}

// filters are those of all callers. One that is not asked for Limits.FilterLife
// is forgotten.
type filters struct {
	limits Limits

	mu    sync.Mutex
	byID  map[rpc.ID]*filter
	by    map[string]int // by host
	swept time.Time
	now   func() time.Time
}

func newFilters(l Limits) *filters {
	return &filters{limits: l, byID: make(map[rpc.ID]*filter), by: make(map[string]int), now: time.Now}
}

// add keeps a filter and answers its id, which nobody can guess.
func (f *filters) add(ctx context.Context, x *filter) (rpc.ID, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.now()
	if now.Sub(f.swept) > time.Duration(f.limits.FilterLife)/8 || len(f.byID) >= f.limits.Filters {
		f.sweep(now)
	}
	x.host, x.used = callerOf(ctx).host, now
	if len(f.byID) >= f.limits.Filters || !exempt(x.host) && f.by[x.host] >= f.limits.FiltersPerAddress {
		return "", tooBusy("too many filters: at most %d from one address, %d in all; uninstall some", f.limits.FiltersPerAddress, f.limits.Filters)
	}
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	id := rpc.ID("0x" + strings.TrimLeft(hex.EncodeToString(b[:]), "0"))
	f.byID[id] = x
	f.by[x.host]++
	return id, nil
}

func (f *filters) sweep(now time.Time) {
	f.swept = now
	for id, x := range f.byID {
		if now.Sub(x.used) > time.Duration(f.limits.FilterLife) {
			f.drop(id, x)
		}
	}
}

func (f *filters) drop(id rpc.ID, x *filter) {
	delete(f.byID, id)
	if f.by[x.host]--; f.by[x.host] == 0 {
		delete(f.by, x.host)
	}
}

// use answers a filter that is not too old, and makes it young again.
func (f *filters) use(id rpc.ID) *filter {
	f.mu.Lock()
	defer f.mu.Unlock()
	x, now := f.byID[id], f.now()
	if x == nil {
		return nil
	}
	if now.Sub(x.used) > time.Duration(f.limits.FilterLife) {
		f.drop(id, x)
		return nil
	}
	x.used = now
	return x
}

// advance moves a filter from a number to another. It is false if another call
// was faster: then that one reports.
func (f *filters) advance(x *filter, from, to uint64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if x.next != from {
		return false
	}
	x.next = to
	return true
}

func (f *filters) remove(id rpc.ID) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	x := f.byID[id]
	if x != nil {
		f.drop(id, x)
	}
	return x != nil
}

func (f *filters) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.byID)
}

// NewBlockFilter makes a filter of the hashes of blocks that become final.
func (a *ethAPI) NewBlockFilter(ctx context.Context) (rpc.ID, error) {
	return a.b.filters.add(ctx, &filter{kind: filterBlocks, next: a.b.heads.height() + 1})
}

// NewPendingTransactionFilter makes a filter of the hashes of transactions that
// come into the pool.
func (a *ethAPI) NewPendingTransactionFilter(ctx context.Context) (rpc.ID, error) {
	x := &filter{kind: filterPending}
	if a.b.Events != nil {
		x.next = a.b.Events.added.end()
	}
	return a.b.filters.add(ctx, x)
}

// NewFilter makes a filter of logs.
func (a *ethAPI) NewFilter(ctx context.Context, q logQuery) (rpc.ID, error) {
	return a.b.filters.add(ctx, &filter{kind: filterLogs, query: q, next: a.b.heads.height() + 1})
}

// UninstallFilter forgets a filter; false if there is none.
func (a *ethAPI) UninstallFilter(id rpc.ID) bool { return a.b.filters.remove(id) }

// GetFilterLogs answers all logs of a log filter's range.
func (a *ethAPI) GetFilterLogs(ctx context.Context, id rpc.ID) ([]*types.Log, error) {
	x := a.b.filters.use(id)
	if x == nil || x.kind != filterLogs {
		return nil, errFilterNotFound
	}
	return a.GetLogs(ctx, x.query)
}

// GetFilterChanges answers what is new since the last call: hashes or logs. What
// is more than the limits of one answer comes with the next call.
func (a *ethAPI) GetFilterChanges(ctx context.Context, id rpc.ID) (any, error) {
	x := a.b.filters.use(id)
	if x == nil {
		return nil, errFilterNotFound
	}
	a.b.filters.mu.Lock()
	from := x.next
	a.b.filters.mu.Unlock()
	if x.kind == filterPending {
		hashes := []crypto.Hash{}
		if a.b.Events == nil {
			return hashes, nil
		}
		added, next, _ := a.b.Events.added.since(from)
		if !a.b.filters.advance(x, from, next) {
			return hashes, nil
		}
		return append(hashes, added...), nil
	}
	to := min(a.b.heads.height(), from+uint64(a.b.limits.LogBlocks)-1)
	if from > to {
		return []crypto.Hash{}, nil
	}
	if x.kind == filterLogs {
		logs, next, err := a.newLogs(ctx, &x.query, from, to)
		if err != nil {
			return nil, err
		}
		if !a.b.filters.advance(x, from, next) {
			logs = []*types.Log{}
		}
		return logs, nil
	}
	hashes := make([]crypto.Hash, 0, to-from+1)
	for height := from; height <= to; height++ {
		hash, err := a.b.Ledger.HashByHeight(height)
		if err != nil {
			return nil, err
		}
		hashes = append(hashes, hash)
	}
	if !a.b.filters.advance(x, from, to+1) {
		return []crypto.Hash{}, nil
	}
	return hashes, nil
}

// newLogs are the logs of new blocks, as far as the query's own range has them
// and as one answer holds them, and the height after the last one looked at.
func (a *ethAPI) newLogs(ctx context.Context, q *logQuery, from, to uint64) (logs []*types.Log, next uint64, err error) {
	first, last := from, to
	if q.From != nil && *q.From >= 0 {
		first = max(first, uint64(*q.From))
	}
	if q.To != nil && *q.To >= 0 {
		last = min(last, uint64(*q.To))
	}
	if q.BlockHash != nil || first > last {
		return []*types.Log{}, to + 1, nil
	}
	logs, next, err = a.b.logPage(ctx, q, first, last)
	switch {
	case next > last:
		next = to + 1
	case next > first:
		err = nil // time was up: the rest comes with the next call, or its error
	}
	return logs, next, err
}
