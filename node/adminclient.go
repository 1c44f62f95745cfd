package node

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
)

// maxAdminAnswer bounds what a client of the admin interface reads, but for
// profiles.
const maxAdminAnswer = 1 << 20

// AdminClient gives orders to a running node: over the socket in Home, or, if URL
// is set, over its admin listener.
type AdminClient struct {
	Home  string
	URL   string // http://HOST:PORT or https://HOST:PORT
	Token string
	CA    string // PEM file of certificates to trust besides the system's; may be empty
}

// Admin asks the node that runs in home. Errors: ErrNotRunning; what the node
// says.
func Admin(ctx context.Context, home, method, path string, form url.Values) ([]byte, error) {
	return AdminClient{Home: home}.Do(ctx, method, path, form)
}

// Do sends one request and answers its body. Errors: ErrNotRunning; what the node
// says.
func (c AdminClient) Do(ctx context.Context, method, path string, form url.Values) ([]byte, error) {
	var out bytes.Buffer
	err := c.send(ctx, method, path, "application/x-www-form-urlencoded", strings.NewReader(form.Encode()), &out, maxAdminAnswer)
	return out.Bytes(), err
}

// Fetch writes the answer to a GET, of any length, to w.
func (c AdminClient) Fetch(ctx context.Context, path string, w io.Writer) error {
	return c.send(ctx, http.MethodGet, path, "", http.NoBody, w, -1)
}

// Call makes one call of an admin_ method and decodes its result.
func (c AdminClient) Call(ctx context.Context, result any, method string, params ...any) error {
	if params == nil {
		params = []any{}
	}
	body, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
	if err != nil {
		return err
	}
	var raw bytes.Buffer
	if err := c.send(ctx, http.MethodPost, "/", "application/json", bytes.NewReader(body), &raw, maxAdminAnswer); err != nil {
		return err
	}
	var answer struct {
		Result json.RawMessage
		Error  *struct{ Message string }
	}
	if err := json.Unmarshal(raw.Bytes(), &answer); err != nil {
		return fmt.Errorf("the answer of the running node: %w", err)
	}
	if answer.Error != nil {
		return fmt.Errorf("the running node says: %s", answer.Error.Message)
	}
	return json.Unmarshal(answer.Result, result)
}

func (c AdminClient) send(ctx context.Context, method, path, kind string, body io.Reader, to io.Writer, limit int64) error {
	client, base, err := c.connect()
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, method, base+path, body)
	if err != nil {
		return err
	}
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	if c.Token != "" {
		req.Header.Set("Authorization", "Bearer "+c.Token)
	}
	resp, err := client.Do(req)
	if err != nil {
		if errors.Is(err, ErrNotRunning) {
			return fmt.Errorf("%s: %w", filepath.Join(c.Home, AdminSocket), ErrNotRunning)
		}
		return fmt.Errorf("ask the running node: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, maxAdminAnswer))
		return fmt.Errorf("the running node says: %s", strings.TrimSpace(string(text)))
	}
	from := io.Reader(resp.Body)
	if limit >= 0 {
		from = io.LimitReader(from, limit)
	}
	if _, err := io.Copy(to, from); err != nil {
		return fmt.Errorf("the answer of the running node: %w", err)
	}
	return nil
}

// connect makes the client and the beginning of its URLs.
func (c AdminClient) connect() (*http.Client, string, error) {
	t := &http.Transport{DisableKeepAlives: true}
	if c.URL != "" {
		u, err := url.Parse(c.URL)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			return nil, "", fmt.Errorf("%q: want http://HOST:PORT or https://HOST:PORT", c.URL)
		}
		if c.CA != "" {
			pem, err := os.ReadFile(c.CA)
			if err != nil {
				return nil, "", fmt.Errorf("certificates to trust: %w", err)
			}
			t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
			if t.TLSClientConfig.RootCAs, err = x509.SystemCertPool(); err != nil {
				t.TLSClientConfig.RootCAs = x509.NewCertPool()
			}
			if !t.TLSClientConfig.RootCAs.AppendCertsFromPEM(pem) {
				return nil, "", fmt.Errorf("%s: no certificate in it", c.CA)
			}
		}
		return &http.Client{Transport: t}, u.Scheme + "://" + u.Host, nil
	}
	socket := filepath.Join(c.Home, AdminSocket)
	t.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, "unix", socket)
		if err != nil {
			return nil, fmt.Errorf("%w (%s): %w", ErrNotRunning, socket, err)
		}
		return conn, nil
	}
	return &http.Client{Transport: t}, "http://node", nil
}
