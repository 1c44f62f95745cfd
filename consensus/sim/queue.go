package sim

// eventKind is what happens at a point of virtual time.
type eventKind uint8

const (
	evDeliver   eventKind = iota + 1 // a packet reaches a node
	evPersisted                      // a node's fsync has ended
	evWorked                         // a node has built, executed and committed
	evWake                           // a node's core asked to be woken
	evPoll                           // a node asks a random peer for its head
	evRestart                        // a crashed node starts again
	evFault                          // plan.faults[arg] happens
	evArrival                        // a transaction is submitted
	evDisrupt                        // an adversary acts by itself
	evPhase                          // the world checks whether its phase is over
	evResume                         // a paused node goes on
	evUnmute                         // a muted node may sign again
	evSeek                           // a wanted body has not come
	evStored                         // a body is on the disk
)

// event is one entry of the queue. generation ties it to one life of a node: what
// was scheduled before a crash does not happen after it.
type event struct {
	at         int64 // µs
	order      uint64
	kind       eventKind
	node       int32
	generation uint32
	arg        int64
	packet     *packet
}

// queue is a binary heap of events by (at, order): equal times happen in the order
// in which they were scheduled.
type queue struct {
	heap  []event
	order uint64
}

func (q *queue) push(e event) {
	q.order++
	e.order = q.order
	q.heap = append(q.heap, e)
	i := len(q.heap) - 1
	for i > 0 {
		parent := (i - 1) / 2
		if !q.heap[i].before(&q.heap[parent]) {
			break
		}
		q.heap[i], q.heap[parent] = q.heap[parent], q.heap[i]
		i = parent
	}
}

func (q *queue) pop() (event, bool) {
	if len(q.heap) == 0 {
		return event{}, false
	}
	top := q.heap[0]
	last := len(q.heap) - 1
	q.heap[0] = q.heap[last]
	q.heap[last] = event{}
	q.heap = q.heap[:last]
	i := 0
	for {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < last; child++ {
			if q.heap[child].before(&q.heap[least]) {
				least = child
			}
		}
		if least == i {
			return top, true
		}
		q.heap[i], q.heap[least] = q.heap[least], q.heap[i]
		i = least
	}
}

func (e *event) before(o *event) bool {
	return e.at < o.at || e.at == o.at && e.order < o.order
}
