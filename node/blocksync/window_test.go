package blocksync

import "testing"

// TestWindow: whatever the size of blocks, those on their way fit into the window,
// but for the lowest, which has to come.
func TestWindow(t *testing.T) {
	t.Parallel()
	for _, size := range []uint64{700, 10 << 10, 400 << 10, 600 << 10, 2 << 20, 16 << 20} {
		r := &replay{target: 1 << 20, next: 1, want: 1, mean: size}
		lowest, rest := uint64(0), uint64(0)
		for r.asked < inFlight {
			s, ok := r.choose()
			if !ok {
				break
			}
			r.asked++
			r.used += s.guess
			if s.from == r.want {
				lowest = s.count * size
			} else {
				rest += s.count * size
			}
		}
		if lowest == 0 || lowest+rest > max(window, lowest) {
			t.Errorf("blocks of %d bytes: %d bytes of the lowest range and %d of others are asked for at once", size, lowest, rest)
		}
	}
}
