package node

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// certificateCheck is how often the files of a certificate are looked at, at most.
const certificateCheck = time.Second

// certificate is a pair of PEM files that may be replaced while the node runs: the
// next handshake has the new one.
type certificate struct {
	certFile, keyFile string
	log               *slog.Logger

	mu     sync.Mutex
	pair   *tls.Certificate
	stamps [2]stamp // of the files when they were read last, well or badly
	looked time.Time
	now    func() time.Time
}

// stamp says whether a file is another one than before.
type stamp struct {
	modified time.Time
	size     int64
}

// loadCertificate reads the pair for the first time.
func loadCertificate(certFile, keyFile string, log *slog.Logger) (*certificate, error) {
	c := &certificate{certFile: certFile, keyFile: keyFile, log: log, now: time.Now}
	c.stamps = c.look()
	if err := c.read(); err != nil {
		return nil, err
	}
	return c, nil
}

func (c *certificate) read() error {
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return fmt.Errorf("TLS certificate %s with key %s: %w", c.certFile, c.keyFile, err)
	}
	c.pair = &pair
	return nil
}

func (c *certificate) look() (out [2]stamp) {
	for i, name := range []string{c.certFile, c.keyFile} {
		if info, err := os.Stat(name); err == nil {
			out[i] = stamp{info.ModTime(), info.Size()}
		}
	}
	return out
}

// get is tls.Config.GetCertificate. A new pair that cannot be read, because half
// of it is still to come, leaves the old one in use.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	if now.Sub(c.looked) < certificateCheck {
		return c.pair, nil
	}
	c.looked = now
	stamps := c.look()
	if stamps == c.stamps {
		return c.pair, nil
	}
	c.stamps = stamps
	if err := c.read(); err != nil {
		c.log.Warn("the new TLS certificate is not used; the old one still is: mend the files", "err", err)
	} else {
		c.log.Info("TLS certificate", "file", c.certFile, "until", c.pair.Leaf.NotAfter)
	}
	return c.pair, nil
}
