package wallet_test

import (
	"context"
	"errors"
	"math/big"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"cairn/crypto"
	"cairn/wallet"
	"cairn/wallet/wallettest"

	"github.com/ethereum/go-ethereum/core/types"
	"github.com/holiman/uint256"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// Idle connections of net/http's shared transport live on.
		goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"),
		goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"))
}

func dial(t *testing.T, url string) *wallet.Client {
	t.Helper()
	c, err := wallet.Dial(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// overBoth runs a test over HTTP and over WebSocket, with a node that makes nothing
// final by itself.
func overBoth(t *testing.T, run func(t *testing.T, n *wallettest.Node, c *wallet.Client)) {
	t.Helper()
	for name, url := range map[string]func(*wallettest.Node) string{
		"http": (*wallettest.Node).HTTP,
		"ws":   (*wallettest.Node).WS,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := wallettest.New(t)
			n.Instant = false
			run(t, n, dial(t, url(n)))
		})
	}
}

// send prepares, signs and submits one coin from key 1 to key 2.
func send(t *testing.T, c *wallet.Client, tr wallet.Transfer) (*types.Transaction, *wallet.Pending) {
	t.Helper()
	tr.To, tr.Value = testKey(t, 2).Address(), uint256.NewInt(1e18)
	return submit(t, c, testKey(t, 1), tr)
}

// submit prepares, signs and submits a transfer of a key.
func submit(t *testing.T, c *wallet.Client, key *crypto.PrivateKey, tr wallet.Transfer) (*types.Transaction, *wallet.Pending) {
	t.Helper()
	tr.From = key.Address()
	d, err := c.Prepare(t.Context(), tr)
	if err != nil {
		t.Fatal(err)
	}
	tx, err := d.Sign(key)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Submit(t.Context(), tx); err != nil {
		t.Fatal(err)
	}
	return tx, &wallet.Pending{From: d.From, Transaction: tx}
}

func TestSendAndWait(t *testing.T) {
	t.Parallel()
	overBoth(t, func(t *testing.T, n *wallettest.Node, c *wallet.Client) {
		tx, p := send(t, c, wallet.Transfer{})
		if _, err := c.Receipt(t.Context(), tx.Hash()); !errors.Is(err, wallet.ErrNotFound) {
			t.Errorf("receipt of a pending transaction: %v", err)
		}
		if got, err := c.Transaction(t.Context(), tx.Hash()); err != nil || got.Final || got.From != p.From {
			t.Errorf("%+v, %v", got, err)
		}
		done := make(chan *wallet.Receipt, 1)
		go func() {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			r, err := c.WaitFinal(ctx, tx.Hash(), p, nil)
			if err != nil {
				t.Error(err)
			}
			done <- r
		}()
		n.Finalize()
		r := <-done
		if r == nil || r.Err() != nil || r.Height != 1 || r.Hash != tx.Hash() || !r.Fee().IsZero() {
			t.Fatalf("%+v", r)
		}
		b, err := c.BlockByHash(t.Context(), r.BlockHash)
		if err != nil || len(b.Transactions) != 1 || b.Transactions[0] != tx.Hash() || b.Epoch != 2 || b.View != 1 {
			t.Errorf("%+v, %v", b, err)
		}
		final, pending, err := c.Nonces(t.Context(), p.From)
		if err != nil || final != 1 || pending != 1 {
			t.Errorf("nonces %d, %d, %v", final, pending, err)
		}
	})
}

func TestPrepare(t *testing.T) {
	t.Parallel()
	gwei := func(v uint64) *uint256.Int { return uint256.NewInt(v * 1e9) }
	seven := uint64(7)
	for _, c := range []struct {
		name                  string
		base, tip             int64 // gwei
		in                    wallet.Transfer
		kind                  byte
		maxFee, priority, gas uint64 // gwei, gwei, gas
		nonce                 uint64
	}{
		{"free", 0, 0, wallet.Transfer{}, 2, 0, 0, 21000, 0},
		{"free-legacy", 0, 0, wallet.Transfer{Legacy: true}, 0, 0, 0, 21000, 0},
		{"fees", 10, 2, wallet.Transfer{}, 2, 22, 2, 21000, 0},
		{"legacy", 10, 2, wallet.Transfer{Legacy: true}, 0, 12, 12, 21000, 0},
		{"priority", 10, 2, wallet.Transfer{PriorityFee: gwei(5)}, 2, 25, 5, 21000, 0},
		{"max", 10, 2, wallet.Transfer{MaxFee: gwei(30)}, 2, 30, 2, 21000, 0},
		{"max-below-tip", 10, 2, wallet.Transfer{MaxFee: gwei(1)}, 2, 1, 1, 21000, 0},
		{"both", 10, 2, wallet.Transfer{MaxFee: gwei(30), PriorityFee: gwei(3)}, 2, 30, 3, 21000, 0},
		{"price", 10, 2, wallet.Transfer{Legacy: true, GasPrice: gwei(40)}, 0, 40, 40, 21000, 0},
		{"data", 0, 0, wallet.Transfer{Data: []byte{1, 2}}, 2, 0, 0, 21032, 0},
		{"gas-limit", 0, 0, wallet.Transfer{GasLimit: 50000}, 2, 0, 0, 50000, 0},
		{"nonce", 0, 0, wallet.Transfer{Nonce: &seven}, 2, 0, 0, 21000, 7},
		{"chain", 0, 0, wallet.Transfer{ChainID: 7357}, 2, 0, 0, 21000, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			n := wallettest.New(t)
			n.BaseFee, n.Tip = big.NewInt(c.base*1e9), big.NewInt(c.tip*1e9)
			d, err := dial(t, n.HTTP()).Prepare(t.Context(), c.in)
			if err != nil {
				t.Fatal(err)
			}
			tx := d.Transaction
			if tx.Type() != c.kind || tx.GasFeeCap().Uint64() != c.maxFee*1e9 || tx.GasTipCap().Uint64() != c.priority*1e9 ||
				tx.Gas() != c.gas || tx.Nonce() != c.nonce || d.ChainID != 7357 {
				t.Errorf("type %d cap %s tip %s gas %d nonce %d", tx.Type(), tx.GasFeeCap(), tx.GasTipCap(), tx.Gas(), tx.Nonce())
			}
			d.From = testKey(t, 1).Address()
			signed, err := d.Sign(testKey(t, 1))
			if err != nil {
				t.Fatal(err)
			}
			from, err := types.Sender(types.NewLondonSigner(big.NewInt(7357)), signed)
			if err != nil || from != d.From || !signed.Protected() {
				t.Errorf("sender %s, %v, protected %v", from, err, signed.Protected())
			}
			if _, err := d.Sign(testKey(t, 2)); !errors.Is(err, wallet.ErrWrongKey) {
				t.Errorf("another's key: %v", err)
			}
		})
	}
}

func TestPrepareRefuses(t *testing.T) {
	t.Parallel()
	one, two := uint256.NewInt(1), uint256.NewInt(2)
	n := wallettest.New(t)
	c := dial(t, n.HTTP())
	for name, k := range map[string]struct {
		in   wallet.Transfer
		want error
	}{
		"legacy with max fee":   {wallet.Transfer{Legacy: true, MaxFee: one}, wallet.ErrFee},
		"price without legacy":  {wallet.Transfer{GasPrice: one}, wallet.ErrFee},
		"priority above max":    {wallet.Transfer{MaxFee: one, PriorityFee: two}, wallet.ErrFee},
		"another chain":         {wallet.Transfer{ChainID: 1}, wallet.ErrChainID},
		"priority fee of coins": {wallet.Transfer{PriorityFee: uint256.NewInt(1e18)}, wallet.ErrFeeTooHigh},
	} {
		if _, err := c.Prepare(t.Context(), k.in); !errors.Is(err, k.want) {
			t.Errorf("%s: %v, want %v", name, err, k.want)
		}
	}
	greedy := wallettest.New(t)
	greedy.BaseFee = new(big.Int).Lsh(big.NewInt(1), 255)
	for _, legacy := range []bool{false, true} {
		if _, err := dial(t, greedy.HTTP()).Prepare(t.Context(), wallet.Transfer{Legacy: legacy}); !errors.Is(err, wallet.ErrFeeTooHigh) {
			t.Errorf("a node that asks for everything: %v", err)
		}
	}
}

// A node's refusal keeps its words; the kinds of the rest tell who is to blame.
func TestErrors(t *testing.T) {
	t.Parallel()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	for _, url := range []string{"", "127.0.0.1:8545", "ftp://x", "http://", "http://%zz", "/tmp/x.ipc"} {
		if _, err := wallet.Dial(t.Context(), url); !errors.Is(err, wallet.ErrURL) {
			t.Errorf("%q: %v", url, err)
		}
	}
	if _, err := wallet.Dial(t.Context(), "ws://"+closed.Addr().String()); !errors.Is(err, wallet.ErrUnreachable) {
		t.Errorf("ws: %v", err)
	}
	if _, err := dial(t, "http://"+closed.Addr().String()).ChainID(t.Context()); !errors.Is(err, wallet.ErrUnreachable) {
		t.Errorf("http: %v", err)
	}
	for name, k := range map[string]struct {
		answer http.HandlerFunc
		want   error
	}{
		"page":      {text(200, "<html>hello</html>"), wallet.ErrAnswer},
		"no-result": {text(200, `{"jsonrpc":"2.0","id":1}`), wallet.ErrAnswer},
		"text":      {text(200, `{"jsonrpc":"2.0","id":1,"result":"hello"}`), wallet.ErrAnswer},
		"object":    {text(200, `{"jsonrpc":"2.0","id":1,"result":{}}`), wallet.ErrAnswer},
		"status":    {text(502, "bad gateway\x1b[31m"), wallet.ErrUnreachable},
		"missing":   {text(404, ""), wallet.ErrUnreachable},
		"cut":       {func(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) }, wallet.ErrUnreachable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := wallettest.New(t)
			n.AnswerHTTP(k.answer)
			_, err := dial(t, n.HTTP()).ChainID(t.Context())
			if !errors.Is(err, k.want) {
				t.Errorf("%v, want %v", err, k.want)
			}
			if err != nil && strings.ContainsAny(err.Error(), "\x1b\n") {
				t.Errorf("control characters: %q", err)
			}
		})
	}
	n := wallettest.New(t)
	n.Refuse("eth_chainId", -32000, "not\x1b[31m today\n"+strings.Repeat("x", 1000))
	_, err = dial(t, n.HTTP()).ChainID(t.Context())
	rejected, ok := errors.AsType[*wallet.RejectedError](err)
	if !ok || rejected.Code != -32000 || !strings.HasPrefix(rejected.Message, "not [31m today x") || len(rejected.Message) > 400 {
		t.Errorf("%v", err)
	}
	_, err = dial(t, n.HTTP()).Height(t.Context()) // the stand-in has none
	if rejected, ok := errors.AsType[*wallet.RejectedError](err); !ok || rejected.Code != -32601 {
		t.Errorf("unknown method: %v", err)
	}
}

func text(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}
}

func TestLies(t *testing.T) {
	t.Parallel()
	n := wallettest.New(t)
	n.HashLie, n.BlockLie = true, true
	c := dial(t, n.HTTP())
	if _, err := c.LatestBlock(t.Context()); !errors.Is(err, wallet.ErrAnswer) {
		t.Errorf("a block under another hash: %v", err)
	}
	if _, err := c.BlockByHeight(t.Context(), 99); !errors.Is(err, wallet.ErrNotFound) {
		t.Errorf("a block that is not there: %v", err)
	}
	key := testKey(t, 1)
	d, err := c.Prepare(t.Context(), wallet.Transfer{From: key.Address()})
	if err != nil {
		t.Fatal(err)
	}
	tx, err := d.Sign(key)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Submit(t.Context(), tx); !errors.Is(err, wallet.ErrAnswer) {
		t.Errorf("another hash for a sent transaction: %v", err)
	}
}

func TestSubmitTwice(t *testing.T) {
	t.Parallel()
	n := wallettest.New(t)
	n.Instant = false
	c := dial(t, n.HTTP())
	tx, _ := send(t, c, wallet.Transfer{})
	if err := c.Submit(t.Context(), tx); err != nil {
		t.Errorf("already known: %v", err)
	}
}

// wait runs WaitFinal with a deadline that no test is meant to reach.
func wait(t *testing.T, c *wallet.Client, tx *types.Transaction, p *wallet.Pending, notice func(string)) (*wallet.Receipt, error) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	return c.WaitFinal(ctx, tx.Hash(), p, notice)
}

func TestWaitThroughRestart(t *testing.T) {
	t.Parallel()
	overBoth(t, func(t *testing.T, n *wallettest.Node, c *wallet.Client) {
		tx, p := send(t, c, wallet.Transfer{})
		n.AnswerHTTP(text(503, "restarting"))
		n.Forget()
		n.SetInstant(true) // what is sent again becomes final at once
		var notices []string
		r, err := wait(t, c, tx, p, func(s string) {
			if notices = append(notices, s); len(notices) == 1 {
				n.AnswerHTTP(nil)
			}
		})
		if err != nil || r.Err() != nil {
			t.Fatal(r, err)
		}
		if len(notices) == 0 || !strings.Contains(notices[0], "still waiting") {
			t.Errorf("%q", notices)
		}
	})
}

func TestWaitEnds(t *testing.T) {
	t.Parallel()
	n := wallettest.New(t)
	n.Instant = false
	c := dial(t, n.HTTP())
	tx, p := send(t, c, wallet.Transfer{})

	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	if _, err := c.WaitFinal(ctx, tx.Hash(), p, nil); !errors.Is(err, wallet.ErrNotFinal) {
		t.Errorf("timeout: %v", err)
	}
	ctx, cancel = context.WithCancel(t.Context())
	cancel()
	if _, err := c.WaitFinal(ctx, tx.Hash(), p, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	n.Forget()
	n.Refuse("eth_sendRawTransaction", -32000, "transaction underpriced")
	_, err := wait(t, c, tx, p, nil)
	if rejected, ok := errors.AsType[*wallet.RejectedError](err); !ok || rejected.Message != "transaction underpriced" {
		t.Errorf("lost and refused: %v", err)
	}
	n.UseNonce(p.From)
	if _, err := wait(t, c, tx, p, nil); !errors.Is(err, wallet.ErrReplaced) {
		t.Errorf("replaced: %v", err)
	}
}

func TestFailedReceipt(t *testing.T) {
	t.Parallel()
	n := wallettest.New(t)
	n.FailNext()
	c := dial(t, n.HTTP())
	tx, p := send(t, c, wallet.Transfer{})
	r, err := wait(t, c, tx, p, nil)
	if err != nil {
		t.Fatal(err)
	}
	if failed, ok := errors.AsType[*wallet.FailedError](r.Err()); !ok || failed.Hash != tx.Hash() || failed.Height != 1 {
		t.Errorf("%v", r.Err())
	}
}

func TestBalanceAndStatus(t *testing.T) {
	t.Parallel()
	n := wallettest.New(t)
	huge, _ := new(big.Int).SetString(maxWei, 10)
	n.Fund(crypto.Address{1}, huge)
	c := dial(t, n.HTTP())
	if wei, err := c.Balance(t.Context(), crypto.Address{1}); err != nil || wei.Dec() != maxWei {
		t.Error(wei, err)
	}
	s, err := c.Status(t.Context())
	if err != nil || s.Height != 0 || s.Quorum != 3 || s.Name != "south" || !s.Healthy {
		t.Errorf("%+v, %v", s, err)
	}
}
