package wallet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"cairn/crypto"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/rpc"
	"github.com/holiman/uint256"
)

// Limits on what a node may cost.
const (
	callTimeout      = 10 * time.Second
	maxResponseBytes = 32 << 20
	maxErrorText     = 300 // bytes of a node's error that are shown
)

// Client talks JSON-RPC to one node over HTTP or WebSocket. It is safe for
// concurrent use. A WebSocket connection that breaks is made again by the next
// call.
type Client struct {
	url    string // as it may be shown
	secret string // what follows the host: a token, if the node wants one
	rpc    *rpc.Client
}

// mask stands for what is not shown, as in url.URL.Redacted.
const mask = "xxxxx"

// withoutSecret is a URL without what follows the host, which may be a token, and
// without what precedes it, which may have a password.
func withoutSecret(raw string) string {
	scheme, rest, ok := strings.Cut(raw, "://")
	if ok {
		scheme += "://"
	} else {
		scheme, rest = "", raw
	}
	host, after := rest, ""
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		if host, after = rest[:i], rest[i:i+1]; i < len(rest)-1 {
			after += mask
		}
	}
	if i := strings.LastIndexByte(host, '@'); i >= 0 {
		host = mask + host[i:]
	}
	return scheme + host + after
}

// shown is the text of an error without the token that a URL in it has.
func (c *Client) shown(err error) string {
	text := err.Error()
	if c.secret != "" {
		text = strings.ReplaceAll(text, "/"+c.secret, "/"+mask)
	}
	return printable(text)
}

// Dial names the node. Over HTTP nothing is sent yet; over WebSocket the
// connection is made. Errors: ErrURL, ErrUnreachable.
func Dial(ctx context.Context, rawURL string) (*Client, error) {
	u, err := url.Parse(rawURL)
	if err != nil || u.Host == "" {
		return nil, fmt.Errorf("%w: %q", ErrURL, withoutSecret(rawURL))
	}
	switch u.Scheme {
	case "http", "https", "ws", "wss":
	default:
		return nil, fmt.Errorf("%w: %q", ErrURL, withoutSecret(rawURL))
	}
	c := &Client{url: withoutSecret(rawURL), secret: strings.Trim(u.RequestURI(), "/")}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	c.rpc, err = rpc.DialOptions(ctx, rawURL,
		rpc.WithHTTPClient(&http.Client{Transport: limitedTransport{http.DefaultTransport}}),
		rpc.WithWebsocketMessageSizeLimit(maxResponseBytes))
	if err != nil {
		if text := c.shown(err); text != err.Error() {
			return nil, fmt.Errorf("%w at %s: %s", ErrUnreachable, c.url, text)
		}
		return nil, fmt.Errorf("%w at %s: %w", ErrUnreachable, c.url, err)
	}
	return c, nil
}

// Close ends the connection.
func (c *Client) Close() { c.rpc.Close() }

// URL is the node's address, without a password and a token.
func (c *Client) URL() string { return c.url }

// limitedTransport ends a response body at maxResponseBytes.
type limitedTransport struct{ http.RoundTripper }

func (t limitedTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := t.RoundTripper.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	resp.Body = struct {
		io.Reader
		io.Closer
	}{io.LimitReader(resp.Body, maxResponseBytes), resp.Body}
	return resp, nil
}

// Call calls any method; result is a pointer for the answer.
// Errors: *RejectedError, ErrUnreachable, ErrAnswer, the context's.
func (c *Client) Call(ctx context.Context, result any, method string, args ...any) error {
	limited, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var raw json.RawMessage
	if err := c.rpc.CallContext(limited, &raw, method, args...); err != nil {
		return c.classify(ctx, method, err)
	}
	return c.decode(method, raw, result)
}

func (c *Client) decode(method string, raw json.RawMessage, result any) error {
	if err := json.Unmarshal(raw, result); err != nil {
		return fmt.Errorf("%w: %s of %s: %s", ErrAnswer, method, c.url, printable(err.Error()))
	}
	return nil
}

// call is one call of a batch.
type call struct {
	method string
	args   []any
	result any
}

// batch makes the calls in one message; the error is that of the first call
// that failed. Errors: those of Call.
func (c *Client) batch(ctx context.Context, calls ...call) error {
	limited, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	elems := make([]rpc.BatchElem, len(calls))
	raws := make([]json.RawMessage, len(calls))
	for i, k := range calls {
		if k.args == nil {
			k.args = []any{}
		}
		elems[i] = rpc.BatchElem{Method: k.method, Args: k.args, Result: &raws[i]}
	}
	if err := c.rpc.BatchCallContext(limited, elems); err != nil {
		return c.classify(ctx, "batch", err)
	}
	for i, e := range elems {
		if e.Error != nil {
			return c.classify(ctx, e.Method, e.Error)
		}
		if err := c.decode(e.Method, raws[i], calls[i].result); err != nil {
			return err
		}
	}
	return nil
}

// classify turns what go-ethereum's client answers into the package's errors.
func (c *Client) classify(ctx context.Context, method string, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if coded, ok := errors.AsType[rpc.Error](err); ok {
		return &RejectedError{Method: method, Code: coded.ErrorCode(), Message: printable(coded.Error())}
	}
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	if errors.As(err, &syntax) || errors.As(err, &kind) || errors.Is(err, rpc.ErrNoResult) ||
		errors.Is(err, rpc.ErrMissingBatchResponse) {
		return fmt.Errorf("%w: %s of %s: %s", ErrAnswer, method, c.url, printable(err.Error()))
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%w at %s: no answer to %s within %s", ErrUnreachable, c.url, method, callTimeout)
	}
	if status, ok := errors.AsType[rpc.HTTPError](err); ok {
		return fmt.Errorf("%w at %s: HTTP status %s", ErrUnreachable, c.url, c.shown(status))
	}
	return fmt.Errorf("%w at %s: %s", ErrUnreachable, c.url, c.shown(err))
}

// printable makes a node's text safe to show: one line, no control characters,
// bounded.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > maxErrorText {
		s = strings.ToValidUTF8(s[:maxErrorText], "") + "…"
	}
	return s
}

// ChainID is eth_chainId.
func (c *Client) ChainID(ctx context.Context) (uint64, error) {
	var id hexutil.Uint64
	err := c.Call(ctx, &id, "eth_chainId")
	return uint64(id), err
}

// Height is the number of the last final block.
func (c *Client) Height(ctx context.Context) (uint64, error) {
	var height hexutil.Uint64
	err := c.Call(ctx, &height, "eth_blockNumber")
	return uint64(height), err
}

// Balance is the balance of an account in wei at the last final block.
func (c *Client) Balance(ctx context.Context, address crypto.Address) (*uint256.Int, error) {
	var balance quantity
	err := c.Call(ctx, &balance, "eth_getBalance", address, "latest")
	return balance.int(), err
}

// Nonces are an account's next nonces: final counts final transactions only,
// pending also those that wait in the node's pool without a gap.
func (c *Client) Nonces(ctx context.Context, address crypto.Address) (final, pending uint64, err error) {
	var f, p hexutil.Uint64
	err = c.batch(ctx,
		call{"eth_getTransactionCount", []any{address, "latest"}, &f},
		call{"eth_getTransactionCount", []any{address, "pending"}, &p})
	return uint64(f), uint64(p), err
}

// quantity is a JSON-RPC quantity of up to 256 bits.
type quantity uint256.Int

func (q *quantity) int() *uint256.Int { return (*uint256.Int)(q) }

func (q *quantity) UnmarshalJSON(b []byte) error {
	var big hexutil.Big
	if err := json.Unmarshal(b, &big); err != nil {
		return err
	}
	if overflow := q.int().SetFromBig(big.ToInt()); overflow {
		return errors.New("hex number does not fit 256 bits")
	}
	return nil
}
