package p2p

import (
	"encoding/binary"
	"fmt"
	"unicode"
	"unicode/utf8"

	"cairn/crypto"
)

// The wire versions this software speaks. Peers need one in common.
const (
	wireVersion    = 1
	wireVersionMin = 1
)

// refusal is the last byte of an answer to a handshake.
type refusal uint8

const (
	refusalNone refusal = iota
	refusalGenesis
	refusalVersion
	refusalNotAllowed
	refusalTooManyPeers
	refusalBanned
	refusalCount
)

// kind is the error a refusal stands for.
func (r refusal) kind() ErrorKind {
	switch r {
	case refusalGenesis:
		return ErrWrongGenesis
	case refusalVersion:
		return ErrIncompatible
	case refusalNotAllowed:
		return ErrNotAllowed
	case refusalTooManyPeers:
		return ErrTooManyPeers
	case refusalBanned:
		return ErrBanned
	}
	return ErrHandshake
}

const instanceLength = 8

// hello is what each side of a connection says first:
//
//	version(2) lowest version(2) genesis hash(32) instance(8) refusal(1)
//	user agent: length(1) bytes
//	rule sets: count(1), each: length(1) bytes
//
// Instance is drawn when the process starts: another one from a peer that seems
// connected means that it restarted and its older connections are dead, which
// QUIC alone can take long to see. Refusal is 0 from the side that dialled and the verdict from the other.
// Integers are big-endian. Bytes may follow only when the version is newer than
// ours.
type hello struct {
	Version, Lowest uint16
	Genesis         crypto.Hash
	Instance        [instanceLength]byte
	Refusal         refusal
	UserAgent       string
	RuleSets        []string
}

func (m *hello) encode() []byte {
	out := make([]byte, 0, 64+len(m.UserAgent))
	out = binary.BigEndian.AppendUint16(out, m.Version)
	out = binary.BigEndian.AppendUint16(out, m.Lowest)
	out = append(out, m.Genesis[:]...)
	out = append(out, m.Instance[:]...)
	out = append(out, byte(m.Refusal), byte(len(m.UserAgent)))
	out = append(out, m.UserAgent...)
	out = append(out, byte(len(m.RuleSets)))
	for _, s := range m.RuleSets {
		out = append(out, byte(len(s)))
		out = append(out, s...)
	}
	return out
}

// decodeHello reads what a peer said first. Errors: ErrHelloMalformed.
func decodeHello(b []byte) (*hello, error) {
	const fixed = 2 + 2 + crypto.HashLength + instanceLength + 1
	if len(b) < fixed {
		return nil, fmt.Errorf("%w: %d bytes", ErrHelloMalformed, len(b))
	}
	m := &hello{
		Version:  binary.BigEndian.Uint16(b),
		Lowest:   binary.BigEndian.Uint16(b[2:]),
		Genesis:  crypto.Hash(b[4 : 4+crypto.HashLength]),
		Instance: [instanceLength]byte(b[4+crypto.HashLength:]),
		Refusal:  refusal(b[fixed-1]),
	}
	if m.Lowest > m.Version {
		return nil, fmt.Errorf("%w: versions %d to %d", ErrHelloMalformed, m.Lowest, m.Version)
	}
	if m.Refusal >= refusalCount && m.Version <= wireVersion {
		return nil, fmt.Errorf("%w: refusal %d", ErrHelloMalformed, m.Refusal)
	}
	var err error
	if m.UserAgent, b, err = cutText(b[fixed:], maxUserAgent); err != nil {
		return nil, fmt.Errorf("%w: user agent: %w", ErrHelloMalformed, err)
	}
	if len(b) == 0 || b[0] > maxRuleSets {
		return nil, fmt.Errorf("%w: count of rule sets", ErrHelloMalformed)
	}
	count := int(b[0])
	b = b[1:]
	for i := range count {
		var name string
		if name, b, err = cutText(b, maxRuleSetName); err != nil {
			return nil, fmt.Errorf("%w: rule set %d: %w", ErrHelloMalformed, i, err)
		}
		m.RuleSets = append(m.RuleSets, name)
	}
	if len(b) > 0 && m.Version <= wireVersion {
		return nil, fmt.Errorf("%w: %d bytes follow", ErrHelloMalformed, len(b))
	}
	return m, nil
}

// cutText reads a length byte and as much printable text, which goes to logs
// and terminals.
func cutText(b []byte, max int) (string, []byte, error) {
	if len(b) == 0 || int(b[0]) > max || int(b[0]) > len(b)-1 {
		return "", nil, fmt.Errorf("bad length")
	}
	n := 1 + int(b[0])
	text := string(b[1:n])
	if !utf8.ValidString(text) {
		return "", nil, fmt.Errorf("not UTF-8")
	}
	for _, c := range text {
		if !unicode.IsPrint(c) {
			return "", nil, fmt.Errorf("unprintable %U", c)
		}
	}
	return text, b[n:], nil
}
