package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/rpc"
	"github.com/gorilla/websocket"

	"cairn/node"
)

// writeCertificate makes a certificate of 127.0.0.1 that is its own authority, and
// answers who trusts it.
func writeCertificate(t *testing.T, certFile, keyFile, name string) *x509.CertPool {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	if err := errors.Join(os.WriteFile(keyFile, keyPEM, 0o600), os.WriteFile(certFile, certPEM, 0o600)); err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(certPEM)
	return pool
}

var listens = regexp.MustCompile(`msg="?([a-z-]+) listens"? address=(\S+) tls=(\S+)`)

// addressOf is where a listener of a running node is, as its log says.
func addressOf(t *testing.T, p *process, what string) (address string) {
	t.Helper()
	poll(t, p, "no listener for "+what, func() bool {
		for _, m := range listens.FindAllStringSubmatch(p.log.String(), -1) {
			if m[1] == what {
				address = m[2]
			}
		}
		return address != ""
	})
	return address
}

// token runs 'cairnd token' and answers the token and the lines for config.toml.
func token(t *testing.T, argv ...string) (token, lines string) {
	t.Helper()
	token, lines, ok := strings.Cut(must(t, append([]string{"token"}, argv...)...), "\n\n")
	if !ok || len(token) != 43 {
		t.Fatalf("%q", token)
	}
	return token, lines
}

// TestListeners: a node with TLS and tokens on JSON-RPC and on the admin listener:
// real handshakes, a certificate that is replaced, and all that must not come in.
func TestListeners(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	home, cert, key := filepath.Join(dir, "h"), filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	must(t, "init", "--dev", "--home", home)
	trust := writeCertificate(t, cert, key, "first")
	reads, readLines := token(t, "reads", "--method", "eth_*", "--method", "net_version", "--calls-per-second", "1000")
	admin, adminLines := token(t, "--admin")
	adminLines = strings.Replace(adminLines, "[admin]", "[admin]\nlisten = '127.0.0.1:0'\ntls_cert = '"+cert+"'\ntls_key = '"+key+"'", 1)
	config := "[rpc]\nlisten = '127.0.0.1:0'\ntls_cert = '" + cert + "'\ntls_key = '" + key + "'\nrequire_token = true\n" + readLines + adminLines
	if err := os.WriteFile(filepath.Join(home, node.ConfigFile), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	p, stop := runHome(t, home, "--rpc-listen", "127.0.0.1:0")
	defer stop()
	at := addressOf(t, p, "json-rpc")

	client := func(trust *x509.CertPool) *http.Client {
		return &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: trust, MinVersion: tls.VersionTLS12}}}
	}
	call := func(trust *x509.CertPool, url string) error {
		c, err := rpc.DialOptions(t.Context(), url, rpc.WithHTTPClient(client(trust)),
			rpc.WithWebsocketDialer(websocket.Dialer{TLSClientConfig: &tls.Config{RootCAs: trust, MinVersion: tls.VersionTLS12}}))
		if err != nil {
			return err
		}
		defer c.Close()
		return c.CallContext(t.Context(), new(string), "eth_chainId")
	}
	for _, scheme := range []string{"https://", "wss://"} {
		if err := call(trust, scheme+at+"/"+reads); err != nil {
			t.Errorf("%s: %v", scheme, err)
		}
		if err := call(x509.NewCertPool(), scheme+at+"/"+reads); err == nil {
			t.Errorf("%s: a client that does not trust the certificate came in", scheme)
		}
		if err := call(trust, scheme+at); err == nil {
			t.Errorf("%s: a client without a token came in", scheme)
		}
	}
	if err := call(trust, "http://"+at+"/"+reads); err == nil {
		t.Error("a client without TLS came in")
	}

	adminCalls(t, p, dir, cert, admin, reads)

	// A broken pair changes nothing; a whole one is used without a restart.
	if err := os.WriteFile(cert, []byte("half a fi"), 0o600); err != nil {
		t.Fatal(err)
	}
	poll(t, p, "the broken certificate was not seen", func() bool {
		if err := call(trust, "https://"+at+"/"+reads); err != nil {
			t.Fatalf("after a broken file: %v", err)
		}
		return strings.Contains(p.log.String(), "the new TLS certificate is not used")
	})
	next := writeCertificate(t, cert, key, "second")
	poll(t, p, "the new certificate is not used", func() bool { return call(next, "https://"+at+"/"+reads) == nil })
	if log := p.log.String(); strings.Contains(log, reads) || strings.Contains(log, admin) {
		t.Error("the log tells a token")
	}
}

// poll looks until ok or ten seconds have passed.
func poll(t *testing.T, p *process, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s:\n%s", what, p.log.String())
		}
	}
}

// adminCalls gives orders over the admin listener, with the right token and
// without.
func adminCalls(t *testing.T, p *process, dir, ca, right, wrong string) {
	t.Helper()
	url := "https://" + addressOf(t, p, "admin")
	write := func(name, text string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	with := func(argv ...string) []string {
		return append(append([]string{"admin"}, argv...), "--url", url, "--ca", ca, "--token-file")
	}
	good, bad := write("admin.token", right), write("other.token", wrong)
	if out := must(t, append(with("peers", "--json"), good)...); strings.TrimSpace(out) != "[]" {
		t.Errorf("peers: %s", out)
	}
	refused(t, 1, []string{"wants the admin token"}, append(with("peers"), bad)...)
	refused(t, 1, []string{"no peer id"}, append(append(with("ban"), good), "nobody")...)
	refused(t, 1, []string{"/p2p/ID"}, append(append(with("add-peer"), good), "/ip4/127.0.0.1/tcp/1")...)
	refused(t, 1, []string{"not connected"}, append(append(with("remove-peer"), good), "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN")...)
	must(t, append(append(with("ban", "--for", "1h"), good), "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN")...)
	refused(t, 2, []string{"one without the other"}, "admin", "peers", "--url", url)
	refused(t, 2, []string{"no KIND"}, append(append(with("profile"), good), "cpu", filepath.Join(dir, "cpu"))...)
	must(t, append(append(with("backup"), good), filepath.Join(dir, "copy"))...)
	profile := filepath.Join(dir, "heap")
	must(t, append(append(with("profile"), good), "heap", profile)...)
	if raw, err := os.ReadFile(profile); err != nil || !bytes.HasPrefix(raw, []byte{0x1f, 0x8b}) {
		t.Errorf("a profile of %d bytes: %v", len(raw), err)
	}
	client := node.AdminClient{URL: url, CA: ca, Token: right}
	var level string
	if err := client.Call(t.Context(), &level, "admin_logLevel"); err != nil || level != "info" {
		t.Errorf("log level %q: %v", level, err)
	}
	client.Token = ""
	if err := client.Fetch(context.Background(), "/debug/pprof/heap", io.Discard); err == nil {
		t.Error("a profile without a token")
	}
}

// TestListenerConfig: what is unsafe or half said is refused at the start.
func TestListenerConfig(t *testing.T) {
	t.Parallel()
	_, lines := token(t, "--admin")
	for want, config := range map[string]string{
		"rpc.tls_cert, rpc.tls_key: one without the other": "[rpc]\ntls_cert = 'x'",
		"admin.token_sha256":                 "[admin]\nlisten = '127.0.0.1:1'",
		"admin.listen: 0.0.0.0:1 is not":     lines + "listen = '0.0.0.0:1'",
		"rpc.require_token":                  "[rpc]\nrequire_token = true",
		"no method is named":                 "[rpc]\nlisten = '127.0.0.1:0'\n[[rpc.tokens]]\nname = 'a'\nmethods = ['eth_x']\nsha256 = '" + strings.Repeat("a", 64) + "'",
		"TLS certificate /nowhere with key ": "[rpc]\nlisten = '127.0.0.1:0'\ntls_cert = '/nowhere'\ntls_key = '/nowhere'",
	} {
		home := filepath.Join(t.TempDir(), "h")
		must(t, "init", "--dev", "--home", home)
		if err := os.WriteFile(filepath.Join(home, node.ConfigFile), []byte(config), 0o600); err != nil {
			t.Fatal(err)
		}
		refused(t, 1, []string{want}, "run", "--home", home, "--p2p-listen", "/ip4/127.0.0.1/tcp/0", "--mdns=false", "--dht=false")
	}
	refused(t, 2, []string{"NAME"}, "token")
	refused(t, 2, []string{"neither"}, "token", "a", "--method", "eth_*x")
	if _, out, _ := cairnd("token", "a", "--method", "eth_*x"); out != "" {
		t.Errorf("a refused token is printed: %q", out)
	}
}
