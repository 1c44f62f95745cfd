package pool

// heap is a binary heap whose best item, by before, is items[0]. moved is told
// the new index of an item, −1 when it leaves.
type heap[T any] struct {
	items  []T
	before func(a, b T) bool
	moved  func(item T, index int)
}

func (h *heap[T]) push(item T) {
	h.items = append(h.items, item)
	h.up(len(h.items) - 1)
}

// remove takes out the item at index i.
func (h *heap[T]) remove(i int) T {
	item, last := h.items[i], len(h.items)-1
	h.items[i] = h.items[last]
	var zero T
	h.items[last] = zero
	h.items = h.items[:last]
	if i < last {
		h.fix(i)
	}
	h.moved(item, -1)
	return item
}

// fix restores the order after the item at index i has changed.
func (h *heap[T]) fix(i int) {
	if h.up(i) == i {
		h.down(i)
	}
}

// init restores the order after any number of items have changed.
func (h *heap[T]) init() {
	for i := range h.items {
		h.moved(h.items[i], i)
	}
	for i := len(h.items)/2 - 1; i >= 0; i-- {
		h.down(i)
	}
}

func (h *heap[T]) up(i int) int {
	item := h.items[i]
	for i > 0 {
		parent := (i - 1) / 2
		if !h.before(item, h.items[parent]) {
			break
		}
		h.set(i, h.items[parent])
		i = parent
	}
	h.set(i, item)
	return i
}

func (h *heap[T]) down(i int) {
	item := h.items[i]
	for {
		child := 2*i + 1
		if child >= len(h.items) {
			break
		}
		if right := child + 1; right < len(h.items) && h.before(h.items[right], h.items[child]) {
			child = right
		}
		if !h.before(h.items[child], item) {
			break
		}
		h.set(i, h.items[child])
		i = child
	}
	h.set(i, item)
}

func (h *heap[T]) set(i int, item T) {
	h.items[i] = item
	h.moved(item, i)
}
