package fetch_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"cairn/node/fetch"
)

// crowd is peers in memory; each answers after its delay with its bytes.
type crowd struct {
	mu     sync.Mutex
	order  []peer.ID
	delay  map[peer.ID]time.Duration
	answer map[peer.ID][]byte // nil = an error
	asked  []peer.ID
	lied   []peer.ID
	failed []peer.ID
}

var errDown = errors.New("down")

func (c *crowd) Peers() []peer.ID { return c.order }

func (c *crowd) Request(ctx context.Context, p peer.ID, _ string, _ []byte) ([]byte, error) {
	c.mu.Lock()
	c.asked = append(c.asked, p)
	delay, answer := c.delay[p], c.answer[p]
	c.mu.Unlock()
	select {
	case <-time.After(delay):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if answer == nil {
		return nil, errDown
	}
	return answer, nil
}

func (c *crowd) Lied(p peer.ID, _ string, _ error)   { c.note(&c.lied, p) }
func (c *crowd) Failed(p peer.ID, _ string, _ error) { c.note(&c.failed, p) }

func (c *crowd) note(to *[]peer.ID, p peer.ID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	*to = append(*to, p)
}

func (c *crowd) count(p peer.ID) (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, q := range c.asked {
		if p == q {
			n++
		}
	}
	return n
}

// text is a question whose true answer begins with "t"; "-" says that the peer
// has none, "own" that this node fails.
func text(check func()) fetch.Question[string] {
	return fetch.Question[string]{Name: "text", Check: func(_ peer.ID, raw []byte) (string, error) {
		if check != nil {
			check()
		}
		switch {
		case string(raw) == "-":
			return "", fetch.ErrAbsent
		case string(raw) == "own":
			return "", fmt.Errorf("%w: disk", fetch.ErrOwn)
		case len(raw) == 0 || raw[0] != 't':
			return "", errors.New("a lie")
		}
		return string(raw), nil
	}}
}

func ask(t *testing.T, pool *fetch.Pool, q fetch.Question[string]) (peer.ID, error) {
	t.Helper()
	_, p, err := fetch.Ask(t.Context(), pool, q)
	return p, err
}

// TestLiar: who lied is told of, is not asked again for an hour, and then is.
func TestLiar(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &crowd{order: []peer.ID{"liar", "good"}, answer: map[peer.ID][]byte{"liar": []byte("x"), "good": []byte("true")}}
		pool := fetch.New(c)
		for range 10 {
			if p, err := ask(t, pool, text(nil)); err != nil || p != "good" {
				t.Fatal(p, err)
			}
		}
		if c.count("liar") != 1 || !slices.Equal(c.lied, []peer.ID{"liar"}) {
			t.Errorf("the liar was asked %d times, told of %v", c.count("liar"), c.lied)
		}
		time.Sleep(time.Hour + time.Second)
		for range 10 {
			_, _ = ask(t, pool, text(nil))
		}
		if c.count("liar") != 2 {
			t.Errorf("the liar was asked %d times in two hours", c.count("liar"))
		}
	})
}

// TestAbsentAndOwn: to have nothing is no lie; a failure of this node is nobody's
// and ends the question.
func TestAbsentAndOwn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &crowd{order: []peer.ID{"a", "b"}, answer: map[peer.ID][]byte{"a": []byte("-"), "b": []byte("-")}}
		pool := fetch.New(c)
		if _, err := ask(t, pool, text(nil)); !errors.Is(err, fetch.ErrNobody) || !errors.Is(err, fetch.ErrAbsent) {
			t.Errorf("nobody has it: %v", err)
		}
		c.answer["a"], c.answer["b"] = []byte("own"), []byte("own")
		if _, err := ask(t, pool, text(nil)); !errors.Is(err, fetch.ErrOwn) {
			t.Errorf("our failure: %v", err)
		}
		if len(c.lied)+len(c.failed) > 0 || len(c.asked) != 3 {
			t.Errorf("asked %v, lied %v, failed %v", c.asked, c.lied, c.failed)
		}
	})
}

// TestRest: a peer that gives no answer rests, longer each time.
func TestRest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &crowd{order: []peer.ID{"down"}, answer: map[peer.ID][]byte{}}
		pool := fetch.New(c)
		begun := time.Now()
		for range 5 {
			if _, err := ask(t, pool, text(nil)); !errors.Is(err, fetch.ErrNobody) || !errors.Is(err, errDown) {
				t.Fatal(err)
			}
		}
		if took := time.Since(begun); took < 15*time.Second || took > 20*time.Second {
			t.Errorf("five questions took %s, want rests of 1, 2, 4 and 8 s", took)
		}
		time.Sleep(time.Minute)
		c.answer["down"] = []byte("true")
		if p, err := ask(t, pool, text(nil)); err != nil || p != "down" {
			t.Errorf("back again: %s, %v", p, err)
		}
	})
}

// TestHedge: while an answer is missing, others are asked the same, at most three
// at once; while one is being checked, nobody is.
func TestHedge(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		slow := 19 * time.Second
		c := &crowd{
			order:  []peer.ID{"a", "b", "c", "d"},
			delay:  map[peer.ID]time.Duration{"a": slow, "b": slow, "c": slow, "d": slow},
			answer: map[peer.ID][]byte{"a": []byte("true"), "b": []byte("true"), "c": []byte("true"), "d": []byte("true")},
		}
		pool := fetch.New(c)
		if p, err := ask(t, pool, text(nil)); err != nil || p != "a" || len(c.asked) != 3 {
			t.Errorf("%s, %v; asked %v", p, err, c.asked)
		}
		c.delay["d"], c.asked = 0, nil
		if p, err := ask(t, pool, text(func() { time.Sleep(time.Minute) })); err != nil || p != "d" || !slices.Equal(c.asked, []peer.ID{"a", "d"}) {
			t.Errorf("%s, %v; asked %v, of which a is slow and d's answer was being checked", p, err, c.asked)
		}
		time.Sleep(2 * time.Minute) // a's answer came, too, and is checked
	})
}

// TestFastFirst: who answers faster is asked more.
func TestFastFirst(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		large := append([]byte("t"), make([]byte, 1<<20)...)
		c := &crowd{
			order:  []peer.ID{"slow", "fast"},
			delay:  map[peer.ID]time.Duration{"slow": time.Second, "fast": 100 * time.Millisecond},
			answer: map[peer.ID][]byte{"slow": large, "fast": large},
		}
		pool := fetch.New(c)
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				for range 10 {
					if _, err := ask(t, pool, text(nil)); err != nil {
						t.Error(err)
					}
				}
			})
		}
		all.Wait()
		if slow, fast := c.count("slow"), c.count("fast"); slow == 0 || fast < 4*slow {
			t.Errorf("the slow peer was asked %d times, the fast one %d", slow, fast)
		}
	})
}

// TestGather: every peer is asked once, and what passed is answered by peer.
func TestGather(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &crowd{
			order:  []peer.ID{"a", "b", "liar", "down", "silent"},
			delay:  map[peer.ID]time.Duration{"silent": time.Hour},
			answer: map[peer.ID][]byte{"a": []byte("ta"), "b": []byte("tb"), "liar": []byte("x"), "silent": []byte("t")},
		}
		got := fetch.Gather(t.Context(), fetch.New(c), 10, text(nil))
		if len(got) != 2 || got["a"] != "ta" || got["b"] != "tb" || len(c.asked) != 5 || !slices.Equal(c.lied, []peer.ID{"liar"}) {
			t.Errorf("%v; asked %v, lied %v", got, c.asked, c.lied)
		}
		if got := fetch.Gather(t.Context(), fetch.New(c), 1, text(nil)); len(got) != 1 {
			t.Errorf("of one peer: %v", got)
		}
	})
}
