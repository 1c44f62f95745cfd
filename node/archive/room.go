package archive

import (
	"context"

	"golang.org/x/sync/semaphore"
)

// room bounds the bytes of blocks that are decoded and wait. One block that is
// larger than all of it takes all of it.
type room struct {
	sem  *semaphore.Weighted
	size int64
}

func newRoom(size int64) *room { return &room{semaphore.NewWeighted(size), size} }

func (r *room) take(ctx context.Context, n int) bool {
	return r.sem.Acquire(ctx, min(int64(n), r.size)) == nil
}

func (r *room) give(n int) { r.sem.Release(min(int64(n), r.size)) }
