package rpc

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/time/rate"
)

// maxTokens bounds the tokens of a listener: every request that carries one is
// compared with each.
const maxTokens = 256

// tokenBytes are drawn for a token: nobody guesses it, so its hash needs no salt
// and no work.
const tokenBytes = 32

// Token lets who knows it use the listener, by http://HOST:PORT/TOKEN. The
// configuration holds its hash only.
type Token struct {
	Name           string   `toml:"name"`             // in errors and metrics, instead of the token
	SHA256         string   `toml:"sha256"`           // of the token's characters, in hex
	Methods        []string `toml:"methods"`          // names, or beginnings of them and a *; empty = all
	CallsPerSecond int      `toml:"calls_per_second"` // of all who use it, members of batches one by one; 0 = no limit
	Burst          int      `toml:"burst"`            // of them at once; 0 = as many as in a second
}

// NewToken draws a token: 43 characters that may stand in a URL. Its hash is what
// goes into Token.SHA256.
func NewToken() (token, hash string) {
	var b [tokenBytes]byte
	_, _ = rand.Read(b[:]) // never fails
	token = base64.RawURLEncoding.EncodeToString(b[:])
	return token, HashToken(token)
}

// HashToken is the hex of SHA-256 of a token's characters.
func HashToken(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

// SameToken compares a token with the hash of one, in constant time.
func SameToken(token, hash string) bool {
	want, err := hex.DecodeString(hash)
	sum := sha256.Sum256([]byte(token))
	return err == nil && subtle.ConstantTimeCompare(sum[:], want) == 1
}

// ValidTokenHash says what is wrong with the hash of a token.
func ValidTokenHash(hash string) error {
	if b, err := hex.DecodeString(hash); err != nil || len(b) != sha256.Size {
		return fmt.Errorf("want 64 hex digits, the SHA-256 of the token: 'cairnd token' makes both")
	}
	return nil
}

// validateTokens says what is wrong, naming the token.
func validateTokens(all []Token) error {
	if len(all) > maxTokens {
		return fmt.Errorf("rpc.tokens: %d of them, at most %d", len(all), maxTokens)
	}
	names, hashes := map[string]bool{}, map[string]bool{}
	for i, t := range all {
		what := fmt.Sprintf("rpc.tokens %q", t.Name)
		switch {
		case t.Name == "" || len(t.Name) > 64:
			return fmt.Errorf("rpc.tokens: the name of number %d: want 1 to 64 characters", i+1)
		case names[t.Name]:
			return fmt.Errorf("%s: two have this name", what)
		case hashes[strings.ToLower(t.SHA256)]:
			return fmt.Errorf("%s: another has the same hash", what)
		case t.CallsPerSecond < 0 || t.Burst < 0:
			return fmt.Errorf("%s: calls_per_second and burst must not be negative", what)
		}
		if err := ValidTokenHash(t.SHA256); err != nil {
			return fmt.Errorf("%s: sha256: %w", what, err)
		}
		for _, p := range t.Methods {
			if name, star, _ := strings.Cut(p, "*"); p == "" || star != "" || strings.ContainsAny(name, " \t") {
				return fmt.Errorf("%s: methods: %q is neither a name nor a beginning and a *", what, p)
			}
		}
		names[t.Name], hashes[strings.ToLower(t.SHA256)] = true, true
	}
	return nil
}

// grant is a token of the configuration, ready for use.
type grant struct {
	name    string
	hash    []byte
	limit   int             // calls a second; 0 = none
	methods map[string]bool // nil = all
	rate    *rate.Limiter   // nil = no limit
}

// newGrants reads valid tokens. A pattern that no method has is an error: it is a
// slip.
func newGrants(all []Token, known []string) ([]grant, error) {
	out := make([]grant, 0, len(all))
	for _, t := range all {
		g := grant{name: t.Name, limit: t.CallsPerSecond}
		g.hash, _ = hex.DecodeString(t.SHA256) // is valid
		if t.CallsPerSecond > 0 {
			burst := t.Burst
			if burst == 0 {
				burst = t.CallsPerSecond
			}
			g.rate = rate.NewLimiter(rate.Limit(t.CallsPerSecond), burst)
		}
		for _, p := range t.Methods {
			begin, _, star := strings.Cut(p, "*")
			matches := func(name string) bool { return name == p || star && strings.HasPrefix(name, begin) }
			if !slices.ContainsFunc(known, matches) {
				return nil, fmt.Errorf("rpc.tokens %q: methods: no method is named %q", t.Name, p)
			}
			if g.methods == nil {
				g.methods = make(map[string]bool)
			}
			for _, name := range known {
				g.methods[name] = g.methods[name] || matches(name)
			}
		}
		out = append(out, g)
	}
	return out, nil
}

// findGrant compares a token with every one, in a time that does not say which.
func findGrant(all []grant, token string) *grant {
	sum := sha256.Sum256([]byte(token))
	found := -1
	for i := range all {
		found = subtle.ConstantTimeSelect(subtle.ConstantTimeCompare(sum[:], all[i].hash), i, found)
	}
	if found < 0 {
		return nil
	}
	return &all[found]
}

// caller is who a request is of.
type caller struct {
	host  string // as remoteHost has it
	grant *grant // nil = came without a token
}

// share names whose share of the node is used.
func (c *caller) share() string {
	if c.grant != nil {
		return "token " + c.grant.name
	}
	return c.host
}

// sender names who is charged for what is refused: an address, and apart from it who
// has a token there, whom strangers behind the same address must not lock out.
func (c *caller) sender() string {
	if c.grant == nil {
		return c.host
	}
	return c.host + " " + c.grant.name
}

type callerKey struct{}

func withCaller(ctx context.Context, c *caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

func callerOf(ctx context.Context) *caller {
	if c, ok := ctx.Value(callerKey{}).(*caller); ok {
		return c
	}
	return &caller{}
}

// allowed says why a caller may not make a call: its token has no such method, or
// its rate is used up.
func (s *service) allowed(ctx context.Context, c *call) error {
	g := callerOf(ctx).grant
	if g == nil {
		return nil
	}
	if g.rate != nil && !g.rate.Allow() {
		s.meters.refused("token rate")
		return tooBusy("too many calls with the token %q: at most %d a second; try again later", g.name, g.limit)
	}
	if g.methods == nil {
		return nil
	}
	name := string(c.name())
	if c.odd || name == "" { // it may mean another method than it seems to
		return &callError{code: codeInvalidRequest, text: "invalid request"}
	}
	if !g.methods[name] {
		s.meters.refused("token methods")
		return &callError{code: codeNoMethod, text: fmt.Sprintf("the method %s does not exist/is not available: the token %q does not include it", name, g.name)}
	}
	return nil
}
