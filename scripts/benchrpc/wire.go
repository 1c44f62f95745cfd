package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httputil"
	"net/url"
	"strconv"
	"time"

	"github.com/gorilla/websocket"
)

// link is one connection that carries one encoded request at a time. The answer
// is valid until the next request.
type link interface {
	ask(request []byte) (answer []byte, err error)
	Close() error
}

// dialer is what net.Dialer.DialContext is; nil stands for that of an empty one.
type dialer func(ctx context.Context, network, addr string) (net.Conn, error)

// dialHTTP connects to http://HOST. Requests of this link are whole, header and
// body: see post.
func dialHTTP(ctx context.Context, target string, dial dialer) (*httpLink, error) {
	u, err := url.Parse(target)
	if err != nil {
		return nil, err
	}
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	conn, err := dial(ctx, "tcp", u.Host)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	return &httpLink{Conn: conn, in: bufio.NewReaderSize(conn, 64<<10), stop: stop}, nil
}

// post encodes an HTTP request with a body.
func post(target string, body []byte) []byte {
	host := hostOf(target)
	head := fmt.Sprintf("POST / HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", host, len(body))
	return append([]byte(head), body...)
}

// httpLink is HTTP/1.1 with the connection kept alive, by hand: a client library
// would cost more than the node.
type httpLink struct {
	net.Conn

	in     *bufio.Reader
	body   []byte
	status int // of the last answer
	stop   func() bool
}

func (l *httpLink) Close() error {
	l.stop()
	return l.Conn.Close()
}

func (l *httpLink) ask(request []byte) ([]byte, error) {
	if _, err := l.Write(request); err != nil {
		return nil, err
	}
	return l.read()
}

// read reads one answer. A status other than 200 is an error.
func (l *httpLink) read() ([]byte, error) {
	line, err := l.in.ReadSlice('\n')
	if err != nil {
		return nil, err
	}
	if len(line) < 12 || !bytes.HasPrefix(line, []byte("HTTP/1.1 ")) {
		return nil, fmt.Errorf("no HTTP answer: %q", line)
	}
	if l.status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return nil, fmt.Errorf("status of %q: %w", line, err)
	}
	length, chunked := -1, false
	for {
		if line, err = l.in.ReadSlice('\n'); err != nil {
			return nil, err
		}
		if len(line) <= 2 {
			break
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		switch value = bytes.TrimSpace(value); {
		case bytes.EqualFold(name, []byte("Content-Length")):
			if length, err = strconv.Atoi(string(value)); err != nil {
				return nil, err
			}
		case bytes.EqualFold(name, []byte("Transfer-Encoding")):
			chunked = true
		}
	}
	if err := l.readBody(length, chunked); err != nil {
		return nil, err
	}
	if l.status != 200 {
		return l.body, fmt.Errorf("HTTP %d: %.100s", l.status, l.body)
	}
	return l.body, nil
}

func (l *httpLink) readBody(length int, chunked bool) (err error) {
	switch {
	case chunked:
		buffer := bytes.NewBuffer(l.body[:0])
		if _, err = buffer.ReadFrom(httputil.NewChunkedReader(l.in)); err != nil {
			return err
		}
		l.body = buffer.Bytes()
		_, err = l.in.ReadSlice('\n') // an empty line is after the last chunk
		return err
	case length < 0:
		return errors.New("an answer of unknown length")
	case cap(l.body) < length:
		l.body = make([]byte, length)
	}
	l.body = l.body[:length]
	_, err = io.ReadFull(l.in, l.body)
	return err
}

// socketLink is a WebSocket. Its requests are bodies.
type socketLink struct {
	*websocket.Conn

	body bytes.Buffer
	stop func() bool
}

func dialSocket(ctx context.Context, target string, dial dialer) (*socketLink, error) {
	d := websocket.Dialer{NetDialContext: dial, HandshakeTimeout: 10 * time.Second}
	conn, answer, err := d.DialContext(ctx, target, nil)
	if answer != nil {
		answer.Body.Close()
	}
	if err != nil {
		return nil, err
	}
	return &socketLink{Conn: conn, stop: context.AfterFunc(ctx, func() { conn.Close() })}, nil
}

func (l *socketLink) Close() error {
	l.stop()
	return l.Conn.Close()
}

func (l *socketLink) ask(request []byte) ([]byte, error) {
	if err := l.WriteMessage(websocket.TextMessage, request); err != nil {
		return nil, err
	}
	_, r, err := l.NextReader()
	if err != nil {
		return nil, err
	}
	l.body.Reset()
	_, err = l.body.ReadFrom(r)
	return l.body.Bytes(), err
}
